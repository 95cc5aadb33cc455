"""A report as one HTML file: no script, nothing fetched, for screens and for A4 paper.

Styles are scoped to the report's own element, so that a notebook can show it too.
Where a front-end strips styles, plain headings and tables are left.
"""

from __future__ import annotations

from html import escape

from flops_magic.display.scale import COLOURS
from flops_magic.printable import printable
from flops_magic.report.blocks import (
    NOTE,
    Block,
    Bullets,
    Document,
    Figure,
    Paragraph,
    Section,
    Table,
)
from flops_magic.report.renderers.style import PAGE_STYLE, STYLE


def report_html(document: Document) -> str:
    """Return a whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(f'{document.title}: {document.subtitle}')}</title>\n"
        f"<style>{PAGE_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{report_fragment(document)}\n</main>\n</body>\n</html>\n"
    )


def report_fragment(document: Document) -> str:
    """Return the report's element alone, for the output of a cell."""
    sections = "\n".join(map(_section, document.sections))
    return (
        f'<style>{STYLE}</style>\n<article class="flops-report">\n<header>'
        f"<h1>{_text(document.title)}</h1>"
        f"<p>{_text(document.subtitle)}</p></header>\n"
        f"{sections}\n<footer><p>{_text(document.footer)}</p></footer>\n</article>"
    )


def _text(text: str) -> str:
    # Both, in this order: replacing characters after escaping could open a tag.
    return escape(printable(text))


def _section(section: Section) -> str:
    blocks = "\n".join(map(_block, section.blocks))
    level = section.level + 1
    return (
        f'<section class="level-{section.level}">'
        f"<h{level}>{_text(section.title)}</h{level}>\n{blocks}</section>"
    )


def _block(block: Block) -> str:
    if isinstance(block, Bullets):
        return f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in block.items)}</ul>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Figure):
        return (
            f'<figure class="{block.kind}">{block.svg}<figcaption>'
            f"{_text(block.caption)}</figcaption>"
            "</figure>"
        )
    if isinstance(block, Paragraph):
        kind = f' class="{block.kind}"' if block.kind else ""
        return f"<p{kind}>{_text(block.text)}</p>"
    colour = COLOURS[block.verdict]
    return f'<p class="verdict" style="--verdict:{colour}">{_text(block.text)}</p>'


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in table.head)
    rows = "".join(_row(row, len(table.head)) for row in table.rows)
    return (
        f'<table class="{table.kind}"><caption>{_text(table.caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(row: tuple[str, ...], columns: int) -> str:
    if len(row) == 1:
        return (
            f'<tr class="group"><th colspan="{columns}" scope="colgroup">'
            f"{_text(row[0])}</th></tr>"
        )
    cells = "".join(f"<td>{_lines(cell)}</td>" for cell in row[1:])
    return f'<tr><th scope="row">{_lines(row[0])}</th>{cells}</tr>'


def _lines(cell: str) -> str:
    """Return a cell's lines; the style sheet makes a row's first line bold."""
    first, *rest = cell.split("\n")
    return _text(first) + "".join(
        f'<span class="line{" note" if line.startswith(NOTE) else ""}">'
        f"{_text(line)}</span>"
        for line in rest
    )
