"""A magic's line: read as a shell reads it, and wrong ones answered in one line."""

import pytest

from flops_magic.errors import InputError
from flops_magic.jupyter.magic_line import parse_line
from flops_magic.jupyter.magics import FlopsMagics

MAGIC = FlopsMagics.flops_track


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("--original-source 'its card, table 3'", "its card, table 3"),
        ('--original-source "its card"', "its card"),
        ("--original-source card", "card"),
        ('--original-source "it\'s"', "it's"),
    ],
)
def test_quotes_hold_a_value_together(typed, value):
    assert parse_line(MAGIC, typed).original_source == value


def test_quotes_are_taken_off_every_value_of_a_list():
    args = parse_line(MAGIC, "--declare 'synthetic data=5' --declare a=6")
    assert args.declare == ["synthetic data=5", "a=6"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--base-modle x", "unknown option --base-modle; near: --base-model"),
        ("--folder x --stop_at 1", "unknown option --stop_at; near: --stop-at"),
        ("-x", "unknown option -x"),
        ("--foldr=x", "unknown option --foldr=x; near: --folder"),
        ("banana", "unknown argument banana"),
        ("--systemic-risk perhaps", "invalid choice: 'perhaps'"),
        ("--folder", "expected one argument"),
        ("--folder 'open", 'in "--folder \'open"'),
    ],
)
def test_what_the_magic_does_not_take_is_answered_in_one_line(typed, said):
    with pytest.raises(InputError) as raised:
        parse_line(MAGIC, typed)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith("'name?' lists the options")
