from datetime import date
from fractions import Fraction

import pytest

from flops_magic.core.law import (
    error_range,
    indicative_gpai,
    law,
    notification_deadline,
    presumed_high_impact,
    straddles,
)
from flops_magic.core.rules import decide, recompute
from flops_magic.core.units import parse_count
from flops_magic.errors import InputError, UnknownModelError, UnknownOriginalError

THIRD_23, THIRD_25 = Fraction(10**23, 3), Fraction(10**25, 3)


@pytest.mark.parametrize(
    ("vector", "flops", "known", "threshold", "verdict", "rule"),
    [
        ("T1", "1e24", {"original_flops": "3e24"}, 10**24, "near", "row-2"),
        ("T2", "1.0000001e24", {"original_flops": "3e24"}, 10**24, "over", "row-2"),
        ("T3", "0.95e24", {"original_flops": "3e24"}, 10**24, "near", "row-2"),
        ("T4", "3.33e22", {"original_inestimable": True}, THIRD_23, "near", "row-3"),
        ("T5", "3.34e22", {"original_inestimable": True}, THIRD_23, "over", "row-3"),
        (
            "T6",
            "3.33e24",
            {"original_inestimable": True, "systemic_risk": True},
            THIRD_25,
            "near",
            "row-5",
        ),
        (
            "T7",
            "3.34e24",
            {"original_inestimable": True, "systemic_risk": True},
            THIRD_25,
            "over",
            "row-5",
        ),
        (
            "T8",
            "4e24",
            {"original_flops": "3e25", "systemic_risk": True},
            10**25,
            "below",
            "row-4",
        ),
        (
            "T9",
            "1.1e25",
            {"original_flops": "3e25", "systemic_risk": True},
            10**25,
            "over",
            "row-4",
        ),
        ("T10", "2.0e24", {"original_flops": "6.3e24"}, 21 * 10**23, "near", "row-2"),
        (
            "T12",
            "2e22",
            {"original_flops": "5e22", "original_is_gpai": True},
            Fraction(5 * 10**22, 3),
            "over",
            "row-2",
        ),
        ("T13", "1e22", {"original_flops": "8.7e22"}, 10**23, "not_engaged", "row-6"),
        ("T15", "4e24", {"original_flops": "9e24"}, 3 * 10**24, "over", "row-2"),
        ("T16", "2e24", {"original_flops": "9e24"}, 3 * 10**24, "below", "row-2"),
    ],
)
def test_threshold_vectors(vector, flops, known, threshold, verdict, rule):
    asked = {"systemic_risk": False} | known
    decision = decide(flops, **asked)
    assert (decision.rule, decision.threshold) == (rule, threshold)
    assert decision.verdict == verdict
    assert (decision.verdict == "over") == (decision.compared > decision.threshold)


def test_t11_the_substitute_is_refused_where_the_value_can_be_estimated():
    with pytest.raises(InputError, match="refused"):
        decide("4e22", base_model="meta-llama/Llama-3.2-3B", original_inestimable=True)
    decision = decide("4e22", base_model="meta-llama/Llama-3.2-3B")
    assert decision.verdict == "below"
    assert decision.threshold == Fraction(parse_count("1.733e23"), 3)


def test_t13_t14_original_and_modification_are_held_against_10_to_the_23():
    below = decide("1e22", original_flops="8.7e22")
    above = decide("1.4e22", original_flops="8.7e22")
    assert below.compared == parse_count("9.7e22")
    assert not any("10^23" in flag for flag in below.flags)
    assert any("10^23" in flag for flag in above.flags)
    assert below.line == parse_count("1.3e22")


@pytest.mark.parametrize("flops", ["4e24", "2e24"])
def test_t15_t16_a_lifecycle_total_above_10_to_the_25_is_for_counsel(flops):
    decision = decide(flops, original_flops="9e24", systemic_risk=False)
    assert any("10^25" in flag for flag in decision.flags)


def test_t17_the_original_provider_is_no_downstream_modifier():
    decision = decide("1e24", original_flops="1e24", same_provider=True)
    assert (decision.rule, decision.verdict, decision.threshold) == (
        "row-0",
        "not_engaged",
        None,
    )


def test_row_1_nothing_on_the_union_market():
    assert decide("1e24", original_flops="1e24", union_market=False).rule == "row-1"


def test_over_a_systemic_risk_original_names_the_notification():
    decision = decide("1.1e25", original_flops="3e25", systemic_risk=True)
    assert any("within 14 days" in flag for flag in decision.flags)
    assert decision.paragraph == "67"
    assert decision.paragraph_july == "70"


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
    with pytest.raises(UnknownModelError, match="near: 'meta-llama/Llama-3"):
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


