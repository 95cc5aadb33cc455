"""What counsel should look at: what a criterion of compute does not settle."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from flops_magic.ai_act.decision import Facts
from flops_magic.ai_act.thresholds import (
    Law,
    error_range,
    presumed_high_impact,
    straddles,
)
from flops_magic.flops.units import flop_text, power_text
from flops_magic.registry.base_models import CAVEATS


def flags(
    facts: Facts,
    rule: str,
    verdict: str,
    compared: int,
    threshold: Fraction | None,
    numbers: Law,
) -> Iterator[str]:
    """Yield the remarks on a decision, each one sentence without its full stop."""
    # Zero for an unknown original: a flag on the sum then needs the modification alone.
    original = facts.original_flops or 0
    systemic = power_text(numbers.systemic_risk_flops)
    line = threshold or Fraction(0)
    # The other side of "near": over, by less than an estimate's margin.
    if verdict == "over" and straddles(compared, line, numbers):
        yield f"within the {numbers.error_margin * 100} % margin of the line"
    if rule == "row-1" and (
        facts.systemic_risk or presumed_high_impact(original, numbers)
    ):
        yield (
            "for a model with systemic risk, recital 97 names uses that count as "
            "placing on the Union market all the same: for counsel"
        )
    if rule == "row-6" and threshold is not None and compared > threshold:
        yield (
            f"original and modification together exceed {power_text(threshold)} FLOP: "
            "ask whether the result is a general-purpose AI model in its own right, "
            "one that generates language, images or video from text (point 17)"
        )
    if exceeds_high_impact(facts, rule, numbers):
        yield (
            f"original and modification together exceed {systemic} FLOP (Article "
            "51(2), point 118): for counsel"
        )
    if facts.systemic_risk is None and rule in ("row-2", "row-3"):
        yield "whether the original is classified as one with systemic risk is unknown"
    if facts.systemic_risk is False and presumed_high_impact(original, numbers):
        yield (
            f"the original exceeds {systemic} FLOP, at which systemic risk is presumed "
            "(Article 51(2)), and is declared to carry none"
        )
    yield from _on_the_original(facts, numbers)


def exceeds_high_impact(facts: Facts, rule: str, numbers: Law) -> bool:
    """Whether original and modification together exceed what Article 51(2) presumes.

    Of an original that carries systemic risk itself, the one-third criterion decides
    (points 67 and 68).
    """
    # Article 51(2) speaks of cumulative compute, whatever notion the row compares.
    together = (facts.original_flops or 0) + facts.flops_cumulative
    engaged = rule in ("row-0", "row-2", "row-3", "row-6")
    return engaged and presumed_high_impact(together, numbers)


def _on_the_original(facts: Facts, numbers: Law) -> Iterator[str]:
    if facts.derived_from:
        yield (
            f"the original was itself made from {facts.derived_from} by another "
            "provider; which of the two is the original model of a chain is not "
            "settled: for counsel"
        )
    used, registered = facts.original_flops, facts.registry_flops
    if facts.basis.of_registry:
        for caveat in filter(None, facts.caveats.split("; ")):
            yield CAVEATS.get(caveat, caveat)
    elif used is not None and registered is not None:
        low, high = error_range(used, numbers)
        if not low <= registered <= high:
            yield (
                f"the registry has {flop_text(registered)} for {facts.base_model}, "
                f"more than {numbers.error_margin * 100} % off the figure that is used"
            )
