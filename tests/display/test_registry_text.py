"""The registry as text: one model in full, or many, a line each."""

import pytest

from flops_magic.display.registry_text import base_model_text, found_lines
from flops_magic.errors import InputError
from flops_magic.registry.base_models import lookup, search


def test_a_model_is_shown_with_its_compute_size_and_sources():
    text = base_model_text(lookup("meta-llama/Llama-3.1-8B"))
    model = lookup("meta-llama/Llama-3.1-8B").model
    assert text.startswith(model.model_id)
    assert "the line for a modification" in text
    for source in model.sources:
        assert " ".join(source.split()) in " ".join(text.split())


def test_every_model_that_is_found_has_a_line():
    lines = found_lines("qwen3").splitlines()
    assert [line.split()[0] for line in lines] == [
        model.model_id for model in search("qwen3")
    ]


def test_a_long_list_is_cut_and_says_how_much_is_left():
    many = len(search(""))
    assert len(found_lines("").splitlines()) == many
    cut = found_lines("", 3).splitlines()
    assert len(cut) == 4
    assert cut[3] == f"… and {many - 3} more; add a word"
    assert found_lines("", many) == found_lines("")


def test_words_that_no_model_has_are_answered():
    with pytest.raises(InputError, match="try fewer"):
        found_lines("nonesuch")
