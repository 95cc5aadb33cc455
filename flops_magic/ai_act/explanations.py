"""A decision in sentences, for readers who are not engineers."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

from flops_magic.ai_act.decision import Facts
from flops_magic.ai_act.thresholds import Law, notification_deadline
from flops_magic.flops.units import flop_text, percent_text, power_text


def explain(
    rule: str,
    verdict: str,
    compared: int,
    threshold: Fraction | None,
    facts: Facts,
    numbers: Law,
) -> str:
    """Return two sentences: what was compared, and what follows from it.

    Args:
        rule: row of the decision table.
        verdict: ``below``, ``near``, ``over`` or ``not_engaged``.
        compared: FLOPs held against the threshold.
        threshold: FLOP; None where none applies.
        facts: what the decision rests on.
        numbers: the version of the rules.
    """
    # These sentences are in sealed records, and ``verify`` writes them again: they are
    # frozen as wording "1" (see ``wordings``), odd phrases included.
    gpai = power_text(numbers.gpai_flops)
    if rule == "row-0":
        return (
            "The original's own provider trains its model further, so this is no "
            "modification by a downstream actor (point 22). The compute adds to the "
            "model's lifecycle total."
        )
    if rule == "row-1":
        return (
            "Nothing is placed on the Union market, so the obligations for providers "
            "are not engaged. The reason should be documented."
        )
    if threshold is None:
        return (
            "The original is declared to be no general-purpose AI model, so the "
            "one-third criterion is not engaged. Its own compute is unknown, so nobody "
            f"can say whether original and modification together exceed {gpai} FLOP "
            "(point 17)."
        )
    share = percent_text(Fraction(compared) / threshold)
    if rule == "row-6":
        original = facts.original_flops or 0
        why = (
            "is no general-purpose AI model by its training compute"
            if facts.original_flops is not None and original <= threshold
            else "is declared to be no general-purpose AI model"
        )
        return (
            f"The original ({flop_text(original)}) {why}, so the "
            "one-third criterion is not engaged. "
            f"Original and modification together are {flop_text(compared)}, {share} of "
            f"the {gpai} FLOP from which a model is indicatively a general-purpose AI "
            "model (point 17)."
        )
    first = _compared(rule, compared, threshold, facts, numbers, share)
    return f"{first} {_so(verdict, numbers)}"


def line_text(rule: str, numbers: Law) -> str:
    """Return what the line is, in a few words."""
    share = _share_text(numbers)
    gpai, systemic = numbers.gpai_flops, numbers.systemic_risk_flops
    return {
        "row-0": "no line: the original's own provider trains",
        "row-1": "no line: nothing is placed on the Union market",
        "row-2": f"{share} of the original's training compute",
        "row-3": f"substitute: {share} of {power_text(gpai)} FLOP",
        "row-4": f"{share} of the original's cumulative training compute",
        "row-5": f"substitute: {share} of {power_text(systemic)} FLOP",
        "row-6": f"original and modification together at {power_text(gpai)} FLOP",
    }[rule]


def consequence(rule: str, verdict: str, known_on: str, numbers: Law) -> str:
    """Return what would follow, for whoever made the modification.

    Args:
        rule: row of the decision table.
        verdict: ``below``, ``near``, ``over`` or ``not_engaged``.
        known_on: the day of the decision, ISO 8601; empty if it is not recorded.
        numbers: the version of the rules.
    """
    if verdict in ("below", "near"):
        return (
            "No obligation of Chapter V follows from the compute; in exceptional cases "
            "the guidelines allow the opposite (point 59). The record should be kept."
        )
    if verdict != "over":
        return ""
    if rule in ("row-2", "row-3"):
        return (
            "A provider's obligations would be limited to the modification: Article "
            "53(1), points (a) to (d) (point 65), and Article 54 (point 66). For a "
            "free and open-source release, points (c) and (d) remain."
        )
    days = numbers.notification_days
    latest = f"within {days} days"
    if known_on:
        last = notification_deadline(date.fromisoformat(known_on), numbers)
        latest = f"by {last.isoformat()}, {days} days after {known_on}, at the latest"
    return (
        "The modified model would be presumed to carry systemic risk (point 67), so "
        "Articles 53, 54 and 55 would apply in full. The Commission would have to be "
        f"notified without delay, {latest} (Article 52(1), point 68)."
    )


def _share_text(numbers: Law) -> str:
    share = numbers.modification_share
    return "a third" if share == Fraction(1, 3) else percent_text(share)


def _compared(
    rule: str,
    compared: int,
    threshold: Fraction,
    facts: Facts,
    numbers: Law,
    share: str,
) -> str:
    part = _share_text(numbers)
    if rule in ("row-3", "row-5"):
        of = numbers.gpai_flops if rule == "row-3" else numbers.systemic_risk_flops
        return (
            f"The modification used {flop_text(compared)}, {share} of the substitute "
            f"threshold, {part} of {power_text(of)} FLOP, which applies because the "
            "original's compute can neither be known nor estimated (point 61)."
        )
    return (
        f"The modification used {flop_text(compared)}, {share} of the line at "
        f"{flop_text(threshold)}, which is {part} of the original model's training "
        f"compute of {flop_text(facts.original_flops or 0)} (point 60)."
    )


def _so(verdict: str, numbers: Law) -> str:
    return {
        "below": "The indicative criterion is not met.",
        "near": (
            f"The indicative criterion is not met, but the {numbers.error_margin * 100}"
            " % margin that an estimate may have reaches across the line."
        ),
        "over": (
            "The indicative criterion is met: whoever made the modification may have "
            "become the provider of the modified model."
        ),
    }[verdict]
