"""The rendered report: golden files, escaping, and what a page may hold.

``FLOPS_MAGIC_RENEW_GOLDEN=1`` in the environment writes the golden files anew.
"""

import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flops_magic.errors import EvidenceError, MissingPackageError
from flops_magic.printable import printable
from flops_magic.report.documentation import AUDIENCES, Documentation
from flops_magic.report.lineage import lineage
from flops_magic.report.pages import report_pages, verdict_sentence
from flops_magic.report.renderers.markdown import markdown_text
from flops_magic.report.report import report_on
from tests.reports import (
    RECORDS,
    below,
    decided,
    made,
    over,
    pair,
    recovered,
    sealed_pair,
)

GOLDEN = Path(__file__).parents[1] / "golden"
RENEW = "FLOPS_MAGIC_RENEW_GOLDEN"
ENDINGS = {
    "html": ".html",
    "md": ".md",
    "json": ".json",
    "model-card": ".model-card.md",
}
EVIL = "<script>alert('x')</script>\"><img src=x onerror=y> | ``` [a](http://b) \x07"
VOID = {"meta", "br"}


def on(*records, audience="all"):
    return report_on([sealed_pair(record) for record in records], audience=audience)


class Page(HTMLParser):
    """Collects a page's tags, attributes and headings; tags have to match."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.headings, self.open = set(), [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("name", RECORDS)
def test_a_report_is_its_golden_file(name, kind):
    path = GOLDEN / f"report-{name}{ENDINGS[kind]}"
    text = on(RECORDS[name]()).write(kind)
    if os.environ.get(RENEW):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{RENEW}=1 writes it anew"


def test_a_report_holds_no_clock_but_its_records():
    days = re.findall(r"20\d\d-\d\d-\d\d", on(below()).to_markdown())
    assert set(days) <= {"2026-11-24", "2026-11-23"}  # the run, the rules


@pytest.mark.parametrize("audience", ["all", *AUDIENCES])
def test_a_page_is_self_contained_and_well_formed(audience):
    text = on(over(), audience=audience).to_html()
    page = Page(text)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(page.tags)
    assert ("html", "lang", "en") in page.attributes
    assert all(name not in ("src", "href") for _, name, _ in page.attributes)
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert "url(" not in text
    assert "@import" not in text
    addresses = set(re.findall(r"https?://[^\s\"<]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_headings_do_not_skip_a_level_and_cells_have_scopes():
    page = Page(on(over()).to_html())
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    steps = zip(page.headings, page.headings[1:], strict=False)
    assert all(later - earlier <= 1 for earlier, later in steps)
    scopes = [value for tag, name, value in page.attributes if name == "scope"]
    assert set(scopes) == {"col", "row", "colgroup"}


def test_every_drawing_is_xml_with_a_title():
    found = re.findall(r"<svg.*?</svg>", on(below(), over_run()).to_html(), re.DOTALL)
    assert len(found) == 3  # the gauge, the categories, the runs
    for svg in found:
        tree = ElementTree.fromstring(svg)  # noqa: S314 our own
        assert tree[0].tag.endswith("title")
        assert tree[0].text


def over_run():
    return below("b" * 32, day=25)


def evil():
    record = below()
    use = replace(record.models[0], id=EVIL)
    return replace(record, models=(use,), gaps=(EVIL,), versions={EVIL: EVIL})


def test_html_escapes_what_a_record_says():
    text = on(evil()).to_html()
    Page(text)
    assert "<script" not in text
    assert "<img" not in text
    assert "\x07" not in text
    assert "&lt;script&gt;" in text
    assert "onerror=y&gt;" in text


def test_a_report_in_a_notebook_stands_in_a_frame_without_scripts():
    shown = on(evil())._repr_html_()
    page = Page(shown)
    assert page.tags == {"iframe"}
    assert ("iframe", "sandbox", "") in page.attributes


@pytest.mark.parametrize("write", ["to_markdown", "to_model_card"])
def test_markdown_shows_what_a_record_says_as_text(write):
    text = getattr(on(evil()), write)()
    assert "<script" not in text
    assert "<img" not in text
    assert "](http" not in text
    assert "http:" not in text
    assert "```" not in text
    assert "\x07" not in text


def test_a_table_in_markdown_keeps_its_columns():
    lines = on(evil()).to_markdown().splitlines()
    widths = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            columns = len(re.findall(r"(?<!\\)\|", line))
            if before.startswith("|"):
                assert columns == widths[-1], line
            widths.append(columns)
    assert len(widths) > 40


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", r"a\|b"),
        ("# no heading", "&#35; no heading"),
        ("1. no list", "&#49;. no list"),
        ("1.9x10^8", "1.9x10^8"),
        ("- no list", "&#45; no list"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("two\nlines", "two lines"),
        ("https://a.b", "http&#115;://a.b"),
        ("$x$", r"\$x\$"),
    ],
)
def test_no_text_is_markup_in_markdown(text, written):
    assert markdown_text(text) == written


def test_what_cannot_be_printed_is_replaced():
    assert printable("a\x00b\ud800c\u202ed\ne") == "a\ufffdb\ufffdc\ufffdd e"


def test_the_front_matter_names_a_hub_id_only():
    assert on(below()).to_model_card().startswith('---\nbase_model: "tiny/llama"\n---')
    record = replace(made(), undecided="nothing is known")
    folder = replace(record.models[0], id="my-run: [x]")
    card = on(replace(record, models=(folder,))).to_model_card()
    assert card.startswith("## Training compute (EU AI Act)")


@pytest.mark.parametrize("name", RECORDS)
def test_no_report_says_that_somebody_is_a_provider(name):
    text = on(RECORDS[name]()).to_markdown()
    assert not re.search(r"\byou are\b|\bis a provider\b|\bbecame the provider\b", text)
    assert "not legal advice" in text


@pytest.mark.parametrize(
    ("asked", "row"),
    [
        ({"same_provider": True}, "row 0"),
        ({"union_market": False}, "row 1"),
        ({"original_inestimable": True, "systemic_risk": False}, "row 3"),
        ({"original_inestimable": True, "systemic_risk": True}, "row 5"),
        ({"original_flops": "1e21"}, "row 6"),
        ({"original_inestimable": True, "original_is_gpai": False}, "row 6"),
    ],
)
def test_every_row_of_the_table_has_a_report(asked, row):
    made_for = on(decided(made(), **asked))
    text = made_for.to_markdown()
    assert f"| Rule | {row} of the decision table" in text
    assert verdict_sentence(made_for.documentation) in text
    Page(made_for.to_html())
    assert made_for.to_json()
    assert made_for.to_model_card()


def test_the_verdict_of_several_runs_is_the_sums():
    documentation = Documentation.of(lineage([pair(below()), pair(over_run())]))
    assert verdict_sentence(documentation) == (
        "For the sum of 2 runs, the indicative criterion is not met."
    )


def test_a_report_without_a_verdict_says_why_first():
    first = report_pages(Documentation.of(lineage([pair(recovered())])))
    assert "no verdict, because the operations" in first.sections[0].blocks[0].text


def test_a_report_over_the_line_holds_a_notification():
    text = on(over()).to_markdown()
    assert "## Content of a notification (point 31)" in text
    assert "counted from then, the last day is 2026-12-04" in text.split("\n## ")[1]
    assert "notification (point 31)" not in on(below()).to_markdown()


@pytest.mark.parametrize("audience", AUDIENCES)
def test_the_form_for_one_audience_holds_no_exact_figure(audience):
    made_for = on(over(), audience=audience)
    for text in (made_for.to_html(), made_for.to_markdown(), made_for.to_json()):
        assert "209,743,680" not in text
        assert "209743680" not in text
        assert "Executive summary" not in text


def test_word_holds_the_tables_and_survives_control_characters(tmp_path):
    docx = pytest.importorskip("docx")
    path = tmp_path / "r.docx"
    on(evil(), over_run()).to_docx(path)
    word = docx.Document(path)
    texts = [paragraph.text for paragraph in word.paragraphs]
    assert "Executive summary" in texts
    assert "For the sum of 2 runs, the indicative criterion is not met." in texts
    cells = [cell.text for t in word.tables for row in t.rows for cell in row.cells]
    assert any("<script>" in cell and "\ufffd" in cell for cell in cells)
    assert "3.8x10^8 floating point operations." in str(cells)
    assert word.core_properties.created.date().isoformat() == "2026-11-25"
    header = word.tables[0].rows[0]._tr.trPr
    assert [child.tag.split("}")[1] for child in header] == ["cantSplit", "tblHeader"]


def test_word_without_python_docx_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "docx", None)
    with pytest.raises(MissingPackageError, match=r"flops-magic\[docx\]"):
        on(below()).to_docx(tmp_path / "r.docx")


def test_word_in_a_folder_that_does_not_exist_is_one_line(tmp_path):
    pytest.importorskip("docx")
    with pytest.raises(EvidenceError, match="cannot write"):
        on(below()).to_docx(tmp_path / "nowhere" / "r.docx")
