import csv
import io
import json

import pytest

from flops_magic.errors import UnknownModelError
from flops_magic.registry.base_models import Caveat, find, lookup, registry, search
from flops_magic.registry.datafile import read_text


@pytest.mark.parametrize(
    ("typed", "model_id"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/llama-3.1-8b-instruct", "meta-llama/Llama-3.1-8B"),
        ("Llama-3.2-3B-Instruct", "meta-llama/Llama-3.2-3B"),
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B"),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "Qwen/Qwen2.5-7B"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-Base"),
        ("google/gemma-2-9b-it", "google/gemma-2-9b"),
        ("google/gemma-3-4b-it", "google/gemma-3-4b-pt"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistralai/Mistral-7B-v0.1"),
        ("microsoft/phi-4", "microsoft/phi-4"),
        ("openai/gpt-oss-20b", "openai/gpt-oss-20b"),
        ("unsloth/gpt-oss-20b-unsloth-bnb-4bit", "openai/gpt-oss-20b"),
        ("unsloth/Llama-3.2-1B-Instruct-bnb-4bit", "meta-llama/Llama-3.2-1B"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "meta-llama/Llama-3.1-8B"),
        ("NousResearch/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"),
        (
            "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4",
            "meta-llama/Llama-3.1-8B",
        ),
        (
            "unsloth/Llama-3.3-70B-Instruct-bnb-4bit",
            "meta-llama/Llama-3.3-70B-Instruct",
        ),
        ("Qwen/Qwen3-4B-Instruct-2507", "Qwen/Qwen3-4B-Base"),
        ("unsloth/Qwen3-8B-unsloth-bnb-4bit", "Qwen/Qwen3-8B-Base"),
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B-Base"),
        ("unsloth/gemma-3-4b-it-unsloth-bnb-4bit", "google/gemma-3-4b-pt"),
        ("google/gemma-2-2b-it", "google/gemma-2-2b"),
        ("unsloth/mistral-7b-instruct-v0.3-bnb-4bit", "mistralai/Mistral-7B-v0.1"),
        (
            "mistralai/Mistral-Small-24B-Instruct-2501",
            "mistralai/Mistral-Small-24B-Base-2501",
        ),
        ("unsloth/phi-4-unsloth-bnb-4bit", "microsoft/phi-4"),
        ("lmstudio-community/gpt-oss-20b-GGUF", "openai/gpt-oss-20b"),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b"),
    ],
)
def test_ids_that_people_type_find_their_base_model(typed, model_id):
    assert lookup(typed).model.model_id == model_id


def test_the_rule_of_a_match_is_told():
    assert lookup("microsoft/phi-4").rule == "exact"
    assert "suffix" in lookup("unsloth/Llama-3.2-1B-Instruct-bnb-4bit").rule
    assert "owner" in lookup("Llama-3.2-3B-Instruct").rule


@pytest.mark.parametrize(
    "stranger",
    ["meta-llama/Llama-9-8B", "Qwen/Qwen2.5-8B", "llama", "somebody/tuned-llama", ""],
)
def test_a_name_of_another_size_or_version_is_no_match(stranger):
    assert find(stranger) is None
    with pytest.raises(UnknownModelError):
        lookup(stranger)


def test_a_typo_is_answered_with_near_names():
    with pytest.raises(UnknownModelError, match="near: Qwen/Qwen2"):
        lookup("Qwen/Qwen2.5-7b-")


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("adapter_config.json", "base_model_name_or_path"),
        ("config.json", "_name_or_path"),
    ],
)
def test_a_folder_is_found_by_what_it_names(tmp_path, file, key):
    (tmp_path / file).write_text(json.dumps({key: "Qwen/Qwen3-8B"}))
    match = lookup(str(tmp_path))
    assert match.model.model_id == "Qwen/Qwen3-8B-Base"
    assert file in match.rule


def test_a_folder_that_names_nothing_says_what_to_pass(tmp_path):
    with pytest.raises(UnknownModelError, match="--base-model"):
        lookup(str(tmp_path))


def test_every_row_reads_and_has_a_source_and_a_date():
    rows = registry()
    assert len(rows) == 476
    for row in rows:
        assert row.sources, row.model_id
        assert row.as_of == "2026-11-23"
        assert row.flops is None or row.flops > 10**15, row.model_id
        assert row.confidence in ("high", "medium", "low")


def test_no_id_stands_twice():
    ids = [name.lower() for row in registry() for name in (row.model_id, *row.aliases)]
    assert len(ids) == len(set(ids))


def test_estimates_by_6nd_are_six_times_parameters_and_tokens():
    rows = csv.DictReader(
        io.StringIO(read_text("flops_magic.registry", "base_models.csv"))
    )
    checked = 0
    for row, model in zip(rows, registry(), strict=True):
        if row["method"] == "6ND" and model.params_active and model.tokens:
            ours, stated = 6 * model.params_active * model.tokens, model.flops
            assert abs(ours - stated) <= stated / 50, model.model_id
            checked += 1
    assert checked > 250


def test_search_needs_every_word():
    assert {model.model_id for model in search("llama 3.1 405b")} >= {
        "meta-llama/Llama-3.1-405B"
    }
    assert not search("llama nonsense-word")


def test_doubts_and_other_providers_are_columns_and_no_wording_of_the_notes():
    rows = registry()
    doubtful = {one: sum(one in row.caveats for row in rows) for one in Caveat}
    # counted in the notes' marker words when the columns were made
    assert doubtful[Caveat.LOWER_BOUND] == 17
    assert doubtful[Caveat.BORDERLINE] == 4
    assert doubtful[Caveat.DISAGREEMENT] == 14
    assert sum(row.other_provider for row in rows) == 36
    for row in rows:
        assert (Caveat.LOW_CONFIDENCE in row.caveats) == (row.confidence == "low")
        assert row.derived_from or not row.other_provider, row.model_id


def test_a_folder_that_names_an_unknown_model_offers_names_near_that_one(tmp_path):
    named = {"_name_or_path": "meta-lama/Llama-3.1-8B"}
    (tmp_path / "config.json").write_text(json.dumps(named))
    assert find(str(tmp_path)) is None
    with pytest.raises(UnknownModelError, match=r"'meta-lama/.*near: meta-llama"):
        lookup(str(tmp_path))
