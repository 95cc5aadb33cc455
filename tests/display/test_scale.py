"""The scale: where a share is placed, and the one drawing of it."""

from fractions import Fraction
from xml.etree import ElementTree

import pytest

from flops_magic.display.card import card_html
from flops_magic.display.gauge import gauge_html
from flops_magic.display.scale import (
    COLOURS,
    LINE_AT,
    VERDICT_WORDS,
    gauge_svg,
    position,
    share_text,
)
from flops_magic.evidence.seal import seal
from flops_magic.report.report import report_on
from tests import fakes
from tests.displays import progress


def test_the_line_stands_where_the_share_is_one():
    assert position(Fraction(1)) == pytest.approx(LINE_AT)
    assert position(Fraction(1, 10**12)) == 0.0
    assert position(Fraction(0)) == position(None) == 0.0
    assert position(Fraction(10**9)) == 1.0


def test_more_compute_never_moves_the_gauge_back():
    places = [position(Fraction(10**k, 10**400 + 7)) for k in range(0, 500, 3)]
    assert places == sorted(places)


def drawing(share, verdict):
    return ElementTree.fromstring(gauge_svg(share, verdict))  # noqa: S314 our own


def tags(tree, name):
    return tree.findall(f".//{{http://www.w3.org/2000/svg}}{name}")


@pytest.mark.parametrize("verdict", VERDICT_WORDS)
@pytest.mark.parametrize("share", [Fraction(1, 10**9), Fraction(9, 10), Fraction(4)])
def test_a_share_is_marked_at_its_place_in_its_colour_and_told_in_words(share, verdict):
    tree = drawing(share, verdict)
    (mark,) = tags(tree, "circle")
    width = float(tree.get("viewBox").split()[2])
    assert float(mark.get("cx")) == pytest.approx(position(share) * width, abs=9)
    assert mark.get("fill") == COLOURS[verdict]
    assert share_text(share) in tree.get("aria-label")
    assert VERDICT_WORDS[verdict] in tree.get("aria-label")


def test_without_a_line_nothing_is_marked():
    tree = drawing(None, None)
    assert not tags(tree, "circle")
    assert "no line applies" in tree.get("aria-label")


@pytest.mark.parametrize("share", [None, Fraction(0), Fraction(10**30), Fraction(1, 3)])
def test_the_drawing_stays_inside_of_its_box(share):
    tree = drawing(share, "below")
    width = float(tree.get("viewBox").split()[2])
    for circle in tags(tree, "circle"):
        x, r = float(circle.get("cx")), float(circle.get("r"))
        assert r <= x <= width - r
    for text in tags(tree, "text"):
        assert 0 <= float(text.get("x")) <= width
    (line,) = tags(tree, "line")
    assert 0 < float(line.get("x1")) < width


def test_card_gauge_and_report_show_the_same_drawing():
    made = fakes.record()
    share = Fraction(made.decision.share_of_line)
    svg = gauge_svg(share, made.decision.verdict)
    assert svg in card_html(made, seal(made))
    assert svg in gauge_html(progress(line=Fraction(3 * 10**9) / share))
    html = report_on([(seal(made), made)]).to_html()
    assert svg in html
