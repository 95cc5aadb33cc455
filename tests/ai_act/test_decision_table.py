from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flops_magic.ai_act.decision_table import (
    compare,
    decide,
    recompute,
    verdict_with,
)
from flops_magic.ai_act.thresholds import (
    error_range,
    law,
)
from flops_magic.errors import InputError, UnknownModelError, UnknownOriginalError

THIRD_23, THIRD_25 = Fraction(10**23, 3), Fraction(10**25, 3)


def test_row_1_nothing_on_the_union_market():
    decision = decide("1e24", original_flops="1e24", union_market=False)
    assert (decision.rule, decision.verdict) == ("row-1", "not_engaged")
    assert not decision.flags
    large = decide("1e24", original_flops="3e25", union_market=False)
    assert any("recital 97" in flag for flag in large.flags)


@pytest.mark.parametrize(
    ("rule", "known", "point", "july"),
    [
        ("row-0", {"original_flops": "3e24", "same_provider": True}, "22", "23"),
        ("row-1", {"original_flops": "3e24", "union_market": False}, "57", "60"),
        ("row-2", {"original_flops": "3e24"}, "60", "63"),
        ("row-3", {"original_inestimable": True}, "61", "64"),
        ("row-4", {"original_flops": "3e25"}, "67", "70"),
        ("row-5", {"original_inestimable": True, "systemic_risk": True}, "61", "64"),
        ("row-6", {"original_flops": "3e22"}, "17", "17"),
    ],
)
def test_every_row_names_its_point_in_both_numberings(rule, known, point, july):
    decision = decide("1e21", **known)
    assert (decision.rule, decision.paragraph, decision.paragraph_july) == (
        rule,
        point,
        july,
    )
    assert decision.rows_met == ("row-8",)
    assert decision.explanation.count(". ") == 1  # two sentences


def test_the_consequences_of_an_ordinary_original_are_limited_to_the_modification():
    over = decide("2e24", original_flops="3e24", **ORDINARY).consequence
    below = decide("1e22", original_flops="3e24", **ORDINARY).consequence
    assert "limited to the modification" in over
    assert "No obligation" in below
    assert "point 59" in below


def test_a_systemic_risk_original_compares_cumulative_compute():
    decision = decide(
        "1e24", flops_cumulative="1.1e25", original_flops="3e25", systemic_risk=True
    )
    assert (decision.compared_notion, decision.verdict) == ("cumulative", "over")


def test_an_ordinary_original_compares_direct_compute():
    decision = decide(
        "1e22", flops_cumulative="9e23", original_flops="3e23", systemic_risk=False
    )
    assert (decision.compared, decision.verdict) == (10**22, "below")


def test_of_an_unknown_status_the_larger_figure_is_compared():
    decision = decide("1e22", flops_cumulative="2e23", original_flops="3e23")
    assert decision.compared == 2 * 10**23
    assert any("unknown" in flag for flag in decision.flags)


def test_an_original_beyond_10_to_the_25_is_presumed_to_carry_systemic_risk():
    assert decide("1e24", original_flops="3e25").rule == "row-4"


def test_nothing_known_of_the_original_is_an_error_that_says_what_to_pass():
    with pytest.raises(UnknownOriginalError, match="--original-flops"):
        decide("1e20")


def test_a_registered_model_of_unknown_compute_says_so():
    with pytest.raises(UnknownOriginalError, match="'mistralai/Mistral-7B"):
        decide("1e20", base_model="mistralai/Mistral-7B-v0.3")


def test_an_unknown_model_offers_near_names():
    with pytest.raises(UnknownModelError, match="near: meta-llama/Llama-3"):
        decide("1e20", base_model="meta-lama/Llama-3.1-8B")


def test_what_the_user_knows_wins_over_the_registry():
    decision = decide("1e20", base_model="Qwen/Qwen3-8B", original_flops="9e23")
    assert decision.facts.original_flops == 9 * 10**23
    assert decision.facts.original_source == "given by the user"


@pytest.mark.parametrize(
    "known",
    [{"original_inestimable": True}, {"same_provider": True}, {"union_market": False}],
)
def test_a_model_of_ones_own_needs_no_row_where_no_figure_is_asked(known):
    assert decide("1e20", base_model="acme/own", **known).facts.base_model == "acme/own"


@pytest.mark.parametrize(
    ("known", "threshold"),
    [
        ({"original_inestimable": True}, None),
        ({"original_flops": "3e23"}, 10**23),
        ({"original_flops": "3e25"}, 10**23),
    ],
)
def test_an_original_that_is_no_gpai_model_engages_no_third(known, threshold):
    decision = decide("4e22", original_is_gpai=False, **known)
    assert (decision.rule, decision.verdict) == ("row-6", "not_engaged")
    assert decision.threshold == threshold
    assert "declared to be no general-purpose" in decision.explanation


def test_systemic_risk_without_generality_is_a_contradiction():
    with pytest.raises(InputError, match="systemic risk"):
        decide(1, original_flops="3e25", systemic_risk=True, original_is_gpai=False)


@pytest.mark.parametrize(("word", "status"), [("yes", True), ("no", False)])
def test_a_status_may_be_a_word(word, status):
    by_word = decide("1e22", original_flops="3e24", systemic_risk=word)
    assert by_word == decide("1e22", original_flops="3e24", systemic_risk=status)
    with pytest.raises(InputError, match="'yes', 'no' or 'unknown'"):
        decide(1, original_flops="3e24", systemic_risk="maybe")


