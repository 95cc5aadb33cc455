"""Closed-form estimates of training compute, each with its derivation and source.

They serve where no operation can be counted: from a model card, or from GPU hours.
All arithmetic is exact; rates and shares are decimal text or ``Fraction``.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from flops_magic.errors import QuantityError
from flops_magic.flops.units import parse_count, parse_decimal

Exact = int | str | Fraction


def six_pd(params: int, tokens: int) -> int:
    """Return C = 6·P·D, the FLOPs of training all parameters.

    Forward is one multiply and one add a parameter and token, 2·P·D; backward is
    twice that, for the gradients of activations and of weights. Attention scores are
    left out.

    Args:
        params: P, parameters; of a mixture of experts, those active for a token.
        tokens: D, tokens processed, epochs counted.

    Source: Guidelines, point 129 (A.2.2); Kaplan et al. 2020, arXiv:2001.08361.
    """
    # 2 forward, 4 backward. The recomputation of activations is left out: point 119.
    return 6 * _count("params", params) * _count("tokens", tokens)


def lora_pd(params_total: int, params_trainable: int, tokens: int) -> int:
    """Return (4·P + 2·T)·D, the FLOPs of training T of P parameters.

    Frozen weights need the forward pass (2) and the gradient of their input (2), and
    no gradient of the weight (2), which only trainable ones need. It overstates runs
    whose lowest layers are frozen: backward stops above them.

    Args:
        params_total: P, all parameters.
        params_trainable: T, those that train.
        tokens: D, tokens processed.

    Source: derived; the AWS Fine-Tuning FLOPs Meter uses the same form.
    """
    total = _count("params_total", params_total)
    trainable = _count("params_trainable", params_trainable)
    # 2·P forward, 2·P for the gradients of activations, 2·T for those of the weights.
    return (4 * total + 2 * trainable) * _count("tokens", tokens)


def hardware_flops(
    device_seconds: Exact, peak_flops_per_s: Exact, utilisation: Exact
) -> Fraction:
    """Return C = N·L·H·U, the FLOPs that hardware can have done.

    Args:
        device_seconds: N·L, devices times seconds of use.
        peak_flops_per_s: H, dense peak of the number format in use.
        utilisation: U, 0 to 1; the driver's busy counter is not model utilisation and
            makes this an upper bound.

    Source: Guidelines, points 123 to 126 (A.2.1).
    """
    seconds, peak = exact(device_seconds), exact(peak_flops_per_s)
    share = exact(utilisation)
    # More than 1 would mean a peak that is wrong, such as a sparse one.
    if not 0 <= share <= 1:
        raise QuantityError(f"utilisation {utilisation!r} is not between 0 and 1")
    if seconds < 0 or peak < 0:
        raise QuantityError(
            f"device_seconds={device_seconds!r} and peak_flops_per_s="
            f"{peak_flops_per_s!r} must not be negative"
        )
    return seconds * peak * share


def weighted_peak(units: Iterable[tuple[int, Exact]]) -> Fraction:
    """Return the average peak of mixed hardware, weighted by number of units.

    Args:
        units: pairs of a number of devices and their peak in FLOP/s.

    Source: Guidelines, point 123.
    """
    pairs = [(count, exact(peak)) for count, peak in units]
    total = sum(count for count, _ in pairs)
    if total <= 0:
        raise QuantityError("a weighted peak needs at least one device")
    return sum((count * peak for count, peak in pairs), Fraction(0)) / total


def synthetic_data_flops(
    params: int, tokens_generated: int, *, publicly_accessible: bool
) -> int:
    """Return the FLOPs behind synthetic training data, 2·P a generated token.

    Discarded samples count too; publicly accessible data does not count.

    Args:
        params: P of the generator; active ones of a mixture of experts.
        tokens_generated: tokens of all samples, kept or not.
        publicly_accessible: whether anybody can get the data.

    Source: Guidelines, points 117 and 119.
    """
    flops = 2 * _count("params", params) * _count("tokens", tokens_generated)
    return 0 if publicly_accessible else flops


def exact(value: Exact) -> Fraction:
    """Return a number exactly; decimal text keeps the digits that a float loses."""
    return parse_decimal(value) if isinstance(value, str) else Fraction(value)


def _count(name: str, value: int) -> int:
    """Return a count as an int, also where a float such as 3.8e9 was passed."""
    try:
        return parse_count(value)
    except QuantityError as error:
        raise QuantityError(f"{name}: {error}") from error
