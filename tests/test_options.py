"""Options: both doors take the same rows, and read them the same way."""

import argparse
import inspect

import pytest
from IPython.core.magic_arguments import MagicArgumentParser

from flops_magic.ai_act.original_options import OriginalOptions
from flops_magic.cli import _build_parser
from flops_magic.errors import InputError
from flops_magic.estimation.estimator import estimate
from flops_magic.jupyter.magics import FlopsMagics
from flops_magic.options import (
    ESTIMATE_OPTIONS,
    ORIGINAL_OPTIONS,
    REPORT_OPTIONS,
    TRACK_OPTIONS,
    declared_flops,
    estimate_arguments,
    question,
)

ESTIMATE = (*ESTIMATE_OPTIONS, *ORIGINAL_OPTIONS)
DOORS = {
    "estimate": (FlopsMagics.flops_estimate, ESTIMATE),
    "track": (FlopsMagics.flops_track, (*TRACK_OPTIONS, *ORIGINAL_OPTIONS)),
    "report": (FlopsMagics.flops_report, REPORT_OPTIONS),
}


def parsed(rows, *typed):
    parser = argparse.ArgumentParser()
    for name, settings in rows:
        parser.add_argument(name, **settings)
    return parser.parse_args(typed)


def takes(parser, name):
    """What a parser does with an option: all that a user can notice."""
    (action,) = [a for a in parser._actions if name in [*a.option_strings, a.dest]]
    return {
        key: getattr(action, key)
        for key in ("help", "type", "choices", "default", "metavar", "nargs", "dest")
    } | {"kind": type(action)}


@pytest.mark.parametrize("command", DOORS)
def test_magic_and_command_line_take_an_option_alike(command):
    magic, rows = DOORS[command]
    commands = next(a for a in _build_parser()._actions if a.choices).choices
    assert isinstance(magic.parser, MagicArgumentParser)
    assert rows
    for name, settings in rows:
        shown = takes(magic.parser, name)
        assert shown == takes(commands[command], name)
        assert shown["help"] == settings["help"]


def test_every_option_of_an_estimate_reaches_the_estimate():
    given = estimate_arguments(parsed(ESTIMATE, "gpt2"))
    inspect.signature(estimate).bind(**given)
    named = set(inspect.signature(estimate).parameters) - {"original"}
    assert set(given) == named | set(OriginalOptions.__annotations__)


def test_a_variable_of_the_notebook_is_meant_by_its_name():
    args = parsed(ESTIMATE, "model", "--dataset", "rows", "--tokenizer", "folder")
    given = estimate_arguments(args, {"model": 1, "rows": [2], "None": 3})
    assert (given["model"], given["dataset"]) == (1, [2])
    assert given["tokenizer"] == "folder"
    assert estimate_arguments(args)["model"] == "model"


@pytest.mark.parametrize(
    ("typed", "targets"),
    [
        ([], None),
        (["--lora-targets", "all-linear"], "all-linear"),
        (["--lora-targets", "q_proj,v_proj"], ["q_proj", "v_proj"]),
    ],
)
def test_module_names_are_a_list_where_a_comma_parts_them(typed, targets):
    given = estimate_arguments(parsed(ESTIMATE, "gpt2", *typed))
    assert given["lora_targets"] == targets


def test_declared_flops_are_exact_by_reason():
    assert declared_flops(None) == {}
    assert declared_flops(["synthetic-data=1.6e18", "merged = 10**25"]) == {
        "synthetic-data": 16 * 10**17,
        "merged": 10**25,
    }


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["5"], "REASON=N"),
        (["=5"], "REASON=N"),
        (["a"], "REASON=N"),
        (["a="], "REASON=N"),
        (["a=lots"], "'lots'"),
        (["a=-5"], "'-5'"),
        (["a=1", "a=2"], "'a' twice"),
    ],
)
def test_what_is_declared_wrong_is_refused(pairs, said):
    with pytest.raises(InputError, match=said):
        declared_flops(pairs)


def test_an_original_is_not_both_known_and_unknown():
    args = parsed(ORIGINAL_OPTIONS, "--original", "unknown", "--original-flops", "1e24")
    with pytest.raises(InputError, match="contradict"):
        question(args)
    assert question(parsed(ORIGINAL_OPTIONS, "--original", "unknown"))[
        "original_flops"
    ] == ("unknown")
