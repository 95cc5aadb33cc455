"""What a notification to the Commission has to contain where one would be due.

Source: Article 52(1) AI Act; Guidelines, points 31 and 68.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from flops_magic.ai_act.thresholds import law, notification_deadline
from flops_magic.flops.units import two_significant_figures
from flops_magic.report.documentation import Documentation

# The rows of the decision table whose original has systemic risk: only these lead to
# Article 52.
_DUE = ("row-4", "row-5")


@dataclass(frozen=True)
class Notification:
    """The content of a notification, as far as records hold it.

    Attributes:
        triggered_by: which criterion is met.
        flops: the compute, ``2.3x10^25 FLOP``.
        approach: how it was measured.
        known_on: the day on which the sum was first judged over, ISO 8601; empty if no
            record holds it.
        deadline: last day to notify, counted from then; empty without it.
        foreseen_on: the day on which a run was first projected to cross; empty if none
            was. The duty begins when it becomes known that the criterion *will* be met.
        foreseen_deadline: the last day, counted from then.
    """

    triggered_by: str
    flops: str
    approach: tuple[str, ...]
    known_on: str
    deadline: str
    foreseen_on: str
    foreseen_deadline: str


def notification(made: Documentation) -> Notification | None:
    """Return the content of a notification; None where the verdict asks for none.

    Only for an original with systemic risk whose line is crossed (rows 4 and 5).
    """
    decision = made.lineage.decision
    if decision is None or decision.verdict != "over" or decision.rule not in _DUE:
        return None
    # The deadline of the law by which the sum was judged, not of today's.
    numbers = law(decision.facts.rules_version or None)

    def last(day: str) -> str:
        known = date.fromisoformat(day)
        return notification_deadline(known, numbers).isoformat()

    known_on = decision.facts.known_on
    foreseen_on = made.lineage.foreseen_at[:10]
    return Notification(
        triggered_by=(
            f"{decision.line_text} is exceeded (Guidelines, points 67 and 68; "
            f"{decision.rule.replace('-', ' ')} of the decision table)"
        ),
        flops=f"{made.at_least}{two_significant_figures(decision.compared)} FLOP",
        approach=made.method.sentences(),
        known_on=known_on,
        deadline=last(known_on) if known_on else "",
        foreseen_on=foreseen_on,
        foreseen_deadline=last(foreseen_on) if foreseen_on else "",
    )
