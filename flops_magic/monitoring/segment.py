"""The passes of one model while it is set up in one way, and what they cost.

A pass is priced by what trained when it ran. So a model's passes are cut into segments
whenever its set-up changes, each with a profile of its own; a set-up that comes back
goes on with the segment that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flops_magic.errors import CountingError
from flops_magic.flops.histogram import Histogram, HistogramRow
from flops_magic.flops.profile import FlopsProfile, PassCost, cost_by_shape
from flops_magic.gaps import GapSink, guard
from flops_magic.monitoring.passes.hybrid_counter import (
    MEDIA_TEXT,
    HybridCounter,
    may_need_both,
)
from flops_magic.monitoring.passes.live_counter import LiveCounter
from flops_magic.monitoring.passes.pass_counter import PassCounter
from flops_magic.monitoring.passes.pass_reader import PassReader
from flops_magic.monitoring.passes.pass_totals import PassTotals
from flops_magic.monitoring.passes.profile_counter import ProfileCounter
from flops_magic.monitoring.priced_setups import PRICED
from flops_magic.monitoring.setup_watch import Setup
from flops_magic.profiling.model_setup import parameter_counts

_LONGEST = 300  # characters of why a model is not walked dry
_LIVE_NOTE = (
    "{} was counted live, the first pass of each input shape, because: {}. "
    "Kernels that are launched outside of torch's dispatcher are not seen; fused "
    "attention's backward includes what it recomputes; a cost that depends on values "
    "rather than shapes is the first pass's."
)
_MEDIA_NOTE = (
    "The text of passes of {} is counted by its profile; what images, sound or states "
    "cost beside it was counted live, the first of each shape of them."
)


@dataclass(frozen=True)
class Share:
    """What one process counted of a segment, for the others.

    Attributes:
        rows: what ran.
        real_tokens: training tokens that are not padding.
        costs: what was counted live.
        dry: the profile of the dry walk; None where there is none.
        refused: why there is none.
        live_only: whether no pass was counted by a profile.
        lost: passes that could not be counted.
    """

    rows: tuple[HistogramRow, ...]
    real_tokens: int
    costs: Mapping[str, PassCost]
    dry: FlopsProfile | None
    refused: str
    live_only: bool
    lost: int


class Segment:
    """A part of what one model ran, with one profile.

    Attributes:
        setup: how the model is set up.
        trained: whether passes with gradients are among them.
        totals: the passes of this process.
        counter: counts them.
        refused: why the model cannot be walked dry; empty if it can.
        live_only: whether no pass is counted by a profile.
    """

    def __init__(
        self, setup: Setup, base: Any, reader: PassReader, on_gap: GapSink
    ) -> None:
        """Count passes of ``base`` by their shapes, until ``price`` says otherwise.

        Args:
            setup: how the model is set up.
            base: the transformers model, or any other module.
            reader: reads its passes.
            on_gap: told what could not be observed.
        """
        self.setup = setup
        self.trained = False
        self.totals = PassTotals()
        self.refused = ""
        self.live_only = False
        self._base = base
        self._reader = reader
        self._on_gap = on_gap
        self._dry: FlopsProfile | None = None
        self._sizes = parameter_counts(base)
        self._remote: list[Share] = []
        self.counter = self._by_profile()

    def _by_profile(self) -> PassCounter:
        if not may_need_both(self._base):
            return ProfileCounter(self._reader, self.totals)
        two_lengths = self._reader.two_lengths
        return HybridCounter(
            self._reader,
            self.totals,
            self._on_gap,
            encoder=self._base.get_encoder() if two_lengths else None,
        )

    @property
    def priced(self) -> bool:
        """Whether it is known how the passes are counted."""
        return self._dry is not None or self.live_only

    def price(self, model: Any, *, hidden: bool) -> None:
        """Walk the model dry, or count it live from here on.

        Args:
            model: the model, adapters included, wrappers not.
            hidden: whether ``torch.compile`` hides its operations.

        Raises:
            CountingError: when neither can be done.
        """
        self.refused = ""
        # whatever the walk raises: what can be run can be counted live
        with guard(self._refuse, "the dry walk"):
            price = PRICED.price(self.setup, model, self._base)
            self.totals.profiled_costs = price.text_costs
            self._dry = price.profile
        if not self.refused:
            return
        # Live counting must begin with the first pass, and must see its operations.
        if hidden or self.totals.histogram.rows():
            raise CountingError(self.refused)
        self.live_only = True
        self.counter = LiveCounter(self._reader, self.totals, self._on_gap)

    def _refuse(self, where: str, error: BaseException | str) -> None:
        first = (str(error).strip().splitlines() or [""])[0][:_LONGEST]
        if not isinstance(error, CountingError):
            first = f"{where} raised {type(error).__name__}: {first}"
        self.refused = first

    def set_up_anew(self, setup: Setup) -> None:
        """Take another set-up, in which passes without gradients cost the same."""
        self.setup = setup
        self._dry, self._sizes = None, parameter_counts(self._base)

    @property
    def profile(self) -> FlopsProfile | None:
        """What the passes cost; None if that is not known."""
        totals = self.totals
        if self.lost:
            return None
        theirs = {k: v for share in self._remote for k, v in share.costs.items()}
        if self.live_only:
            return self._live_profile({**theirs, **totals.costs})
        if self._dry is None:
            return None
        live = {**theirs, **totals.costs, **self._text_beside_media()}
        if not live:
            return self._dry
        return replace(
            self._dry,
            costs={**self._dry.costs, **live},
            unknown_ops=tuple(sorted({*self._dry.unknown_ops, *totals.unknown})),
            notes=(*self._dry.notes, _MEDIA_NOTE.format(type(self._base).__name__)),
        )

    def _live_profile(self, costs: Mapping[str, PassCost]) -> FlopsProfile:
        total, trainable, method = self._sizes
        name = type(self._base).__name__
        return FlopsProfile(
            model_class=name,
            method=method,
            parameters_total=total,
            parameters_active=total,
            parameters_trainable=trainable,
            costs=costs,
            unknown_ops=tuple(sorted(self.totals.unknown)),
            notes=(_LIVE_NOTE.format(name, self.refused.split(";")[0]),),
        )

    def _text_beside_media(self) -> dict[str, PassCost]:
        """Return what the text of passes with media costs, where it differs."""
        dry = self._dry.costs if self._dry else {}
        media = any(row.shape == MEDIA_TEXT for row in self.totals.histogram.rows())
        return {
            cost_by_shape(name, MEDIA_TEXT): cost
            for name, cost in (self.totals.profiled_costs or {}).items()
            if media and name in ("backward", "recompute") and cost != dry.get(name)
        }

    @property
    def uncounted(self) -> bool:
        """Whether passes ran, or will, that have no cost."""
        return bool(self.lost) or (bool(self.refused) and not self.live_only)

    @property
    def lost(self) -> int:
        """Passes that could not be counted, in all processes."""
        return self.totals.lost + sum(share.lost for share in self._remote)

    def rows(self) -> tuple[HistogramRow, ...]:
        """Return what ran, here and in the other processes."""
        mine = self.totals.histogram.rows()
        if not self._remote:
            return mine
        theirs = (row for share in self._remote for row in share.rows)
        return _merged((*mine, *theirs))

    def real_tokens(self) -> int:
        """Return training tokens that are not padding, in all processes."""
        theirs = sum(share.real_tokens for share in self._remote)
        return self.totals.real_tokens.total() + theirs

    def share(self) -> Share:
        """Return what this process counted, for the others."""
        totals = self.totals
        return Share(
            totals.histogram.rows(),
            totals.real_tokens.total(),
            dict(totals.costs),
            self._dry,
            self.refused,
            self.live_only,
            totals.lost,
        )

    def add_shares(self, shares: list[Share]) -> None:
        """Take what the other processes counted; they may be the only ones that did."""
        self._remote = shares
        if shares and not self.priced and not self.refused:
            first = shares[0]
            self._dry, self.refused = first.dry, first.refused
            self.live_only = first.live_only


def _merged(rows: Iterable[HistogramRow]) -> tuple[HistogramRow, ...]:
    merged = Histogram()
    for row in rows:
        merged.add(
            row.kind,
            row.total,
            label=row.shape,
            adapters=row.adapters,
            merges=" ~" not in row.shape,  # counted live, with a cost of its own
        )
    return merged.rows()
