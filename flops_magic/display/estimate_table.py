"""An estimate as a table: text for terminals, HTML for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

from flops_magic.display.scale import COLOURS, VERDICT_WORDS
from flops_magic.flops.units import count_text, flop_text, grouped, percent_text

_HEAD = ("method", "FLOP", "share of the line", "verdict", "trainable", "hours", "kWh")


def _cells(row: Any) -> tuple[str, ...]:
    decision = row.decision
    ratio = decision.share_of_line if decision else None
    return (
        row.method,
        flop_text(row.flops.direct),
        percent_text(ratio) if ratio is not None else "no line",
        decision.verdict.replace("_", " ") if decision else "–",
        count_text(row.parameters_trainable) if row.parameters_trainable else "–",
        "–" if row.hours is None else f"{row.hours:,.2f}",
        "–" if row.energy_kwh is None else f"{row.energy_kwh:,.2f}",
    )


def _notes(estimate: Any) -> list[str]:
    first = estimate.rows[0]
    # ``dict.fromkeys`` drops repeats and keeps the order.
    notes = list(dict.fromkeys(f"{r.method}: {r.basis}" for r in estimate.rows))
    notes += estimate.notes
    notes += list(dict.fromkeys(note for r in estimate.rows for note in r.notes))
    if first.decision:
        facts = first.decision.facts
        known = facts.original_flops
        value = flop_text(known) if known else "unknown"
        notes.append(
            f"line: {first.decision.line_text}; original {facts.base_model} {value} "
            f"({facts.original_source})"
        )
        notes += list(dict.fromkeys(flag for r in estimate.rows for flag in _flags(r)))
    else:
        notes.append(f"no verdict: {first.undecided}")
    notes += [f"skipped {line}" for line in estimate.skipped]
    return [*notes, "The criterion is indicative; not legal advice."]


def _flags(row: Any) -> tuple[str, ...]:
    """Return the flags for counsel, and the consequence of crossing the line."""
    decision = row.decision
    if decision is None:
        return ()
    follows = (f"{row.method}: {decision.consequence}",)
    return (*(follows if decision.verdict == "over" else ()), *decision.flags)


def _title(estimate: Any) -> str:
    return (
        f"{estimate.model}: {grouped(estimate.tokens)} tokens in sequences of "
        f"{grouped(estimate.seq_len)}"
    )


def _columns(estimate: Any) -> tuple[list[tuple[str, ...]], list[int]]:
    """Return the table's cells, and the numbers of the columns that hold a value."""
    table = [_HEAD, *map(_cells, estimate.rows)]
    kept = [i for i in range(len(_HEAD)) if any(row[i] != "–" for row in table[1:])]
    return table, kept


def estimate_text(estimate: Any) -> str:
    """Return an ``Estimate`` as text."""
    table, kept = _columns(estimate)
    widths = {i: max(len(row[i]) for row in table) for i in kept}
    lines = ["  ".join(row[i].ljust(widths[i]) for i in kept).rstrip() for row in table]
    rule = "─" * max(map(len, lines))
    notes = [f"  {note}" for note in _notes(estimate)]
    return "\n".join([_title(estimate), "", lines[0], rule, *lines[1:], "", *notes])


def estimate_html(estimate: Any) -> str:
    """Return an ``Estimate`` as an HTML table; everything in it is escaped."""
    table, kept = _columns(estimate)
    style = 'style="text-align:left;padding:3px 14px 3px 0"'
    head = "".join(f"<th {style}>{escape(table[0][i])}</th>" for i in kept)
    body = ""
    for row, cells in zip(estimate.rows, table[1:], strict=True):
        verdict = row.decision.verdict if row.decision else None
        words, colour = VERDICT_WORDS[verdict], COLOURS[verdict]
        mark = f'<span style="color:{colour}" title="{words}">●</span> '
        body += "<tr>"
        for i in kept:
            dot = mark if _HEAD[i] == "verdict" else ""
            body += f"<td {style}>{dot}{escape(cells[i])}</td>"
        body += "</tr>"
    notes = "".join(f"<li>{escape(note)}</li>" for note in _notes(estimate))
    return (
        '<div style="font-family:system-ui,sans-serif;font-size:13px">'
        f"<p><b>flops_magic</b> · {escape(_title(estimate))}</p>"
        f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table><ul style="opacity:.8">{notes}</ul></div>'
    )
