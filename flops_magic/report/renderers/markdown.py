"""A report as Markdown that shows every text as it is: nothing in it is markup."""

from __future__ import annotations

import re

from flops_magic.printable import printable
from flops_magic.report.blocks import (
    Block,
    Bullets,
    Document,
    Figure,
    Paragraph,
    Section,
    Table,
)

# ``$`` opens mathematics on GitHub, ``|`` ends a cell, ``~`` strikes out.
_MARKUP = re.compile(r"([\\`*_\[\]|~$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# what makes a heading, a list, a rule or a quotation at a line's beginning
_OPENING = re.compile(r"^(\s*)([#+\-=]|\d+(?=[.)](\s|$)))")
_SCHEME = re.compile(r"\b(https?|ftp|mailto|www)(?=[:.])", re.IGNORECASE)


def markdown_text(text: str) -> str:
    """Return one line of text whose every character is shown as it is."""
    text = "".join(_ENTITIES.get(one, one) for one in printable(text))
    text = _MARKUP.sub(r"\\\1", text)
    # an address from a record is shown and cannot be clicked: records come from others
    text = _SCHEME.sub(lambda found: found[0][:-1] + f"&#{ord(found[0][-1])};", text)
    return _OPENING.sub(_plain_start, text)


def _plain_start(found: re.Match[str]) -> str:
    return f"{found[1]}{''.join(f'&#{ord(one)};' for one in found[2])}"


def report_markdown(document: Document) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    parts = [f"# {markdown_text(document.title)}", markdown_text(document.subtitle)]
    for section in document.sections:
        parts.append(_section(section))
    parts += ["---", markdown_text(document.footer)]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    heading = f"{'#' * (section.level + 1)} {markdown_text(section.title)}"
    return "\n\n".join([heading, *(_block(block) for block in section.blocks)])


def _block(block: Block) -> str:
    if isinstance(block, Bullets):
        return "\n".join(f"- {markdown_text(item)}" for item in block.items)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Figure):
        return markdown_text(block.words)
    if isinstance(block, Paragraph):
        return markdown_text(block.text)
    return f"**{markdown_text(block.text)}**"


def _table(table: Table) -> str:
    columns = len(table.head)
    rows = [_row(cells, columns) for cells in table.rows]
    rule = f"|{' --- |' * columns}"
    return "\n".join([_row(table.head, columns), rule, *rows])


def _row(cells: tuple[str, ...], columns: int) -> str:
    if len(cells) == 1:
        # Markdown has no spanning cells; a bold first cell heads the group.
        return f"| **{markdown_text(cells[0])}** |{' |' * (columns - 1)}"
    texts = ("<br>".join(map(markdown_text, cell.split("\n"))) for cell in cells)
    return f"| {' | '.join(texts)} |"
