"""What a report is made of, before it is HTML, Markdown or a Word document.

Texts come from records, which anybody may have written: ``printable`` takes out what no
document may hold. Escaping is each renderer's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NOTE = "Note: "


@dataclass(frozen=True)
class Paragraph:
    """Running text; ``note`` is smaller, ``lead`` is larger."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Bullets:
    """A list of short texts."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of texts; the first of each is the row's heading.

    Attributes:
        head: of the columns.
        rows: each as long as the head, or one text alone, the heading of a group; a
            cell's lines are split by line breaks, and renderers print lines that begin
            with ``NOTE`` in a softer colour.
        caption: says what the table holds.
        kind: ``form``, ``facts``, ``figures``, ``runs`` or ``digests``: how the
            columns share the width.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    kind: str = "facts"


@dataclass(frozen=True)
class Verdict:
    """The verdict in one sentence; ``verdict`` gives the colour."""

    text: str
    verdict: str | None


@dataclass(frozen=True)
class Figure:
    """A drawing, and the same in words.

    Attributes:
        svg: safe to embed as it is.
        caption: below it.
        words: in its place where nothing can be drawn.
        kind: ``gauge`` or ``bars``.
    """

    svg: str
    caption: str
    words: str
    kind: str = "bars"


Block = Paragraph | Bullets | Table | Verdict | Figure


@dataclass(frozen=True)
class Section:
    """A heading and its content.

    Attributes:
        title: the heading.
        blocks: in order.
        level: 1 for a part that starts on a page of its own when printed, 2 below it.
    """

    title: str
    blocks: tuple[Block, ...] = ()
    level: int = 2


@dataclass(frozen=True)
class Document:
    """A whole report.

    Attributes:
        title: of the document.
        subtitle: the model, and the days of its runs.
        sections: in order; the first fills the first page.
        footer: below everything.
        made_on: the day of the last run, ISO 8601; a report holds no other clock.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...] = field(default_factory=tuple)
    footer: str = ""
    made_on: str = ""
