"""Peak dense FLOP/s of accelerators, by the exact name that the driver gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from flops_magic.errors import InputError, UnknownAcceleratorError
from flops_magic.flops.units import parse_decimal
from flops_magic.near_names import near
from flops_magic.registry.datafile import read_toml

# Dense figures only. Vendors lead with sparse ones, twice as high, which no training
# run reaches.
FORMATS = ("bf16", "fp16", "tf32", "fp32", "fp8")
# a slice bears the name of the whole device, whose peak would be too high
_SLICED = re.compile(r"\bMIG\b|\bvGPU\b|\bGRID\b|-\d+[QCBA]\b", re.IGNORECASE)
# a laptop part bears the name of a faster card
_LAPTOP = re.compile(r"\b(?:Laptop|Mobile)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Accelerator:
    """A row of the table.

    Attributes:
        name: of the product.
        pattern: found in the names that the driver gives.
        peaks: dense FLOP/s by number format; without those it lacks.
        tdp_w: board power in W; None if unknown.
        source: where the figures were read.
        as_of: when.
    """

    name: str
    pattern: str
    peaks: Mapping[str, int]
    tdp_w: int | None
    source: str
    as_of: str

    def peak_flops_per_s(self, number_format: str) -> int | None:
        """Return the dense peak of a number format in FLOP/s; None without one."""
        return self.peaks.get(number_format)


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """Return the table; its order matters, the first pattern that is found wins."""
    return tuple(
        _row(row)
        for row in read_toml("flops_magic.registry", "accelerators.toml")["accelerator"]
    )


def find_accelerator(name: str) -> Accelerator:
    """Return the accelerator of a device name, such as ``NVIDIA H100 80GB HBM3``.

    Raises:
        UnknownAcceleratorError: with near names; for a slice of a device, its reason.
    """
    if _SLICED.search(name):
        raise UnknownAcceleratorError(
            f"{name!r} is a slice of a device, and the table has no peak of slices; "
            "pass the peak of the slice yourself"
        )
    if _LAPTOP.search(name):
        raise UnknownAcceleratorError(
            f"{name!r} is a laptop part, slower than the card of that name, and not in "
            "the table; pass its peak yourself"
        )
    for row in accelerators():
        if name.lower() == row.name.lower() or re.search(
            row.pattern, name, re.IGNORECASE
        ):
            return row
    # drivers and people put the maker before the name, which the table does not
    plain = re.sub(r"^(nvidia|tesla|amd)\s+", "", name, flags=re.IGNORECASE)
    offer = near(plain, (row.name for row in accelerators()))
    raise UnknownAcceleratorError(
        f"no accelerator {name!r} in the table{offer}; "
        "'flops-magic accelerators' lists them"
    )


def _row(row: Mapping[str, str]) -> Accelerator:
    peaks = {
        # sheets print 989.4 TFLOPS: parsed as a decimal, or digits would be lost
        number_format: int(parse_decimal(text) * 10**12)
        for number_format in FORMATS
        if (text := row.get(f"{number_format}_tflops"))
    }
    tdp = row.get("tdp_w")
    return Accelerator(
        name=row["name"],
        pattern=row["pattern"],
        peaks=peaks,
        tdp_w=int(parse_decimal(tdp)) if tdp else None,
        source=row["source"],
        as_of=row["as_of"],
    )


def expected_rate(
    accelerator: str | None, mfu: float | None
) -> tuple[int, float, int | None] | None:
    """Return what a device is expected to do; None if not asked for.

    Args:
        accelerator: its name in the table.
        mfu: model FLOPs utilisation to expect, 0 to 1.

    Returns:
        Dense peak in FLOP/s (bf16, else fp16), utilisation, and board power in watts.

    Raises:
        InputError: when the utilisation or the peak is missing.
        UnknownAcceleratorError: when the table has no such device.
    """
    if accelerator is None:
        if mfu is not None:
            raise InputError(
                "mfu goes with an accelerator; pass --accelerator NAME too"
            )
        return None
    found = find_accelerator(accelerator)
    if mfu is None or not 0 < mfu <= 1:
        raise InputError(
            f"hours on {found.name} need the utilisation to expect, got {mfu!r}; pass "
            "--mfu 0.4 for 40 per cent"
        )
    # training multiplies in bf16, and in fp16 where a card is too old for it
    peak = found.peak_flops_per_s("bf16") or found.peak_flops_per_s("fp16")
    if peak is None:
        raise InputError(f"{found.name} has no bf16 or fp16 figure in the table")
    return peak, mfu, found.tdp_w
