"""The numbers of the law, from ``data/rules.toml``, and the small rules on them.

Every version of the numbers is kept: a decision names the one that it rests on, and is
computed again by that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any

from flops_magic.errors import InputError
from flops_magic.registry.datafile import read_toml

# Point 17 names these outputs; a model that classifies or embeds is none of them.
_MODALITIES = ("text", "speech", "text-to-image", "text-to-video")


@dataclass(frozen=True)
class Law:
    """The thresholds of one version of the rules.

    Attributes:
        version: names this set of numbers.
        in_force_from: the day from which it applies.
        gpai_flops: above it, a model is indicatively a GPAI model (point 17).
        systemic_risk_flops: above it, high-impact capabilities are presumed.
        modification_share: of the original's compute, for a modification (point 60).
        error_margin: of a reported estimate (point 120).
        notification_days: to notify the Commission (Article 52(1)).
    """

    version: str
    in_force_from: date
    gpai_flops: int
    systemic_risk_flops: int
    modification_share: Fraction
    error_margin: Fraction
    notification_days: int


@cache
def laws() -> tuple[Law, ...]:
    """Return every version of the rules, the oldest first."""
    return laws_in(read_toml("flops_magic.ai_act", "rules.toml"))


def laws_in(tree: Mapping[str, Any]) -> tuple[Law, ...]:
    """Return the versions that a rules file holds, the oldest first."""
    found = [_law(table) for table in tree["rules"]]
    return tuple(sorted(found, key=lambda one: one.in_force_from))


def law(version: str | None = None) -> Law:
    """Return one version of the rules; the one in force today by default.

    Raises:
        InputError: for a version that this release does not know.
    """
    if version is None:
        return in_force(laws(), today())
    for one in laws():
        if one.version == version:
            return one
    known = ", ".join(one.version for one in laws())
    raise InputError(
        f"no rules of version {version!r} here, only {known}; a later release of "
        "flops-magic may have them"
    )


def in_force(versions: Sequence[Law], on: date) -> Law:
    """Return the version that applies on a day; before all of them, the first."""
    # Versions are sorted by their day, so the last one past is in force.
    past = [one for one in versions if one.in_force_from <= on]
    return past[-1] if past else versions[0]


def today() -> date:
    """Return the day by which a decision is made, in UTC."""
    return datetime.now(UTC).date()


def error_range(flops: int, numbers: Law | None = None) -> tuple[Fraction, Fraction]:
    """Return between which values the truth may lie, for a reported estimate.

    Source: Guidelines, point 120: within 30 % of the reported estimate.
    """
    margin = (numbers or law()).error_margin
    return flops * (1 - margin), flops * (1 + margin)


def straddles(flops: int, line: Fraction | int, numbers: Law | None = None) -> bool:
    """Whether the truth may lie on either side of a line."""
    low, high = error_range(flops, numbers)
    return low <= line < high


def presumed_high_impact(flops_cumulative: int, numbers: Law | None = None) -> bool:
    """Whether high-impact capabilities are presumed: strictly more than 10^25.

    Source: Article 51(2) AI Act.
    """
    return flops_cumulative > (numbers or law()).systemic_risk_flops


def indicative_gpai(
    flops: int, *, modality: str, general: bool, numbers: Law | None = None
) -> bool:
    """Whether a model indicatively is a GPAI model.

    Args:
        flops: its training compute.
        modality: what it generates: ``text``, ``speech``, ``text-to-image``,
            ``text-to-video``; anything else does not meet the criterion.
        general: False for a model of narrow use, such as transcription or upscaling.
        numbers: the version of the rules; the one in force today by default.

    Source: Guidelines, points 17 to 20 and their examples.
    """
    enough = flops > (numbers or law()).gpai_flops
    return enough and modality in _MODALITIES and general


def notification_deadline(known: date, numbers: Law | None = None) -> date:
    """Return the last day to notify; the duty is "without delay".

    The day of the event is not counted; public holidays are not modelled.

    Source: Article 52(1) AI Act; Regulation (EEC, Euratom) No 1182/71.
    """
    return known + timedelta(days=(numbers or law()).notification_days)


def _law(table: Mapping[str, Any]) -> Law:
    def value(name: str) -> Fraction:
        text: str = table[name]["value"]
        # Powers are kept as text: TOML integers end at 2^63.
        base, _, exponent = text.partition("**")
        return Fraction(int(base) ** int(exponent)) if exponent else Fraction(text)

    return Law(
        version=table["version"],
        in_force_from=date.fromisoformat(table["in_force_from"]),
        gpai_flops=int(value("gpai")),
        systemic_risk_flops=int(value("systemic_risk")),
        modification_share=value("modification_share"),
        error_margin=value("error_margin"),
        notification_days=int(value("notification_days")),
    )
