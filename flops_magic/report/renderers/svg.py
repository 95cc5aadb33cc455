"""The report's drawings as inline SVG: no script, no font, no file beside it.

They take the text colour of their page, and say in their titles what they show.
"""

from __future__ import annotations

from fractions import Fraction
from html import escape

from flops_magic.display.scale import (
    COLOURS,
    DECADES_ABOVE,
    DECADES_BELOW,
    LINE_AT,
    VERDICT_WORDS,
    position,
)
from flops_magic.flops.units import flop_text, percent_text
from flops_magic.report.blocks import printable

_WIDTH = 720
_LEFT, _RIGHT = 150, 190
_ROW = 24
FILLS = {"direct": "#2f6db3", "cumulative": "#7aa7d9", "neither": "#9aa0a6"}
_TICKS = ((-12, "10⁻¹⁰ %"), (-9, "10⁻⁷ %"), (-6, "10⁻⁴ %"), (-3, "0.1 %"), (0, "100 %"))


def gauge_svg(share: Fraction | None, verdict: str | None) -> str:
    """Return the logarithmic scale up to the line and beyond.

    Args:
        share: of the line; None where there is no line.
        verdict: gives the colour.
    """
    label = share_text(share)
    colour = COLOURS[verdict]
    here = round(position(share) * _WIDTH, 1)
    line = round(LINE_AT * _WIDTH)
    # the label stays inside of the drawing
    anchor = "start" if here < 120 else "end" if here > _WIDTH - 120 else "middle"
    mark = ""
    if share is not None:
        mark = (
            f'<rect x="0" y="34" width="{here}" height="14" rx="7" fill="{colour}"/>'
            f'<circle cx="{min(max(here, 9), _WIDTH - 9)}" cy="41" r="9" '
            f'fill="{colour}" stroke="#fff" stroke-width="2"/>'
        )
    step = _WIDTH / (DECADES_BELOW + DECADES_ABOVE)
    ticks = "".join(
        f'<text x="{round((decade + DECADES_BELOW) * step)}" y="70" '
        f'text-anchor="{"middle" if decade + DECADES_BELOW else "start"}">{text}</text>'
        for decade, text in _TICKS
    )
    return _svg(
        74,
        f"Gauge: {label}; {VERDICT_WORDS[verdict]}",
        f'<rect x="0" y="34" width="{_WIDTH}" height="14" rx="7" fill="currentColor" '
        'fill-opacity="0.13"/>'
        f"{mark}"
        f'<line x1="{line}" y1="24" x2="{line}" y2="56" stroke="#c62828" '
        'stroke-width="3"/>'
        f'<text x="{min(max(here, 0), _WIDTH)}" y="18" font-size="17" '
        f'font-weight="700" text-anchor="{anchor}">{escape(label)}</text>'
        f'<g font-size="12" opacity="0.8">{ticks}'
        "</g>",
    )


def share_text(share: Fraction | None) -> str:
    """Return a share of the line for people."""
    return "no line applies" if share is None else f"{percent_text(share)} of the line"


def bars_svg(title: str, rows: list[tuple[str, int, str]]) -> str:
    """Return horizontal bars from zero, longest to the right edge.

    Args:
        title: what the bars show.
        rows: label, FLOPs, and where they count (a key of ``FILLS``).
    """
    most = max((value for _, value, _ in rows), default=0)
    room = _WIDTH - _LEFT - _RIGHT
    parts = []
    for number, (label, value, where) in enumerate(rows):
        y = number * _ROW
        # integers until the last step: a float holds no exact count
        width = round(room * value * 10 // most / 10, 1) if most else 0
        parts.append(
            f'<text x="{_LEFT - 10}" y="{y + 16}" text-anchor="end">'
            f"{escape(printable(label))}</text>"
            f'<rect x="{_LEFT}" y="{y + 4}" width="{max(width, 1.5 if value else 0)}" '
            f'height="16" rx="2" fill="{FILLS[where]}"/>'
            f'<text x="{_LEFT + width + 8}" y="{y + 16}">{flop_text(value)}</text>'
        )
    return _svg(
        len(rows) * _ROW + 4,
        printable(bars_words(title, rows)),
        f'<g font-size="13">{"".join(parts)}</g>',
    )


def bars_words(title: str, rows: list[tuple[str, int, str]]) -> str:
    """Return what the bars show as one sentence."""
    told = "; ".join(f"{label} {flop_text(value)}" for label, value, _ in rows)
    return f"{title}: {told}."


def _svg(height: int, described: str, inside: str) -> str:
    text = escape(described)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="100%" role="img" aria-label="{text}" fill="currentColor">'
        f"<title>{text}</title>{inside}</svg>"
    )
