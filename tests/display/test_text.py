"""Terminals: a line now and then, and the record as text."""

from fractions import Fraction
from io import StringIO

from flops_magic.display.text import TextDisplay, progress_line, record_text
from flops_magic.evidence.seal import seal
from tests import fakes
from tests.displays import Clock, progress


def test_no_verdict_says_why():
    made = fakes.record(decision=None, undecided="nothing says what the original cost")
    text = record_text(made, seal(made))
    assert "no verdict" in text
    assert "nothing says what the original cost" in text


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


def test_a_text_display_warns_at_once_and_once():
    stream, clock = StringIO(), Clock()
    display = TextDisplay(stream, every_s=1000, clock=clock)
    for step in range(1, 6):
        display.update(progress(step=step, line=Fraction(6 * 10**9)))
    warnings = [line for line in stream.getvalue().splitlines() if "warning" in line]
    assert len(warnings) == 1
