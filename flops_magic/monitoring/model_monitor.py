"""One model of a run: its passes, what they cost, and why they cannot be costed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flops_magic.errors import CountingError
from flops_magic.evidence.record import ModelUse
from flops_magic.flops.histogram import Histogram, HistogramRow
from flops_magic.flops.profile import FlopsProfile, PassCost, cost_by_shape
from flops_magic.monitoring.hybrid_counter import MEDIA_TEXT, MixedObserver
from flops_magic.monitoring.live_counter import OccurrenceObserver
from flops_magic.monitoring.pass_hooks import GapSink, PassObserver, Purpose
from flops_magic.monitoring.provenance import config_sha256, model_id, model_revision
from flops_magic.profiling.profiler import profile_model, profile_reached

_MEDIA_NOTE = (
    "The text of passes of {} is counted by its profile; what images, sound or states "
    "cost beside it was counted live, the first of each shape of them."
)
Share = tuple[tuple[HistogramRow, ...], int, Mapping[str, PassCost]]


@dataclass
class Watched:
    """A model under observation.

    Attributes:
        model: the model, adapters included, wrappers not.
        base: the module whose ``forward`` is watched.
        observer: counts its passes.
        trains: whether training of it has begun.
        refused: why it cannot be walked dry; empty if it can.
        compiled: whether ``torch.compile`` hides its operations.
    """

    model: Any
    base: Any
    observer: PassObserver
    trains: bool = False
    refused: str = ""
    compiled: bool = False
    _dry: FlopsProfile | None = None
    _flags: tuple[bool, ...] | None = None
    _remote: list[Share] = field(default_factory=list)

    @property
    def profile(self) -> FlopsProfile | None:
        """What the passes cost; None if that is not known."""
        if not isinstance(self.observer, OccurrenceObserver):
            return self._dry
        if self.observer.lost:
            return None
        theirs = {k: v for _, _, costs in self._remote for k, v in costs.items()}
        if self._dry is None:
            return self.observer.profile(self.base, self.refused, theirs)
        live = {**theirs, **self.observer.costs, **self._text_beside_media()}
        if not live:
            return self._dry
        unknown = {*self._dry.unknown_ops, *self.observer.unknown}
        return replace(
            self._dry,
            costs={**self._dry.costs, **live},
            unknown_ops=tuple(sorted(unknown)),
            notes=(*self._dry.notes, _MEDIA_NOTE.format(type(self.base).__name__)),
        )

    def _text_beside_media(self) -> dict[str, PassCost]:
        """Return what the text of passes with media costs, where it differs."""
        found = getattr(self.observer, "text_costs", None) or {}
        dry = self._dry.costs if self._dry else {}
        media = any(row.shape == MEDIA_TEXT for row in self.observer.tally.rows())
        return {
            cost_by_shape(name, MEDIA_TEXT): cost
            for name, cost in found.items()
            if media and name in ("backward", "recompute") and cost != dry.get(name)
        }

    def forget_cost(self) -> None:
        """Count the cost anew: the model was set up for another training."""
        self._dry = None
        if not self._all_live:
            self.refused = ""

    def count_cost(self, purpose: Purpose, on_gap: GapSink) -> None:
        """Profile the model, or count it live from here on.

        Raises:
            CountingError: when neither can be done.
        """
        if self._dry is not None or self._all_live:
            return
        self._flags = tuple(p.requires_grad for p in self.model.parameters())
        try:
            self._dry = profile_model(self.model)
            self.refused = ""
            if isinstance(self.observer, MixedObserver):
                self.observer.text_costs = self._dry.costs
                if towers_reach_text(self.model, self.base):
                    self.observer.text_costs = profile_reached(self.model).costs
        except CountingError as error:
            self.refused = str(error)
            if self.compiled or self.observer.tally.rows():
                raise
            config = getattr(self.model, "active_peft_config", None)
            outside = getattr(config, "is_prompt_learning", False)
            if isinstance(self.observer, MixedObserver) and not outside:
                self.observer.profiled = False
                return
            role = self.observer.role
            self.observer.close()
            # prompts are made outside of the model that they are fed to
            target = self.model if outside else self.base
            self.observer = OccurrenceObserver(
                target, role=role, purpose=purpose, on_gap=on_gap
            )

    @property
    def _all_live(self) -> bool:
        """Whether no pass is counted by a profile."""
        observer = self.observer
        if isinstance(observer, MixedObserver):
            return not observer.profiled
        return isinstance(observer, OccurrenceObserver)

    def flags_changed(self) -> bool:
        """Whether other parameters train than when the cost was counted."""
        now = tuple(p.requires_grad for p in self.model.parameters())
        return self._flags is not None and now != self._flags

    @property
    def uncounted(self) -> bool:
        """Whether passes ran, or will, that have no cost."""
        if isinstance(self.observer, OccurrenceObserver) and self.observer.lost:
            return True
        return bool(self.refused) and not self._all_live

    def rows(self) -> tuple[HistogramRow, ...]:
        """Return what ran, here and in the other processes."""
        mine = self.observer.tally.rows()
        if not self._remote:
            return mine
        merged = Histogram()
        for row in (*mine, *(row for rows, _, _ in self._remote for row in rows)):
            merged.add(
                row.kind,
                row.total,
                label=row.shape,
                adapters=row.adapters,
                merges=" ~" not in row.shape,  # counted live, with a cost of its own
            )
        return merged.rows()

    def share(self) -> Share:
        """Return what this process counted, for the others."""
        live = isinstance(self.observer, OccurrenceObserver)
        costs = dict(self.observer.costs) if live else {}  # type: ignore[attr-defined]
        return self.observer.tally.rows(), self.observer.real_tokens(), costs

    def add_shares(self, shares: list[Share]) -> None:
        """Take what the other processes counted."""
        self._remote = shares

    def real_tokens(self) -> int:
        """Return training tokens that are not padding, in all processes."""
        return self.observer.real_tokens() + sum(n for _, n, _ in self._remote)

    def use(self) -> ModelUse:
        """Return the model's part of the record."""
        trained = self.observer.role == "trained"
        return ModelUse(
            id=model_id(self.base),
            role=self.observer.role,
            revision=model_revision(self.base),
            config_sha256=config_sha256(self.base),
            profile=self.profile,
            histogram=self.rows(),
            tokens_non_padding=self.real_tokens() if trained else None,
        )


def towers_reach_text(model: Any, base: Any) -> bool:
    """Whether something outside of the text trains that feeds it with gradients.

    Backward passes then go through the whole text, also where its first layers and its
    embeddings are frozen.
    """
    embeddings = base.get_input_embeddings()
    if all(p.requires_grad for p in embeddings.parameters()):
        return False  # they do so anyway
    text = base.get_decoder() if hasattr(base, "get_decoder") else None
    head = base.get_output_embeddings()
    inside = {id(p) for part in (text, head) if part for p in part.parameters()}
    return any(p.requires_grad and id(p) not in inside for p in model.parameters())
