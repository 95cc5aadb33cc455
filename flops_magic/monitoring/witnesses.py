"""Witnesses of training that do not depend on any Trainer.

Optimizers step, autograd runs backward, operations multiply matrices: each of these is
seen here whoever starts it. Where a witness saw what no counted model accounts for, it
notes a gap, and a verdict below the line is withheld.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from flops_magic.gaps import GapSink, guard
from flops_magic.profiling.op_counter import OperationCounter

OWNS = Callable[[Iterable[torch.nn.Parameter]], list[torch.nn.Parameter]]


class OptimizerSteps:
    """Every step of every optimizer, those made before the run included.

    torch calls its global hooks for each subclass of ``torch.optim.Optimizer``, through
    the wrapper that its ``__init__`` puts round ``step`` (2.8 to 2.13).
    """

    def __init__(
        self,
        stepped: Callable[[], None],
        strangers: OWNS,
        trained_since: Callable[[], bool],
        note: GapSink,
    ) -> None:
        """Listen until ``close``.

        Args:
            stepped: called after each step.
            strangers: returns those of the parameters that no counted model owns.
            trained_since: returns whether a counted backward pass ran since it was
                last asked.
            note: told what no counted model accounts for.
        """
        self._stepped = stepped
        self._strangers = strangers
        self._trained_since = trained_since
        self._note = note
        self._seen: dict[int, tuple[int, ...]] = {}
        self._handle = register_optimizer_step_post_hook(self._after)

    def close(self) -> None:
        """Listen no more."""
        self._handle.remove()

    def _after(self, optimizer: Any, *_: Any) -> None:
        with guard(self._note, "an optimizer's step"):
            self._look(optimizer)
        with guard(self._note, "an optimizer's step"):
            self._stepped()

    def _look(self, optimizer: Any) -> None:
        if not self._trained_since():
            self._note(
                f"optimizer {type(optimizer).__name__}",
                "it stepped without a backward pass of a counted model",
            )
        sizes = tuple(len(group["params"]) for group in optimizer.param_groups)
        if self._seen.get(id(optimizer)) == sizes:
            return
        self._seen[id(optimizer)] = sizes
        matrices = [
            parameter
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.dim() >= 2 and parameter.grad is not None
        ]
        if unknown := self._strangers(matrices):
            self._note(
                f"optimizer {type(optimizer).__name__}",
                f"it steps {len(unknown)} matrices that belong to no module that was "
                "called; what is computed with them is not counted",
            )


class OperationsOutside:
    """Products of matrices in the user's own code, outside of every counted pass.

    Looking at every operation costs microseconds each, so steps are sampled: the first
    three, then those at powers of two. What a sampled step multiplies outside of
    counted passes is held against what is counted of it.
    """

    _NEGLIGIBLE = 1000  # a thousandth of the counted FLOPs is stated, not withheld
    _FIRST = 3

    def __init__(self, inside: Callable[[], bool], note: GapSink) -> None:
        """Wait for the first step.

        Args:
            inside: returns whether a counted pass, forward or backward, is running.
            note: told of products that nobody counted.
        """
        self._inside = inside
        self._note = note
        self._counter: _OutsideCounter | None = None

    def begin(self) -> None:
        """Look at the operations from here on."""
        if self._counter is None:
            self._counter = _OutsideCounter(self._inside)
            self._counter.__enter__()

    def stepped(self, step: int, counted_flops: int) -> None:
        """Take stock after an optimizer step; decide whether to look at the next one.

        Args:
            step: how many steps are done.
            counted_flops: what was counted since ``begin``.
        """
        self.end(counted_flops)
        following = step + 1
        if following <= self._FIRST or following & step == 0:
            self.begin()

    def end(self, counted_flops: int) -> None:
        """Stop looking, and say what was found."""
        counter, self._counter = self._counter, None
        if counter is None:
            return
        counter.__exit__(None, None, None)
        # a product of tensors that need gradients is multiplied twice more backward
        found = counter.flops + 2 * counter.differentiable
        if found * self._NEGLIGIBLE > counted_flops:
            names = ", ".join(sorted(counter.by_operation))
            self._note(
                "operations outside of models",
                f"{names} multiplied matrices that belong to no counted model",
            )
        for name in sorted(counter.unknown):
            self._note("operations outside of models", f"{name} has no formula")


class _OutsideCounter(OperationCounter):
    """Counts what runs outside of counted passes.

    Attributes:
        differentiable: the part of ``flops`` whose inputs require gradients.
    """

    def __init__(self, inside: Callable[[], bool]) -> None:
        super().__init__()
        self.differentiable = 0
        self._inside = inside

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation; count it if no counted pass is running."""
        if self._inside():
            return func(*args, **(kwargs or {}))
        before = self.flops
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if self.flops > before and torch.is_grad_enabled():
            self.differentiable += self.flops - before
        return result


@contextmanager
def running(task: list[int]) -> Any:
    """Mark that a counted backward pass runs inside the block."""
    task.append(1)
    try:
        yield
    finally:
        task.pop()
