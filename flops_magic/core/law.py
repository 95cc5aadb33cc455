"""The numbers of the law, from ``data/rules.toml``, and the small rules on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from functools import cache

from flops_magic.core.datafile import read_toml

_MODALITIES = ("text", "speech", "text-to-image", "text-to-video")


@dataclass(frozen=True)
class Law:
    """The thresholds in force.

    Attributes:
        version: of the data file.
        gpai_flops: above it, a model is indicatively a GPAI model (point 17).
        systemic_risk_flops: above it, high-impact capabilities are presumed.
        modification_share: of the original's compute, for a modification (point 60).
        error_margin: of a reported estimate (point 120).
        notification_days: to notify the Commission (Article 52(1)).
    """

    version: str
    gpai_flops: int
    systemic_risk_flops: int
    modification_share: Fraction
    error_margin: Fraction
    notification_days: int


@cache
def law() -> Law:
    """Return the thresholds in force."""
    tree = read_toml("rules.toml")

    def value(name: str) -> Fraction:
        text: str = tree[name]["value"]
        base, _, exponent = text.partition("**")
        return Fraction(int(base) ** int(exponent)) if exponent else Fraction(text)

    return Law(
        version=tree["version"],
        gpai_flops=int(value("gpai")),
        systemic_risk_flops=int(value("systemic_risk")),
        modification_share=value("modification_share"),
        error_margin=value("error_margin"),
        notification_days=int(value("notification_days")),
    )


def error_range(flops: int) -> tuple[Fraction, Fraction]:
    """Return between which values the truth may lie, for a reported estimate.

    Source: Guidelines, point 120: within 30 % of the reported estimate.
    """
    margin = law().error_margin
    return flops * (1 - margin), flops * (1 + margin)


def straddles(flops: int, line: Fraction | int) -> bool:
    """Whether the truth may lie on either side of a line."""
    low, high = error_range(flops)
    return low <= line < high


def presumed_high_impact(flops_cumulative: int) -> bool:
    """Whether high-impact capabilities are presumed: strictly more than 10^25.

    Source: Article 51(2) AI Act.
    """
    return flops_cumulative > law().systemic_risk_flops


def indicative_gpai(flops: int, *, modality: str, general: bool) -> bool:
    """Whether a model indicatively is a GPAI model.

    Args:
        flops: its training compute.
        modality: what it generates: ``text``, ``speech``, ``text-to-image``,
            ``text-to-video``; anything else does not meet the criterion.
        general: False for a model of narrow use, such as transcription or upscaling.

    Source: Guidelines, points 17 to 20 and their examples.
    """
    return flops > law().gpai_flops and modality in _MODALITIES and general


def notification_deadline(known: date) -> date:
    """Return the last day to notify; the duty is "without delay".

    The day of the event is not counted; public holidays are not modelled.

    Source: Article 52(1) AI Act; Regulation (EEC, Euratom) No 1182/71.
    """
    return known + timedelta(days=law().notification_days)
