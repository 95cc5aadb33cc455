"""Counts as people type and read them, without losing a digit.

Text is parsed through ``Decimal``: the float literal 1e25 is
10000000000000000905969664, which is greater than 10**25.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from fractions import Fraction

from flops_magic.errors import QuantityError

_SUFFIXES = {"": 0, "k": 3, "m": 6, "b": 9, "g": 9, "t": 12, "p": 15}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d{1,3})?)\s*([kmbgtp]?)", re.IGNORECASE)
_POWER = re.compile(r"(\d{1,30})\s*(?:\*\*|\^)\s*(\d{1,3})")
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_EXACT = Context(prec=400)
# A float holds every integer below this; above it only some.
_EXACT_FLOATS_END = 2**53
# Text such as 1e999999999 would take hours and gigabytes to become an integer.
_LARGEST_EXPONENT = 2000


def parse_count(value: object, *, minimum: int = 0) -> int:
    """Return a count exactly: an int, or text such as 25M, 1.5B, 3.3e24, 10**25.

    Args:
        value: suffixes K, M, B or G, T and P mean 10^3, 10^6, 10^9, 10^12 and 10^15.
        minimum: the smallest count that makes sense.

    Raises:
        QuantityError: unless it is a whole number of at least ``minimum``.
    """
    number = _exact(value)
    if number is None and isinstance(value, float):
        raise QuantityError(
            f"{value!r} is a float, which may have lost digits; pass it as text, such "
            "as '3.3e24', or as an int"
        )
    if number is None:
        raise QuantityError(
            f"cannot read {value!r} as a count; write digits, or 25M, 1.5B, 3.3e24, "
            "10**25"
        )
    if number.denominator != 1:
        raise QuantityError(f"{value!r} is not a whole number; write one such as 1.5M")
    if number < Fraction(minimum):
        raise QuantityError(f"{value!r} is too small; the least is {minimum}")
    return int(number)


def _exact(value: object) -> Fraction | None:
    # ``True`` is an int in Python, and would count as 1.
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Fraction(value)
    if isinstance(value, float):
        # a larger float may not be the number that was typed
        exact = value.is_integer() and abs(value) < _EXACT_FLOATS_END
        return Fraction(value) if exact else None
    if not isinstance(value, str):
        return None
    text = value.strip().replace("_", "")
    # Commas only as groups of three: "1,5" may mean one and a half.
    if re.fullmatch(r"\d{1,3}(,\d{3})+", text):
        text = text.replace(",", "")
    if match := _POWER.fullmatch(text):
        return Fraction(int(match[1]) ** int(match[2]))
    if not (match := _NUMBER.fullmatch(text)):
        return None
    power: int = 10 ** _SUFFIXES[match[2].lower()]
    return parse_decimal(match[1]) * power


def parse_decimal(text: str) -> Fraction:
    """Return decimal text such as 9.894e14 as an exact fraction.

    Raises:
        QuantityError: when the text is not a decimal number.
    """
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise QuantityError(
            f"cannot read {text!r} as a decimal number; write one such as 9.894e14"
        ) from error
    if not number.is_finite() or abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise QuantityError(
            f"{text!r} is out of range; exponents go from -{_LARGEST_EXPONENT} to "
            f"{_LARGEST_EXPONENT}"
        )
    return Fraction(number)


def grouped(count: int) -> str:
    """Return every digit, in groups: 12,345,678."""
    return f"{count:,}"


def _scientific(value: int | Fraction, digits: int) -> tuple[str, int]:
    """Return mantissa text with ``digits`` significant figures, and the exponent."""
    exact = Fraction(value)
    number = _EXACT.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    rounded = Context(prec=digits, rounding=ROUND_HALF_UP).plus(number)
    # After rounding: 9.99 becomes 10.0, one power higher.
    exponent = rounded.adjusted()
    mantissa = rounded.scaleb(-exponent)
    return f"{mantissa:.{digits - 1}f}", exponent


def short(value: int | Fraction) -> str:
    """Return a readable number with three significant figures: 3.30 × 10²⁴."""
    if value == 0:
        return "0"
    if abs(Fraction(value)) < 10_000 and Fraction(value).denominator == 1:
        return str(int(value))
    mantissa, exponent = _scientific(value, 3)
    if 0 <= exponent < 4:
        return f"{float(value):.1f}"
    return f"{mantissa} × 10{str(exponent).translate(_SUPERSCRIPTS)}"


def power_text(value: int | Fraction) -> str:
    """Return a power of ten as one, 10²³; another number as ``short`` does."""
    # Digits instead of log10, which rounds at powers of ten.
    exponent = len(str(int(value))) - 1
    if value > 0 and Fraction(value) == 10**exponent:
        return f"10{str(exponent).translate(_SUPERSCRIPTS)}"
    return short(value)


def flop_text(flops: int | Fraction) -> str:
    """Return FLOPs for people: 3.30 × 10²⁴ FLOP."""
    return f"{short(flops)} FLOP"


def two_significant_figures(flops: int | Fraction) -> str:
    """Return FLOPs as a notification reports them: 2.3x10^25.

    Source: Guidelines, point 31; Model Documentation Form, computational resources.
    """
    return significant_figures(flops, 2)


def significant_figures(value: int | Fraction, digits: int) -> str:
    """Return a value as the Model Documentation Form writes it: 2.3x10^25, 9x10^1.

    Args:
        value: 0 or more; 0 reads 0.
        digits: significant figures, 1 or more.
    """
    if value == 0:
        return "0"
    mantissa, exponent = _scientific(value, digits)
    return f"{mantissa}x10^{exponent}"


def order_of_magnitude(flops: int | Fraction) -> str:
    """Return the power of ten below: 2.4e25 and 8e25 are both 10^25.

    Source: Model Documentation Form, form for national authorities. Which way it
    rounds is not said; the exponent of the scientific notation is the plain reading.
    """
    if flops <= 0:
        return "0"
    exponent = len(str(int(flops))) - 1
    return f"10^{exponent}"


def percent_text(ratio: Fraction) -> str:
    """Return a share for people, with three significant figures.

    A share other than 0 never reads 0, and one on either side of the whole never
    reads 100: digits are added until it does not.
    """
    if ratio == 0:
        return "0 %"
    percent = ratio * 100
    if percent == 100:
        return "100 %"
    if percent < Fraction(1, 1000):
        return f"{short(percent)} %"
    # 99.9996 % must not read 100 % in a verdict; more digits are shown instead.
    for digits in range(3, 60):
        number = _EXACT.divide(Decimal(percent.numerator), Decimal(percent.denominator))
        text = f"{Context(prec=digits, rounding=ROUND_HALF_UP).plus(number):f}"
        if Fraction(text) != 100:
            return f"{text} %"
    return f"{'below' if percent < 100 else 'above'} 100 %"


def count_text(count: int) -> str:
    """Return a count of tokens or parameters for people: 25.0M, 1.50B, 512."""
    if count < 1000:
        return str(count)
    mantissa, exponent = _scientific(count, 3)
    step = min(exponent // 3, 4)
    shift = exponent - 3 * step
    return f"{Decimal(mantissa).scaleb(shift):.{max(2 - shift, 0)}f}{'KMBT'[step - 1]}"


def seconds_text(elapsed_s: float) -> str:
    """Return a duration for people: 4.2 s, 3:07, 1:02:03, 2 d 3:04:05."""
    if elapsed_s < 60:
        return f"{elapsed_s:.1f} s"
    minutes, seconds = divmod(round(elapsed_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if not days and not hours:
        return f"{minutes}:{seconds:02d}"
    clock = f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{days} d {clock}" if days else clock
