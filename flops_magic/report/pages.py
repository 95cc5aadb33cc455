"""A report's pages, from the executive page on.

The report for everybody is internal: it holds exact figures. The one for a single
audience holds that audience's form, and the digests that tie it to the records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flops_magic.ai_act.decision import Decision
from flops_magic.ai_act.thresholds import error_range, law
from flops_magic.display.scale import VERDICT_WORDS, gauge_svg, share_text
from flops_magic.flops.units import (
    flop_text,
    grouped,
    percent_text,
    seconds_text,
    two_significant_figures,
)
from flops_magic.report.annex import (
    digests,
    evidence_sections,
    form_blocks,
    methodology_sections,
    notification_section,
)
from flops_magic.report.blocks import (
    Block,
    Bullets,
    Document,
    Figure,
    Paragraph,
    Section,
    Table,
    Verdict,
)
from flops_magic.report.documentation import TITLES, Documentation, Item
from flops_magic.report.form_items import forms
from flops_magic.report.methodology import CATEGORIES
from flops_magic.report.notification import notification
from flops_magic.report.renderers.svg import bars_svg, bars_words

# An answer of more paragraphs than this is written once and referred to after.
_LONG = 4
# More bars than this are unreadable on a page; the table of runs has them all.
_MOST_BARS = 8
TITLE = "Training compute report"
FOOTER = (
    "The Guidelines' criterion is indicative: it is met or not met, and says nothing "
    "final about anybody's role under the AI Act. This report is not legal advice."
)


def report_pages(made: Documentation, audience: str = "all") -> Document:
    """Return the pages of a report for one audience, or for all."""
    runs = [member.record.run for member in made.lineage.members]
    # The day of the last run, not today's: a report on the same records is the same
    # report, byte for byte.
    last = max(run.ended_at for run in runs)[:10]
    model = made.base_model or ", ".join(use.id for use in made.trained) or "no model"
    several = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    subtitle = f"Trained from {model}; {several} until {last}"
    if audience != "all":
        sections: Iterator[Section] = _for_one(made, audience)
        title = f"Model Documentation Form, training compute: {TITLES[audience]}"
        return Document(title, subtitle, tuple(sections), FOOTER, last)
    return Document(TITLE, subtitle, tuple(_for_all(made)), FOOTER, last)


def _for_all(made: Documentation) -> Iterator[Section]:
    yield _executive(made)
    if due := notification(made):
        yield notification_section(due)
    yield Section(
        "Model Documentation Form: items of compute, time and energy",
        (
            Paragraph(
                "Each audience gets its own precision. No item is public. The form for "
                "one audience alone: flops-magic report FILE --audience NAME.",
                "note",
            ),
        ),
        level=1,
    )
    # The methodology is the same text in two forms.
    seen: dict[tuple[str, ...], str] = {}
    for name, items in forms(made).items():
        yield Section(f"For: {TITLES[name]}", form_blocks(_once(items, name, seen)))
    yield from methodology_sections(made)
    yield from evidence_sections(made)


def _once(
    items: tuple[Item, ...], name: str, seen: dict[tuple[str, ...], str]
) -> tuple[Item, ...]:
    """Return a form whose long answers point to the form that has them already."""
    short = []
    for item in items:
        first = seen.setdefault(item.answer, name)
        if first != name and len(item.answer) > _LONG:
            told = f"The same text as in the form for: {TITLES[first]}."
            item = replace(item, answer=(told,))
        short.append(item)
    return tuple(short)


def _for_one(made: Documentation, audience: str) -> Iterator[Section]:
    yield Section(
        "Items of the form", form_blocks(forms(made, audience)[audience]), level=1
    )
    # One audience's form may hold no figure of another's precision, so the executive
    # page, which is exact, is not in it.
    yield Section("Records that this rests on", (digests(made),))


def verdict_sentence(made: Documentation) -> str:
    """Return the verdict in one sentence, in the words of the Guidelines."""
    members, decision = made.lineage.members, made.lineage.decision
    of = "For this run" if len(members) == 1 else f"For the sum of {len(members)} runs"
    if decision is None:
        return f"{of}: no verdict, because {made.lineage.undecided}."
    return f"{of}, {VERDICT_WORDS[decision.verdict]}."


def _executive(made: Documentation) -> Section:
    decision = made.lineage.decision
    verdict = decision.verdict if decision else None
    share = decision.share_of_line if decision else None
    blocks: list[Block] = [Verdict(verdict_sentence(made), verdict)]
    if decision:
        told = decision.line_text
        caption = f"{told[0].upper()}{told[1:]}."
        if decision.line:
            caption = f"The line (red mark): {flop_text(decision.line)}, {told}."
            caption += " The scale is logarithmic."
        # Where a figure cannot be drawn, its text may not speak of marks and scales.
        words = f"{share_text(share)}. {caption}".replace(" (red mark)", "")
        words = words.removesuffix(" The scale is logarithmic.")
        blocks.append(Figure(gauge_svg(share, verdict), caption, words, "gauge"))
        blocks.append(Paragraph(decision.explanation))
        if decision.verdict == "over":
            blocks.append(Paragraph(decision.consequence))
            due = notification(made)
            if due and due.foreseen_on:
                blocks.append(
                    Paragraph(
                        "That it would cross was first projected on "
                        f"{due.foreseen_on}; counted from then, the last day is "
                        f"{due.foreseen_deadline}: for counsel."
                    )
                )
        if decision.flags:
            blocks.append(Bullets(tuple(f"For counsel: {f}." for f in decision.flags)))
    blocks.append(_compared(made, decision))
    flops = made.lineage.flops
    rows = [
        (name, getattr(flops, name), where)
        for name, (_, where) in CATEGORIES.items()
        if getattr(flops, name) or where == "direct"
    ]
    told = "FLOP by category"
    key = f"{told}. Dark: direct; light: cumulative only; grey: in neither."
    blocks.append(Figure(bars_svg(told, rows), key, bars_words(told, rows)))
    if 1 < len(made.lineage.members) <= _MOST_BARS:
        where = "direct" if made.notion == "direct" else "cumulative"
        bars = [
            (f"run {m.name}", getattr(m.record.flops, made.notion), where)
            for m in made.lineage.members
        ]
        told = f"FLOP by run, {made.notion}"
        blocks.append(Figure(bars_svg(told, bars), f"{told}.", bars_words(told, bars)))
    blocks.append(_runs(made))
    blocks += [Bullets(made.lineage.remarks)] if made.lineage.remarks else []
    blocks.append(Paragraph(FOOTER, "note"))
    return Section("Executive summary", tuple(blocks), level=1)


def _compared(made: Documentation, decision: Decision | None) -> Table:
    """Return the compared figures, to the last digit."""
    flops = made.lineage.flops
    bound = made.at_least
    rows = [
        ("Modification, direct", f"{bound}{grouped(flops.direct)} FLOP"),
        ("Modification, cumulative", f"{bound}{grouped(flops.cumulative)} FLOP"),
    ]
    if decision:
        rows += _decision_rows(decision)
    return Table(("What", "Value"), tuple(rows), "What was compared with what")


def _decision_rows(decision: Decision) -> Iterator[tuple[str, str]]:
    facts, line = decision.facts, decision.threshold
    original = "not known"
    if facts.original_flops is not None:
        original = f"{grouped(facts.original_flops)} FLOP"
    if facts.original_source:
        original += f"\n{facts.original_source}"
    if facts.base_model:
        original = f"{facts.base_model}: {original}"
    yield "Original", original
    compared = f"{grouped(decision.compared)} FLOP, {decision.compared_notion}"
    if decision.ratio is not None:
        compared += f"\n{percent_text(decision.ratio)} of the threshold"
    yield "Compared", compared
    if line is not None:
        # A third of an original's compute is rarely whole; it is shown as a fraction,
        # since a rounded threshold could contradict the verdict.
        exact = grouped(line.numerator)
        if line.denominator != 1:
            exact += f" / {line.denominator}"
        yield "Threshold (strictly more)", f"{exact} FLOP, or {flop_text(line)}"
    numbers = law(facts.rules_version or None)
    if line is not None:
        low, high = error_range(decision.compared, numbers)
        # Half open, as in the verdict: exactly at the upper end is not above the line.
        reaches = "reaches" if low <= line < high else "does not reach"
        yield (
            f"Margin of {numbers.error_margin * 100} % (point 120)",
            f"{flop_text(low)} to {flop_text(high)}: {reaches} the threshold",
        )
    risk = {True: "yes", False: "no", None: "unknown"}[facts.systemic_risk]
    source = f" ({facts.systemic_risk_source})" if facts.systemic_risk_source else ""
    yield "Original with systemic risk", f"{risk}{source}"
    met = ", ".join(row.replace("-", " ") for row in decision.rows_met)
    row = decision.rule.replace("-", " ")
    point, july = decision.paragraph, decision.paragraph_july
    rule = f"{row} of the decision table; met: {met}\npoint {point} of C(2025) 7719, "
    rule += f"printed as {july} in the text of July 2025; numbers of {numbers.version}"
    yield "Rule", rule
    if decision.verdict != "over" and decision.consequence:
        yield "Consequence", decision.consequence


def _runs(made: Documentation) -> Table:
    """Return the runs, their digests, and the sum."""
    rows = []
    for member in made.lineage.members:
        run, decision = member.record.run, member.decision
        word = decision.verdict.replace("_", " ") if decision else "no verdict"
        start = run.started_at[:16].replace("T", " ")
        after = f"\ncontinues {member.parent[:8]}" if member.parent else ""
        rows.append(
            (
                f"{member.name}{after}",
                f"{start}\n{seconds_text(float(run.elapsed_s))}",
                run.outcome.value,
                two_significant_figures(member.record.flops.direct),
                two_significant_figures(member.record.flops.cumulative),
                word,
                member.sha256,
            )
        )
    if len(rows) > 1:
        flops, decision = made.lineage.flops, made.lineage.decision
        word = decision.verdict.replace("_", " ") if decision else "no verdict"
        rows.append(
            (
                "sum",
                "",
                "",
                two_significant_figures(flops.direct),
                two_significant_figures(flops.cumulative),
                word,
                "",
            )
        )
    return Table(
        (
            "Run",
            "Start (UTC), time",
            "Outcome",
            "FLOP, direct",
            "cumulative",
            "Verdict",
            "sha256 of the record",
        ),
        tuple(rows),
        "Runs",
        "runs",
    )
