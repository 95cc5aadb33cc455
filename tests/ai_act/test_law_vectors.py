"""The test vectors of the law, each by its id (facts of 23 November 2026, section 8).

A to L are formulas with the Guidelines' own examples, T thresholds of a modification, P
the presumptions of 10^23 and 10^25, R rounding, M the margin, N the notification.
"""

from datetime import date
from fractions import Fraction

import pytest

from flops_magic.ai_act.decision_table import decide
from flops_magic.ai_act.thresholds import (
    indicative_gpai,
    notification_deadline,
    presumed_high_impact,
    straddles,
)
from flops_magic.errors import InputError
from flops_magic.flops.formulas import (
    hardware_flops,
    lora_pd,
    six_pd,
    synthetic_data_flops,
    weighted_peak,
)
from flops_magic.flops.units import (
    order_of_magnitude,
    parse_count,
    two_significant_figures,
)

HOUR_S = 3600
THIRD_23, THIRD_25 = Fraction(10**23, 3), Fraction(10**25, 3)


def exactly(text):
    return parse_count(text)


@pytest.mark.parametrize(
    ("vector", "found", "expected"),
    [
        ("A", six_pd(3.8e9, 3.3e12), "7.524e22"),
        ("B", hardware_flops(200_000 * HOUR_S, "300e12", "0.5"), "1.08e23"),
        ("C", six_pd(0.6e9, 36e12), "1.296e23"),
        ("D", six_pd(1.54e9, 18e12), "1.6632e23"),
        ("E", six_pd(1.7e9, 36e12), "3.672e23"),
        ("F", six_pd(2.5e9, 12e12), "1.8e23"),
        ("G", six_pd(2.6e9, 10e12), "1.56e23"),
        ("G-epochs", six_pd(2.6e9, 61 * 10**9 * 164), "1.560624e23"),
        ("H", hardware_flops(370_000 * HOUR_S, "989e12", "0.5"), "6.58674e23"),
        ("W", weighted_peak([(400_000, "312e12"), (200_000, "989.4e12")]), "537.8e12"),
        (
            "SD-kept-from-view",
            synthetic_data_flops(8 * 10**9, 100 * 10**6, publicly_accessible=False),
            "1.6e18",
        ),
        (
            "SD-public",
            synthetic_data_flops(8 * 10**9, 100 * 10**6, publicly_accessible=True),
            "0",
        ),
        ("L", lora_pd(3_210_000_000, 24_300_000, 10**6), "1.28886e16"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_formula(vector, found, expected):
    assert found == exactly(expected)


def test_formula_s_periods_add_up():
    periods = [(8, 3600), (16, 7200), (24, 1800)]
    whole = hardware_flops(sum(n * s for n, s in periods), "312e12", "0.4")
    assert whole == sum(hardware_flops(n * s, "312e12", "0.4") for n, s in periods)


ORDINARY = {"original_is_gpai": True, "systemic_risk": False}
SYSTEMIC = {"original_is_gpai": True, "systemic_risk": True}
UNKNOWN = {"original_inestimable": True}


@pytest.mark.parametrize(
    ("vector", "modification", "known", "threshold", "met", "rule"),
    [
        ("T1", "1e24", {"original_flops": "3e24", **ORDINARY}, "1e24", False, "row-2"),
        (
            "T2",
            "1.0000001e24",
            {"original_flops": "3e24", **ORDINARY},
            "1e24",
            True,
            "row-2",
        ),
        (
            "T3",
            "0.95e24",
            {"original_flops": "3e24", **ORDINARY},
            "1e24",
            False,
            "row-2",
        ),
        ("T4", "3.33e22", {**UNKNOWN, **ORDINARY}, THIRD_23, False, "row-3"),
        ("T5", "3.34e22", {**UNKNOWN, **ORDINARY}, THIRD_23, True, "row-3"),
        ("T6", "3.33e24", {**UNKNOWN, **SYSTEMIC}, THIRD_25, False, "row-5"),
        ("T7", "3.34e24", {**UNKNOWN, **SYSTEMIC}, THIRD_25, True, "row-5"),
        ("T8", "4e24", {"original_flops": "3e25", **SYSTEMIC}, "1e25", False, "row-4"),
        ("T9", "1.1e25", {"original_flops": "3e25", **SYSTEMIC}, "1e25", True, "row-4"),
        (
            "T10",
            "2.0e24",
            {"original_tokens": "15T", "original_parameters": "70B", **ORDINARY},
            "2.1e24",
            False,
            "row-2",
        ),
        (
            "T11",
            "4e22",
            {"original_tokens": "9T", "original_parameters": "3.21B", **ORDINARY},
            "5.778e22",
            False,
            "row-2",
        ),
        (
            "T12",
            "2e22",
            {"original_flops": "5e22", **ORDINARY},
            Fraction(5 * 10**22, 3),
            True,
            "row-2",
        ),
        ("T15", "4e24", {"original_flops": "9e24", **ORDINARY}, "3e24", True, "row-2"),
        ("T16", "2e24", {"original_flops": "9e24", **ORDINARY}, "3e24", False, "row-2"),
    ],
    ids=lambda value: value if isinstance(value, str) and value[0] == "T" else "",
)
def test_threshold(vector, modification, known, threshold, met, rule):
    decision = decide(modification, **known)
    expected = exactly(threshold) if isinstance(threshold, str) else threshold
    assert (decision.rule, decision.threshold) == (rule, expected)
    assert (decision.verdict == "over") is met
    assert (rule in decision.rows_met) is met


@pytest.mark.parametrize("vector", ["T7", "T9"])
def test_an_original_with_systemic_risk_passes_it_on_and_asks_for_a_notification(
    vector,
):
    known = {"T7": UNKNOWN, "T9": {"original_flops": "3e25"}}[vector]
    flops = {"T7": "3.34e24", "T9": "1.1e25"}[vector]
    decision = decide(flops, **known, **SYSTEMIC, on=date(2026, 11, 23))
    assert "presumed to carry systemic risk" in decision.consequence
    assert "2026-12-07" in decision.consequence


@pytest.mark.parametrize(
    "unknowable", [{"original_tokens": "9T"}, {"base_model": "meta-llama/Llama-3.2-3B"}]
)
def test_t11_the_substitute_is_refused_where_the_value_can_be_estimated(unknowable):
    with pytest.raises(InputError, match="substitute threshold is refused"):
        decide("4e22", original_inestimable=True, **unknowable)


@pytest.mark.parametrize(
    ("vector", "modification", "together", "rows"),
    [
        ("T13", "1e22", "9.7e22", ("row-8",)),
        ("T14", "1.4e22", "1.01e23", ("row-6",)),
    ],
)
def test_of_no_gpai_model_the_result_is_held_against_10_to_the_23(
    vector, modification, together, rows
):
    decision = decide(modification, original_flops="8.7e22", original_is_gpai=False)
    assert (decision.rule, decision.verdict) == ("row-6", "not_engaged")
    assert decision.compared == exactly(together)
    assert decision.rows_met == rows
    assert any("in its own right" in flag for flag in decision.flags) is (
        vector == "T14"
    )


@pytest.mark.parametrize(
    ("vector", "modification", "rows"),
    [("T15", "4e24", ("row-2", "row-7")), ("T16", "2e24", ("row-7",))],
)
def test_a_lifecycle_total_above_10_to_the_25_is_for_counsel(
    vector, modification, rows
):
    decision = decide(modification, original_flops="9e24", **ORDINARY)
    assert decision.rows_met == rows
    assert any("Article 51(2)" in flag for flag in decision.flags)


@pytest.mark.parametrize("flops", ["1", "1e24", "1e26"])
def test_t17_the_original_provider_is_no_downstream_modifier(flops):
    decision = decide(flops, original_flops="1e24", same_provider=True)
    assert (decision.rule, decision.verdict) == ("row-0", "not_engaged")
    assert decision.threshold is None
    # it adds to the lifecycle total, which meets row 7 on its own
    assert ("row-7" in decision.rows_met) is (flops == "1e26")


@pytest.mark.parametrize(
    ("vector", "flops", "presumed"),
    [("P1", "1e25", False), ("P2", "1.0000001e25", True)],
)
def test_high_impact_is_presumed_strictly_above_10_to_the_25(vector, flops, presumed):
    assert presumed_high_impact(exactly(flops)) is presumed


@pytest.mark.parametrize(
    ("vector", "flops", "modality", "general", "gpai"),
    [
        ("P3", "1e23", "text", True, False),
        ("P4", "1e24", "text", True, True),
        ("P5", "1e22", "text", False, False),
        ("P6-transcription", "1e24", "speech", False, False),
        ("P6-upscaling", "1e24", "text-to-image", False, False),
        ("P6-music", "1e24", "music", True, False),
        ("P7-chess", "1e24", "chess", False, False),
        ("P7-weather", "1e24", "weather", True, False),
    ],
)
def test_gpai_criterion(vector, flops, modality, general, gpai):
    assert indicative_gpai(exactly(flops), modality=modality, general=general) is gpai


@pytest.mark.parametrize(
    ("vector", "flops", "two_figures", "magnitude"),
    [
        ("R1", "2.34e25", "2.3x10^25", "10^25"),
        ("R2", "7.524e22", "7.5x10^22", "10^22"),
        ("R3", "9.96e24", "1.0x10^25", "10^24"),
    ],
)
def test_rounding(vector, flops, two_figures, magnitude):
    assert two_significant_figures(exactly(flops)) == two_figures
    assert order_of_magnitude(exactly(flops)) == magnitude


def test_r3_nothing_is_rounded_before_it_is_compared():
    assert not presumed_high_impact(exactly("9.96e24"))


@pytest.mark.parametrize(
    ("vector", "flops", "line", "near"),
    [
        ("M1", "7.7e24", Fraction(10**25), True),
        ("M2", "7.69e24", Fraction(10**25), False),
        ("M3", "2.6e24", THIRD_25, True),
    ],
)
def test_margin(vector, flops, line, near):
    assert straddles(exactly(flops), line) is near


def test_margin_m4_lora_by_the_full_formula_is_outside_of_it():
    reported, true = six_pd(10**9, 10**6), lora_pd(10**9, 0, 10**6)
    assert Fraction(reported - true, reported) == Fraction(1, 3) > Fraction(3, 10)


def test_n1_two_weeks_to_notify():
    assert notification_deadline(date(2026, 11, 23)) == date(2026, 12, 7)
