"""The pages after the executive page: forms, notification, method, evidence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from flops_magic.flops.units import grouped
from flops_magic.report.blocks import (
    NOTE,
    Block,
    Bullets,
    Paragraph,
    Section,
    Table,
)
from flops_magic.report.documentation import Documentation, Item
from flops_magic.report.methodology import CATEGORIES
from flops_magic.report.notification import Notification

_COUNTS = {
    "direct": "direct and cumulative",
    "cumulative": "cumulative only",
    "neither": "in neither",
}
_BEGINS = (
    "The duty begins when it becomes known that the criterion will be met: for counsel."
)


def digests(made: Documentation) -> Table:
    """Return the records that a report rests on."""
    rows = tuple((member.name, member.sha256) for member in made.lineage.members)
    return Table(("Run", "sha256 of the record"), rows, "Records", "digests")


def form_blocks(items: tuple[Item, ...]) -> tuple[Block, ...]:
    """Return one audience's fields, their answers, and notes on them."""
    rows: list[tuple[str, ...]] = []
    # Items arrive in the form's order, so equal sections are neighbours.
    for section, fields in groupby(items, key=lambda item: item.section):
        rows.append((section,))
        for item in fields:
            lines = (*item.answer, *(f"{NOTE}{note}" for note in item.notes))
            rows.append((item.name, "\n".join(lines)))
    return (Table(("Item", "Answer"), tuple(rows), "Items of the form", "form"),)


def notification_section(due: Notification) -> Section:
    """Return the draft of a notification's content."""
    rows = [
        ("Triggered by", due.triggered_by),
        ("Compute (two significant figures)", due.flops),
        ("First judged over", due.known_on or "no record holds the day"),
        ("Notify without delay, at the latest", due.deadline or "not known"),
    ]
    if due.foreseen_on:
        last = f"counted from then, the last day is {due.foreseen_deadline}. {_BEGINS}"
        rows.append(("First projected to cross", f"{due.foreseen_on}: {last}"))
    return Section(
        "Content of a notification (point 31)",
        (
            Paragraph(
                "A draft of what Article 52(1) and point 31 ask for, as far as the "
                "records hold it. Arguments under Article 52(2) are not in it."
            ),
            Table(("What", "Content"), tuple(rows), "Notification"),
            Paragraph("Approach used to estimate the compute:"),
            Bullets(due.approach),
        ),
        level=1,
    )


def methodology_sections(made: Documentation) -> Iterator[Section]:
    """Yield how the figures came about, exact ones among them."""
    method = made.method
    yield Section(
        "Methodology, assumptions and uncertainties",
        (
            Paragraph(
                "The Guidelines expect the assumptions of an estimate to be "
                "documented, with its method and its uncertainties (point 120).",
                "note",
            ),
            Paragraph(" ".join((*method.method, method.notion))),
        ),
        level=1,
    )
    flops = made.lineage.flops
    yield Section(
        "What was counted where (exact, internal)",
        (
            Table(
                ("Category", "Counts as", "FLOP"),
                tuple(
                    (text, _COUNTS[where], grouped(getattr(flops, name)))
                    for name, (text, where) in CATEGORIES.items()
                )
                + tuple(
                    ("in all", name, grouped(getattr(flops, name)))
                    for name in ("direct", "cumulative", "executed")
                )
                + (
                    (
                        "direct, if masked attention were not computed",
                        "beside it",
                        grouped(flops.direct_causal),
                    ),
                ),
                "FLOP by category",
                "figures",
            ),
        ),
    )
    unknown = ", ".join(method.unknown_operations) or "none"
    for title, lines in (
        ("Assumptions", method.assumptions),
        (
            "Uncertainty",
            (*method.uncertainty, f"Operations without formula: {unknown}."),
        ),
        ("Gaps", method.gaps or ("Nothing was left unobserved, as far as is known.",)),
        (
            "Versions",
            (
                f"Counting rules: {', '.join(method.rules_versions) or 'none applied'}",
                *method.versions,
            ),
        ),
    ):
        yield Section(title, (Bullets(lines),))


def evidence_sections(made: Documentation) -> Iterator[Section]:
    """Yield the digests of the records, and how to verify them."""
    yield Section(
        "Evidence, and how to verify it",
        (
            Paragraph(
                "Every file was verified before this report was made. To verify again: "
                "flops-magic verify FILE, with the files that carry these records. A "
                "digest shows that a record was changed, not who wrote it."
            ),
            digests(made),
            Paragraph(
                "Signatories of the Code of Practice keep previous versions of this "
                "documentation for ten years after the model was placed on the market "
                "(Transparency chapter, measure 1.1).",
                "note",
            ),
        ),
    )
