"""The logarithmic scale up to the line and beyond: its places, words and drawing.

Card, live gauge and report show the same drawing. It takes the text colour of its
page, needs no style, script or font, and says in its title what it shows.
"""

from __future__ import annotations

from fractions import Fraction
from html import escape
from math import log10

from flops_magic.flops.units import percent_text

# Fine-tuning spans twelve decades: a demonstration on a small model is 10^-10 of the
# line. On a linear scale all of them would be one point.
DECADES_BELOW = 12
DECADES_ABOVE = 1
LINE_AT = DECADES_BELOW / (DECADES_BELOW + DECADES_ABOVE)

# Readable on white and on dark grey; every drawing says the verdict in words too, for
# readers who do not tell the colours apart.
COLOURS = {
    "below": "#2e8b57",
    "near": "#c77700",
    "over": "#c62828",
    "not_engaged": "#5f7d95",
    None: "#7a7a7a",
}
# The Guidelines' own term is "indicative criterion". A verdict never says who is a
# provider: that is for counsel.
VERDICT_WORDS = {
    "below": "the indicative criterion is not met",
    "near": "the indicative criterion is not met; the 30 % margin reaches the line",
    "over": "the indicative criterion is met",
    "not_engaged": "the one-third criterion is not engaged",
    None: "no verdict",
}

_WIDTH = 720
_RADIUS = 9
_LABEL_ROOM = 120  # half of the longest label, in the drawing's units
_TICKS = ((-12, "10⁻¹⁰ %"), (-9, "10⁻⁷ %"), (-6, "10⁻⁴ %"), (-3, "0.1 %"), (0, "100 %"))


def position(share: Fraction | None) -> float:
    """Return the place of a share of the line on the scale, from 0 to 1.

    Twelve decades lie below the line and one above; the line itself is at 12/13.
    Shares outside of the scale are placed at its ends.
    """
    if share is None or share <= 0:
        return 0.0
    # logarithms of numerator and denominator: neither need fit into a float
    decades = log10(share.numerator) - log10(share.denominator)
    place = (decades + DECADES_BELOW) / (DECADES_BELOW + DECADES_ABOVE)
    return min(max(place, 0.0), 1.0)


def share_text(share: Fraction | None) -> str:
    """Return a share of the line for people."""
    return "no line applies" if share is None else f"{percent_text(share)} of the line"


def gauge_svg(share: Fraction | None, verdict: str | None) -> str:
    """Return the scale with the line and a share of it marked, as inline SVG.

    Args:
        share: of the line; None where there is no line.
        verdict: gives the colour; None for no verdict.
    """
    label = share_text(share)
    described = escape(f"Gauge: {label}; {VERDICT_WORDS[verdict]}")
    here = round(position(share) * _WIDTH, 1)
    line = round(LINE_AT * _WIDTH)
    # the label stays inside of the drawing
    at_end = here > _WIDTH - _LABEL_ROOM
    anchor = "start" if here < _LABEL_ROOM else "end" if at_end else "middle"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} 74" '
        f'width="100%" role="img" aria-label="{described}" fill="currentColor">'
        f"<title>{described}</title>"
        f'<rect x="0" y="34" width="{_WIDTH}" height="14" rx="7" fill="currentColor" '
        'fill-opacity="0.13"/>'
        f"{_mark(here, COLOURS[verdict]) if share is not None else ''}"
        f'<line x1="{line}" y1="24" x2="{line}" y2="56" stroke="{COLOURS["over"]}" '
        'stroke-width="3"/>'
        f'<text x="{here}" y="18" font-size="17" font-weight="700" '
        f'text-anchor="{anchor}">{escape(label)}</text>'
        f'<g font-size="12" opacity="0.8">{_ticks()}</g></svg>'
    )


def _mark(here: float, colour: str) -> str:
    # The circle stays whole at both ends; the bar behind it keeps the exact place.
    centre = min(max(here, _RADIUS), _WIDTH - _RADIUS)
    return (
        f'<rect x="0" y="34" width="{here}" height="14" rx="7" fill="{colour}"/>'
        f'<circle cx="{centre}" cy="41" r="{_RADIUS}" fill="{colour}" stroke="#fff" '
        'stroke-width="2"/>'
    )


def _ticks() -> str:
    step = _WIDTH / (DECADES_BELOW + DECADES_ABOVE)
    return "".join(
        f'<text x="{round((decade + DECADES_BELOW) * step)}" y="70" '
        f'text-anchor="{"middle" if decade + DECADES_BELOW else "start"}">{text}</text>'
        for decade, text in _TICKS
    )