@pytest.mark.parametrize(
    ("word", "status"), [("yes", True), ("no", False), ("unknown", None)]
)
def test_a_status_may_be_a_word(word, status):
    by_word = decide("1e22", original_flops="3e24", systemic_risk=word)
    assert by_word == decide("1e22", original_flops="3e24", systemic_risk=status)
    with pytest.raises(InputError, match="no status"):
        decide(1, original_flops="3e24", systemic_risk="maybe")


def test_a_registered_no_does_not_outlive_a_figure_beyond_10_to_the_25():
    decision = decide("1e24", base_model="Qwen/Qwen3-8B", original_flops="3e25")
    assert (decision.rule, decision.compared_notion) == ("row-4", "cumulative")


def test_of_an_unknown_status_the_substitute_too_meets_the_larger_figure():
    decision = decide("1e22", flops_cumulative="1e23", original_inestimable=True)
    assert (decision.rule, decision.verdict) == ("row-3", "over")


def test_cumulative_below_direct_is_refused():
    with pytest.raises(InputError, match="includes"):
        decide("2e20", flops_cumulative="1e20", original_flops="3e24")


@pytest.mark.parametrize("original", [10**24 - 1, 10**24, 10**24 + 1, 3 * 10**24 + 1])
def test_exactly_on_the_line_has_not_crossed_and_one_more_has(original):
    on = original // 3
    at = decide(on, original_flops=original, systemic_risk=False)
    after = decide(on + 1, original_flops=original, systemic_risk=False)
    assert at.verdict != "over"
    assert after.verdict == "over"


def test_more_compute_never_lowers_the_verdict():
    order = ["below", "near", "over"]
    verdicts = [
        order.index(
            decide(f * 10**22, original_flops="3e24", systemic_risk=False).verdict
        )
        for f in range(0, 200, 5)
    ]
    assert verdicts == sorted(verdicts)
    assert set(verdicts) == {0, 1, 2}


@pytest.mark.parametrize("scale", [10**1, 10**3, 7])
def test_the_ratio_does_not_depend_on_the_unit(scale):
    one = decide(10**23, original_flops=3 * 10**24, systemic_risk=False)
    other = decide(
        10**23 * scale, original_flops=3 * 10**24 * scale, systemic_risk=False
    )
    assert one.ratio == other.ratio


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
    assert recompute(decision.to_dict()) == decision


@pytest.mark.parametrize(
    ("flops", "verdict"), [("1e20", "not met"), ("8e23", "margin"), ("2e24", "is met")]
)
def test_explanations_speak_of_the_criterion_and_never_of_a_status(flops, verdict):
    text = decide(flops, original_flops="3e24", systemic_risk=False).explanation
    assert verdict in text
    assert "you are" not in text.lower()


@pytest.mark.parametrize(
    ("vector", "flops", "presumed"),
    [("P1", "1e25", False), ("P2", "1.0000001e25", True)],
)
def test_high_impact_is_presumed_strictly_above_10_to_the_25(vector, flops, presumed):
    assert presumed_high_impact(parse_count(flops)) is presumed


@pytest.mark.parametrize(
    ("vector", "flops", "modality", "general", "gpai"),
    [
        ("P3", "1e23", "text", True, False),
        ("P4", "1e24", "text", True, True),
        ("P5", "1e22", "text", False, False),
        ("P6", "1e24", "speech", False, False),
        ("P7", "1e24", "chess", False, False),
    ],
)
def test_gpai_criterion_vectors(vector, flops, modality, general, gpai):
    assert (
        indicative_gpai(parse_count(flops), modality=modality, general=general) is gpai
    )


@pytest.mark.parametrize(
    ("vector", "flops", "line", "near"),
    [
        ("M1", "7.7e24", Fraction(10**25), True),
        ("M2", "7.69e24", Fraction(10**25), False),
        ("M3", "2.6e24", THIRD_25, True),
    ],
)
def test_margin_vectors(vector, flops, line, near):
    assert straddles(parse_count(flops), line) is near


def test_the_margin_is_30_percent_of_the_reported_estimate():
    assert error_range(10) == (7, 13)


def test_n1_two_weeks_to_notify():
    assert notification_deadline(date(2026, 11, 23)) == date(2026, 12, 7)


def test_the_share_of_a_modification_is_a_third_and_nothing_else():
    assert law().modification_share == Fraction(1, 3)
    assert (law().gpai_flops, law().systemic_risk_flops) == (10**23, 10**25)
