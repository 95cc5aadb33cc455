"""Counts survive the way from text to text without losing a digit."""

from fractions import Fraction

import pytest

from flops_magic.errors import QuantityError
from flops_magic.flops.units import (
    count_text,
    flop_text,
    grouped,
    order_of_magnitude,
    parse_count,
    parse_decimal,
    percent_text,
    seconds_text,
    two_significant_figures,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("25M", 25_000_000),
        ("25m", 25_000_000),
        ("25_000_000", 25_000_000),
        ("25,000,000", 25_000_000),
        ("25e6", 25_000_000),
        (" 25 M ", 25_000_000),
        ("1.5B", 1_500_000_000),
        ("1.5G", 1_500_000_000),
        ("2T", 2 * 10**12),
        ("7k", 7000),
        ("3e9", 3 * 10**9),
        ("3e12", 3 * 10**12),
        ("3.3e24", 33 * 10**23),
        ("3.3E+24", 33 * 10**23),
        ("1e25", 10**25),
        ("1e23", 10**23),
        ("10**25", 10**25),
        ("10^23", 10**23),
        ("10^25", 10**25),
        (7, 7),
        ("1234567890123456789012345", 1234567890123456789012345),
        ("0", 0),
        (10**25 + 1, 10**25 + 1),
        (3.8e9, 3_800_000_000),
    ],
)
def test_a_count_is_read_exactly(text, count):
    assert parse_count(text) == count
    assert type(parse_count(text)) is int


def test_every_spelling_of_a_count_means_the_same():
    spellings = ["1.5B", "1500M", "1_500_000_000", "1,500,000,000", "1.5e9", "15e8"]
    assert len({parse_count(text) for text in spellings}) == 1


def test_text_keeps_the_digits_that_a_float_loses():
    assert parse_count("1e25") == 10**25 < int(float("1e25"))
    assert parse_count("1e23") == 10**23 > int(float("1e23"))


@pytest.mark.parametrize(
    "value",
    [
        "banana",
        "",
        " ",
        "M",
        "-3",
        "1.2.3",
        "25,00,000",
        "1,5B",
        "nan",
        "inf",
        "NaN",
        "1e9999",
        "9" * 40 + "**9",
        "0x10",
        True,
        None,
        [1],
    ],
)
def test_what_is_no_count_is_refused_in_one_line(value):
    with pytest.raises(QuantityError) as caught:
        parse_count(value)
    message = str(caught.value)
    assert repr(value) in message
    assert "25M" in message
    assert "\n" not in message


@pytest.mark.parametrize("value", [1.5, 1e25, 2.0**53, float("nan"), float("inf")])
def test_a_float_that_may_have_lost_digits_is_sent_back_as_text(value):
    with pytest.raises(QuantityError, match="pass it as text"):
        parse_count(value)


@pytest.mark.parametrize("text", ["1.5", "0.5", "0.0001K", "1e-3", "1.2345K"])
def test_a_part_of_one_is_no_count(text):
    with pytest.raises(QuantityError, match="not a whole number"):
        parse_count(text)


@pytest.mark.parametrize(("value", "minimum"), [(-1, 0), ("0", 1), (0, 1), ("9", 10)])
def test_a_count_below_the_minimum_is_refused(value, minimum):
    with pytest.raises(QuantityError, match=f"the least is {minimum}"):
        parse_count(value, minimum=minimum)


def test_a_decimal_is_exact_and_bounded():
    assert parse_decimal("0.1") == Fraction(1, 10)
    assert parse_decimal("9.894e14") == 989_400_000_000_000
    for text in ("nan", "Infinity", "one", "1e999999999"):
        with pytest.raises(QuantityError):
            parse_decimal(text)


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (0, "0 FLOP"),
        (9999, "9999 FLOP"),
        (10_000, "1.00 × 10⁴ FLOP"),
        (33 * 10**23, "3.30 × 10²⁴ FLOP"),
        (9_999_999, "1.00 × 10⁷ FLOP"),
        (Fraction(10**23, 3), "3.33 × 10²² FLOP"),
        (10**25 - 1, "1.00 × 10²⁵ FLOP"),
    ],
)
def test_flops_are_written_for_people(flops, text):
    assert flop_text(flops) == text


@pytest.mark.parametrize(
    ("vector", "flops", "two_figures", "magnitude"),
    [
        ("half goes up", "2.35e25", "2.4x10^25", "10^25"),
        ("exact", "1e25", "1.0x10^25", "10^25"),
        ("one less", 10**25 - 1, "1.0x10^25", "10^24"),
        ("none", 0, "0", "0"),
        ("one", 1, "1.0x10^0", "10^0"),
    ],
)
def test_reports_round_as_the_forms_ask(vector, flops, two_figures, magnitude):
    assert two_significant_figures(parse_count(flops)) == two_figures, vector
    assert order_of_magnitude(parse_count(flops)) == magnitude, vector


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (Fraction(0), "0 %"),
        (Fraction(1), "100 %"),
        (Fraction(1, 3), "33.3 %"),
        (Fraction(95, 100), "95 %"),
        (Fraction(3, 2), "150 %"),
        (Fraction(1234), "123000 %"),
        (Fraction(1, 10**12), "1.00 × 10⁻¹⁰ %"),
        (Fraction(9999, 10000), "99.99 %"),
        (Fraction(10001, 10000), "100.01 %"),
    ],
)
def test_a_share_reads_well(ratio, text):
    assert percent_text(ratio) == text


@pytest.mark.parametrize("power", range(1, 80))
def test_a_share_never_reads_as_another_side_of_the_line(power):
    above, below = 1 + Fraction(1, 10**power), 1 - Fraction(1, 10**power)
    assert percent_text(above) not in ("100 %", "0 %")
    assert percent_text(below) not in ("100 %", "0 %")
    assert percent_text(Fraction(1, 10**power)) != "0 %"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00K"),
        (25_000_000, "25.0M"),
        (123_456_789, "123M"),
        (999_999_999, "1.00B"),
        (1_500_000_000, "1.50B"),
        (15 * 10**12, "15.0T"),
        (10**16, "10000T"),
    ],
)
def test_tokens_are_written_short(count, text):
    assert count_text(count) == text


def test_every_digit_is_shown_in_groups():
    assert grouped(12345678) == "12,345,678"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.21, "4.2 s"),
        (187, "3:07"),
        (3723, "1:02:03"),
        (2 * 86400 + 11045, "2 d 3:04:05"),
    ],
)
def test_a_duration_reads_well(seconds, text):
    assert seconds_text(seconds) == text
