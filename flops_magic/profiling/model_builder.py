"""Building the fake twin of a live model, a configuration, a folder or a Hub id."""

from __future__ import annotations

import contextlib
import copy
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode

from flops_magic.errors import InputError, MissingPackageError, UnsupportedModelError
from flops_magic.flops.profile import METHODS
from flops_magic.profiling.fake_model import FakeModel
from flops_magic.profiling.model_setup import (
    LiveSetup,
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
# peft puts no adapters on these modules of them (peft.tuners.tuners_utils)
# tried with peft 0.21: for these kernels take the weight itself, past its adapter
_WITHOUT_OUT_PROJ = ("falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h")


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
            model = _with_live_adapters(model, live)
            method = "qlora" if live.quantized else "lora"
        if live:
            parameter_names_match(model, live)
        if not (live and live.adapters):
            if method in ("lora", "qlora"):
                model = _with_lora(model, lora_rank, lora_targets)
            elif method == "spectrum":
                _freeze_all_but(model, trainable)
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
        notes=(*put_stand_ins(model), *_adapter_notes(model)),
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
        reason = (str(error).strip().splitlines() or [""])[0][:200]
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


def _with_live_adapters(model: Any, live: LiveSetup) -> Any:
    from peft import get_peft_model

    (first, config), *rest = [
        (name, copy.deepcopy(config)) for name, config in live.adapters.items()
    ]
    if any(getattr(one, "is_prompt_learning", False) for one in live.adapters.values()):
        raise UnsupportedModelError(
            f"{type(model).__name__} reads virtual tokens of {config.peft_type}, more "
            "than it is given, so its passes are longer than its rows; count it live "
            "with `%%flops_track --model`"
        )
    wrapped = get_peft_model(
        model, config, adapter_name=first, autocast_adapter_dtype=False
    )
    for name, other in rest:
        wrapped.add_adapter(name, other)
    if live.active_adapter is not None:
        wrapped.set_adapter(live.active_adapter)
    return wrapped


def _with_lora(model: Any, rank: int, targets: str | Sequence[str]) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingPackageError(
            "LoRA needs peft; run pip install 'flops-magic[trl]'"
        ) from error
    if rank < 1:
        raise InputError(f"lora_rank={rank!r} is not a rank; pass 1 or more")
    two = getattr(model.config, "is_encoder_decoder", False)
    task: str | None = "SEQ_2_SEQ_LM" if two else "CAUSAL_LM"
    if not hasattr(model, "prepare_inputs_for_generation"):
        task = None  # encoders: peft's wrappers for language models ask for it
    chosen = targets if isinstance(targets, str) else list(targets)
    setup = LoraConfig(r=rank, target_modules=chosen, task_type=task)
    if chosen == "all-linear" and model.config.model_type in _WITHOUT_OUT_PROJ:
        setup.exclude_modules = {"out_proj"}
    try:
        return get_peft_model(model, setup, autocast_adapter_dtype=False)
    except ValueError as error:
        if "incompatible" in str(error):
            raise InputError(
                f"peft puts no adapters on 'out_proj' or 'conv1d' of "
                f"{type(model).__name__}; leave them out of {targets!r}"
            ) from error
        raise InputError(
            f"no module of {type(model).__name__} is named {targets!r}; pass "
            "'all-linear' or names such as ['q_proj', 'v_proj']"
        ) from error


def _adapter_notes(model: Any) -> tuple[str, ...]:
    """Say where all-linear adapters are not on all linear layers."""
    setups = getattr(model, "peft_config", {}).values()
    spared = any(
        "out_proj" in (getattr(one, "exclude_modules", None) or ()) for one in setups
    )
    note = "peft puts no adapters on out_proj of this model; the other linears have one"
    return (note,) if spared else ()


def _freeze_all_but(model: Any, trainable: Sequence[str] | None) -> None:
    if not trainable:
        raise InputError(
            "spectrum trains some parameters only; pass their names or patterns as "
            "trainable=[…], or the YAML that Spectrum wrote"
        )
    patterns = _patterns(trainable)
    found = set()
    for name, parameter in model.named_parameters():
        hits = [pattern for pattern in patterns if pattern.search(name)]
        parameter.requires_grad_(bool(hits))
        found.update(hits)
    if missing := [p.pattern for p in patterns if p not in found]:
        raise InputError(f"no parameter of {type(model).__name__} matches {missing}")


def _patterns(trainable: Sequence[str]) -> list[re.Pattern[str]]:
    """Return patterns, also those in a YAML file that Spectrum wrote."""
    found: list[str] = []
    for one in trainable:
        if not one.endswith((".yaml", ".yml")):
            found.append(one)
            continue
        try:
            import yaml

            tree = yaml.safe_load(Path(one).read_text(encoding="utf-8"))
            found += [str(line) for line in tree["unfrozen_parameters"]]
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            raise InputError(
                f"cannot read {one!r} as a file that Spectrum wrote "
                f"({type(error).__name__}); it needs a list under 'unfrozen_parameters'"
            ) from error
    try:
        return [re.compile(pattern) for pattern in found]
    except re.error as error:
        raise InputError(f"cannot read pattern {error.pattern!r}: {error}") from error


def _config_parts(config: Any) -> list[Any]:
    parts = [config]
    parts += [
        part
        for name in getattr(config, "sub_configs", {})
        if (part := getattr(config, name, None)) is not None
    ]
    return parts
