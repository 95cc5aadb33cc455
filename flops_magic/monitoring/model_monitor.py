"""One model of a run: its hooks, its passes, and its part of the record."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from flops_magic.evidence.record import ModelUse
from flops_magic.flops.histogram import FlopTotals, HistogramRow, histogram_flops
from flops_magic.flops.profile import FlopsProfile
from flops_magic.gaps import GapSink, guard
from flops_magic.monitoring.module_calls import called_at_the_top
from flops_magic.monitoring.passes.pass_counter import PassCounter
from flops_magic.monitoring.passes.pass_hooks import (
    EndOfPass,
    PassCall,
    PassHooks,
    entrances,
)
from flops_magic.monitoring.passes.pass_reader import PassReader, Purpose
from flops_magic.monitoring.passes.pass_totals import PassTotals
from flops_magic.monitoring.provenance import config_sha256, model_id, model_revision
from flops_magic.monitoring.segment import Segment, Share
from flops_magic.monitoring.setup_watch import RegistrationClock, Setup, SetupWatch
from flops_magic.profiling.model_setup import works_outside


@dataclass
class Loop:
    """What is known of a loop of the user's own.

    Attributes:
        trained: whether a backward pass ran outside of every Trainer.
    """

    trained: bool = False


class ModelMonitor:
    """Watches one model.

    Attributes:
        base: the module whose ``forward`` is watched.
        trains: whether training of it has begun.
        compiled: whether ``torch.compile`` hides its operations.
        inside_another: whether it is a part of another watched model, which counts the
            passes that it makes inside of its own.
    """

    def __init__(
        self,
        model: Any,
        base: Any,
        *,
        role: str,
        purpose: Purpose,
        clock: RegistrationClock,
        loop: Loop,
        on_gap: GapSink,
    ) -> None:
        """Watch a model until ``close``.

        Args:
            model: the model, adapters included, wrappers not.
            base: the transformers model inside, or any other module.
            role: ``trained``, ``reference`` or ``other``: what it is to the run.
            purpose: returns what the run is doing now; see ``PassReader``.
            clock: tells when modules may have changed.
            loop: tells whether a loop of the user's own trains.
            on_gap: told what could not be observed.
        """
        self.base = base
        self.trains = False
        self.compiled = False
        self._model = model
        self._loop = loop
        self._on_gap = on_gap
        config = getattr(base, "config", None)
        two_lengths = bool(getattr(config, "is_encoder_decoder", False))
        self._setups = SetupWatch(base, clock)
        self._reader = PassReader(
            role=role,
            purpose=purpose,
            adapters_on=self._setups.adapters_on,
            two_lengths=two_lengths,
        )
        self.inside_another = False
        self._segments: dict[Setup, Segment] = {}
        self._now: Segment | None = None
        self._choosing = threading.RLock()
        self._hooks = self._hooked()

    @property
    def entrances(self) -> list[Any]:
        """The modules at which a pass may enter."""
        ways = entrances(self.base)
        if works_outside(self._model):
            ways = [self._model, *ways]
        if self._reader.two_lengths:
            # generation calls the encoder outside of the model's own pass
            ways = [*ways, self.base.get_encoder()]
        return ways

    def _hooked(self) -> PassHooks:
        return PassHooks(self.entrances, self._begin, self._on_gap)

    def parameters(self) -> Iterator[Any]:
        """Yield the parameters of the model, adapters included."""
        yield from self._model.parameters()

    # -- counting -----------------------------------------------------------------

    def _begin(self, call: PassCall) -> EndOfPass | None:
        """Route a pass to what counts it: by its shape, live, or both."""
        if self.inside_another and called_at_the_top() is not self.base:
            return _counted_elsewhere
        with_gradients = torch.is_grad_enabled()
        segment = self._segment(with_gradients=with_gradients)
        segment.trained |= with_gradients
        return segment.counter.begin(call)

    def _segment(self, *, with_gradients: bool) -> Segment:
        """Return the segment of a pass that runs now, priced."""
        with self._choosing:
            setup, now = self._setups.now(self._model), self._now
            if now is None or now.setup != setup:
                self._now = now = self._found(setup, with_gradients=with_gradients)
            if not now.priced and not now.refused:
                # its gap says which operations; the pass still runs
                with guard(self._on_gap, "operations not counted"):
                    now.price(self._model, hidden=self.compiled)
            return now

    def _found(self, setup: Setup, *, with_gradients: bool) -> Segment:
        """Return the segment of a set-up; a new one only where the cost may differ.

        What trains and what is computed again does not change what a pass without
        gradients costs, so evaluation and references cut no segments.
        """
        if (known := self._segments.get(setup)) is not None:
            return known
        for segment in self._segments.values():
            if segment.setup.forward != setup.forward:
                continue
            if not with_gradients:
                return segment
            if not segment.trained:
                del self._segments[segment.setup]
                segment.set_up_anew(setup)
                self._segments[setup] = segment
                return segment
        segment = Segment(setup, self.base, self._reader, self._on_gap)
        self._segments[setup] = segment
        return segment

    def price(self) -> None:
        """Find out what a training pass costs that would run now."""
        self._segment(with_gradients=True)

    def counters(self) -> Iterator[PassCounter]:
        """Yield what counts the passes, segment by segment."""
        for segment in list(self._segments.values()):
            yield segment.counter

    def totals(self) -> Iterator[PassTotals]:
        """Yield what the passes add up to, segment by segment."""
        for segment in list(self._segments.values()):
            yield segment.totals

    def profiled_flops(self) -> FlopTotals:
        """Return the FLOPs of this process that profiles count."""
        return sum(
            (
                histogram_flops(segment.totals.histogram.rows(), profile)
                for segment in list(self._segments.values())
                if not segment.live_only and (profile := segment.profile) is not None
            ),
            FlopTotals(),
        )

    def begun_before(self, args: Any, kwargs: Any) -> None:
        """Count a call that began before the model was watched."""
        self._hooks.begun_before(args, kwargs)

    def compiled_pass(self, args: Any, kwargs: Any) -> AbstractContextManager[None]:
        """Return a context that counts a pass before it enters a compiled graph."""
        if self._now is not None and self._now.live_only:
            return nullcontext()
        return self._hooks.compiled_pass(args, kwargs)

    # -- what it is to the run ----------------------------------------------------

    @property
    def trained(self) -> bool:
        """Whether a backward pass went through it."""
        rows = (row for s in self.segments() for row in s.rows())
        return any(row.kind in ("train", "backward") for row in rows)

    @property
    def role(self) -> str:
        """``trained``, ``reference`` or ``other``: what the model is to the run.

        Of a model that no Trainer holds nobody says what it is. Where it trained, it is
        a trained one; where a loop trained others, it is taken for their teacher.
        """
        if self._reader.role != "other":
            return self._reader.role
        if self.trained:
            return "trained"
        return "reference" if self._loop.trained else "other"

    def _settled(self, rows: tuple[HistogramRow, ...]) -> tuple[HistogramRow, ...]:
        """Return rows, those of unknown purpose by what the model turned out to be."""
        if self._reader.role != "other" or self.role == "other":
            return rows
        purpose = "evaluation" if self.role == "trained" else "reference"
        return tuple(
            replace(row, kind=purpose) if row.kind == "other" else row for row in rows
        )

    def meet(self, model: Any, *, role: str, compiled: bool) -> None:
        """Take note of another wrapper round the same model, or of its role."""
        if self._model is not model:
            self._model = model
            self._hooks.close()
            self._hooks = self._hooked()
        self.compiled |= compiled
        if self.role == "other":
            self._reader.role = role

    def training_begins(self, *, compiled: bool = False) -> None:
        """Take note that training of it begins, and price its passes."""
        self.trains = True
        self.compiled |= compiled
        self.price()

    def close(self) -> None:
        """Stop watching; the model is as it was before."""
        self._hooks.close()

    # -- what it adds up to -------------------------------------------------------

    def segments(self) -> list[Segment]:
        """Return the segments in which passes ran, the earliest first."""
        return [s for s in list(self._segments.values()) if s.rows()]

    @property
    def profile(self) -> FlopsProfile | None:
        """What the passes cost at first; None if that is not known."""
        found = self.segments() or list(self._segments.values())
        return found[0].profile if found else None

    @property
    def uncounted(self) -> bool:
        """Whether passes ran, or will, that have no cost."""
        ran = list(self._segments.values()) if self.trains else self.segments()
        return any(segment.uncounted for segment in ran)

    def flops(self, *, everywhere: bool = True) -> FlopTotals:
        """Return the FLOPs so far.

        Args:
            everywhere: whether to add what was gathered from the other processes.
        """
        return sum(
            (
                histogram_flops(
                    self._settled(
                        segment.rows()
                        if everywhere
                        else segment.totals.histogram.rows()
                    ),
                    profile,
                )
                for segment in list(self._segments.values())
                if (profile := segment.profile) is not None
            ),
            FlopTotals(),
        )

    def tokens(self) -> int:
        """Return the positions processed in training here, padding included."""
        histograms = [s.totals.histogram for s in list(self._segments.values())]
        return sum(histogram.total("train").tokens for histogram in histograms)

    def shares(self) -> dict[Setup, Share]:
        """Return what this process counted, by the model's set-up."""
        return {s.setup: s.share() for s in list(self._segments.values())}

    def add_shares(self, others: list[Mapping[Setup, Share]]) -> None:
        """Take what the other processes counted, each segment to its own."""
        for setup in {setup: None for other in others for setup in other}:
            if setup not in self._segments:
                self._segments[setup] = Segment(
                    setup, self.base, self._reader, self._on_gap
                )
        for setup, segment in self._segments.items():
            segment.add_shares([other[setup] for other in others if setup in other])

    def uses(self) -> list[ModelUse]:
        """Return the model's part of the record: one use for each segment that ran."""
        ran = self.segments()
        if not ran and self.trains:
            ran = list(self._segments.values())[-1:]
        trained = self.role == "trained"
        return [
            ModelUse(
                id=model_id(self.base),
                role=self.role,
                revision=model_revision(self.base),
                config_sha256=config_sha256(self.base),
                profile=segment.profile,
                histogram=self._settled(segment.rows()),
                tokens_non_padding=segment.real_tokens() if trained else None,
            )
            for segment in ran
        ]


def _counted_elsewhere(_: object) -> None:
    """A pass inside another model's pass is counted with that."""
