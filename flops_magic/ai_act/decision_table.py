"""The Guidelines as a pure function: compute and original in, decision out.

Rows 0 to 8 of the decision table. Comparisons are strict, on integers and fractions;
nothing is rounded before it is compared. The criterion is indicative: a decision says
that it is met or not met, never who is a provider.

====  =====================================================  =========================
row   situation                                              strictly greater than
====  =====================================================  =========================
0     the original's own provider trains                     no line
1     nothing is placed on the Union market                  no line
2     the original is a GPAI model of known compute          a third of it, direct
3     … of compute that cannot be known or estimated         a third of 10^23
4     … with systemic risk, of known compute                 a third of it, cumulative
5     … with systemic risk, of compute that stays unknown    a third of 10^25
6     the original is not a GPAI model                       10^23, both together
7     any of 0, 2, 3 and 6, both together                    10^25 (Article 51(2))
8     none of them is exceeded                               –
====  =====================================================  =========================
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction

from flops_magic.ai_act.decision import Comparison, Decision, Facts, OriginalFacts
from flops_magic.ai_act.flags import exceeds_high_impact
from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.ai_act.thresholds import (
    Law,
    in_force,
    law,
    laws,
    presumed_high_impact,
    straddles,
    today,
)
from flops_magic.ai_act.wordings import CURRENT, wording_of
from flops_magic.errors import InputError
from flops_magic.flops.histogram import FlopTotals
from flops_magic.flops.units import parse_count

# Point numbers as adopted; the text of July 2025 prints 57 to 130 three higher.
_POINTS = {
    "row-0": "22",
    "row-1": "57",
    "row-2": "60",
    "row-3": "61",
    "row-4": "67",
    "row-5": "61",
    # Row 6 has no point of its own: point 17 says what makes a GPAI model.
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
    original_source: str | None = None,
    original_tokens: int | str | None = None,
    original_parameters: int | str | None = None,
    trained_parameters: int | None = None,
    on: date | None = None,
) -> Decision:
    """Hold a modification against the line that applies to its original.

    Args:
        flops_direct: FLOPs directly contributing to parameter updates.
        flops_cumulative: those, and private synthetic data, rollouts, reference
            passes; equal to ``flops_direct`` if not given.
        base_model: id or alias in the registry.
        original_flops: the original's training compute in FLOP; wins over the registry.
        systemic_risk: whether the original is classified as a GPAI model with
            systemic risk, also as "yes" or "no"; None to go by the registry and by
            10^25; "unknown" to go by 10^25 alone, and compare the larger figure.
        original_is_gpai: whether it is a GPAI model, "yes", "no" or "unknown"; None to
            go by 10^23.
        same_provider: whether the original's own provider trains (row 0).
        union_market: False where nothing is placed on the Union market (row 1).
        original_inestimable: True to ask for the substitute threshold, which applies
            only where the value can neither be known nor estimated.
        original_source: where ``original_flops`` or ``original_tokens`` were read.
        original_tokens: D of the original's training, to estimate its compute as
            6·P·D.
        original_parameters: P, those active for a token; the registry's or the trained
            model's by default.
        trained_parameters: parameters of the trained model, without adapters.
        on: the day of the decision; it selects the rules in force; today by default.

    Raises:
        UnknownModelError: when ``base_model`` is not in the registry.
        UnknownOriginalError: when nothing says what the original cost.
        InputError: when the substitute is asked for a value that is known, and where
            inputs contradict each other.
        QuantityError: when a figure cannot be read as a count.

    Source: Guidelines C(2025) 7719, points 17, 22, 57 to 68, 115 to 120.
    """
    direct = parse_count(flops_direct)
    cumulative = direct if flops_cumulative is None else parse_count(flops_cumulative)
    # The cumulative notion includes the direct one.
    if cumulative < direct:
        raise InputError(
            f"flops_cumulative {cumulative} is less than flops_direct {direct}, which "
            "it includes; add what contributed besides"
        )
    original = OriginalModel.read(
        base_model=base_model,
        original_flops=original_flops,
        original_tokens=original_tokens,
        original_parameters=original_parameters,
        original_source=original_source,
        original_inestimable=original_inestimable,
        systemic_risk=systemic_risk,
        original_is_gpai=original_is_gpai,
        same_provider=same_provider,
        union_market=union_market,
    )
    day = on or today()
    known = original.resolve(
        trained_parameters=trained_parameters, numbers=in_force(laws(), day)
    )
    return decide_facts(facts_of(known, direct, cumulative, day))


def judge(
    original: OriginalModel,
    flops: FlopTotals,
    trained_id: str | None = None,
    trained_parameters: int | None = None,
    on: date | None = None,
) -> Decision:
    """Return the decision on one finished or planned run.

    Args:
        original: what the user says of the original model.
        flops: what the run costs.
        trained_id: the trained model's own name, used where ``original`` has none.
        trained_parameters: its parameters, adapters left out.
        on: the day of the decision; today by default.

    Raises:
        UnknownModelError, UnknownOriginalError, InputError: as
            ``OriginalModel.resolve`` does.
    """
    day = on or today()
    numbers = in_force(laws(), day)
    known = original.resolve(trained_id, trained_parameters, numbers=numbers)
    return decide_facts(facts_of(known, flops.direct, flops.cumulative, day))


def facts_of(
    original: OriginalFacts, flops_direct: int, flops_cumulative: int, day: date
) -> Facts:
    """Return all that a decision rests on; the registry is not asked.

    Args:
        original: what is known of the original, resolved before.
        flops_direct: FLOPs directly contributing to parameter updates.
        flops_cumulative: those, and what else contributed to capabilities.
        day: of the decision; it selects the rules in force.
    """
    return Facts(
        **vars(original),
        flops_direct=flops_direct,
        flops_cumulative=flops_cumulative,
        rules_version=in_force(laws(), day).version,
        known_on=day.isoformat(),
    )


def verdict_with(comparison: Comparison, more_flops: int) -> str:
    """Return the verdict that further training FLOPs of the run would lead to."""
    numbers = law(comparison.facts.rules_version or None)
    compared = comparison.compared + more_flops
    return _verdict(comparison.rule, compared, comparison.threshold, numbers)


def recompute(decision: Decision) -> Decision:
    """Return what the decision's own facts give, by its rules and in its wording.

    Raises:
        InputError: for rules or a wording that this release does not know.
        ValueError: when ``known_on`` is not a date.
    """
    return decide_facts(decision.facts, wording=decision.wording)


def decide_facts(facts: Facts, *, wording: str = CURRENT) -> Decision:
    """Return the decision that the facts give, by the rules that they name.

    Args:
        facts: what it rests on.
        wording: the version of its sentences.

    Raises:
        InputError: for rules or a wording that this release does not know.
    """
    numbers = law(facts.rules_version or None)
    words = wording_of(wording)
    found = compare(facts, wording=wording)
    held = found.rule, found.verdict, found.compared, found.threshold
    point = _POINTS[found.rule]
    return Decision(
        **vars(found),
        rows_met=_rows_met(facts, found.rule, found.compared, found.threshold, numbers),
        paragraph=point,
        paragraph_july=_JULY_PRINT[point],
        explanation=words.explain(*held, facts, numbers),
        consequence=words.consequence(
            found.rule, found.verdict, facts.known_on, numbers
        ),
        flags=tuple(words.flags(facts, *held, numbers)),
        wording=wording,
    )


def compare(facts: Facts, *, wording: str = CURRENT) -> Comparison:
    """Hold the facts' FLOPs against their line: what a step of a run needs to know.

    Args:
        facts: what is compared.
        wording: the version of the few words that name the line.

    Raises:
        InputError: for rules or a wording that this release does not know.
    """
    numbers = law(facts.rules_version or None)
    rule, threshold, notion = _rule(facts, numbers)
    compared = {
        "direct": facts.flops_direct,
        "cumulative": facts.flops_cumulative,
        "original and modification": facts.flops_direct + (facts.original_flops or 0),
    }[notion]
    line = threshold
    if rule == "row-6" and threshold is not None:
        line = max(threshold - (facts.original_flops or 0), Fraction(0))
    return Comparison(
        rule=rule,
        verdict=_verdict(rule, compared, threshold, numbers),
        compared=compared,
        compared_notion=notion,
        threshold=threshold,
        line=line,
        line_text=wording_of(wording).line_text(rule, numbers),
        facts=facts,
    )


def _rule(facts: Facts, numbers: Law) -> tuple[str, Fraction | None, str]:
    """Return the row, its threshold in FLOP, and which figure is compared."""
    # Point 22: a provider that trains its own model further has one model with one
    # lifecycle, so nothing is held against a line.
    if facts.same_provider:
        return "row-0", None, "cumulative"
    # Without a placing on the Union market the obligations are not engaged.
    if not facts.union_market:
        return "row-1", None, "direct"
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
    # Unknown status above 10^25 is presumed to be systemic risk: Article 51(2).
    if facts.systemic_risk or (
        facts.systemic_risk is None and presumed_high_impact(original, numbers)
    ):
        return "row-4", share * original, "cumulative"
    # "More than 10^23" indicates a GPAI model (point 17), so exactly 10^23 does not.
    if gpai is None and original <= numbers.gpai_flops:
        return "row-6", Fraction(numbers.gpai_flops), "original and modification"
    return "row-2", share * original, notion


def _verdict(rule: str, compared: int, threshold: Fraction | None, numbers: Law) -> str:
    if rule in ("row-0", "row-1", "row-6") or threshold is None:
        return "not_engaged"
    # Strictly: the Guidelines say "greater than".
    if compared > threshold:
        return "over"
    return "near" if straddles(compared, threshold, numbers) else "below"


def _rows_met(
    facts: Facts, rule: str, compared: int, threshold: Fraction | None, numbers: Law
) -> tuple[str, ...]:
    """Return the rows whose threshold is exceeded; row 8 where none is."""
    met = [rule] if threshold is not None and compared > threshold else []
    if exceeds_high_impact(facts, rule, numbers):
        met.append("row-7")
    return tuple(met) or ("row-8",)
