"""The progress of a tracked run, as the gauge and the text line show it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from flops_magic.flops.units import percent_text


@dataclass(frozen=True)
class Progress:
    """One moment of a run.

    Attributes:
        flops: compared FLOPs so far (direct, or cumulative for a systemic-risk
            original).
        flops_executed: everything that ran so far.
        line: FLOPs of the modification at which the verdict turns; None if unknown.
        line_text: what the line is, in a few words.
        verdict: the verdict so far; None while there is no line.
        tokens: positions processed in training, padding included.
        step: optimizer steps done.
        steps: optimizer steps planned; None if unknown.
        elapsed_s: seconds since the run began.
        outcome: ``running``, or the run's end.
        counted: False while some model's operations cannot be counted.
        projected_verdict: the verdict that the projected total would give.
        stop_at: share of the line before which training is stopped; None for none.
    """

    flops: int
    flops_executed: int
    line: Fraction | None
    line_text: str
    verdict: str | None
    tokens: int
    step: int
    steps: int | None
    elapsed_s: float
    outcome: str = "running"
    counted: bool = True
    projected_verdict: str | None = None
    stop_at: Fraction | None = None

    @property
    def share(self) -> Fraction | None:
        """FLOPs so far as a share of the line."""
        return Fraction(self.flops) / self.line if self.line else None

    @property
    def projected(self) -> int | None:
        """FLOPs at the last planned step, if the steps to come cost what these did."""
        if not self.steps or not self.step:
            return None
        # Rounded up: a projection exactly on the line would otherwise hide a crossing.
        return -(-self.flops * max(self.steps, self.step) // self.step)

    @property
    def crossing_step(self) -> int | None:
        """The step at which the line is crossed at the pace so far; None if it is not.

        The line is crossed by more than it, so a run that ends on it does not.
        """
        projected = self.projected
        if not self.line or projected is None or projected <= self.line:
            return None
        # Strictly more than the line, so the first step after it; exact fractions.
        return int(self.line * self.step / self.flops) + 1

    @property
    def warning(self) -> str:
        """What the user should know while the run can still be stopped; else empty."""
        step = self.crossing_step
        if step is None or self.outcome != "running":
            return ""
        if step <= self.step:
            return "the line is crossed"
        ahead = f"at this pace the line is crossed at step {step} of {self.steps}"
        if self.stop_at is None:
            return f"{ahead}; --stop-at 0.9 stops a run before"
        return f"{ahead}; training is stopped before {percent_text(self.stop_at)} of it"

    @property
    def flops_per_s(self) -> float | None:
        """Executed FLOPs a second, averaged over the run."""
        return self.flops_executed / self.elapsed_s if self.elapsed_s > 0 else None

    @property
    def remaining_s(self) -> float | None:
        """Seconds to the last planned step at the pace so far."""
        if not self.steps or not self.step:
            return None
        return self.elapsed_s * max(self.steps - self.step, 0) / self.step
