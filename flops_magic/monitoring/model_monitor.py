"""One model of a run: its hooks, its passes, and its part of the record."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from flops_magic.evidence.record import ModelUse
from flops_magic.flops.histogram import HistogramRow
from flops_magic.flops.profile import FlopsProfile
from flops_magic.gaps import GapSink
from flops_magic.monitoring.pass_hooks import (
    EndOfPass,
    PassCall,
    PassHooks,
    entrances,
)
from flops_magic.monitoring.pass_reader import PassReader, Purpose
from flops_magic.monitoring.provenance import config_sha256, model_id, model_revision
from flops_magic.monitoring.segment import Segment, Share


class ModelMonitor:
    """Watches one model.

    Attributes:
        base: the module whose ``forward`` is watched.
        segment: what ran, and what it costs.
        trains: whether training of it has begun.
        compiled: whether ``torch.compile`` hides its operations.
    """

    def __init__(
        self, model: Any, base: Any, *, role: str, purpose: Purpose, on_gap: GapSink
    ) -> None:
        """Watch a model until ``close``.

        Args:
            model: the model, adapters included, wrappers not.
            base: the transformers model inside, or any other module.
            role: ``trained``, ``reference`` or ``other``: what it is to the run.
            purpose: returns what the run is doing now; see ``PassReader``.
            on_gap: told what could not be observed.
        """
        self.base = base
        self.trains = False
        self.compiled = False
        self._model = model
        self._on_gap = on_gap
        config = getattr(base, "config", None)
        two_lengths = bool(getattr(config, "is_encoder_decoder", False))
        self._reader = PassReader(
            base, role=role, purpose=purpose, two_lengths=two_lengths
        )
        self.segment = Segment(base, self._reader, on_gap)
        self._hooks = self._hooked()

    def _hooked(self) -> PassHooks:
        """Hook every module at which a pass may enter."""
        ways = entrances(self.base)
        if makes_inputs(self._model):
            ways = [self._model, *ways]
        if self._reader.two_lengths:
            # generation calls the encoder outside of the model's own pass
            ways = [*ways, self.base.get_encoder()]
        return PassHooks(ways, self._begin, self._on_gap)

    def _begin(self, call: PassCall) -> EndOfPass | None:
        """Route a pass to what counts it: by its shape, live, or both."""
        return self.segment.counter.begin(call)

    @property
    def role(self) -> str:
        """``trained``, ``reference`` or ``other``: what the model is to the run."""
        return self._reader.role

    def meet(self, model: Any, *, role: str, compiled: bool) -> None:
        """Take note of another wrapper round the same model, or of its role."""
        if self._model is not model:
            self._model = model
            self.segment.forget_price()
            self._hooks.close()
            self._hooks = self._hooked()
        self.compiled |= compiled
        if self.role == "other":
            self._reader.role = role

    def training_begins(self, *, compiled: bool = False) -> None:
        """Take note that training of it begins, set up anew."""
        self.trains = True
        self.compiled |= compiled
        self.segment.forget_price()

    def price(self) -> None:
        """Find out what its passes cost, where that is not known yet.

        Raises:
            CountingError: when neither a dry walk nor live counting is possible.
        """
        if not self.segment.priced:
            self.segment.price(self._model, hidden=self.compiled)

    def begun_before(self, args: Any, kwargs: Any) -> None:
        """Count a call that began before the model was watched."""
        self._hooks.begun_before(args, kwargs)

    def compiled_pass(self, args: Any, kwargs: Any) -> AbstractContextManager[None]:
        """Return a context that counts a pass before it enters a compiled graph."""
        if self.segment.live_only:
            return nullcontext()
        return self._hooks.compiled_pass(args, kwargs)

    @property
    def profile(self) -> FlopsProfile | None:
        """What the passes cost; None if that is not known."""
        return self.segment.profile

    @property
    def uncounted(self) -> bool:
        """Whether passes ran, or will, that have no cost."""
        ran = self.trains or bool(self.segment.totals.histogram.rows())
        return ran and self.segment.uncounted

    def rows(self) -> tuple[HistogramRow, ...]:
        """Return what ran, here and in the other processes."""
        return self.segment.rows()

    def share(self) -> Share:
        """Return what this process counted, for the others."""
        return self.segment.share()

    def add_shares(self, shares: list[Share]) -> None:
        """Take what the other processes counted."""
        self.segment.add_shares(shares)

    def use(self) -> ModelUse:
        """Return the model's part of the record."""
        trained = self.role == "trained"
        return ModelUse(
            id=model_id(self.base),
            role=self.role,
            revision=model_revision(self.base),
            config_sha256=config_sha256(self.base),
            profile=self.profile,
            histogram=self.rows(),
            tokens_non_padding=self.segment.real_tokens() if trained else None,
        )

    def close(self) -> None:
        """Stop watching; the model is as it was before."""
        self._hooks.close()


def makes_inputs(model: Any) -> bool:
    """Whether adapters do work of their own before the model that they wrap."""
    config = getattr(model, "active_peft_config", None)
    return bool(getattr(config, "is_prompt_learning", False))
