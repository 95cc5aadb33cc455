"""A record as a static card: HTML with inline SVG, readable wherever it is committed.

Front-ends strip styles, classes and scripts from committed notebooks, GitHub most of
all. The card therefore uses plain tables and inline attributes, takes the text colour
of its page, and says everything in words too.
"""

from __future__ import annotations

from html import escape

from flops_magic.display.scale import COLOURS, gauge_svg
from flops_magic.display.text import NOT_ADVICE, statements, summary, verdict_words
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import Sealed


def card_html(record: AuditRecord, sealed: Sealed) -> str:
    """Return the card of a sealed record."""
    decision = record.decision
    verdict = decision.verdict if decision else None
    share = decision.share_of_line if decision else None
    colour = COLOURS[verdict]
    # Everything from a record is escaped: model names come from whoever wrote the
    # config.
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
        f"{gauge_svg(share, verdict)}"
        f'<table style="border-collapse:collapse;margin:8px 0">{rows}</table>'
        f"{sentences}"
        f'<p style="margin:8px 0 0;opacity:.75;overflow-wrap:anywhere">'
        f"record {escape(record.run.id)} · sha256 {escape(sealed.sha256)}<br>"
        f"{escape(NOT_ADVICE)}</p></div>"
    )
