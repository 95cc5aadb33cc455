"""A name finds the weights it names, and never those of another size or family."""

import re

import pytest

from flops_magic.errors import UnknownModelError
from flops_magic.registry.base_models import lookup, registry

NAMES = [
    (name, row.model_id) for row in registry() for name in (row.model_id, *row.aliases)
]
SIZE = re.compile(r"\d+(?=[bm](?:[-_.]|$))", re.IGNORECASE)


@pytest.mark.parametrize(
    "suffix", ["", "-GGUF", "-AWQ", "-GPTQ-Int4", "-bnb-4bit", "-Q4_K_M.gguf"]
)
def test_a_quantisation_of_any_registered_name_is_that_model(suffix):
    for name, model_id in NAMES:
        assert lookup(name + suffix).model.model_id == model_id, name


def test_a_mirror_of_any_registered_name_is_that_model():
    for name, model_id in NAMES:
        mirror = f"unsloth/{name.rsplit('/', 1)[-1]}-bnb-4bit"
        assert lookup(mirror).model.model_id == model_id, mirror


def test_no_registered_name_matches_at_another_size():
    changed = [SIZE.sub("997", name) for name, _ in NAMES if SIZE.search(name)]
    assert len(changed) > 700
    for name in changed[::10]:  # a miss is slow: it looks for near names
        for typed in (name, name + "-GGUF", name + "-Instruct"):
            with pytest.raises(UnknownModelError):
                lookup(typed)


@pytest.mark.parametrize(
    "family",
    ["t5", "google/mt5", "google/flan-t5", "roberta", "openai/whisper", "gpt2-base"],
)
def test_a_family_name_is_not_taken_for_its_base_size(family):
    with pytest.raises(UnknownModelError):
        lookup(family)


@pytest.mark.parametrize(
    ("typed", "model_id"),
    [
        ("Qwen/Qwen3-8B-Instruct", "Qwen/Qwen3-8B-Base"),
        ("Qwen/Qwen2.5-7B-Base", "Qwen/Qwen2.5-7B"),
        ("unsloth/llama-3-8b-Instruct-bnb-4bit", "meta-llama/Meta-Llama-3-8B"),
        ("TheBloke/Llama-2-7B-Chat-GGUF", "meta-llama/Llama-2-7b-hf"),
        ("google-t5/t5-base", "google-t5/t5-base"),
    ],
)
def test_a_stage_is_taken_off_where_the_name_tells_its_size(typed, model_id):
    assert lookup(typed).model.model_id == model_id


@pytest.mark.parametrize("odd", ["~nobody-here/x", "a\0b", "x" * 5000])
def test_what_can_be_no_path_is_an_unknown_model(odd):
    with pytest.raises(UnknownModelError):
        lookup(odd)


def test_an_empty_folder_does_not_hide_the_model_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert lookup("gpt2").model.model_id == "openai-community/gpt2"
