"""Training stops while one more step still fits before the chosen share."""

from fractions import Fraction

import pytest

from flops_magic.ai_act.decision_table import decide
from flops_magic.errors import InputError
from flops_magic.tracking.stop_rule import StopAt, parse_share

LINE = 1000


def stands(flops, **known):
    asked = {"original_flops": 3 * LINE, "original_is_gpai": True} | known
    return decide(flops, systemic_risk=False, **asked)


@pytest.mark.parametrize(
    ("typed", "share"),
    [
        ("0.9", Fraction(9, 10)),
        (0.9, Fraction(9, 10)),
        ("90%", Fraction(9, 10)),
        ("33.3 %", Fraction(333, 1000)),
        (1, Fraction(1)),
    ],
)
def test_a_share_is_read_exactly(typed, share):
    assert parse_share(typed) == share


@pytest.mark.parametrize("typed", ["0", "1.01", "90", "-0.5", "most", "", True, "nan"])
def test_what_is_no_share_says_how_to_write_one(typed):
    with pytest.raises(InputError, match=r"pass 0.9 or 90%"):
        parse_share(typed)


def test_equal_steps_never_pass_the_share():
    rule = StopAt(Fraction(9, 10))
    rule.begin(stands(0))
    done = next(n for n in range(1, 99) if rule.stepped(stands(100 * n), n))
    # 8 steps and another make 900, which is 90 % and not more; 9 and another 1000
    assert done == 9
    assert rule.reason == (
        "stopped after step 9: 90 % of the line is used, and another step of 100 FLOP "
        "could pass the 90 % that were chosen"
    )


def test_the_largest_step_so_far_is_the_room_that_the_next_one_needs():
    rule = StopAt(Fraction(1))
    rule.begin(stands(0))
    assert not rule.stepped(stands(400), 1)
    assert not rule.stepped(stands(500), 2)
    assert rule.stepped(stands(601), 3)


def test_what_was_used_before_the_first_step_is_no_step():
    rule = StopAt(Fraction(1))
    rule.begin(stands(700))
    assert not rule.stepped(stands(750), 1)


def test_without_a_line_nothing_is_trained():
    with pytest.raises(InputError, match="nothing to stop at: no line"):
        StopAt(Fraction(1)).begin(stands(0, same_provider=True))


def test_without_room_for_a_step_nothing_is_trained():
    with pytest.raises(InputError, match="91 % of the line is used, so there is no"):
        StopAt(Fraction(9, 10)).begin(stands(910))
