"""A report as a Word document, by python-docx (the extra ``docx``)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from flops_magic.errors import EvidenceError, MissingPackageError
from flops_magic.show.report_blocks import (
    Block,
    Bullets,
    Document,
    Figure,
    Paragraph,
    Table,
    printable,
)
from flops_magic.show.scale import COLOURS

_A4_MM = (210, 297)
_MARGIN_MM = 18
# shares of the width, by kind of table
_WIDTHS = {
    "form": (0.28, 0.72),
    "digests": (0.16, 0.84),
    "figures": (0.46, 0.24, 0.3),
    "facts": (0.32, 0.68),
    "runs": (0.12, 0.16, 0.12, 0.13, 0.13, 0.11, 0.23),
}


def write_docx(document: Document, path: str | Path) -> None:
    """Write the report.

    Raises:
        MissingPackageError: without python-docx.
        EvidenceError: when the file cannot be written.
    """
    try:
        import docx
    except ImportError as error:
        raise MissingPackageError(
            "a .docx report needs python-docx; run pip install 'flops-magic[docx]'"
        ) from error
    word: Any = docx.Document()
    _set_up(word, document)
    word.add_heading(printable(document.title), 0)
    word.add_paragraph(printable(document.subtitle))
    for number, section in enumerate(document.sections):
        if section.level == 1 and number:
            word.add_page_break()
        word.add_heading(printable(section.title), section.level)
        for block in section.blocks:
            _add(word, block)
    word.add_paragraph(printable(document.footer)).runs[0].italic = True
    try:
        word.save(str(path))
    except OSError as error:
        raise EvidenceError(
            f"cannot write {str(path)!r}: {error.strerror or error}; name a file in a "
            "folder that exists"
        ) from error


def _set_up(word: Any, document: Document) -> None:
    """Set paper, font, language and properties; no clock but the records' own."""
    from docx.oxml.ns import qn
    from docx.shared import Mm, Pt

    page = word.sections[0]
    page.page_width, page.page_height = Mm(_A4_MM[0]), Mm(_A4_MM[1])
    page.left_margin = page.right_margin = Mm(_MARGIN_MM)
    page.top_margin = page.bottom_margin = Mm(_MARGIN_MM)
    normal = word.styles["Normal"]
    normal.font.name, normal.font.size = "Arial", Pt(10)
    languages = word.styles.element.findall(f".//{qn('w:lang')}")
    for language in languages:
        language.set(qn("w:val"), "en-GB")
    properties = word.core_properties
    properties.title = printable(document.title)
    properties.author = properties.last_modified_by = "flops_magic"
    properties.comments = ""
    properties.language = "en-GB"
    if document.made_on:
        properties.created = datetime.fromisoformat(document.made_on)
        properties.modified = properties.created


def _add(word: Any, block: Block) -> None:
    from docx.shared import Pt, RGBColor

    if isinstance(block, Table):
        _add_table(word, block)
    elif isinstance(block, Bullets):
        for item in block.items:
            word.add_paragraph(printable(item), style="List Bullet")
    elif isinstance(block, Figure):
        word.add_paragraph(printable(block.caption))
    elif isinstance(block, Paragraph):
        text = word.add_paragraph().add_run(printable(block.text))
        if block.kind == "note":
            text.font.size = Pt(9)
    else:
        text = word.add_paragraph().add_run(printable(block.text))
        text.bold = True
        text.font.size = Pt(14)
        text.font.color.rgb = RGBColor.from_string(COLOURS[block.verdict][1:].upper())


def _add_table(word: Any, table: Table) -> None:
    from docx.oxml import OxmlElement
    from docx.shared import Mm, Pt

    grid = word.add_table(rows=0, cols=len(table.head))
    grid.style = "Table Grid"
    grid.autofit = False
    room_mm = _A4_MM[0] - 2 * _MARGIN_MM
    shares = _WIDTHS[table.kind]
    size = Pt(7.5) if table.kind == "runs" else Pt(9)
    for number, cells in enumerate((table.head, *table.rows)):
        row = grid.add_row()
        settings = row._tr.get_or_add_trPr()
        settings.append(OxmlElement("w:cantSplit"))
        if not number:
            settings.append(OxmlElement("w:tblHeader"))
        if len(cells) == 1:
            row.cells[0].merge(row.cells[-1])
        # a merged cell is one cell, found in each of its columns
        for place, (cell, text) in enumerate(zip(row.cells, cells, strict=False)):
            if len(cells) > 1:
                cell.width = Mm(round(room_mm * shares[place]))
            lines = [printable(line) for line in text.split("\n")]
            written = cell.paragraphs[0].add_run("\n".join(lines))
            written.font.size = size
            written.bold = not number or not place
    word.add_paragraph()
