"""The Guidelines as a pure function: compute and original in, decision out.

Rows 0 to 8 of the decision table. Comparisons are strict, on integers and fractions;
nothing is rounded before it is compared. The criterion is indicative: a decision says
that it is met or not met, never who is a provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from flops_magic.core.base_models import Match, lookup
from flops_magic.core.decision import Decision, Facts
from flops_magic.core.explanations import explain
from flops_magic.core.law import law, presumed_high_impact, straddles
from flops_magic.core.units import parse_count
from flops_magic.errors import InputError, UnknownModelError, UnknownOriginalError

# Point numbers as adopted; the text of July 2025 prints 57 to 130 three higher.
_POINTS = {
    "row-0": "22",
    "row-1": "57",
    "row-2": "60",
    "row-3": "61",
    "row-4": "67",
    "row-5": "61",
    "row-6": "17",
}
_JULY_PRINT = {"22": "23", "57": "60", "60": "63", "61": "64", "67": "70", "17": "17"}


def decide(
    flops_direct: int | str,
    *,
    flops_cumulative: int | str | None = None,
    base_model: str | None = None,
    original_flops: int | str | None = None,
    systemic_risk: bool | str | None = None,
    original_is_gpai: bool | str | None = None,
    same_provider: bool = False,
    union_market: bool = True,
    original_inestimable: bool = False,
) -> Decision:
    """Hold a modification against the line that applies to its original.

    Args:
        flops_direct: FLOPs directly contributing to parameter updates.
        flops_cumulative: those, and private synthetic data, rollouts, reference
            passes; equal to ``flops_direct`` if not given.
        base_model: id or alias in the registry.
        original_flops: the original's training compute in FLOP; wins over the registry.
        systemic_risk: whether the original is classified as a GPAI model with
            systemic risk, also as "yes", "no" or "unknown"; None to go by the registry
            and by 10^25.
        original_is_gpai: whether it is a GPAI model, in the same words; None to go by
            10^23.
        same_provider: whether the original's own provider trains (row 0).
        union_market: False where nothing is placed on the Union market (row 1).
        original_inestimable: True to ask for the substitute threshold, which applies
            only where the value can neither be known nor estimated.

    Raises:
        UnknownModelError: when ``base_model`` is not in the registry.
        UnknownOriginalError: when nothing says what the original cost.
        InputError: when the substitute is asked for a value that is known.
        QuantityError: for what is no count.

    Source: Guidelines C(2025) 7719, points 17, 22, 57 to 68, 115 to 120.
    """
    direct = parse_count(flops_direct)
    cumulative = direct if flops_cumulative is None else parse_count(flops_cumulative)
    if cumulative < direct:
        raise InputError(
            f"flops_cumulative {cumulative} is less than flops_direct {direct}, which "
            "it includes; add what contributed besides"
        )
    facts = Facts(
        direct,
        cumulative,
        None,
        "",
        base_model=base_model or "",
        systemic_risk=_status("systemic_risk", systemic_risk),
        original_is_gpai=_status("original_is_gpai", original_is_gpai),
        same_provider=same_provider,
        union_market=union_market,
        rules_version=law().version,
    )
    return decide_facts(_with_original(facts, original_flops, original_inestimable))


def _status(name: str, value: bool | str | None) -> bool | None:
    """Read a yes, a no or an unknown; the text "no" is true to Python."""
    if value is None or isinstance(value, bool):
        return value
    words = {"yes": True, "no": False, "unknown": None}
    if value not in words:
        raise InputError(f"{name}={value!r} is no status; pass True, False or None")
    return words[value]


def _with_original(
    facts: Facts, original_flops: int | str | None, inestimable: bool
) -> Facts:
    """Find what the original cost, and who says so."""
    known: dict[str, Any] = {}
    needed = not (inestimable or facts.same_provider or not facts.union_market)
    match = _registered(facts.base_model, needed and original_flops is None)
    if match is not None:
        known = {"base_model": match.model.model_id}
        if facts.systemic_risk is None and match.model.systemic_risk is not None:
            known["systemic_risk"] = match.model.systemic_risk
    value = None if match is None else match.model.flops
    source = match.model.source_text if match and value is not None else ""
    if original_flops is not None:
        value, source = parse_count(original_flops, minimum=1), "given by the user"
        if known.get("systemic_risk") is False and presumed_high_impact(value):
            del known["systemic_risk"]  # it rests on the registry's own figure
    if facts.original_is_gpai is False and known.get(
        "systemic_risk", facts.systemic_risk
    ):
        raise InputError(
            "a model with systemic risk is a general-purpose AI model; pass either "
            "systemic_risk=False or original_is_gpai=True"
        )
    if inestimable:
        if value is not None:
            raise InputError(
                f"the substitute threshold is refused: the original's compute is "
                f"{value} FLOP ({source}); it applies only where the value can neither "
                "be known nor estimated (point 61)"
            )
        source = "declared unknown and not estimable"
    elif value is None and not facts.same_provider and facts.union_market:
        who = (
            f"the registry knows {known['base_model']!r} but not"
            if known
            else "nothing says"
        )
        raise UnknownOriginalError(
            f"{who} what the original's training cost; pass original_flops "
            "(--original-flops), estimate it as 6·parameters·tokens, or declare it "
            "unknown and not estimable (--original unknown)"
        )
    return Facts(
        **{**vars(facts), **known, "original_flops": value, "original_source": source}
    )


def _registered(base_model: str, needed: bool) -> Match | None:
    """Return the registry's row, which must exist only where its figure is needed."""
    try:
        return lookup(base_model) if base_model else None
    except UnknownModelError:
        if needed:
            raise
        return None


