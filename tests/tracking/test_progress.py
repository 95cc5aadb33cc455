"""Progress: what follows from what ran."""

from tests.displays import progress


def test_projection_and_pace_follow_from_what_ran():
    now = progress()
    assert now.projected == 10**10
    assert now.remaining_s == 14.0
    assert now.flops_per_s == 3e9 / 6
    assert progress(step=0).projected is None
