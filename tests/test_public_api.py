"""Public names and options: they change only by changing these lists."""

import inspect

import pytest

import flops_magic
from flops_magic.cli import _build_parser


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


def test_the_commands_are_these():
    commands = next(a for a in _build_parser()._actions if a.choices).choices
    assert sorted(commands) == [
        "accelerators",
        "embed",
        "estimate",
        "extract",
        "models",
        "report",
        "run",
        "show",
        "track",
        "verify",
    ]
