"""The closed forms give the products of the Guidelines' own examples, exactly."""

from fractions import Fraction

import pytest

from flops_magic.core.formulas import (
    hardware_flops,
    lora_pd,
    six_pd,
    synthetic_data_flops,
    weighted_peak,
)
from flops_magic.core.units import parse_count
from flops_magic.errors import QuantityError


@pytest.mark.parametrize(
    ("vector", "params", "tokens", "flops"),
    [
        ("A", "3.8e9", "3.3e12", "7.524e22"),
        ("C", "0.6e9", "36e12", "1.296e23"),
        ("D", "1.54e9", "18e12", "1.6632e23"),
        ("E", "1.7e9", "36e12", "3.672e23"),
        ("F", "2.5e9", "12e12", "1.8e23"),
        ("G, rounded", "2.6e9", "10e12", "1.56e23"),
        ("G, exact", "2.6e9", "10.004e12", "1.560624e23"),
        ("T10", "70e9", "15e12", "6.3e24"),
        ("T11", "3.21e9", "9e12", "1.7334e23"),
    ],
)
def test_training_costs_six_a_parameter_and_token(vector, params, tokens, flops):
    found = six_pd(parse_count(params), parse_count(tokens))
    assert found == parse_count(flops), vector
    assert type(found) is int


def test_tokens_of_every_epoch_count():  # vector G
    assert six_pd(26 * 10**8, 61 * 10**9 * 164) == parse_count("1.560624e23")


@pytest.mark.parametrize(
    ("vector", "hours", "peak", "flops"),
    [("B", 200_000, "300e12", "1.08e23"), ("H", 370_000, "989e12", "6.58674e23")],
)
def test_hardware_gives_time_times_peak_times_share(vector, hours, peak, flops):
    found = hardware_flops(hours * 3600, peak, "0.5")
    assert found == parse_count(flops), vector


def test_mixed_hardware_is_weighted_by_units():  # vector W
    peak = weighted_peak([(400_000, "312e12"), (200_000, "989.4e12")])
    assert peak == Fraction(5378 * 10**11)


def test_periods_add_up():  # vector S
    periods = [(8, 3600), (16, 7200), (24, 1800)]
    whole = hardware_flops(sum(n * s for n, s in periods), "312e12", "0.4")
    parts = [hardware_flops(n * s, "312e12", "0.4") for n, s in periods]
    assert sum(parts) == whole


def test_discarded_samples_count_and_public_data_does_not():  # vector SD
    generated = 100 * 10**6
    counted = synthetic_data_flops(8 * 10**9, generated, publicly_accessible=False)
    assert counted == parse_count("1.6e18")
    assert synthetic_data_flops(8 * 10**9, generated, publicly_accessible=True) == 0


def test_frozen_weights_need_no_weight_gradient():  # vector L
    params, trainable, tokens = 3_210_000_000, 24_300_000, 10**6
    assert lora_pd(params, trainable, tokens) == parse_count("1.28886e16")
    assert six_pd(params, tokens) == parse_count("1.926e16")


def test_training_every_parameter_costs_the_same_by_either_formula():
    assert lora_pd(10**9, 10**9, 10**6) == six_pd(10**9, 10**6)


def test_lora_reported_by_the_full_formula_breaks_the_margin():  # vector M4
    reported, true = six_pd(10**9, 10**6), lora_pd(10**9, 0, 10**6)
    assert Fraction(reported - true, reported) == Fraction(1, 3) > Fraction(3, 10)


def test_a_float_count_is_taken_as_the_whole_number_it_is():
    found = six_pd(3.8e9, 3.3e12)
    assert found == 7524 * 10**19
    assert type(found) is int


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: six_pd(-1, 1), "params"),
        (lambda: six_pd(1, -1), "tokens"),
        (lambda: six_pd(1, 1.5), "tokens"),
        (lambda: lora_pd(1, -1, 1), "params_trainable"),
        (lambda: hardware_flops(1, "1e12", "1.01"), "utilisation"),
        (lambda: hardware_flops(1, "1e12", "-0.1"), "utilisation"),
        (lambda: hardware_flops(-1, "1e12", "0.5"), "device_seconds"),
        (lambda: hardware_flops(1, "fast", "0.5"), "fast"),
        (lambda: weighted_peak([]), "at least one device"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, named):
    with pytest.raises(QuantityError, match=named):
        call()
