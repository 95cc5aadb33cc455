"""A run's way to the line: when it is projected to cross, and where it stops before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from flops_magic.errors import InputError
from flops_magic.gaps import Concern, guard
from flops_magic.tracking.moment import Moment, RunJudge
from flops_magic.tracking.progress import Progress
from flops_magic.tracking.stop_rule import StopAt

if TYPE_CHECKING:
    from flops_magic.monitoring.meter import TrainerMeter

# A projection changes slowly, and a step can take milliseconds.
_LOOK_AHEAD_EVERY_S = 1.0


class LineWatch:
    """Looks at the line after every optimizer step.

    Attributes:
        stop_at: share of the line before which training is stopped; None for none.
        crossing_foreseen_at: UTC, ISO 8601, when the run was first projected to cross;
            None while it is not.
    """

    def __init__(
        self,
        meter: TrainerMeter,
        judge: RunJudge,
        stop_at: Fraction | None,
        clock: Callable[[], float],
    ) -> None:
        self.stop_at = stop_at
        self.crossing_foreseen_at: str | None = None
        self._meter = meter
        self._judge = judge
        self._clock = clock
        self._looked_s = float("-inf")
        self._rule = StopAt(stop_at or Fraction(1))
        self._stopped_after: int | None = None

    @property
    def reason(self) -> str:
        """Why training was told to stop; empty if it was not."""
        return self._rule.reason

    def training_begins(self) -> None:
        """Refuse to train where ``stop_at`` sees no line, or no room for a step.

        Raises:
            InputError: before the first step.
        """
        if self.stop_at is None:
            return
        if unseen := self._meter.uncounted():
            raise InputError(
                f"stop_at cannot tell how far the line is: {', '.join(unseen)} cannot "
                "be counted; leave it out, and the record says what was seen"
            )
        self.reads()
        now, reason = self._judge.everywhere(self._judge.moment())
        if now is None:
            raise InputError(f"stop_at has nothing to stop at: {reason}")
        self._rule.begin(now)

    def reads(self) -> bool:
        """Read what was summed on the device, if each step is needed exactly.

        Without ``stop_at`` training does not wait for the device.
        """
        if self.stop_at is None:
            return False
        with guard(self._meter.gap, "what was summed on the device"):
            self._meter.read_device()
        return True

    def stepped(self, moment: Moment) -> None:
        """Compare a step with the line; set the meter's stop flag if it must end."""
        if self.stop_at is not None and self._meter.steps:
            now, reason = self._judge.everywhere(moment)
            if now is None or not now.line:
                why = reason if now is None else now.line_text
                self._meter.gap(
                    "stop_at", f"nothing to stop at: {why}", Concern.DISPLAY
                )
            elif self._rule.stepped(now, self._meter.steps):
                # A flag, not an exception: the Trainer saves a checkpoint and ends as
                # planned.
                self._meter.stop_now = True
                self._stopped_after = self._stopped_after or self._meter.steps
        now_s = self._clock()
        if now_s - self._looked_s >= _LOOK_AHEAD_EVERY_S:
            self._looked_s = now_s
            self._look_ahead(moment.progress)

    def ended(self, outcome: str, progress: Progress) -> str:
        """Return the outcome: ``stopped`` where training ended by ``stop_at``."""
        self._look_ahead(progress)
        if self._stopped_after is None:
            return outcome
        if (more := self._meter.steps - self._stopped_after) > 0:
            self._meter.gap(
                "stop_at",
                f"training went on for {more} steps after it was told to stop",
                Concern.DISPLAY,
            )
            return outcome
        return "stopped" if outcome == "completed" else outcome

    def _look_ahead(self, progress: Progress) -> None:
        if self.crossing_foreseen_at is None and progress.crossing_step:
            foreseen = datetime.now(UTC)
            self.crossing_foreseen_at = foreseen.isoformat(timespec="milliseconds")
