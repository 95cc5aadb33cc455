"""The report's bars as inline SVG: no script, no font, no file beside it.

They take the text colour of their page, and say in their titles what they show.
"""

from __future__ import annotations

from html import escape

from flops_magic.flops.units import flop_text
from flops_magic.printable import printable

_WIDTH = 720
_LEFT, _RIGHT = 150, 190
_ROW = 24
FILLS = {"direct": "#2f6db3", "cumulative": "#7aa7d9", "neither": "#9aa0a6"}


def bars_svg(title: str, rows: list[tuple[str, int, str]]) -> str:
    """Return horizontal bars from zero, longest to the right edge.

    Args:
        title: what the bars show.
        rows: label, FLOPs, and where they count (a key of ``FILLS``).
    """
    most = max((value for _, value, _ in rows), default=0)
    # A linear scale: bars compare parts of one sum, and parts add up only there.
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
    described = escape(printable(bars_words(title, rows)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {_WIDTH} {len(rows) * _ROW + 4}" '
        f'width="100%" role="img" aria-label="{described}" fill="currentColor">'
        f'<title>{described}</title><g font-size="13">{"".join(parts)}</g></svg>'
    )


def bars_words(title: str, rows: list[tuple[str, int, str]]) -> str:
    """Return the bars' values as one sentence."""
    told = "; ".join(f"{label} {flop_text(value)}" for label, value, _ in rows)
    return f"{title}: {told}."
