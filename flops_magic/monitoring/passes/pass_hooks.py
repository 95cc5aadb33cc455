"""Forward hooks at the entrances of one model: which pass entered, and which left.

The hooks know nothing of shapes or costs. They hand each pass to a ``Begin`` and, when
it leaves, call what that returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from flops_magic.gaps import GapSink, guard
from flops_magic.monitoring.torch_compile import inlined_only

UNREAD = "a forward pass could not be read"


@dataclass(frozen=True)
class PassCall:
    """A call of a model, as its hooks see it.

    Attributes:
        module: the module that was called: the model, its backbone or its encoder.
        args: its arguments.
        kwargs: its keyword arguments.
        compiled: whether the call is about to enter a compiled graph, which hides its
            operations.
    """

    module: Any
    args: Any
    kwargs: Any
    compiled: bool = False


EndOfPass = Callable[[Any], None]  # takes the output; None where the pass raised
Begin = Callable[[PassCall], EndOfPass | None]  # None: not readable at this module


@dataclass
class _Running:
    """A call that has not returned yet.

    Attributes:
        module: the module that was called.
        counted: whether its pass is counted, here or further out.
        end: called when it leaves; None where there is nothing to do.
        unread: why its pass is not counted; None where it is.
    """

    module: Any
    counted: bool
    end: EndOfPass | None = None
    unread: str | None = None


class PassHooks:
    """The hooks on the entrances of one model.

    A pass is counted once, where it enters: at the model's own call, or at its
    backbone's, which some trainers call by itself to compute the head in pieces.
    Replicas of the model may run in threads.
    """

    def __init__(self, entrances: Sequence[Any], begin: Begin, on_gap: GapSink) -> None:
        """Watch until ``close``.

        Args:
            entrances: the modules at which a pass may enter, the outermost first.
            begin: called when a pass enters; returns what ends it.
            on_gap: told what could not be observed.
        """
        self._entrances = list(entrances)
        self._begin = begin
        self._on_gap = on_gap
        self._in_graph = False
        self._thread = threading.local()
        self._handles = []
        for module in self._entrances:
            before = module.register_forward_pre_hook(
                self._hook, with_kwargs=True, prepend=True
            )
            after = module.register_forward_hook(self._after, always_call=True)
            self._handles += [before, after]

    def close(self) -> None:
        """Stop watching; the model is as it was before."""
        for handle in self._handles:
            handle.remove()

    def __deepcopy__(self, memo: Any) -> PassHooks:
        """A copied model keeps the hooks, which know their own model."""
        return self

    def __reduce__(self) -> Any:
        """A saved model forgets that it was watched."""
        return NoHooks, ()

    def begun_before(self, args: Any, kwargs: Any) -> None:
        """Count a call of the model that began before these hooks were there."""
        self._enter(PassCall(self._entrances[0], args, kwargs))

    @contextmanager
    def compiled_pass(self, args: Any, kwargs: Any) -> Iterator[None]:
        """Count the pass inside the block here, before it enters a compiled graph."""
        nested, self._in_graph = self._in_graph, True
        module = self._entrances[0]
        if not nested:
            self._enter(PassCall(module, args, kwargs, compiled=True))
        try:
            yield
        finally:
            self._in_graph = nested
            if not nested:
                self._leave(module, None)

    # torch traces hooks when an outer module is compiled. Nothing of them may stay in
    # the graph, so they end before the part that torch.compile must not see.

    @inlined_only
    def _hook(self, module: Any, args: Any, kwargs: Any) -> None:
        if not self._in_graph:
            self._enter(PassCall(module, args, kwargs))

    @inlined_only
    def _after(self, module: Any, args: Any, output: Any) -> None:
        if not self._in_graph:
            self._leave(module, output)

    def _calls(self) -> list[_Running]:
        """Return this thread's running calls, the innermost last."""
        if not hasattr(self._thread, "calls"):
            self._thread.calls = []
        return self._thread.calls  # type: ignore[no-any-return]

    def _watches(self, module: Any) -> bool:
        """Whether a module is an entrance or a replica of one; copies are neither."""
        # ``_is_replica`` is private in torch, tried with 2.13: DataParallel sets it on
        # its copies. Without it, passes on further devices are not counted.
        ours = any(module is one for one in self._entrances)
        return ours or getattr(module, "_is_replica", False) is True

    @torch.compiler.disable
    def _enter(self, call: PassCall) -> None:
        if not self._watches(call.module):
            return
        calls = self._calls()
        if calls and calls[-1].counted:
            calls.append(_Running(call.module, counted=True))
            return
        running = _Running(call.module, counted=True)
        with guard(self._on_gap, UNREAD):
            running.end = self._begin(call)
            if running.end is None:  # the pass may enter further inside
                running.counted = False
                running.unread = (
                    f"TypeError: no input of 2 dimensions among {sorted(call.kwargs)}"
                )
        if running.counted:
            for outer in calls:
                outer.unread = None
        calls.append(running)

    @torch.compiler.disable
    def _leave(self, module: Any, output: Any) -> None:
        calls = self._calls()
        if not calls or calls[-1].module is not module:
            return  # a copy, or watched since the middle of this call
        running = calls.pop()
        if running.unread is not None:
            self._on_gap(UNREAD, running.unread)
        if running.end is not None:
            with guard(self._on_gap, UNREAD):
                running.end(output)


def entrances(model: Any) -> list[Any]:
    """Return the modules at which a pass may enter a model, the outermost first."""
    backbone = getattr(model, getattr(model, "base_model_prefix", "") or "", None)
    within = isinstance(backbone, torch.nn.Module) and backbone is not model
    return [model, backbone] if within else [model]


def head_of(model: Any) -> Any:
    """Return the module that scores the states of a backbone; None without one."""
    find = getattr(model, "get_output_embeddings", None)
    return find() if find is not None else None


class NoHooks:
    """What a saved model has in the place of its hooks; it does nothing."""

    def __call__(self, *_: Any) -> None:
        """Do nothing."""

    _hook = _after = __call__
