"""A decision in two sentences, for people who are no engineers."""

from __future__ import annotations

from fractions import Fraction

from flops_magic.core.units import flop_text, percent_text


def explain(
    rule: str,
    verdict: str,
    compared: int,
    threshold: Fraction | None,
    original_flops: int | None,
) -> str:
    """Return two sentences: what was compared, and what follows from it.

    Args:
        rule: row of the decision table.
        verdict: one of ``core.rules.VERDICTS``.
        compared: FLOPs held against the threshold.
        threshold: FLOP; None where none applies.
        original_flops: the original's training compute; None if unknown.
    """
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
            "can say whether original and modification together exceed 10²³ FLOP "
            "(point 17)."
        )
    share = percent_text(Fraction(compared) / threshold)
    if rule == "row-6":
        why = (
            "is no general-purpose AI model by its training compute"
            if original_flops is not None and original_flops <= threshold
            else "is declared to be no general-purpose AI model"
        )
        return (
            f"The original ({flop_text(original_flops or 0)}) {why}, so the "
            "one-third criterion is not engaged. "
            f"Original and modification together are {flop_text(compared)}, {share} of "
            "the 10²³ FLOP from which a model is indicatively a general-purpose AI "
            "model (point 17)."
        )
    return (
        f"{_compared(rule, compared, threshold, original_flops, share)} {_so(verdict)}"
    )


def _compared(
    rule: str,
    compared: int,
    threshold: Fraction,
    original_flops: int | None,
    share: str,
) -> str:
    if rule in ("row-3", "row-5"):
        base = "10²³" if rule == "row-3" else "10²⁵"
        return (
            f"The modification used {flop_text(compared)}, {share} of the substitute "
            f"threshold, a third of {base} FLOP, which applies because the original's "
            "compute can neither be known nor estimated (point 61)."
        )
    return (
        f"The modification used {flop_text(compared)}, {share} of the line at "
        f"{flop_text(threshold)}, which is a third of the original model's training "
        f"compute of {flop_text(original_flops or 0)} (point 60)."
    )


def _so(verdict: str) -> str:
    return {
        "below": "The indicative criterion is not met.",
        "near": (
            "The indicative criterion is not met, but the 30 % margin that an estimate "
            "may have reaches across the line."
        ),
        "over": (
            "The indicative criterion is met: whoever made the modification may have "
            "become the provider of the modified model."
        ),
    }[verdict]
