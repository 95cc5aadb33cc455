"""What the original cost: who says so, and who wins."""

import pytest

from flops_magic.ai_act.decision_table import decide
from flops_magic.errors import InputError, UnknownOriginalError
from flops_magic.flops.units import parse_count
from flops_magic.registry.base_models import chain, lookup, registry


def test_a_figure_given_is_recorded_with_its_source_beside_the_registrys():
    decision = decide(
        "1e20",
        base_model="Qwen/Qwen3-8B",
        original_flops="9e24",
        original_source="technical report, table 3",
    )
    facts = decision.facts
    assert facts.original_flops == 9 * 10**24
    assert facts.original_source == "given by the user: technical report, table 3"
    assert facts.registry_flops == lookup("Qwen/Qwen3-8B").model.flops
    assert any("more than 30 % off the figure" in flag for flag in decision.flags)


def test_a_figure_within_the_margin_of_the_registrys_raises_no_flag():
    known = lookup("Qwen/Qwen3-8B").model.flops
    decision = decide("1e20", base_model="Qwen/Qwen3-8B", original_flops=known + 1)
    assert not any("off the figure" in flag for flag in decision.flags)


def test_tokens_and_parameters_give_six_pd_and_say_so():
    decision = decide(
        "1e20",
        original_tokens="9T",
        original_parameters="3.21B",
        original_source="model card",
    )
    facts = decision.facts
    assert facts.original_flops == parse_count("1.7334e23")
    assert facts.original_source == (
        "estimated as 6·P·D (point 129): P = 3,210,000,000 (given by the user), "
        "D = 9,000,000,000,000 (given by the user: model card)"
    )


def test_a_registered_model_of_unknown_compute_is_estimated_from_its_tokens():
    row = lookup("mistralai/Mistral-7B-v0.3").model
    assert row.flops is None
    decision = decide(
        "1e20", base_model="mistralai/Mistral-7B-v0.3", original_tokens="8T"
    )
    assert decision.facts.original_flops == 6 * row.params_active * 8 * 10**12
    assert f"registry: {row.model_id}" in decision.facts.original_source


def test_the_trained_models_own_size_serves_where_the_registry_has_none():
    decision = decide("1e15", original_tokens="2T", trained_parameters=10**9)
    assert decision.facts.original_flops == 12 * 10**21
    assert "of the trained model" in decision.facts.original_source


def test_tokens_without_a_size_name_what_is_missing():
    with pytest.raises(UnknownOriginalError, match="--original-parameters"):
        decide("1e20", original_tokens="9T")


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"original_flops": "1e24", "original_tokens": "9T"}, "know better"),
        ({"original_parameters": "8B"}, "--original-tokens"),
        ({"original_source": "a card"}, "pass original_flops"),
        ({"original_flops": "1e24", "original_inestimable": True}, "refused"),
        ({"original_tokens": "9T", "original_inestimable": True}, "refused"),
    ],
)
def test_inputs_that_contradict_each_other_are_refused(known, said):
    with pytest.raises(InputError, match=said):
        decide("1e20", **known)


def test_the_match_and_its_rule_stand_in_the_facts():
    facts = decide("1e20", base_model="unsloth/Llama-3.1-8B-bnb-4bit").facts
    assert facts.base_model == "meta-llama/Llama-3.1-8B"
    assert facts.matched == (
        "'meta-llama/Llama-3.1-8B', mirror or quantisation suffix taken off, "
        "without its owner"
    )


def test_a_model_that_another_provider_made_from_a_base_is_for_counsel():
    name = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"
    decision = decide("1e20", base_model=name)
    assert decision.facts.derived_from == "meta-llama/Llama-3.1-8B"
    assert any("made from meta-llama/Llama-3.1-8B" in flag for flag in decision.flags)
    # a later stage of the same provider's model is one model
    stage = decide("1e20", base_model="codellama/CodeLlama-7b-hf")
    assert not any("made from" in flag for flag in stage.flags)


def test_a_chain_is_followed_to_its_first_model():
    row = lookup("deepseek-ai/DeepSeek-R1-Distill-Llama-70B").model
    assert chain(row) == (
        "meta-llama/Llama-3.3-70B-Instruct",
        "meta-llama/Llama-3.1-70B",
    )
    assert chain(lookup("meta-llama/Llama-3.1-8B").model) == ()


def test_a_chain_of_any_row_ends():
    for row in registry():
        assert len(chain(row)) < 6, row.model_id


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("google/codegemma-7b", "lower bound"),
        ("meta-llama/Llama-3.1-70B", "close to what systemic risk is presumed from"),
        ("openai/gpt-oss-20b", "sources disagree"),
    ],
)
def test_the_registrys_caveats_reach_the_decision(name, said):
    flags = decide("1e20", base_model=name).flags
    assert any(said in flag for flag in flags)
    mine = decide("1e20", base_model=name, original_flops="9e24").flags
    assert not any(said in flag for flag in mine)


def test_the_registrys_doubts_are_of_its_own_figure_only():
    known = {"base_model": "mistralai/Mistral-7B-v0.3"}
    for more in ({"original_tokens": "8T"}, {"original_inestimable": True}):
        assert not any("confidence" in f for f in decide(1, **known, **more).flags)


def test_what_the_user_says_of_the_status_is_not_overruled_by_the_registry():
    facts = decide("1e20", base_model="Qwen/Qwen3-8B", systemic_risk="yes").facts
    assert (facts.systemic_risk, facts.systemic_risk_source) == (
        True,
        "given by the user",
    )
