"""The ranges of the Model Documentation Form, and the units that it asks for.

What the form leaves open is settled here and said in each report: a range holds its
upper end (the last one of sizes is "more than 1T"), and a month is 30 days.

Source: Code of Practice for general-purpose AI, Transparency chapter, Model
Documentation Form.
"""

from __future__ import annotations

from fractions import Fraction

DAY_S = 86_400
MONTH_DAYS = 30
_MWH_J = 3_600_000_000
_M, _B = 10**6, 10**9
# The form's own words for its ranges, each with its upper end.
_SIZES = (
    (500 * _M, "1-500M"),
    (5 * _B, "500M-5B"),
    (15 * _B, "5B-15B"),
    (50 * _B, "15B-50B"),
    (100 * _B, "50B-100B"),
    (500 * _B, "100B-500B"),
    (1000 * _B, "500B-1T"),
)


def size_range(parameters: int) -> str:
    """Return the form's range of a number of parameters, 1 or more."""
    for end, name in _SIZES:
        if parameters <= end:
            return name
    return ">1T"


def time_range(elapsed_s: Fraction) -> str:
    """Return the form's range of a training time, given in seconds."""
    months = elapsed_s / (DAY_S * MONTH_DAYS)
    # Fractions of a month are exact, so a run of exactly 30 days is not "less than 1".
    if months < 1:
        return "less than 1 month"
    if months <= 3:
        return "1-3 months"
    return "3-6 months" if months <= 6 else "more than 6 months"


def days(elapsed_s: Fraction) -> Fraction:
    """Return seconds as days."""
    return elapsed_s / DAY_S


def megawatt_hours(energy_j: Fraction) -> Fraction:
    """Return joules as megawatt-hours: 3.6·10^9 J each."""
    return energy_j / _MWH_J
