"""A report as a Word document, by python-docx (the extra ``docx``)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from flops_magic.display.scale import COLOURS
from flops_magic.errors import EvidenceError, MissingPackageError
from flops_magic.printable import printable
from flops_magic.report.blocks import (
    NOTE,
    Block,
    Bullets,
    Document,
    Figure,
    Paragraph,
    Table,
)

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
        heading = word.add_heading(printable(section.title), section.level)
        heading.paragraph_format.page_break_before = section.level == 1 and number > 0
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
    # python-docx's template is American English; spelling checks follow this.
    for language in languages:
        language.set(qn("w:val"), "en-GB")
    properties = word.core_properties
    properties.title = printable(document.title)
    properties.author = properties.last_modified_by = "flops_magic"
    properties.comments = ""
    properties.language = "en-GB"
    if document.made_on:
        # The template's own date is 2013, and today's would make two reports on the
        # same records differ.
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
        word.add_paragraph(printable(block.words))
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
    from docx.shared import Mm

    grid = word.add_table(rows=0, cols=len(table.head))
    grid.style = "Table Grid"
    grid.autofit = False
    room_mm = _A4_MM[0] - 2 * _MARGIN_MM
    widths = [Mm(round(room_mm * share)) for share in _WIDTHS[table.kind]]
    for column, width in zip(grid.columns, widths, strict=True):
        column.width = width
    for number, texts in enumerate((table.head, *table.rows)):
        row = grid.add_row()
        # Private in python-docx, tried with 1.2: it has no public name for the XML of a
        # row or a cell. Without it rows break across pages, and heads do not repeat.
        settings = row._tr.get_or_add_trPr()
        settings.append(OxmlElement("w:cantSplit"))
        if not number:
            settings.append(OxmlElement("w:tblHeader"))
        cells = list(row.cells)
        for cell, width in zip(cells, widths, strict=True):
            cell.width = width
        if len(texts) == 1:
            cells = [cells[0].merge(cells[-1])]
        heads = not number or len(texts) == 1
        for place, (cell, text) in enumerate(zip(cells, texts, strict=True)):
            _fill(cell, text, table.kind, bold=heads or not place, shaded=heads)
    word.add_paragraph()


def _fill(cell: Any, text: str, kind: str, *, bold: bool, shaded: bool) -> None:
    """Write a cell, a paragraph for each line; a heading stays with its group."""
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls
    from docx.shared import Pt, RGBColor

    size = Pt(7.5) if kind == "runs" else Pt(9)
    for number, line in enumerate(text.split("\n")):
        paragraph = cell.add_paragraph() if number else cell.paragraphs[0]
        paragraph.paragraph_format.space_before = Pt(1.5)
        paragraph.paragraph_format.space_after = Pt(1.5)
        paragraph.paragraph_format.keep_with_next = shaded
        written = paragraph.add_run(printable(line))
        written.font.size = size
        written.bold = bold and not number
        if line.startswith(NOTE):
            written.font.color.rgb = RGBColor(0x55, 0x60, 0x69)
    if shaded:
        # No public name for a cell's shading either (python-docx 1.2).
        shade = parse_xml(f'<w:shd {nsdecls("w")} w:val="clear" w:fill="EEF1F4"/>')
        cell._tc.get_or_add_tcPr().append(shade)
