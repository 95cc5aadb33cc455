"""Shipped shapes belong to a known model, have a source, and are found by its names."""

import re
from collections import Counter

import pytest

from flops_magic.registry.architectures import architectures, find_architecture
from flops_magic.registry.base_models import registry

KNOWN = {
    name: model.model_id
    for model in registry()
    for name in (model.model_id, *model.aliases)
}


def test_every_row_has_a_source_and_a_day():
    assert len(architectures()) == 336
    for row in architectures():
        assert row.sources, row.model_id
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row.as_of), row.model_id
        assert row.confidence in ("high", "medium", "low"), row.model_id
        assert row.parameters > 0, row.model_id


def test_every_row_and_alias_is_a_model_of_the_registry():
    assert {row.model_id for row in architectures()} <= {m.model_id for m in registry()}
    assert {a for row in architectures() for a in row.aliases} <= set(KNOWN)


def test_a_name_has_one_row():
    names = [n.lower() for r in architectures() for n in (r.model_id, *r.aliases)]
    assert [n for n, times in Counter(names).items() if times > 1] == []


@pytest.mark.parametrize(
    ("typed", "model_id"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/llama-3.1-8b", "meta-llama/Llama-3.1-8B"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "meta-llama/Llama-3.1-8B"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-Base"),
        # the same shapes as FLAN-T5, not as the T5 that the registry files it under
        ("google/t5-v1_1-small", "google/flan-t5-small"),
    ],
)
def test_shapes_are_found_by_every_name_of_the_model(typed, model_id):
    assert find_architecture(typed).model_id == model_id


@pytest.mark.parametrize(
    "typed",
    [
        "nobody/nothing",
        "mistralai/Mistral-7B-Instruct-v0.3",  # a vocabulary of 32,768, not 32,000
        "google-bert/bert-base-cased",  # 28,996, not 30,522
        "openai/whisper-large-v3-turbo",  # 4 layers in its decoder, not 32
        "CohereForAI/c4ai-command-r-08-2024",  # 8 heads for keys and values, not 64
        "unsloth/phi-4",  # query, key and value in three matrices, not one
    ],
)
def test_an_alias_with_other_shapes_has_no_row(typed):
    assert find_architecture(typed) is None


def test_an_adapter_s_folder_leads_to_its_base(tmp_path):
    (tmp_path / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "meta-llama/Llama-3.1-8B"}'
    )
    found = find_architecture(str(tmp_path))
    assert found.model_id == "meta-llama/Llama-3.1-8B"
