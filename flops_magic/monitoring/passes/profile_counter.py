"""Counting passes by their shapes, which a profile turns into FLOPs later."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from flops_magic.flops.profile import PassShape
from flops_magic.monitoring.passes.gradient_arrival import GradientArrival
from flops_magic.monitoring.passes.pass_counter import Elsewhere, nothing_elsewhere
from flops_magic.monitoring.passes.pass_hooks import EndOfPass, PassCall
from flops_magic.monitoring.passes.pass_reader import (
    PassReader,
    first_tensor,
    packed_sums,
    real_positions,
)
from flops_magic.monitoring.passes.pass_totals import PassTotals


class ProfileCounter:
    """Adds the shape of each pass to a histogram; microseconds, and no waiting.

    A pass with gradients switched on counts as the forward pass that it is, until a
    gradient arrives at its output: then it becomes a training pass.

    Attributes:
        waiting: whether forward passes ask that their backward pass be counted as it
            runs; they never do, a profile has its cost.
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
        seen = self._read(tokens, call)
        if seen.kind != "train":
            self._add(seen)
            return _nothing_more
        if call.compiled:  # its output is not shown to whoever calls a graph
            self._trained(seen)
            self._totals.assumed += 1
            return _nothing_more
        return partial(self._end, seen)

    def _read(self, tokens: torch.Tensor, call: PassCall) -> _Pass:
        reader, kwargs = self._reader, call.kwargs
        adapters = reader.adapters_on()
        positions = int(tokens.shape[0]) * int(tokens.shape[1])
        sums = packed_sums(kwargs, kwargs.get("attention_mask"), positions)
        shape, label = (
            (None, "packed") if sums is not None else reader.dense(tokens, kwargs)
        )
        kind = otherwise = reader.kind(call, adapters)
        real: tuple[int | torch.Tensor, ...] = ()
        if kind == "train":  # a sum on the device, which other passes do not need
            real = real_positions(kwargs, positions, two_lengths=reader.two_lengths)
            otherwise = reader.kind(call, adapters, trained=False)
        return _Pass(
            kind=kind,
            otherwise=otherwise,
            adapters=adapters,
            label=label,
            shape=shape,
            sums=sums,
            real=real,
        )

    def _end(self, seen: _Pass, output: Any) -> None:
        """Take a pass for what it is without gradients, until gradients arrive."""
        if output is None:
            return  # the pass raised
        self._add(replace(seen, kind=seen.otherwise))
        arrival = GradientArrival(output, partial(self._arrived, seen))
        self._totals.awaiting += arrival.awaited

    def _arrived(self, seen: _Pass, first: bool) -> None:
        if not first:
            self._totals.passes_reached += 1
            self._add(replace(seen, kind="backward"))
            return
        self._add(replace(seen, kind=seen.otherwise), times=-1)
        self._trained(seen)

    def _trained(self, seen: _Pass) -> None:
        self._totals.passes_reached += 1
        self._totals.real_tokens.add(seen.real)
        self._add(seen)

    def _add(self, seen: _Pass, times: int = 1) -> None:
        """Add a pass to the histogram, or take it away again (``times`` -1)."""
        if seen.shape is not None:
            shape = seen.shape if times > 0 else -seen.shape
            self._totals.histogram.add(
                seen.kind, shape, label=seen.label, adapters=seen.adapters
            )
            return
        if seen.sums is None:
            return
        sums, key = times * seen.sums, (seen.kind, seen.adapters)
        with self._lock:
            known = self._packed.get(key)
            sums = sums if known is None else known + sums.to(known.device)
            self._packed[key] = sums
        if sums.device.type == "cpu":
            self.read_device()

    @contextmanager
    def backward(
        self, *, counted: bool = True, elsewhere: Elsewhere = nothing_elsewhere
    ) -> Iterator[None]:
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


@dataclass(frozen=True)
class _Pass:
    """A pass that is to be added to the histogram.

    Attributes:
        kind: one of ``flops.histogram.PASSES``.
        otherwise: the same, if no gradient ever arrives.
        adapters: whether its adapters were on.
        label: names its shape.
        shape: its size; None where only the device knows.
        sums: its size on the device, (6,); None where it is known.
        real: its tokens that are not padding, as a number or on the device.
    """

    kind: str
    otherwise: str
    adapters: bool
    label: str
    shape: PassShape | None
    sums: torch.Tensor | None
    real: tuple[int | torch.Tensor, ...]


def _nothing_more(_: object) -> None:
    """A pass that is counted where it enters has nothing left to do."""
