"""The card: escaped, exact, and with every gap on it."""

import pytest

from flops_magic.display.card import card_html
from flops_magic.display.text import record_text
from flops_magic.evidence.seal import seal
from tests import fakes
from tests.displays import EVIL, Tags


@pytest.mark.parametrize("where", ["model", "gap"])
def test_hostile_text_in_a_record_is_text_on_the_card(where):
    made = (
        fakes.record(model_id=EVIL) if where == "model" else fakes.record(gaps=(EVIL,))
    )
    page = card_html(made, seal(made))
    found = Tags(page)
    assert not found.open
    assert {"script", "img"}.isdisjoint(found.tags)
    assert "onerror" not in found.attributes
    assert "&lt;script&gt;" in page


def test_card_and_text_show_the_records_exact_figure_and_verdict():
    made = fakes.record()
    for text in (card_html(made, seal(made)), record_text(made, seal(made))):
        assert "188,743,680" in text
        assert "the indicative criterion is not met" in text
        assert made.run.id in text


def test_gaps_stand_on_the_card():
    made = fakes.record(gaps=("the clock stopped",))
    assert "Gap: the clock stopped." in card_html(made, seal(made))
