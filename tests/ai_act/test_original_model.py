"""What a user says of the original is read once, and refused before training."""

from dataclasses import replace
from datetime import date

import pytest

from flops_magic.ai_act.decision import OriginalBasis
from flops_magic.ai_act.decision_table import decide_facts, facts_of, judge, recompute
from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.ai_act.original_options import OriginalOptions
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
        OriginalModel.of(base_modl="Qwen/Qwen3-8B")


def test_every_option_of_the_question_is_read():
    asked: OriginalOptions = {
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
    assert set(asked) == set(OriginalOptions.__annotations__)
    facts = judge(OriginalModel.of(**asked), SOME).facts
    assert facts.original_flops == 6 * 8 * 10**9 * 36 * 10**12
    assert facts.original_source.endswith("(given by the user: model card)")
    assert (facts.systemic_risk, facts.original_is_gpai) == (False, True)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"base_model": "Qwen/Qwen33-8B"}, UnknownModelError, "near"),
        ({"base_model": "mistralai/Mistral-7B-v0.1"}, UnknownOriginalError, "tokens"),
        ({"original_flops": "plenty"}, QuantityError, "as a count"),
        ({"original_tokens": "0"}, QuantityError, "too small"),
        ({"systemic_risk": "perhaps"}, InputError, "as a status"),
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
        OriginalModel.of(**asked)


@pytest.mark.parametrize(
    "asked", [{}, {"original_tokens": "9T"}, {"original_flops": "unknown"}]
)
def test_what_the_trained_model_may_tell_is_waited_for(asked):
    assert OriginalModel.of(**asked) is not None


def test_the_trained_models_name_finds_the_original():
    decision = judge(OriginalModel.of(), SOME, "Qwen/Qwen3-8B")
    assert decision.facts.base_model == "Qwen/Qwen3-8B-Base"
    with pytest.raises(UnknownOriginalError, match="'acme/own' is not in the registry"):
        judge(OriginalModel.of(), SOME, "acme/own")


def test_the_substitute_is_refused_when_the_trained_model_is_known():
    asked = OriginalModel.of(original_flops="unknown")
    assert judge(asked, SOME, "acme/own").rule == "row-3"
    with pytest.raises(InputError, match="substitute threshold is refused"):
        judge(asked, SOME, "meta-llama/Llama-3.2-3B")


def test_the_trained_models_size_serves_6pd():
    decision = judge(OriginalModel.of(original_tokens="2T"), SOME, "acme/own", 10**9)
    assert decision.facts.original_flops == 12 * 10**21


@pytest.mark.parametrize(
    ("method", "size"), [("full", 1000), ("spectrum", 1000), ("lora", 900)]
)
def test_adapters_are_no_parameters_of_the_original(method, size):
    profile = FlopsProfile("M", method, 1000, 1000, 100)
    assert parameters_without_adapters(profile) == size


def test_rows_0_and_1_are_asked_for():
    assert judge(OriginalModel.of(same_provider=True), SOME).rule == "row-0"
    assert judge(OriginalModel.of(union_market=False), SOME).rule == "row-1"


@pytest.mark.parametrize(
    "asked",
    [
        {"original_parameters": "8B"},
        {"original_source": "a card"},
        {"systemic_risk": "yes", "original_is_gpai": "no"},
        {"base_model": "meta-llama/Llama-3.1-405B", "original_is_gpai": "no"},
    ],
)
def test_a_contradiction_is_refused_when_it_is_typed(asked):
    with pytest.raises(InputError):
        OriginalModel.of(**asked)


def test_what_a_user_says_is_one_value_under_the_names_of_the_options():
    fields = set(OriginalModel.__dataclass_fields__)
    assert fields == {*OriginalOptions.__annotations__, "original_inestimable"}


def test_a_resolved_original_is_held_against_flops_without_the_user_being_asked_again():
    asked = OriginalModel.of(base_model="Qwen/Qwen3-8B")
    known = asked.resolve()
    day = date(2026, 11, 24)
    for flops in (0, 10**20, 10**24):
        again = judge(asked, FlopTotals(forward=flops), on=day)
        assert decide_facts(facts_of(known, flops, flops, day)) == again


@pytest.mark.parametrize(
    ("asked", "basis"),
    [
        ({"original_flops": "3e24"}, OriginalBasis.GIVEN),
        (
            {"original_flops": "3e24", "original_source": "registry, published by us"},
            OriginalBasis.GIVEN,
        ),
        ({"original_tokens": "9T", "original_parameters": "8B"}, OriginalBasis.SIX_PD),
        (
            {"base_model": "meta-llama/Llama-3.1-405B"},
            OriginalBasis.REGISTRY_PUBLISHED,
        ),
        ({"base_model": "google/codegemma-7b"}, OriginalBasis.REGISTRY_ESTIMATED),
        ({"original_flops": "unknown"}, OriginalBasis.INESTIMABLE),
        ({"same_provider": True}, OriginalBasis.NOT_NEEDED),
    ],
)
def test_a_record_of_0_1_0_without_the_basis_gives_the_same_decision(asked, basis):
    decision = judge(OriginalModel.of(**asked), SOME, on=date(2026, 11, 24))
    assert decision.facts.original_basis == basis
    old = replace(decision, facts=replace(decision.facts, original_basis=None))
    assert old.facts.basis == basis
    assert recompute(old) == old
