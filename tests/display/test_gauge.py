"""The live gauge: what a user asks for, escaped, four times a second."""

from fractions import Fraction

import ipywidgets
import pytest

from flops_magic.display.gauge import LiveGauge, gauge_html
from tests.displays import EVIL, Clock, Tags, progress


def test_hostile_text_in_a_gauge_is_text():
    page = gauge_html(progress(line=None, verdict=None, line_text=EVIL))
    assert {"script", "img"}.isdisjoint(Tags(page).tags)


def test_the_gauge_shows_what_a_user_asks_for():
    text = gauge_html(progress())
    for part in (
        "3.00 × 10⁹ FLOP",
        "3 of 10",
        "192",
        "6.0 s",
        "14.0 s left",
        "1.00 × 10¹⁰",
    ):
        assert part in text, part
    assert "FLOP/s" in text


def test_an_unknown_line_says_what_to_pass():
    text = gauge_html(progress(line=None, verdict=None, line_text="pass --base-model"))
    assert "no line: pass --base-model" in text


def test_a_gauge_sends_one_message_an_update_and_four_a_second():
    sent = []

    class Recorded(ipywidgets.HTML):
        def send_state(self, key=None):
            if self.comm is not None and key is not None:
                sent.append(key)
            super().send_state(key)

    clock = Clock()
    gauge = LiveGauge(clock=clock)
    gauge.widget = Recorded()
    sent.clear()
    for tick in range(100):  # ten seconds, ten updates a second
        clock.now_s = tick / 10
        gauge.update(progress(step=tick + 1, steps=200))
    assert 20 <= len(sent) <= 40


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"line": Fraction(10**10)}, ""),  # it ends on the line, and not beyond
        (
            {"line": Fraction(6 * 10**9)},
            (
                "at this pace the line is crossed at step 7 of 10; --stop-at 0.9 stops "
                "a run before"
            ),
        ),
        (
            {"line": Fraction(6 * 10**9), "stop_at": Fraction(9, 10)},
            (
                "at this pace the line is crossed at step 7 of 10; training is stopped "
                "before 90 % of it"
            ),
        ),
        ({"line": Fraction(2 * 10**9)}, "the line is crossed"),
        ({"line": Fraction(6 * 10**9), "outcome": "completed"}, ""),
        ({"line": None}, ""),
    ],
)
def test_a_projection_that_crosses_is_a_warning(changes, said):
    now = progress(**changes)
    assert now.warning == said
    assert (f"Warning: {said}." in gauge_html(now)) is bool(said)
