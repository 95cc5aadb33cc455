"""What every counter of passes can do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from flops_magic.monitoring.pass_hooks import EndOfPass, PassCall


class PassCounter(Protocol):
    """Adds the passes of one model to its ``PassTotals``."""

    @property
    def waiting(self) -> bool:
        """Whether forward passes wait for their backward pass."""

    def begin(self, call: PassCall) -> EndOfPass | None:
        """Count a pass that enters; None where it cannot be read at this module."""

    def backward(self, *, counted: bool = True) -> AbstractContextManager[None]:
        """Count the backward pass inside the block.

        Args:
            counted: False where another counter counts this backward pass.
        """

    def read_device(self) -> None:
        """Read what was summed on the device; waits for it."""

    def settle(self) -> None:
        """Take stock at the end of a run; waits for the device."""
