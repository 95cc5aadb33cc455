"""A record as a static card: HTML with inline SVG, readable wherever it is committed.

Front-ends strip styles, classes and scripts from committed notebooks, GitHub most of
all. The card therefore stands on plain tables and inline attributes, takes the text
colour of its page, and says everything in words too.
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
from flops_magic.display.text import NOT_ADVICE, statements, summary, verdict_words
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import Sealed
from flops_magic.flops.units import percent_text

_WIDTH = 640


def card_html(record: AuditRecord, sealed: Sealed) -> str:
    """Return the card of a sealed record."""
    decision = record.decision
    verdict = decision.verdict if decision else None
    share = decision.share_of_line if decision else None
    colour = COLOURS[verdict]
    rows = "".join(
        f'<tr><td style="text-align:left;white-space:nowrap;vertical-align:top;'
        f'padding:2px 14px 2px 0;opacity:.75">{escape(name)}</td>'
        f'<td style="text-align:left;padding:2px 0;overflow-wrap:anywhere">'
        f"{escape(text)}</td></tr>"
        for name, text in summary(record)
    )
    sentences = "".join(
        f'<p style="margin:6px 0">{escape(sentence)}</p>'
        for sentence in statements(record)
    )
    words = verdict_words(record)
    return (
        f'<div style="max-width:760px;padding:12px 16px;border:1px solid #8888;'
        f"border-left:5px solid {colour};border-radius:6px;"
        'font-family:system-ui,sans-serif;font-size:13px;line-height:1.45">'
        f'<p style="margin:0 0 6px"><b>flops_magic</b> · '
        f"{escape(record.run.outcome)} · "
        f'<b style="color:{colour}">{escape(words)}</b></p>'
        f"{scale_svg(share, verdict)}"
        f'<table style="border-collapse:collapse;margin:8px 0">{rows}</table>'
        f"{sentences}"
        f'<p style="margin:8px 0 0;opacity:.75;overflow-wrap:anywhere">'
        f"record {escape(record.run.id)} · sha256 {escape(sealed.sha256)}<br>"
        f"{escape(NOT_ADVICE)}</p></div>"
    )


def scale_svg(share: Fraction | None, verdict: str | None) -> str:
    """Return the logarithmic scale with the line marked, as inline SVG.

    Args:
        share: of the line; None where there is no line.
        verdict: gives the colour.
    """
    colour = COLOURS[verdict]
    line_x = round(LINE_AT * _WIDTH)
    here_x = round(position(share) * _WIDTH, 1)
    label = "no line" if share is None else f"{percent_text(share)} of the line"
    described = f"{label}; {VERDICT_WORDS[verdict]}"
    ticks = "".join(
        f'<line x1="{x}" y1="27" x2="{x}" y2="32" stroke="#888"/>'
        f'<text x="{x}" y="44" font-size="10" text-anchor="{anchor}" '
        f'fill="#888">{text}</text>'
        for x, text, anchor in _ticks()
    )
    mark = (
        f'<circle cx="{max(here_x, 5)}" cy="20" r="6" fill="{colour}"/>'
        if share is not None
        else ""
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} 48" '
        f'width="100%" style="max-width:{_WIDTH}px;display:block" role="img" '
        f'aria-label="{escape(described)}"><title>{escape(described)}</title>'
        f'<rect x="0" y="15" width="{_WIDTH}" height="10" rx="5" fill="#8883"/>'
        f'<rect x="0" y="15" width="{here_x}" height="10" rx="5" fill="{colour}"/>'
        f'<line x1="{line_x}" y1="6" x2="{line_x}" y2="32" stroke="#c62828" '
        'stroke-width="2"/>'
        f"{mark}{ticks}"
        f'<text x="{line_x - 4}" y="11" font-size="10" text-anchor="end" '
        'fill="#888">the line</text></svg>'
    )


def _ticks() -> list[tuple[int, str, str]]:
    step = _WIDTH / (DECADES_BELOW + DECADES_ABOVE)
    texts = ["10⁻¹⁰ %", "10⁻⁸ %", "10⁻⁶ %", "10⁻⁴ %", "0.01 %", "1 %", "100 %"]
    return [
        (round(2 * i * step), text, "middle" if i else "start")
        for i, text in enumerate(texts)
    ]
