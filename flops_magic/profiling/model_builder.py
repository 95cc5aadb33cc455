"""Building the fake twin of a live model, a configuration, a folder or a Hub id."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode

from flops_magic.errors import InputError, UnsupportedModelError
from flops_magic.flops.profile import METHODS
from flops_magic.profiling.adapters import (
    adapter_notes,
    freeze_all_but,
    with_live_adapters,
    with_lora,
)
from flops_magic.profiling.fake_model import FakeModel
from flops_magic.profiling.model_setup import (
    live_setup,
    parameter_names_match,
)
from flops_magic.profiling.moe import experts_of
from flops_magic.profiling.repeated_layers import find_repeats
from flops_magic.profiling.scan_stubs import put_stand_ins

# where transformers keeps its classes with a head, in the order in which they are tried
_ONE_STACK = (
    "MASKED_LM",
    "CAUSAL_LM",
    "IMAGE_TEXT_TO_TEXT",
    "MULTIMODAL_LM",
    "SEQ_TO_SEQ_CAUSAL_LM",  # transformers 4 lists models that hear here
    "SEQUENCE_CLASSIFICATION",
)
TEXT_ALONE = (
    "The profile of a model that sees or hears describes its passes on text alone: "
    "what images (--images) and sound (--audio-s) cost is not in it."
)


def fake_model_of(
    source: Any,
    *,
    method: str = "full",
    lora_rank: int = 16,
    lora_targets: str | Sequence[str] = "all-linear",
    trainable: Sequence[str] | None = None,
    gradient_checkpointing: bool = False,
) -> FakeModel:
    """Build the fake model of a live model, a configuration, a folder or a Hub id.

    Raises:
        UnsupportedModelError: when it cannot be built.
        InputError: for an unknown method, folder or pattern.
        MissingPackageError: when transformers or peft is needed and missing.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    live = live_setup(source) if isinstance(source, torch.nn.Module) else None
    config = live.config if live else _config_of(source)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _fake_model(config, live.model_class if live else None)
        if live and live.adapters:
            model = with_live_adapters(model, live)
            method = "qlora" if live.quantized else "lora"
        if live:
            inside = live.adapters and not live.wrapped
            parameter_names_match(model.get_base_model() if inside else model, live)
        if not (live and live.adapters):
            if method in ("lora", "qlora"):
                model = with_lora(model, lora_rank, lora_targets)
            elif method == "spectrum":
                freeze_all_but(model, trainable)
            elif live and live.frozen:
                method = "spectrum"
    options = live.checkpointing if live else None
    if options is None and gradient_checkpointing:
        options = {"use_reentrant": False}
    input_grads = live.input_grads if live else False
    if options is not None and not live and method in ("lora", "qlora"):
        input_grads = True  # peft and the Trainer switch it on with checkpointing
    with mode:
        _to_fake(model)
    plan = FakeModel(
        model,
        mode,
        method,
        checkpointing=options,
        checkpointed=live.checkpointed if live else None,
        input_grads=input_grads,
        notes=(*put_stand_ins(model), *adapter_notes(model)),
        merged=bool(live and live.merged),
        live=live is not None,
    )
    if hears_or_sees(config):
        plan.notes = (TEXT_ALONE, *plan.notes)
    plan.repeats = find_repeats(plan.base, input_grads)
    return plan


def hears_or_sees(config: Any) -> bool:
    """Whether a model has towers for images or sound beside its text."""
    return any(hasattr(config, name) for name in ("vision_config", "audio_config"))


def _config_of(source: Any) -> Any:
    """Return a transformers configuration for a config, a folder or a Hub id."""
    if isinstance(source, transformers.PretrainedConfig):
        return source
    if not isinstance(source, (str, Path)):
        raise InputError(
            f"cannot profile {type(source).__name__!r}; pass a transformers model, its "
            "config, a folder with a config.json, or a Hub id in the local cache"
        )
    try:
        return transformers.AutoConfig.from_pretrained(
            str(source), local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"no configuration for {str(source)!r} on this machine; pass a folder with "
            "a config.json or a config object, or download the model first"
        ) from error


def _fake_model(config: Any, model_class: Any) -> Any:
    """Build the model on the meta device; its weights have shapes and no storage."""
    config = copy.deepcopy(config)
    for part in _config_parts(config):
        if getattr(part, "quantization_config", None) is not None:
            del part.quantization_config
        if getattr(part, "use_cache", None):
            part.use_cache = False
    experts = experts_of(config)
    # grouped expert products take bfloat16 only
    dtype = torch.bfloat16 if experts else torch.float32
    model_class = model_class or _named_class(config)
    if model_class is None:
        raise UnsupportedModelError(
            f"transformers has no language model for {type(config).__name__}; name its "
            "class in the configuration's 'architectures', or train it under "
            "%%flops_track, which counts any module live"
        )
    try:
        # private in transformers, tried with 4.57.6 and 5.23; without it nothing is
        # built
        model = model_class._from_config(
            config, attn_implementation="eager", dtype=dtype
        )
    except Exception as error:
        # all lines in one: the second names a missing package (timm, for Gemma 3n)
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModelError(
            f"{type(config).__name__} cannot be built as a language model: "
            f"{type(error).__name__}: {reason}"
        ) from error
    if experts:
        # eager experts ask which of them were hit, and no fake tensor knows
        with contextlib.suppress(AttributeError, ValueError):
            model.set_experts_implementation("grouped_mm")
    return model


def _named_class(config: Any) -> Any:
    """Return the class with a head that the configuration names; None without one."""
    for name in getattr(config, "architectures", None) or ():
        found = getattr(transformers, name, None)
        headed = "For" in name or name.endswith(("LMHeadModel", "MTModel"))
        if isinstance(found, type) and headed and hasattr(found, "_from_config"):
            return found
    return _mapped_class(config)


def _mapped_class(config: Any) -> Any:
    """Return the class with a head that transformers has for a configuration.

    In this order: translation or speech for an encoder-decoder; for others filling of
    masks, which encoders learn by, before language, images and text, classification.
    """
    two = getattr(config, "is_encoder_decoder", False)
    tables = ("SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ") if two else _ONE_STACK
    for table in tables:
        known = getattr(transformers, f"MODEL_FOR_{table}_MAPPING", {})
        if type(config) in known:
            return known[type(config)]
    return None


def _to_fake(model: Any) -> None:
    """Exchange meta tensors for fake tensors on the CPU, ties and flags kept.

    Model code asks for the device of its tensors, and transformers 4.57 enters an
    autocast of that device, which ``meta`` refuses.
    """
    done: dict[int, Any] = {}

    def fake(tensor: Any) -> Any:
        if id(tensor) not in done:
            twin = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
            if isinstance(tensor, torch.nn.Parameter):
                twin = torch.nn.Parameter(twin, requires_grad=tensor.requires_grad)
            done[id(tensor)] = twin
        return done[id(tensor)]

    for module in model.modules():
        # torch's own dicts (2.13): setattr would register anew and break ties
        for tensors in (module._parameters, module._buffers, vars(module)):
            for name, tensor in list(tensors.items()):
                if isinstance(tensor, torch.Tensor):
                    tensors[name] = fake(tensor)


def _config_parts(config: Any) -> list[Any]:
    parts = [config]
    parts += [
        part
        for name in getattr(config, "sub_configs", {})
        if (part := getattr(config, name, None)) is not None
    ]
    return parts
