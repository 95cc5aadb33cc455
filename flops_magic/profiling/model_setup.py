"""How a live model is set up: class, configuration, adapters, flags, checkpointing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from flops_magic.errors import UnsupportedModelError
from flops_magic.profiling.repeated_layers import input_embeddings

METHOD = {True: "full", False: "spectrum"}  # by whether every parameter trains
_PACKED = ("Params4bit", "Int8Params", "AffineQuantizedTensor", "TorchAOBaseTensor")


@dataclass(frozen=True)
class LiveSetup:
    """The parts of a live model that its fake twin needs to have the same cost.

    Attributes:
        model_class: class of the transformers model.
        config: its configuration.
        adapters: peft configurations by adapter name.
        active_adapters: the adapters in use; empty without adapters.
        merged: whether the adapters in use are merged into the weights.
        wrapped: whether the adapters have a wrapper round the model.
        parameters: name to (logical shape or None if packed or sharded, trainable).
        quantized: whether weights are packed.
        checkpointing: arguments of the checkpoint function; None when off.
        checkpointed: names of the modules that checkpoint.
        input_grads: whether the embeddings' output is made to require a gradient.
    """

    model_class: Any
    config: Any
    adapters: Mapping[str, Any]
    active_adapters: tuple[str, ...]
    merged: bool
    wrapped: bool
    parameters: Mapping[str, tuple[tuple[int, ...] | None, bool]]
    quantized: bool
    checkpointing: dict[str, Any] | None
    checkpointed: frozenset[str]
    input_grads: bool

    @property
    def frozen(self) -> bool:
        """Whether some parameter does not train."""
        return not all(trains for _, trains in self.parameters.values())


def unwrapped(model: Any) -> Any:
    """Return the model inside torch.compile and data-parallel wrappers."""
    while True:
        # torch 2.13: where ``torch.compile`` keeps the module that it wraps. Without it
        # a compiled model is refused as one that transformers did not make.
        if isinstance(inner := getattr(model, "_orig_mod", None), torch.nn.Module):
            model = inner
        elif type(model).__name__ in (
            "DataParallel",
            "DistributedDataParallel",
            "DeepSpeedEngine",
        ):
            model = model.module
        else:
            return model


def base_model(model: Any) -> Any:
    """Return the transformers model inside wrappers and adapters."""
    model = unwrapped(model)
    # a transformers model that was given adapters without a wrapper is its own base
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def works_outside(model: Any) -> bool:
    """Whether adapters do work of their own outside of the model that they wrap.

    Prompts are made there, and AdaLoRA multiplies its matrices for a term of its own.
    """
    config = getattr(model, "active_peft_config", None)
    if config is None or getattr(config, "is_prompt_learning", False):
        return config is not None
    # peft's tuners call the model and do nothing else, but for those with a ``forward``
    # of their own; tried: peft 0.21 (AdaLoRA, Poly, X-LoRA)
    tuner = type(model.base_model)
    owner = next((c for c in tuner.__mro__ if "forward" in vars(c)), tuner)
    return owner.__name__ != "BaseTuner"


def live_setup(model: Any) -> LiveSetup:
    """Read the set-up of a live model.

    Raises:
        UnsupportedModelError: when transformers did not make it.
    """
    model = unwrapped(model)
    base = base_model(model)
    # Private in transformers, tried with 4.57.6 and 5.23; see ``model_builder``.
    if not hasattr(base, "config") or not hasattr(type(base), "_from_config"):
        raise UnsupportedModelError(
            f"{type(base).__name__} is not a transformers model, so it cannot be built "
            "again from a configuration; its operations are not counted"
        )
    if works_outside(model):
        raise UnsupportedModelError(
            f"the adapters of {type(base).__name__} do work of their own outside of "
            "it, which no walk of it sees; its operations are counted live"
        )
    adapters = dict(getattr(model, "peft_config", {}))
    active, merged = _adapters_in_use(base) if adapters else ((), False)
    checkpointed = {
        name: module
        for name, module in base.named_modules()
        if getattr(module, "gradient_checkpointing", False) is True
    }
    parameters = {
        name: (_logical_shape(p), p.requires_grad)
        for name, p in model.named_parameters()
    }
    return LiveSetup(
        model_class=_plain_class(type(base)),
        config=base.config,
        adapters=adapters,
        active_adapters=active,
        merged=merged,
        wrapped=model is not base,
        parameters=parameters,
        quantized=getattr(base.config, "quantization_config", None) is not None,
        checkpointing=_all_checkpoint_options(checkpointed),
        checkpointed=frozenset(checkpointed),
        input_grads=input_grads(base, input_embeddings(base)),
    )


def parameter_names_match(fake: Any, live: LiveSetup) -> None:
    """Copy trainable flags to the fake model; names and shapes have to agree.

    Raises:
        UnsupportedModelError: naming the first parameter that does not.
    """
    ours = dict(fake.named_parameters())
    different = sorted(set(ours) ^ set(live.parameters))
    if different:
        where = "only live" if different[0] in live.parameters else "not live"
        raise UnsupportedModelError(
            f"{live.model_class.__name__} differs from what its configuration builds: "
            f"{len(different)} parameters, first {different[0]!r} ({where})"
        )
    for name, (shape, trains) in live.parameters.items():
        if shape is not None and shape != tuple(ours[name].shape):
            raise UnsupportedModelError(
                f"{live.model_class.__name__} differs from what its configuration "
                f"builds: {name!r} is {shape}, expected {tuple(ours[name].shape)}"
            )
        ours[name].requires_grad_(trains)


def _logical_shape(parameter: Any) -> tuple[int, ...] | None:
    packed = any(c.__name__ in _PACKED for c in type(parameter).__mro__)
    packed = packed or type(parameter.data).__name__ in _PACKED
    sharded = parameter.numel() == 0 or hasattr(parameter, "ds_shape")
    packed = packed or not parameter.is_floating_point()
    return None if packed or sharded else tuple(parameter.shape)


def _plain_class(cls: type) -> type:
    """Return the transformers class under the one that FSDP2 derives from it."""
    return next(c for c in cls.__mro__ if not c.__name__.startswith("FSDP"))


def _adapters_in_use(base: Any) -> tuple[tuple[str, ...], bool]:
    """Return the adapters that the layers use, and whether they are merged.

    Raises:
        UnsupportedModelError: when the layers differ.
    """
    # peft's layers and their flags; tried: peft 0.21. Without them no adapter is
    # taken to be in use, and the flags of the parameters no longer agree
    layers = [m for m in base.modules() if hasattr(m, "merged_adapters")]
    active = {tuple(layer.active_adapters) for layer in layers}
    merged = {bool(layer.merged_adapters) for layer in layers}
    if len(active) > 1 or len(merged) > 1:
        raise UnsupportedModelError(
            f"the layers of {type(base).__name__} use different adapters, or only some "
            "of them are merged; its operations are counted live"
        )
    return next(iter(active), ()), True in merged


def _all_checkpoint_options(modules: Mapping[str, Any]) -> dict[str, Any] | None:
    if not modules:
        return None
    for module in modules.values():
        # Private in transformers, tried with 4.57.6 and 5.23: a ``partial`` that holds
        # the options. Without it the newer default is assumed, use_reentrant=False.
        function = getattr(module, "_gradient_checkpointing_func", None)
        if isinstance(function, partial):
            return checkpoint_options(function)
    return checkpoint_options(None)


def checkpoint_options(function: Any) -> dict[str, Any]:
    """Return the arguments of a module's checkpoint function that change its cost."""
    given = function.keywords if isinstance(function, partial) else {}
    return {"use_reentrant": bool(given.get("use_reentrant", False))}


