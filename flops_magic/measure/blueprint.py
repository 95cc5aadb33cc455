"""A model built with fake tensors: the shapes of the real one, and none of its memory.

A live model is built again from its configuration and adapter set-up, with its
trainable flags copied, so that packed 4-bit weights, ZeRO-3 shards and empty
parameters have their logical shapes; names and shapes are then compared with the live
model's, and a difference is an error.
"""

from __future__ import annotations

import copy
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from flops_magic.core.profile import PassShape
from flops_magic.errors import InputError, MissingPackageError, UnsupportedModelError
from flops_magic.measure.layers import Repeat, find_repeats, keep_layers
from flops_magic.measure.live import (
    LiveSetup,
    live_setup,
    parameter_names_match,
)

# transformers 5 renamed the keyword
_DTYPE = "torch_dtype" if transformers.__version__.startswith("4.") else "dtype"
METHODS = ("full", "lora", "qlora", "spectrum")
_KEEP_SWITCHES = ("logits_to_keep", "num_logits_to_keep")


@dataclass
class Blueprint:
    """A fake model, ready to be walked.

    Attributes:
        model: the fake model, adapters included.
        mode: the fake tensor mode that it lives in.
        method: ``full``, ``lora``, ``qlora`` or ``spectrum``.
        checkpointing: keyword arguments of ``torch.utils.checkpoint.checkpoint``; None
            without gradient checkpointing.
        checkpointed: names of the modules that checkpoint; None for all that can.
        input_grads: whether the embeddings' output is made to require a gradient.
        repeats: groups of layers that cost the same.
        notes: what a reader of the profile must know.
    """

    model: Any
    mode: FakeTensorMode
    method: str
    checkpointing: dict[str, Any] | None = None
    checkpointed: frozenset[str] | None = None
    input_grads: bool = False
    repeats: tuple[Repeat, ...] = ()
    notes: tuple[str, ...] = ()
    parameters_total: int = field(init=False)
    parameters_active: int = field(init=False)
    parameters_trainable: int = field(init=False)

    def __post_init__(self) -> None:
        sizes = {p: p.numel() for p in self.model.parameters()}
        self.parameters_total = sum(sizes.values())
        self.parameters_trainable = sum(n for p, n in sizes.items() if p.requires_grad)
        self.parameters_active = self.parameters_total - _idle_expert_parameters(
            self.base
        )

    @property
    def base(self) -> Any:
        """The transformers model inside its adapters."""
        model = self.model
        return model.get_base_model() if hasattr(model, "peft_config") else model

    @property
    def model_class(self) -> str:
        """Class name of the transformers model."""
        return type(self.base).__name__

    @property
    def has_adapters(self) -> bool:
        """Whether the model carries adapters."""
        return hasattr(self.model, "peft_config")

    def adapters_disabled(self) -> Any:
        """Return a context in which the adapters are off."""
        return self.model.disable_adapter() if self.has_adapters else nullcontext()

    def layers_kept(
        self, keep: int, *, except_for: Repeat | None = None, keep_there: int = 0
    ) -> Any:
        """Return a context in which each repeat holds only its first layers."""
        return keep_layers(
            [
                (repeat, keep_there if repeat is except_for else keep)
                for repeat in self.repeats
            ]
        )

    def feasible(
        self, probes: Sequence[tuple[int, int, int]]
    ) -> list[tuple[int, int, int]]:
        """Return the probes that the model's positions and switches allow."""
        longest = getattr(
            _text_config(self.base.config), "max_position_embeddings", None
        )
        scale = 1
        while isinstance(longest, int) and longest > 0 and 48 // scale > longest:
            scale *= 2
        keeps = self._keep_switch() is not None
        return [(b, s // scale, k) for b, s, k in probes if k < 0 or keeps]

    def probe_shape(self, batch_size: int, seq_len: int, logits: int) -> PassShape:
        """Return the shape of a probe."""
        scored = -1 if logits < 0 else logits * batch_size
        return PassShape.dense(batch_size, seq_len, logits=scored)

    def run(
        self, batch_size: int, seq_len: int, logits: int, *, checkpointing: bool
    ) -> Any:
        """Run the fake model forward and return its logits, (B, S or logits, V)."""
        ids = torch.zeros(batch_size, seq_len, dtype=torch.long)  # (B, S)
        dtype = next(p.dtype for p in self.base.parameters() if p.is_floating_point())
        # a 4-D mask is taken as it is: nothing data-dependent is asked of it
        mask = torch.zeros(batch_size, 1, seq_len, seq_len, dtype=dtype)  # (B, 1, S, S)
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        accepted = inspect.signature(self.base.forward).parameters
        if "position_ids" in accepted:
            inputs["position_ids"] = torch.arange(seq_len)[None].expand(batch_size, -1)
        if "use_cache" in accepted:
            inputs["use_cache"] = False
        if logits > 0 and (switch := self._keep_switch()):
            inputs[switch] = logits
        self.model.train()
        with self._checkpointing(checkpointing), self._input_grads():
            return self.model(**inputs).logits

    def clear_gradients(self) -> None:
        """Drop the fake gradients of a walk."""
        for parameter in self.model.parameters():
            parameter.grad = None

    def _keep_switch(self) -> str | None:
        accepted = inspect.signature(self.base.forward).parameters
        return next((name for name in _KEEP_SWITCHES if name in accepted), None)

    @contextmanager
    def _checkpointing(self, on: bool) -> Iterator[None]:
        able = [
            module
            for name, module in self.base.named_modules()
            if hasattr(module, "gradient_checkpointing")
            and (self.checkpointed is None or name in self.checkpointed)
        ]
        if on and not able:
            raise UnsupportedModelError(
                f"{self.model_class} has no module that can checkpoint its gradients"
            )
        # fake tensors have no random state to preserve
        options = {**(self.checkpointing or {}), "preserve_rng_state": False}
        for module in able:
            module.gradient_checkpointing = on
            module._gradient_checkpointing_func = partial(checkpoint, **options)
        try:
            yield
        finally:
            for module in able:
                module.gradient_checkpointing = False

    @contextmanager
    def _input_grads(self) -> Iterator[None]:
        if not self.input_grads:
            yield
            return
        embeddings = self.base.get_input_embeddings()
        hook = embeddings.register_forward_hook(
            lambda _module, _inputs, output: output.requires_grad_(True)
        )
        try:
            yield
        finally:
            hook.remove()


def blueprint_of(
    source: Any,
    *,
    method: str = "full",
    lora_rank: int = 16,
    lora_targets: str | Sequence[str] = "all-linear",
    trainable: Sequence[str] | None = None,
    gradient_checkpointing: bool = False,
) -> Blueprint:
    """Build the blueprint of a live model, a configuration, a folder or a Hub id.

    Raises:
        UnsupportedModelError: when it cannot be built.
        InputError: for an unknown method, folder or pattern.
        MissingPackageError: when transformers or peft is needed and missing.
    """
    if method not in METHODS:
        raise InputError(f"no method {method!r}; there are {', '.join(METHODS)}")
    live = live_setup(source) if isinstance(source, torch.nn.Module) else None
    config = live.config if live else _config_of(source)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _fake_model(config, live.model_class if live else None)
        if live and live.adapters:
            model = _with_live_adapters(model, live)
            method = "qlora" if live.quantized else "lora"
        elif method in ("lora", "qlora"):
            model = _with_lora(model, lora_rank, lora_targets)
    if live:
        parameter_names_match(model, live)
        if not live.adapters and method == "full" and live.frozen:
            method = "spectrum"
    elif method == "spectrum":
        _freeze_all_but(model, trainable)
    options = live.checkpointing if live else None
    if options is None and gradient_checkpointing:
        options = {"use_reentrant": False}
    input_grads = live.input_grads if live else False
    if options is not None and not live and method in ("lora", "qlora"):
        input_grads = True  # peft and the Trainer switch it on with checkpointing
    with mode:
        _to_fake(model)
    plan = Blueprint(
        model,
        mode,
        method,
        checkpointing=options,
        checkpointed=live.checkpointed if live else None,
        input_grads=input_grads,
    )
    plan.repeats = find_repeats(plan.base, input_grads)
    return plan


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
    experts = _experts(config)
    # grouped expert products take bfloat16 only
    dtype = torch.bfloat16 if experts else torch.float32
    build: Callable[..., Any]
    if model_class is None:
        build = transformers.AutoModelForCausalLM.from_config
    else:
        build = model_class._from_config
    try:
        model = build(config, attn_implementation="eager", **{_DTYPE: dtype})
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise UnsupportedModelError(
            f"{type(config).__name__} cannot be built as a language model: "
            f"{type(error).__name__}: {reason}"
        ) from error
    return model


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
        for tensors in (module._parameters, module._buffers, vars(module)):
            for name, tensor in list(tensors.items()):
                if isinstance(tensor, torch.Tensor):
                    tensors[name] = fake(tensor)


def _with_live_adapters(model: Any, live: LiveSetup) -> Any:
    from peft import get_peft_model

    (first, config), *rest = [
        (name, copy.deepcopy(config)) for name, config in live.adapters.items()
    ]
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
        raise InputError(f"lora_rank={rank!r} is no rank; pass 1 or more")
    chosen = targets if isinstance(targets, str) else list(targets)
    try:
        return get_peft_model(
            model,
            LoraConfig(r=rank, target_modules=chosen, task_type="CAUSAL_LM"),
            autocast_adapter_dtype=False,
        )
    except ValueError as error:
        raise InputError(
            f"no module of {type(model).__name__} is named {targets!r}; pass "
            "'all-linear' or names such as ['q_proj', 'v_proj']"
        ) from error


def _freeze_all_but(model: Any, trainable: Sequence[str] | None) -> None:
    if not trainable:
        raise InputError(
            "spectrum trains some parameters only; pass their names or patterns as "
            "trainable=[…], or the YAML that Spectrum wrote"
        )
    patterns = [re.compile(pattern) for pattern in trainable]
    found = set()
    for name, parameter in model.named_parameters():
        hits = [pattern for pattern in patterns if pattern.search(name)]
        parameter.requires_grad_(bool(hits))
        found.update(hits)
    if missing := [p.pattern for p in patterns if p not in found]:
        raise InputError(f"no parameter of {type(model).__name__} matches {missing}")


def _config_parts(config: Any) -> list[Any]:
    parts = [config]
    parts += [
        part
        for name in getattr(config, "sub_configs", {})
        if (part := getattr(config, name, None)) is not None
    ]
    return parts


def _text_config(config: Any) -> Any:
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _experts(config: Any) -> tuple[int, int] | None:
    """Return (experts, experts a token uses) of a mixture; None for a dense model."""
    text = _text_config(config)
    names = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
    total = next((n for k in names if isinstance(n := getattr(text, k, None), int)), 0)
    used = next(
        (
            n
            for k in (
                "num_experts_per_tok",
                "moe_topk",
                "num_experts_per_token",
                "top_k_experts",
            )
            if isinstance(n := getattr(text, k, None), int)
        ),
        0,
    )
    return (total, used) if total > 1 and used else None


def _idle_expert_parameters(base: Any) -> int:
    """Return how many expert parameters one token does not use."""
    experts = _experts(base.config)
    if experts is None:
        return 0
    total, used = experts
    stacked: int = sum(
        p.numel()
        for name, p in base.named_parameters()
        if re.search(r"\.experts\.", name) and "shared_expert" not in name
    )
    return stacked - stacked * used // total
