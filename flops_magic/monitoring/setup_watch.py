"""How a model is set up when a pass runs: what the cost of the pass can depend on.

Parameters are frozen and unfrozen, adapters are put on, swapped and merged, embeddings
grow, checkpointing is switched on: between two steps, or between two passes of one
step. So the set-up is read before every pass. That has to be cheap: flags are read off
lists of parameters and modules, and the lists are made again only after some module
registered a part, which torch tells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules import module as torch_module

from flops_magic.monitoring.torch_compile import inlined_only
from flops_magic.profiling.model_setup import (
    checkpoint_options,
    input_grads,
    logical_size,
)


@dataclass(frozen=True)
class Setup:
    """What the cost of a pass depends on besides its shape; equal ones cost the same.

    The processes of one run agree on it.

    Attributes:
        forward: digest of what any pass depends on: the model's class and
            configuration, the parameters' sizes, the adapters in use, the
            implementation of attention.
        backward: digest of what a pass with gradients depends on besides: which
            parameters train, where activations are computed again.
    """

    forward: str
    backward: str


class RegistrationClock:
    """Counts how often a part of a watched model registered a module or parameter.

    Attributes:
        ticks: the count so far.
    """

    def __init__(self) -> None:
        self.ticks = 0
        self._parts: set[int] = set()
        self._handles: list[Any] = []

    def start(self) -> None:
        """Count from here on, until ``close``."""
        if not self._handles:
            self._handles = [
                torch_module.register_module_module_registration_hook(self._tick),
                torch_module.register_module_parameter_registration_hook(self._tick),
            ]
            self.ticks += 1

    def add_parts(self, modules: Iterable[Any]) -> None:
        """Listen to these modules too."""
        self._parts.update(map(id, modules))

    @inlined_only
    def _tick(self, module: Any, *_: Any) -> None:
        # transformers slices its list of layers in every pass, which makes a list, so
        # this runs inside of passes, and inside of what torch.compile traces
        if not torch.compiler.is_compiling() and id(module) in self._parts:
            self.ticks += 1

    def close(self) -> None:
        """Stop counting."""
        while self._handles:
            self._handles.pop().remove()


class SetupWatch:
    """Reads the set-up of one model, again and again."""

    def __init__(self, base: Any, clock: RegistrationClock) -> None:
        """Watch a model.

        Args:
            base: the transformers model inside of adapters, or any other module.
            clock: tells when modules may have changed.
        """
        self._base = base
        self._clock = clock
        self._seen: tuple[int, list[Any]] = (-1, [])
        self._seen_model: Any = None
        self._embedded: list[Any] = []
        self._switch: Any = None
        self._stamp: Any = None
        self._setup: Setup | None = None

    def now(self, model: Any) -> Setup:
        """Return the set-up.

        Args:
            model: the model, adapters included, wrappers not.
        """
        # a default device is a mode that every look at a tensor goes through, unless
        # it is off: 5 microseconds a look (private to torch; tried: 2.13)
        with torch._C.DisableTorchFunction():
            # resizing exchanges the data of these and registers nothing
            shapes = [p.shape for p in self._embedded]
            seen = self._clock.ticks, shapes
            if seen != self._seen or model is not self._seen_model:
                self._list_parts(model)
            trains = [p.requires_grad for p in self._parameters]
            kind = self._parameters[0].dtype if self._parameters else None
        stamp = (
            trains,
            [m._active_adapter for m in self._tuned],
            [bool(m.merged_adapters) for m in self._merging],
            [m.gradient_checkpointing for m in self._checkpointing],
            [
                getattr(m, "_gradient_checkpointing_func", None)
                for m in self._checkpointing[:1]
            ],
            len(getattr(self._embeddings, "_forward_hooks", ())),
            [getattr(c, "_attn_implementation", None) for c in self._configs],
            kind,
        )
        if self._setup is None or stamp != self._stamp:
            self._stamp = stamp
            self._setup = self._described(*stamp)
        return self._setup

    def adapters_on(self) -> bool:
        """Whether the model's adapters, if any, are in use."""
        return self._switch is None or not self._switch._disable_adapters

    def _list_parts(self, model: Any) -> None:
        """Find what carries flags; takes milliseconds for a large model."""
        named = dict(self._base.named_parameters())
        # a wrapper may hold more, but does not change the names of what is inside
        inside = {id(p) for p in named.values()}
        more = {n: p for n, p in model.named_parameters() if id(p) not in inside}
        named = {**named, **more}
        modules = list(self._base.modules())
        self._clock.add_parts(modules)
        self._parameters = list(named.values())
        # peft's layers and their flags; tried: peft 0.17 to 0.21. A layer without
        # them is taken for one without adapters
        self._tuned = [m for m in modules if hasattr(m, "_active_adapter")]
        self._switch = next(
            (m for m in modules if hasattr(m, "_disable_adapters")), None
        )
        self._merging = [m for m in self._tuned if hasattr(m, "merged_adapters")]
        self._checkpointing = [
            m for m in modules if hasattr(m, "gradient_checkpointing")
        ]
        self._embeddings = _input_embeddings(self._base)
        head = getattr(self._base, "get_output_embeddings", lambda: None)()
        self._embedded = [
            p for one in (self._embeddings, head) if one for p in one.parameters()
        ]
        shapes = [p.shape for p in self._embedded]
        self._seen, self._seen_model = (self._clock.ticks, shapes), model
        config = getattr(self._base, "config", None)
        parts = (
            getattr(config, n, None) for n in getattr(config, "sub_configs", None) or ()
        )
        self._configs = [one for one in (config, *parts) if one is not None]
        self._sizes = _digest(
            [(name, logical_size(p)) for name, p in named.items()],
            type(self._base).__qualname__,
            _plain(_settings(self._base)),
        )
        self._setup = None

    def _described(
        self,
        trains: list[bool],
        active: list[Any],
        merged: list[bool],
        checkpointing: list[bool],
        functions: list[Any],
        _: int,
        attention: list[Any],
        kind: Any,
    ) -> Setup:
        on = any(checkpointing)
        options = [checkpoint_options(function) for function in functions if on]
        reached = input_grads(self._base, self._embeddings)
        return Setup(
            _digest(self._sizes, active, merged, attention, kind),
            _digest(trains, checkpointing, options, reached),
        )


def _input_embeddings(base: Any) -> Any:
    """Return the module whose hooks may make its output require a gradient, or None."""
    find = getattr(base, "get_input_embeddings", None)
    try:
        return find() if find else None
    except NotImplementedError:
        return None


def _settings(base: Any) -> dict[str, Any]:
    """Return the settings of a model and its adapters, but for what costs nothing.

    Trainers set caches and the ids of special tokens as they begin.
    """
    adapters = getattr(base, "peft_config", None) or {}
    found = {name: one.to_dict() for name, one in adapters.items()}
    config: Any = getattr(base, "config", None)
    own = config.to_dict() if hasattr(config, "to_dict") else {}
    costly = {
        name: value
        for name, value in own.items()
        if name != "use_cache" and not name.endswith("token_id")
    }
    return {**found, "config": costly}


def _plain(value: Any) -> Any:
    """Return what reads the same in every process; sets have no order there."""
    if isinstance(value, Mapping):
        return sorted((str(key), _plain(item)) for key, item in value.items())
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
