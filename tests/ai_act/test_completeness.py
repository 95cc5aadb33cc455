"""No verdict below the line of a run that was not seen whole."""

import pytest

from flops_magic.ai_act.completeness import NO_TRAINING, Completeness

WHOLE = Completeness()
UNTRAINED = Completeness(training_seen=False)
PARTIAL = Completeness(unseen=("a child process: it reported nothing",))


@pytest.mark.parametrize("verdict", ["below", "near", "over", "not_engaged"])
def test_of_a_run_that_was_seen_whole_the_count_decides(verdict):
    assert WHOLE.verdict(verdict) == verdict
    assert WHOLE.reason == WHOLE.remedy == ""


@pytest.mark.parametrize("seen", [UNTRAINED, PARTIAL])
@pytest.mark.parametrize("verdict", ["below", "near"])
def test_a_lower_bound_below_the_line_settles_nothing(seen, verdict):
    assert seen.verdict(verdict) == "undecided"
    assert seen.reason
    assert seen.remedy


@pytest.mark.parametrize("seen", [UNTRAINED, PARTIAL])
def test_a_lower_bound_above_the_line_settles_the_matter(seen):
    assert seen.verdict("over") == "over"


def test_nothing_trained_is_said_as_such():
    assert UNTRAINED.reason == NO_TRAINING


def test_the_reason_names_the_first_gap_and_how_many_more_there_are():
    seen = Completeness(unseen=("one", "two", "three"))
    assert seen.reason == "the count is a lower bound: one, and 2 more (see the gaps)"
