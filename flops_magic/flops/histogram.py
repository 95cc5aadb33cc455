"""What ran, as a histogram of pass shapes, and its FLOPs by category.

The hook that feeds a histogram only adds integers. FLOPs are histogram × profile: the
run computes them when it shows them, and ``verify`` computes them from the record.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import add, attrgetter
from typing import ClassVar

from flops_magic.errors import InputError
from flops_magic.flops.profile import FlopsProfile, PassShape, cost_by_shape

PASSES = ("train", "backward", "reference", "rollout", "evaluation", "other")
MERGED = "other shapes"
# Runs without padding to fixed lengths can have a shape a step; a record must stay
# small enough for a notebook.
_MAX_SHAPES = 512


@dataclass(frozen=True)
class FlopTotals:
    """FLOPs by category; ``direct``, ``cumulative`` and ``executed`` are sums.

    Attributes:
        forward: forward passes whose gradients were taken.
        backward: their backward passes.
        recompute: activations computed again by gradient checkpointing.
        reference: a frozen model's passes that the update needs.
        rollout: generation for the update.
        evaluation: diagnostic passes.
        other: passes without gradients of unknown purpose.
        declared: what the user declares (private synthetic data, merged weights).
        direct_causal: ``direct`` if masked attention were not computed.
    """

    # properties that a record also states, for readers who do not compute
    RECORDED: ClassVar = ("direct", "cumulative", "executed")

    forward: int = 0
    backward: int = 0
    recompute: int = 0
    reference: int = 0
    rollout: int = 0
    evaluation: int = 0
    other: int = 0
    declared: int = 0
    direct_causal: int = 0

    @property
    def direct(self) -> int:
        """Compute that directly contributes to parameter updates."""
        return self.forward + self.backward

    @property
    def cumulative(self) -> int:
        """Direct compute, and what else contributes to the model's capabilities."""
        # Points 115 to 119: what makes data or targets for the update contributes to
        # the model's capabilities; recomputation and diagnostics do not.
        return self.direct + self.reference + self.rollout + self.declared

    @property
    def executed(self) -> int:
        """Everything that ran here."""
        return (
            self.direct
            + self.recompute
            + self.reference
            + self.rollout
            + self.evaluation
            + self.other
        )

    def __add__(self, other: FlopTotals) -> FlopTotals:
        return FlopTotals(*map(add, _figures(self), _figures(other)))


# read off once: every optimizer step adds totals up
_figures = attrgetter(*(f.name for f in fields(FlopTotals)))


@dataclass(frozen=True)
class HistogramRow:
    """All passes of one kind and one shape, summed.

    Attributes:
        kind: one of ``PASSES``; ``train`` is a forward with its backward, ``backward``
            a further backward through the same forward.
        adapters: False where a pass ran with its adapters switched off.
        shape: a label for people, such as ``2x128`` or ``packed``.
        total: the summed shape of the passes.
    """

    kind: str
    adapters: bool
    shape: str
    total: PassShape


def row_flops(row: HistogramRow, profile: FlopsProfile) -> FlopTotals:
    """Return the FLOPs of a histogram row, by category.

    Raises:
        CountingError: when the profile lacks the pass.
        InputError: for a kind of pass that does not exist.
    """
    if row.kind not in PASSES:
        raise InputError(f"{row.kind!r} is no kind of pass; there are {PASSES}")
    if row.kind == "backward":
        cost = profile.cost("backward", row.shape)
        return FlopTotals(
            backward=cost.flops(row.total), direct_causal=cost.masked_flops(row.total)
        )
    name = "forward" if row.adapters else "forward_without_adapters"
    forward = profile.cost(name, row.shape)
    if row.kind != "train":
        return FlopTotals(**{row.kind: forward.flops(row.total)})
    backward = profile.cost("backward", row.shape)
    # Absent without gradient checkpointing; absent is 0 here, not unknown.
    again = profile.costs.get(cost_by_shape("recompute", row.shape))
    recompute = again or profile.costs.get("recompute")
    return FlopTotals(
        forward=forward.flops(row.total),
        backward=backward.flops(row.total),
        recompute=recompute.flops(row.total) if recompute else 0,
        direct_causal=forward.masked_flops(row.total)
        + backward.masked_flops(row.total),
    )


def histogram_flops(rows: Iterable[HistogramRow], profile: FlopsProfile) -> FlopTotals:
    """Return histogram × profile, in FLOPs by category."""
    return sum((row_flops(row, profile) for row in rows), FlopTotals())


class Histogram:
    """The growing histogram of one model's passes.

    Beyond a few hundred distinct shapes the rest are merged into one row a kind:
    costs are linear in the summed shape, so the FLOPs stay exact. Passes whose cost
    holds for their label only are never merged. Threads may add at the same time:
    data-parallel replicas do.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, bool, str], PassShape] = {}
        self._adding = threading.Lock()

    def add(
        self,
        kind: str,
        shape: PassShape,
        *,
        label: str,
        adapters: bool = True,
        merges: bool = True,
    ) -> None:
        """Add one pass.

        Args:
            kind: one of ``PASSES``.
            shape: its size.
            label: names the shape.
            adapters: False where its adapters were off.
            merges: False where the pass has a cost of its own, by its label.
        """
        key = (kind, adapters, label)
        with self._adding:
            full = len(self._rows) >= _MAX_SHAPES
            # Known shapes keep their rows, so the frequent ones stay readable.
            if merges and full and key not in self._rows:
                key = (kind, adapters, MERGED)
            known = self._rows.get(key)
            self._rows[key] = shape if known is None else known + shape

    def rows(self) -> tuple[HistogramRow, ...]:
        """Return the histogram, sorted."""
        # dict(...) first: a training thread may be adding while another reads
        items = sorted(dict(self._rows).items())
        # a pass that became a training pass was taken from the row where it was
        return tuple(HistogramRow(*key, total) for key, total in items if total.calls)

    def total(self, kind: str) -> PassShape:
        """Return the summed shape of one kind of pass."""
        shapes = (row.total for row in self.rows() if row.kind == kind)
        return sum(shapes, PassShape())
