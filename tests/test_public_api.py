"""Public names and options: they change only by changing these lists."""

import inspect

import pytest

import flops_magic
from flops_magic.cli import _build_parser
from flops_magic.jupyter.magics import FlopsMagics

COMMANDS = {
    "accelerators": "",
    "embed": "--record notebook",
    "estimate": (
        "--accelerator --audio-s --base-model --batch-size --dataset --epochs "
        "--gradient-checkpointing --image-size --images --lora-rank "
        "--lora-targets --method --mfu --not-on-union-market --original "
        "--original-flops --original-is-gpai --original-parameters "
        "--original-source --original-tokens --packing --plot --same-provider "
        "--seq-len --systemic-risk --target-len --text-field --tokenizer "
        "--tokens --trainable model"
    ),
    "extract": "--to file",
    "models": "--search id",
    "report": "--audience --format --output files",
    "run": "--fresh --kernel --output --timeout notebook",
    "show": "file",
    "track": (
        "--base-model --declare --folder --not-on-union-market --original "
        "--original-flops --original-is-gpai --original-parameters "
        "--original-source --original-tokens --same-provider --stop-at "
        "--systemic-risk script"
    ),
    "verify": "files",
}
MAGICS = {
    "%flops_estimate": (
        "--accelerator --audio-s --base-model --batch-size --dataset --epochs "
        "--gradient-checkpointing --image-size --images --lora-rank "
        "--lora-targets --method --mfu --not-on-union-market --original "
        "--original-flops --original-is-gpai --original-parameters "
        "--original-source --original-tokens --packing --plot --same-provider "
        "--seq-len --systemic-risk --target-len --text-field --tokenizer "
        "--tokens --trainable model"
    ),
    "%flops_models": "",
    "%flops_report": "--audience --format --output files",
    "%flops_verify": "",
    "%%flops_track": (
        "--base-model --declare --folder --model --no-file "
        "--not-on-union-market --original --original-flops --original-is-gpai "
        "--original-parameters --original-source --original-tokens "
        "--same-provider --stop-at --systemic-risk"
    ),
}


def test_the_public_names_are_these():
    assert sorted(flops_magic.__all__) == [
        "FlopsMeterCallback",
        "attach_to_trainers",
        "decide",
        "embed",
        "estimate",
        "extract",
        "load_record",
        "profile_model",
        "verify",
    ]
    for name in flops_magic.__all__:
        assert callable(getattr(flops_magic, name))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'estimat'"):
        _ = flops_magic.estimat


def test_profile_model_takes_what_the_contract_says():
    parameters = inspect.signature(flops_magic.profile_model).parameters
    assert list(parameters) == [
        "model_or_config",
        "method",
        "lora_rank",
        "lora_targets",
        "trainable",
        "gradient_checkpointing",
    ]


def test_decide_takes_what_the_contract_says():
    parameters = list(inspect.signature(flops_magic.decide).parameters)
    assert parameters[:6] == [
        "flops_direct",
        "flops_cumulative",
        "base_model",
        "original_flops",
        "systemic_risk",
        "original_is_gpai",
    ]


def options_of(parser):
    """Every option and argument that a parser takes, but for --help."""
    names = [n for a in parser._actions for n in a.option_strings or [a.dest]]
    return " ".join(sorted(set(names) - {"-h", "--help"}))


def test_the_commands_and_their_options_are_these():
    commands = next(a for a in _build_parser()._actions if a.choices).choices
    assert {name: options_of(parser) for name, parser in commands.items()} == COMMANDS


def test_the_magics_and_their_options_are_these():
    found = {}
    for kind, mark in (("line", "%"), ("cell", "%%")):
        for name, method in FlopsMagics.magics[kind].items():
            parser = getattr(getattr(FlopsMagics, method), "parser", None)
            found[mark + name] = options_of(parser) if parser else ""
    assert found == MAGICS