def recompute(tree: Mapping[str, Any]) -> Decision:
    """Return the decision that the facts in a record give, the registry left alone.

    Raises:
        InputError, KeyError, TypeError: when the facts cannot be read.
    """
    facts = dict(tree["facts"])
    for name in ("flops_direct", "flops_cumulative", "original_flops"):
        facts[name] = None if facts[name] is None else parse_count(facts[name])
    return decide_facts(Facts(**facts))


def decide_facts(facts: Facts) -> Decision:
    """Return the decision that the facts give."""
    rule, threshold, notion = _rule(facts)
    compared = {
        "direct": facts.flops_direct,
        "cumulative": facts.flops_cumulative,
        "original and modification": facts.flops_direct + (facts.original_flops or 0),
    }[notion]
    line = threshold
    if rule == "row-6" and threshold is not None:
        line = max(threshold - (facts.original_flops or 0), Fraction(0))
    verdict = _verdict(rule, compared, threshold)
    point = _POINTS[rule]
    return Decision(
        rule=rule,
        verdict=verdict,
        compared=compared,
        compared_notion=notion,
        threshold=threshold,
        line=line,
        line_text=_line_text(rule),
        paragraph=point,
        paragraph_july=_JULY_PRINT[point],
        explanation=explain(rule, verdict, compared, threshold, facts.original_flops),
        flags=_flags(facts, rule, verdict, compared, threshold),
        facts=facts,
    )


def _rule(facts: Facts) -> tuple[str, Fraction | None, str]:
    """Return the row, its threshold in FLOP, and which figure is compared."""
    if facts.same_provider:
        return "row-0", None, "cumulative"
    if not facts.union_market:
        return "row-1", None, "direct"
    numbers = law()
    share, original = numbers.modification_share, facts.original_flops
    # of an unknown status, the larger figure is compared: never too low
    notion = "cumulative" if facts.systemic_risk is None else "direct"
    gpai = facts.original_is_gpai
    if original is None:
        if gpai is False:
            return "row-6", None, "direct"
        if facts.systemic_risk:
            return "row-5", share * numbers.systemic_risk_flops, "cumulative"
        return "row-3", share * numbers.gpai_flops, notion
    if gpai is False:
        return "row-6", Fraction(numbers.gpai_flops), "original and modification"
    if facts.systemic_risk or (
        facts.systemic_risk is None and presumed_high_impact(original)
    ):
        return "row-4", share * original, "cumulative"
    if gpai is None and original <= numbers.gpai_flops:
        return "row-6", Fraction(numbers.gpai_flops), "original and modification"
    return "row-2", share * original, notion


def _verdict(rule: str, compared: int, threshold: Fraction | None) -> str:
    if rule in ("row-0", "row-1", "row-6") or threshold is None:
        return "not_engaged"
    if compared > threshold:
        return "over"
    return "near" if straddles(compared, threshold) else "below"


def _line_text(rule: str) -> str:
    return {
        "row-0": "no line: the original's own provider trains",
        "row-1": "no line: nothing is placed on the Union market",
        "row-2": "a third of the original's training compute",
        "row-3": "substitute: a third of 10²³ FLOP",
        "row-4": "a third of the original's cumulative training compute",
        "row-5": "substitute: a third of 10²⁵ FLOP",
        "row-6": "original and modification together at 10²³ FLOP",
    }[rule]


def _flags(
    facts: Facts, rule: str, verdict: str, compared: int, threshold: Fraction | None
) -> tuple[str, ...]:
    """Return what counsel should look at."""
    flags = []
    numbers = law()
    original = facts.original_flops or 0
    if verdict == "over" and threshold is not None and straddles(compared, threshold):
        flags.append("within the 30 % margin of the line")
    if rule == "row-6" and threshold is not None and compared > threshold:
        flags.append(
            "original and modification together exceed 10^23 FLOP: ask whether the "
            "result is a general-purpose AI model in its own right (point 17)"
        )
    if rule in ("row-4", "row-5") and verdict == "over":
        flags.append(
            "the result is presumed to carry systemic risk (point 67): notify the "
            f"Commission within {numbers.notification_days} days (Article 52(1))"
        )
    lifecycle = original + facts.flops_cumulative
    if rule in ("row-0", "row-2", "row-6") and presumed_high_impact(lifecycle):
        flags.append(
            "original and modification together exceed 10^25 FLOP (Article 51(2), "
            "point 118): for counsel"
        )
    if facts.systemic_risk is None and rule in ("row-2", "row-3"):
        flags.append(
            "whether the original is classified as one with systemic risk is unknown"
        )
    if facts.systemic_risk is False and presumed_high_impact(original):
        flags.append(
            "the original exceeds 10^25 FLOP, at which systemic risk is presumed "
            "(Article 51(2)), and is declared to carry none"
        )
    return tuple(flags)
