"""Telling recomputation inside a backward pass from the backward pass itself.

Gradient checkpointing runs parts of the forward pass again while gradients are taken.
Grad mode does not tell them apart: inside a custom ``autograd.Function`` (ZeRO-3's
linear layers, 4-bit products, fused losses) the forward runs with gradients switched
off. What tells is where an operation runs: inside the frame in which torch's
checkpoint runs its function again, or inside a module that is called while a backward
pass runs, which is how every other implementation recomputes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.checkpoint
from torch.nn.modules import module as torch_module

from flops_magic.profiling.op_counter import OperationCounter


class RecomputeCounter(OperationCounter):
    """An operation counter that keeps recomputation inside a backward pass apart.

    Attributes:
        recompute: the part of ``flops`` that ran inside of recomputed frames.
    """

    def __init__(self) -> None:
        super().__init__()
        self.recompute = 0
        self._frames = threading.local()

    def _count(self, *operation: Any) -> None:
        before = self.flops
        super()._count(*operation)
        if getattr(self._frames, "depth", 0):
            self.recompute += self.flops - before

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the backward pass that runs inside the block."""
        with _checkpoint_frames(self._shift), _called_modules(self._shift), self:
            yield

    def _shift(self, by: int) -> None:
        """Enter a recomputed frame in this thread (1), or leave one (-1)."""
        # counts may be handed in unpaired where a frame began before this block
        self._frames.depth = max(getattr(self._frames, "depth", 0) + by, 0)


@contextmanager
def _checkpoint_frames(shift: Callable[[int], None]) -> Iterator[None]:
    """Report the frames in which ``torch.utils.checkpoint`` runs its function again.

    Without reentrance it enters ``_recomputation_hook`` round the second run; with it
    ``CheckpointFunction.backward`` calls ``ctx.run_function``. Private to torch; tried:
    2.13. If a name goes, modules that are called in a backward pass still tell.
    """
    checkpoint: Any = torch.utils.checkpoint
    kept: list[tuple[Any, str, Any]] = []

    def exchange(owner: Any, name: str, wrap: Callable[..., Any]) -> None:
        if (plain := vars(owner).get(name)) is not None:
            kept.append((owner, name, plain))
            setattr(owner, name, wrap(plain, shift))

    exchange(checkpoint, "_recomputation_hook", _reported_hook)
    exchange(checkpoint.CheckpointFunction, "backward", _reported_backward)
    try:
        yield
    finally:
        for owner, name, plain in kept:
            setattr(owner, name, plain)


def _reported_hook(plain: Any, shift: Callable[[int], None]) -> Any:
    """Return the context of a second run, which reports itself."""

    def enter(self: Any) -> Any:
        shift(1)
        return plain.__enter__(self)

    def leave(self: Any, *raised: Any) -> Any:
        shift(-1)
        return plain.__exit__(self, *raised)

    return type(plain.__name__, (plain,), {"__enter__": enter, "__exit__": leave})


def _reported_backward(plain: Any, shift: Callable[[int], None]) -> Any:
    """Return a reentrant checkpoint's backward, whose second run reports itself."""

    def backward(ctx: Any, *gradients: Any) -> Any:
        function = ctx.run_function

        def again(*args: Any) -> Any:
            shift(1)
            try:
                return function(*args)
            finally:
                shift(-1)

        ctx.run_function = again
        try:
            return plain.__func__(ctx, *gradients)
        finally:
            ctx.run_function = function

    return staticmethod(backward)


@contextmanager
def _called_modules(shift: Callable[[int], None]) -> Iterator[None]:
    """Report the modules that are called while a backward pass runs."""

    def enters(*_: Any) -> None:
        if torch._C._current_graph_task_id() != -1:
            shift(1)

    def leaves(*_: Any) -> None:
        if torch._C._current_graph_task_id() != -1:
            shift(-1)

    handles = [
        torch_module.register_module_forward_pre_hook(enters),
        torch_module.register_module_forward_hook(leaves, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