def input_grads(base: Any, embeddings: Any) -> bool:
    """Whether ``enable_input_require_grads`` has been called, by anyone."""
    # Private in transformers: one hook in 4.57.6; in 5.23 a list, and its first hook.
    # Without them the hooks' own names below still tell.
    if getattr(base, "_require_grads_hook", None) or getattr(
        base, "_require_grads_hooks", None
    ):
        return True
    return any(
        getattr(hook, "__name__", "") == "make_inputs_require_grad"
        or getattr(hook, "__name__", "") == "make_inputs_require_grads"
        # torch 2.13: the hooks of a module. Without it, peft's own hook goes unseen,
        # and frozen models with checkpointing read too low.
        for hook in getattr(embeddings, "_forward_hooks", {}).values()
    )


def parameter_counts(model: Any) -> tuple[int, int, str]:
    """Return how many parameters there are, how many train, and the method's name."""
    sizes = {p: logical_size(p) for p in model.parameters()}
    trains = sum(n for p, n in sizes.items() if p.requires_grad)
    total = sum(sizes.values())
    # Private in peft, tried with 0.21: every tuner layer has it. Without it, adapters
    # are called "spectrum"; the counts stay.
    adapters = any(hasattr(m, "_disable_adapters") for m in model.modules())
    return total, trains, "lora" if adapters else METHOD[trains == total]


def logical_size(parameter: Any) -> int:
    """Return a parameter's number of elements, unpacked and unsharded."""
    state = getattr(parameter, "quant_state", None)
    shape = getattr(state, "shape", None) or getattr(parameter, "ds_shape", None)
    return int(torch.Size(shape).numel()) if shape else int(parameter.numel())
