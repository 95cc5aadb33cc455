"""One moment of a run: its FLOPs, the decision on them, and what a display shows.

The original model is resolved when the run begins, and once more where the trained
model's own name or size was needed and becomes known. A step then costs arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from flops_magic.ai_act.decision import Decision, OriginalFacts
from flops_magic.ai_act.decision_table import hold_against, verdict_with
from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.ai_act.thresholds import in_force, law, laws, today
from flops_magic.errors import FlopsMagicError
from flops_magic.flops.histogram import FlopTotals
from flops_magic.tracking.progress import Progress

if TYPE_CHECKING:
    from flops_magic.monitoring.meter import TrainerMeter

# what a resolved original depends on: name and size of the trained model, the rules
_Asked = tuple[str | None, int | None, str]


@dataclass(frozen=True)
class Moment:
    """A run's state after a step, decided once and handed on.

    Attributes:
        progress: what a display shows.
        decision: what the rules say of the FLOPs so far; None if nothing can be said.
        undecided: why there is no decision; empty if there is one.
    """

    progress: Progress
    decision: Decision | None
    undecided: str


class RunJudge:
    """Reads a meter and decides on what it read.

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

    def moment(self, outcome: str = "running") -> Moment:
        """Return the run's state, without reading the device.

        Args:
            outcome: ``running``, or the run's end.
        """
        meter = self._meter
        flops = meter.flops() + self.declared
        decision, undecided = self.decide(flops)
        progress = Progress(
            flops=decision.own_flops if decision else flops.direct,
            flops_executed=flops.executed,
            line=decision.line if decision else None,
            line_text=decision.line_text if decision else undecided,
            verdict=decision.verdict if decision else None,
            tokens=meter.tokens(),
            step=meter.steps,
            steps=meter.steps_planned,
            elapsed_s=self._elapsed_s(),
            outcome=outcome,
            counted=not meter.uncounted(),
            stop_at=self._stop_at,
        )
        if decision is not None and (projected := progress.projected) is not None:
            more = max(projected - progress.flops, 0)
            verdict = verdict_with(decision, more)
            progress = replace(progress, projected_verdict=verdict)
        return Moment(progress, decision, undecided)

    def everywhere(self, moment: Moment) -> tuple[Decision | None, str]:
        """Return the decision on what all processes did; all of them call this.

        Args:
            moment: this process's, which says it all where no other one trains.
        """
        from flops_magic.monitoring.distributed import world_size

        # A collective call by one process would wait for ever; without a group there is
        # nobody to wait for.
        if world_size() == 1:
            return moment.decision, moment.undecided
        return self.decide(self._meter.flops_everywhere() + self.declared)

    def decide(self, flops: FlopTotals) -> tuple[Decision | None, str]:
        """Return the decision on FLOPs, what is declared among them, or why none is.

        The day counts, since a notification has to follow within days of it.
        """
        day = today()
        known = self._original_facts(in_force(laws(), day).version)
        if isinstance(known, str):
            return None, known
        return hold_against(known, flops.direct, flops.cumulative, day), ""

    def _original_facts(self, rules_version: str) -> OriginalFacts | str:
        """Return what is known of the original, or why too little is."""
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
