"""What a person sees: escaped, consistent, and no more often than it should be."""

from fractions import Fraction
from html.parser import HTMLParser
from io import StringIO

import ipywidgets
import pytest

from flops_magic.display.card import card_html
from flops_magic.display.gauge import LiveGauge, gauge_html
from flops_magic.display.scale import LINE_AT, position
from flops_magic.display.text import TextDisplay, progress_line, record_text
from flops_magic.estimation.estimator import estimate
from flops_magic.evidence.seal import seal
from flops_magic.tracking.progress import Progress
from tests import fakes

EVIL = "<script>alert('x')</script>\"><img src=x onerror=y>"


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.open = set(), set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in ("br", "rect", "line", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def progress(step=3, **changes):
    settings = {
        "flops": step * 10**9,
        "flops_executed": step * 10**9,
        "line": Fraction(10**12, 3),
        "line_text": "a third of the original's training compute",
        "verdict": "below",
        "tokens": 64 * step,
        "step": step,
        "steps": 10,
        "elapsed_s": 2.0 * step,
        "projected_verdict": "below",
    }
    return Progress(**settings | changes)


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


def test_hostile_text_in_a_gauge_is_text():
    page = gauge_html(progress(line=None, verdict=None, line_text=EVIL))
    assert {"script", "img"}.isdisjoint(Tags(page).tags)


def test_card_and_text_show_the_records_exact_figure_and_verdict():
    made = fakes.record()
    for text in (card_html(made, seal(made)), record_text(made, seal(made))):
        assert "188,743,680" in text
        assert "the indicative criterion is not met" in text
        assert made.run.id in text


def test_gaps_stand_on_the_card():
    made = fakes.record(gaps=("the clock stopped",))
    assert "Gap: the clock stopped." in card_html(made, seal(made))


def test_no_verdict_says_why():
    made = fakes.record(decision=None, undecided="nothing says what the original cost")
    text = record_text(made, seal(made))
    assert "no verdict" in text
    assert "nothing says what the original cost" in text


def test_the_line_stands_where_the_share_is_one():
    assert position(Fraction(1)) == pytest.approx(LINE_AT)
    assert position(Fraction(1, 10**12)) == 0.0
    assert position(Fraction(0)) == position(None) == 0.0
    assert position(Fraction(10**9)) == 1.0


def test_more_compute_never_moves_the_gauge_back():
    places = [position(Fraction(10**k, 10**400 + 7)) for k in range(0, 500, 3)]
    assert places == sorted(places)


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


def test_a_text_display_writes_lines_now_and_then_and_the_card_at_the_end():
    stream, clock = StringIO(), Clock()
    display = TextDisplay(stream, every_s=10, clock=clock)
    display.show(progress())
    for second in range(25):
        clock.now_s = float(second)
        display.update(progress(step=second + 1, steps=30))
    assert len(stream.getvalue().splitlines()) == 3
    made = fakes.record()
    display.finish(progress(outcome="completed"), seal(made), made)
    assert "188,743,680" in stream.getvalue()


def test_the_progress_line_is_one_line():
    line = progress_line(progress())
    assert line.startswith("flops_magic ▕")
    assert "\n" not in line
    assert "step 3/10" in line
    assert "0.9 % of the line" in line


def test_projection_and_pace_follow_from_what_ran():
    now = progress()
    assert now.projected == 10**10
    assert now.remaining_s == 14.0
    assert now.flops_per_s == 3e9 / 6
    assert progress(step=0).projected is None


def test_an_estimate_is_a_table_that_names_its_basis():
    est = estimate("Qwen/Qwen3-8B", tokens="25M", seq_len=4096)
    assert "full: operation count" in str(est)
    assert "shapes of Qwen/Qwen3-8B-Base as published" in str(est)
    page = est._repr_html_()
    assert not Tags(page).open
    assert "Qwen/Qwen3-8B-Base" in page


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


def test_a_text_display_warns_at_once_and_once():
    stream, clock = StringIO(), Clock()
    display = TextDisplay(stream, every_s=1000, clock=clock)
    for step in range(1, 6):
        display.update(progress(step=step, line=Fraction(6 * 10**9)))
    warnings = [line for line in stream.getvalue().splitlines() if "warning" in line]
    assert len(warnings) == 1


def test_what_crossing_would_mean_stands_where_it_is_crossed_and_not_elsewhere():
    over = estimate("Qwen/Qwen3-8B", tokens="19T", seq_len=4096, methods=["full"])
    below = estimate("Qwen/Qwen3-8B", tokens="19M", seq_len=4096, methods=["full"])
    assert "limited to the modification" in str(over)
    assert "obligation" not in str(below)
