"""What every counter of passes can do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from flops_magic.monitoring.passes.pass_hooks import EndOfPass, PassCall

# FLOPs of the running backward pass, and of its recomputation, that others count
Elsewhere = Callable[[], tuple[int, int]]


def nothing_elsewhere() -> tuple[int, int]:
    """Say that nobody else counts a part of the backward pass."""
    return 0, 0


class PassCounter(Protocol):
    """Adds the passes of one model to its ``PassTotals``."""

    @property
    def waiting(self) -> bool:
        """Whether forward passes wait for their backward pass."""

    def begin(self, call: PassCall) -> EndOfPass | None:
        """Count a pass that enters; None where it cannot be read at this module."""

    def backward(
        self, *, counted: bool = True, elsewhere: Elsewhere = nothing_elsewhere
    ) -> AbstractContextManager[None]:
        """Count the backward pass inside the block.

        Args:
            counted: False where another counter counts this backward pass.
            elsewhere: returns what profiles counted of it when it is over.
        """

    def read_device(self) -> None:
        """Read what was summed on the device; waits for it."""

    def settle(self) -> None:
        """Take stock at the end of a run; waits for the device."""
