"""The gauge's logarithmic scale: twelve decades up to the line, and one beyond."""

from __future__ import annotations

from fractions import Fraction
from math import log10

DECADES_BELOW = 12
DECADES_ABOVE = 1
LINE_AT = DECADES_BELOW / (DECADES_BELOW + DECADES_ABOVE)

COLOURS = {
    "below": "#2e8b57",
    "near": "#c77700",
    "over": "#c62828",
    "not_engaged": "#5f7d95",
    None: "#7a7a7a",
}
VERDICT_WORDS = {
    "below": "the indicative criterion is not met",
    "near": "the indicative criterion is not met; the 30 % margin reaches the line",
    "over": "the indicative criterion is met",
    "not_engaged": "the one-third criterion is not engaged",
    None: "no verdict",
}


def position(share: Fraction | None) -> float:
    """Return where a share of the line stands on the scale, from 0 to 1.

    Twelve decades lie below the line and one above; the line itself is at 12/13.
    Shares outside of the scale stand at its ends.
    """
    if share is None or share <= 0:
        return 0.0
    # logarithms of numerator and denominator: neither need fit into a float
    decades = log10(share.numerator) - log10(share.denominator)
    place = (decades + DECADES_BELOW) / (DECADES_BELOW + DECADES_ABOVE)
    return min(max(place, 0.0), 1.0)
