"""One moment of a run: its FLOPs, held against the line, and what a display shows.

The original model is resolved when the run begins, and once more where the trained
model's own name or size was needed and becomes known. A step then costs arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from flops_magic.ai_act.decision import Comparison, Decision, Facts, OriginalFacts
from flops_magic.ai_act.decision_table import (
    compare,
    decide_facts,
    facts_of,
    verdict_with,
)
from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.ai_act.thresholds import in_force, law, laws, today
from flops_magic.errors import FlopsMagicError
from flops_magic.flops.histogram import FlopTotals
from flops_magic.tracking.progress import Progress

if TYPE_CHECKING:
    from flops_magic.monitoring.meter import Step, TrainerMeter

# what a resolved original depends on: name and size of the trained model, the rules
_Asked = tuple[str | None, int | None, str]


@dataclass(frozen=True)
class Moment:
    """A run's state after a step, compared once and handed on.

    Attributes:
        progress: what a display shows.
        comparison: the FLOPs so far held against the line, in numbers; None if nothing
            can be said.
        undecided: why nothing can be said; empty otherwise.
    """

    progress: Progress
    comparison: Comparison | None
    undecided: str


class RunJudge:
    """Reads a meter and holds what it read against the line.

    Attributes:
        declared: FLOPs that the user declares, which count in every decision.
    """

    def __init__(
        self,
        original: OriginalModel,
        meter: TrainerMeter,
        declared: Mapping[str, int],
        *,
        stop_at: Fraction | None,
        elapsed_s: Callable[[], float],
    ) -> None:
        self.declared = FlopTotals(declared=sum(declared.values()))
        self._original = original
        self._meter = meter
        self._stop_at = stop_at
        self._elapsed_s = elapsed_s
        self._resolved: tuple[_Asked, OriginalFacts | str] | None = None

    def moment(self, step: Step | None = None, outcome: str = "running") -> Moment:
        """Return the run's state, without reading the device.

        Args:
            step: what the meter said of it; the meter is asked without.
            outcome: ``running``, or the run's end.
        """
        step = step or self._meter.now()
        flops = step.flops + self.declared
        now, undecided = self._compare(flops)
        progress = Progress(
            flops=now.own_flops if now else flops.direct,
            flops_executed=flops.executed,
            line=now.line if now else None,
            line_text=now.line_text if now else undecided,
            verdict=now.verdict if now else None,
            tokens=step.tokens,
            step=step.number,
            steps=step.planned,
            elapsed_s=self._elapsed_s(),
            outcome=outcome,
            counted=not step.uncounted,
            stop_at=self._stop_at,
        )
        if now is not None and (projected := progress.projected) is not None:
            more = max(projected - progress.flops, 0)
            verdict = verdict_with(now, more)
            progress = replace(progress, projected_verdict=verdict)
        return Moment(progress, now, undecided)

    def everywhere(self, moment: Moment) -> tuple[Comparison | None, str]:
        """Return the comparison for all processes together; each of them calls this.

        Args:
            moment: this process's, which says it all where no other one trains.
        """
        from flops_magic.monitoring.distributed import world_size

        # Only a group of processes gathers: alone, this process has seen everything.
        if world_size() == 1:
            return moment.comparison, moment.undecided
        return self._compare(self._meter.flops_everywhere() + self.declared)

    def decide(self, flops: FlopTotals) -> tuple[Decision | None, str]:
        """Return the decision on FLOPs that include declared ones, or a reason."""
        facts = self._facts(flops)
        if isinstance(facts, str):
            return None, facts
        return decide_facts(facts), ""

    def _compare(self, flops: FlopTotals) -> tuple[Comparison | None, str]:
        """Return the numbers alone: a step needs no sentences."""
        facts = self._facts(flops)
        if isinstance(facts, str):
            return None, facts
        return compare(facts), ""

    def _facts(self, flops: FlopTotals) -> Facts | str:
        """Return the facts of a decision made today, or the reason for having none.

        The day counts, since a notification has to follow within days of it.
        """
        day = today()
        known = self._original_facts(in_force(laws(), day).version)
        if isinstance(known, str):
            return known
        return facts_of(known, flops.direct, flops.cumulative, day)

    def _original_facts(self, rules_version: str) -> OriginalFacts | str:
        """Return the facts of the original, or the reason why they do not suffice."""
        ask, meter = self._original, self._meter
        # Name and size become known when the model first runs; asking for them only
        # where the answer needs them keeps a step free of look-ups.
        asked = (
            meter.trained_model_id() if ask.asks_trained_name else None,
            meter.trained_parameters() if ask.asks_trained_size else None,
            rules_version,
        )
        resolved = self._resolved
        if resolved is None or resolved[0] != asked:
            # the reason is kept too: finding near names costs more than a small step
            resolved = asked, self._resolve(*asked)
            self._resolved = resolved
        return resolved[1]

    def _resolve(
        self, trained_id: str | None, size: int | None, rules_version: str
    ) -> OriginalFacts | str:
        try:
            return self._original.resolve(trained_id, size, numbers=law(rules_version))
        except FlopsMagicError as error:
            return str(error)
