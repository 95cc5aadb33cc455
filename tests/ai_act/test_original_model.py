"""What a user says of the original is read once, and refused before training."""

import pytest

from flops_magic.ai_act.original_model import Original, Question
from flops_magic.errors import (
    InputError,
    QuantityError,
    UnknownModelError,
    UnknownOriginalError,
)
from flops_magic.flops.histogram import FlopTotals
from flops_magic.flops.profile import FlopsProfile, parameters_without_adapters

SOME = FlopTotals(forward=10**20)


def test_a_misspelt_option_is_answered_with_near_names():
    with pytest.raises(InputError, match="no option 'base_modl'; near: base_model"):
        Original.of(base_modl="Qwen/Qwen3-8B")


def test_every_option_of_the_question_is_read():
    asked: Question = {
        "base_model": "Qwen/Qwen3-8B",
        "original_flops": None,
        "original_tokens": "36T",
        "original_parameters": "8B",
        "original_source": "model card",
        "systemic_risk": "no",
        "original_is_gpai": "yes",
        "same_provider": False,
        "union_market": True,
    }
    assert set(asked) == set(Question.__annotations__)
    facts = Original.of(**asked).judge(SOME).facts
    assert facts.original_flops == 6 * 8 * 10**9 * 36 * 10**12
    assert facts.original_source.endswith("(given by the user: model card)")
    assert (facts.systemic_risk, facts.original_is_gpai) == (False, True)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"base_model": "Qwen/Qwen33-8B"}, UnknownModelError, "near"),
        ({"base_model": "mistralai/Mistral-7B-v0.1"}, UnknownOriginalError, "tokens"),
        ({"original_flops": "plenty"}, QuantityError, "no count"),
        ({"original_tokens": "0"}, QuantityError, "too small"),
        ({"systemic_risk": "perhaps"}, InputError, "no status"),
        (
            {"base_model": "Qwen/Qwen3-8B", "original_flops": "unknown"},
            InputError,
            "substitute threshold is refused",
        ),
        (
            {"original_flops": "1e24", "original_tokens": "9T"},
            InputError,
            "know better",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_before_training(asked, error, said):
    with pytest.raises(error, match=said):
        Original.of(**asked)


@pytest.mark.parametrize(
    "asked", [{}, {"original_tokens": "9T"}, {"original_flops": "unknown"}]
)
def test_what_the_trained_model_may_tell_is_waited_for(asked):
    assert Original.of(**asked) is not None


def test_the_trained_models_name_finds_the_original():
    decision = Original.of().judge(SOME, "Qwen/Qwen3-8B")
    assert decision.facts.base_model == "Qwen/Qwen3-8B-Base"
    with pytest.raises(UnknownOriginalError, match="'acme/own' is not in the registry"):
        Original.of().judge(SOME, "acme/own")


def test_the_substitute_is_refused_when_the_trained_model_is_known():
    asked = Original.of(original_flops="unknown")
    assert asked.judge(SOME, "acme/own").rule == "row-3"
    with pytest.raises(InputError, match="substitute threshold is refused"):
        asked.judge(SOME, "meta-llama/Llama-3.2-3B")


def test_the_trained_models_size_serves_6pd():
    decision = Original.of(original_tokens="2T").judge(SOME, "acme/own", 10**9)
    assert decision.facts.original_flops == 12 * 10**21


@pytest.mark.parametrize(
    ("method", "size"), [("full", 1000), ("spectrum", 1000), ("lora", 900)]
)
def test_adapters_are_no_parameters_of_the_original(method, size):
    profile = FlopsProfile("M", method, 1000, 1000, 100)
    assert parameters_without_adapters(profile) == size


def test_rows_0_and_1_are_asked_for():
    assert Original.of(same_provider=True).judge(SOME).rule == "row-0"
    assert Original.of(union_market=False).judge(SOME).rule == "row-1"
