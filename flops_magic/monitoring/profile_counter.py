"""Counting passes by their shapes, which a profile turns into FLOPs later."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flops_magic.flops.profile import PassShape
from flops_magic.monitoring.pass_hooks import EndOfPass, PassCall
from flops_magic.monitoring.pass_reader import PassReader, first_tensor, packed_sums
from flops_magic.monitoring.pass_totals import PassTotals


class ProfileCounter:
    """Adds the shape of each pass to a histogram; microseconds, and no waiting.

    Attributes:
        waiting: whether forward passes wait for their backward pass; they never do.
    """

    waiting = False

    def __init__(self, reader: PassReader, totals: PassTotals) -> None:
        """Add passes that ``reader`` reads to ``totals``."""
        self._reader = reader
        self._totals = totals
        self._lock = threading.Lock()
        # Sums stay on the device: reading them at each pass would wait for the GPU.
        self._packed: dict[tuple[str, bool], torch.Tensor] = {}

    def begin(self, call: PassCall) -> EndOfPass | None:
        """Count a pass that enters; None where there are no tokens to read."""
        tokens = first_tensor(call.args, call.kwargs)
        if tokens is None:
            return None
        self._count(tokens, call)
        return _nothing_more

    def _count(self, tokens: torch.Tensor, call: PassCall) -> None:
        reader, kwargs = self._reader, call.kwargs
        adapters = reader.adapters_on()
        kind = reader.kind(call, adapters)
        positions = int(tokens.shape[0]) * int(tokens.shape[1])
        if kind == "train":
            self._totals.real_tokens.add_pass(
                kwargs, positions, two_lengths=reader.two_lengths
            )
        sums = packed_sums(kwargs, kwargs.get("attention_mask"), positions)
        if sums is None:
            shape, label = reader.dense(tokens, kwargs)
            self._totals.histogram.add(kind, shape, label=label, adapters=adapters)
            return
        with self._lock:
            known = self._packed.get((kind, adapters))
            sums = sums if known is None else known + sums.to(known.device)
            self._packed[kind, adapters] = sums
        # On the CPU reading waits for nothing.
        if sums.device.type == "cpu":
            self.read_device()

    @contextmanager
    def backward(self, *, counted: bool = True) -> Iterator[None]:
        """Do nothing: a profile has the cost of the backward pass."""
        yield

    def read_device(self) -> None:
        """Read what was summed on the device; waits for it."""
        with self._lock:
            packed, self._packed = self._packed, {}
        for (kind, adapters), sums in packed.items():
            shape = PassShape(*sums.tolist())
            self._totals.histogram.add(kind, shape, label="packed", adapters=adapters)
        self._totals.real_tokens.read()

    def settle(self) -> None:
        """Take stock at the end of a run; waits for the device."""
        self.read_device()


def _nothing_more(_: object) -> None:
    """A pass that is counted where it enters has nothing left to do."""
