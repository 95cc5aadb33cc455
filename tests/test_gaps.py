"""Gaps: an error of the meter becomes a line, and goes no further."""

import pytest

from flops_magic.gaps import Concern, Gaps, guard


def test_an_error_in_a_guarded_block_is_noted_and_goes_no_further():
    gaps = Gaps()
    with guard(gaps.note, "the gauge"):
        raise RuntimeError("no comm\nsecond line")
    assert gaps.lines == ["the gauge: RuntimeError: no comm"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_what_the_user_raises_passes_the_guard(raised):
    gaps = Gaps()
    with pytest.raises(raised), guard(gaps.note, "a step"):
        raise raised
    assert gaps.lines == []


def test_the_same_gap_is_noted_once_and_a_flood_is_cut():
    gaps = Gaps()
    for _ in range(3):
        gaps.note("a pass", "unread")
    assert gaps.lines == ["a pass: unread"]
    for number in range(500):
        gaps.note("a pass", f"unread {number} " + "x" * 1000)
    assert len(gaps.lines) == 100
    assert max(map(len, gaps.lines)) < 320


def test_a_gap_concerns_the_count_unless_somebody_knows_better():
    gaps = Gaps()
    gaps.note("a pass", "unread")
    gaps.about(Concern.DISPLAY)("the gauge", "no comm")
    assert [gap.concerns for gap in gaps.noted] == [Concern.COUNT, Concern.DISPLAY]