def test_a_risk_said_to_be_unknown_is_not_looked_up():
    asked = {"base_model": "Qwen/Qwen3-8B", "flops_cumulative": "2e24"}
    by_registry = decide("1e20", **asked)
    said = decide("1e20", **asked, systemic_risk="unknown")
    assert (by_registry.facts.systemic_risk, by_registry.compared) == (False, 10**20)
    assert by_registry.facts.systemic_risk_source == "registry: presumption by compute"
    assert (said.facts.systemic_risk, said.compared) == (None, 2 * 10**24)
    assert said.facts.systemic_risk_source == "given by the user"


def test_a_registered_no_does_not_outlive_a_figure_beyond_10_to_the_25():
    decision = decide("1e24", base_model="Qwen/Qwen3-8B", original_flops="3e25")
    assert (decision.rule, decision.compared_notion) == ("row-4", "cumulative")


def test_of_an_unknown_status_the_substitute_too_meets_the_larger_figure():
    decision = decide("1e22", flops_cumulative="1e23", original_inestimable=True)
    assert (decision.rule, decision.verdict) == ("row-3", "over")


def test_cumulative_below_direct_is_refused():
    with pytest.raises(InputError, match="includes"):
        decide("2e20", flops_cumulative="1e20", original_flops="3e24")


counts = st.integers(1, 10**27)
ORDER = {"below": 0, "near": 1, "over": 2}
ORDINARY = {"systemic_risk": False, "original_is_gpai": True}


@given(original=counts)
def test_exactly_on_the_line_has_not_crossed_and_one_more_has(original):
    on = original // 3
    at = decide(on, original_flops=original, **ORDINARY)
    after = decide(on + 1, original_flops=original, **ORDINARY)
    assert at.verdict != "over"
    assert after.verdict == "over"


@given(original=counts, flops=counts, more=counts)
def test_more_compute_never_lowers_the_verdict(original, flops, more):
    less = decide(flops, original_flops=original, **ORDINARY)
    greater = decide(flops + more, original_flops=original, **ORDINARY)
    assert ORDER[less.verdict] <= ORDER[greater.verdict]


@given(original=counts, more=counts, flops=counts)
def test_a_larger_original_never_raises_the_verdict(original, more, flops):
    small = decide(flops, original_flops=original, **ORDINARY)
    large = decide(flops, original_flops=original + more, **ORDINARY)
    assert ORDER[small.verdict] >= ORDER[large.verdict]


@given(original=counts, flops=counts, scale=counts)
def test_the_verdict_does_not_depend_on_the_unit(original, flops, scale):
    one = decide(flops, original_flops=original, **ORDINARY)
    other = decide(flops * scale, original_flops=original * scale, **ORDINARY)
    assert (one.verdict, one.ratio) == (other.verdict, other.ratio)


@given(flops=counts, digits=st.integers(0, 6))
def test_text_and_integers_say_the_same(flops, digits):
    text = f"{flops}e{digits}"
    by_text = decide(text, original_flops="3e24", **ORDINARY)
    by_number = decide(flops * 10**digits, original_flops=3 * 10**24, **ORDINARY)
    assert by_text == by_number


@given(direct=counts, beside=counts, original=counts)
def test_of_an_ordinary_original_only_direct_compute_decides(direct, beside, original):
    alone = decide(direct, original_flops=original, **ORDINARY)
    more = decide(
        direct, flops_cumulative=direct + beside, original_flops=original, **ORDINARY
    )
    assert (alone.verdict, alone.compared) == (more.verdict, more.compared)


@pytest.mark.parametrize(
    "known",
    [
        {"original_flops": "3e24"},
        {"original_flops": "3e25", "systemic_risk": True},
        {"original_inestimable": True},
        {"original_flops": "1e21"},
        {"base_model": "Qwen/Qwen3-8B"},
    ],
)
def test_a_recorded_decision_is_computed_again_from_its_facts_alone(known):
    decision = decide("1e23", flops_cumulative="2e23", **known)
    assert recompute(decision) == decision


@pytest.mark.parametrize(
    ("flops", "verdict"), [("1e20", "not met"), ("8e23", "margin"), ("2e24", "is met")]
)
def test_explanations_speak_of_the_criterion_and_never_of_a_status(flops, verdict):
    text = decide(flops, original_flops="3e24", systemic_risk=False).explanation
    assert verdict in text
    assert "you are" not in text.lower()


def test_the_margin_is_30_percent_of_the_reported_estimate():
    assert error_range(10) == (7, 13)


def test_the_share_of_a_modification_is_a_third_and_nothing_else():
    assert law().modification_share == Fraction(1, 3)
    assert (law().gpai_flops, law().systemic_risk_flops) == (10**23, 10**25)


@pytest.mark.parametrize(
    "known",
    [
        {"original_flops": "3e24"} | ORDINARY,
        {"original_flops": "3e25"},
        {"original_flops": "5e22"},
        {"original_inestimable": True},
        {"original_flops": "1e24", "same_provider": True},
    ],
)
@pytest.mark.parametrize("more", [0, 10**22, 10**24, 10**25])
def test_the_numbers_of_a_step_are_those_of_the_decision(known, more):
    decision = decide("1e21", **known)
    numbers = compare(decision.facts)
    assert vars(numbers).items() <= vars(decision).items()
    later = decide(10**21 + more, **known)
    assert verdict_with(numbers, more) == later.verdict
