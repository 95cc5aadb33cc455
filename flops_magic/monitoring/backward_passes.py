"""Backward passes: each is counted, or is a gap.

A backward pass goes through the forward passes of counted models, or through products
in the user's own code that are counted beside them. One that goes through neither
trains something that nobody saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from flops_magic.flops.histogram import FlopTotals
from flops_magic.gaps import GapSink
from flops_magic.monitoring.model_monitor import ModelMonitor
from flops_magic.monitoring.passes.pass_totals import PassTotals
from flops_magic.monitoring.witnesses import ProductsOutside
from flops_magic.profiling.op_counter import OperationCounter

_BACKWARD = "a backward pass"


@dataclass(frozen=True)
class BackwardCall:
    """What autograd was asked for.

    Attributes:
        tensors: what gradients are taken of.
        creates_graph: whether the gradients are differentiated once more.
        inputs: the tensors whose gradients are asked for; empty for all leaves.
    """

    tensors: tuple[Any, ...] = ()
    creates_graph: bool = False
    inputs: tuple[Any, ...] = ()


class BackwardPasses:
    """Counts the backward passes of a run's models, and notes those of nobody's.

    Attributes:
        begun: how many began that go through a counted model.
    """

    def __init__(
        self,
        monitors: Callable[[], Sequence[ModelMonitor]],
        outside: ProductsOutside,
        note: GapSink,
    ) -> None:
        """Count nothing yet.

        Args:
            monitors: returns the models under observation.
            outside: counts the products between the models.
            note: told of what no counted model accounts for.
        """
        self.begun = 0
        self._monitors = monitors
        self._outside = outside
        self._note = note

    @contextmanager
    def counted(self, call: BackwardCall) -> Iterator[None]:
        """Count the backward pass inside the block, and see whose it was."""
        outside_flops = self._outside.look(call.tensors)
        waiting = [
            counter
            for counter in (c for m in self._monitors() for c in m.counters())
            if counter.waiting
        ]
        awaited = [t for t in self._totals() if t.awaiting or t.assumed]
        assumed = any(totals.assumed for totals in awaited)
        arrived = self.passes_reached()
        before = self._profiled_backward() if waiting else (0, 0)
        self.begun += bool(waiting or awaited)
        nobodys = OperationCounter() if not (waiting or awaited) else None

        def elsewhere() -> tuple[int, int]:
            after = self._profiled_backward()
            return after[0] - before[0] + outside_flops, after[1] - before[1]

        with ExitStack() as stack:
            for number, counter in enumerate(waiting):
                block = counter.backward(counted=number == 0, elsewhere=elsewhere)
                stack.enter_context(block)
            stack.enter_context(nobodys or nullcontext())
            yield
        for totals in awaited:
            totals.awaiting = totals.assumed = 0
        reached = self.passes_reached() > arrived
        if nobodys is not None and not reached:
            if nobodys.flops or nobodys.unknown:
                self._note(_BACKWARD, "it went through no model that was called")
        elif not (reached or waiting or assumed):
            self._note(_BACKWARD, "it went through no counted model's pass")
        elif reached:
            self._priced_otherwise(call)

    def _priced_otherwise(self, call: BackwardCall) -> None:
        """Note a backward pass that a profile's ordinary one does not describe."""
        if call.creates_graph:
            self._note(_BACKWARD, "it is differentiated once more (create_graph)")
        if call.inputs:
            asked = {id(one) for one in call.inputs}
            trained = (p for m in self._monitors() for p in m.parameters())
            if any(p.requires_grad and id(p) not in asked for p in trained):
                self._note(
                    _BACKWARD, "it takes the gradients of some tensors only (inputs)"
                )

    def _totals(self) -> Iterator[PassTotals]:
        for monitor in self._monitors():
            yield from monitor.totals()

    def passes_reached(self) -> int:
        """Return how often a backward pass went through a forward pass so far."""
        return sum(totals.passes_reached for totals in self._totals())

    def _profiled_backward(self) -> tuple[int, int]:
        """Return the FLOPs of backward and recomputation that profiles counted."""
        flops = sum((m.profiled_flops() for m in self._monitors()), FlopTotals())
        return flops.backward, flops.recompute
