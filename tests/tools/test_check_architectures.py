"""The check of the shipped shapes passes on them, and fails on each kind of bad row."""

from dataclasses import replace

import pytest

from flops_magic.registry.architectures import architectures, find_architecture
from tools.check_architectures import check, configuration, main, unknown_fields

SMALL = find_architecture("HuggingFaceTB/SmolLM2-135M")
KINDS = {row.model_type: row for row in reversed(architectures())}


def test_a_sound_row_has_no_error():
    assert check(SMALL, 135_000_000) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parameters": 1}, "records 1 parameters and builds 134,515,008"),
        ({"config": {**SMALL.config, "hiden_size": 1}}, "does not know hiden_size"),
        ({"sources": ()}, "no source"),
        ({"config": {**SMALL.config, "num_attention_heads": 0}}, "does not build"),
    ],
)
def test_a_broken_row_is_named(change, said):
    errors = check(replace(SMALL, **change), 135_000_000)
    assert any(said in error for error in errors), errors


def test_a_figure_beyond_the_registry_s_rounding_needs_a_note():
    assert "the registry has 150,000,000" in check(SMALL, 150_000_000)[0]
    assert check(replace(SMALL, note="a reason"), 150_000_000) == []


def test_no_shipped_field_is_swallowed():
    import transformers

    swallowed = {
        row.model_id: found
        for row in architectures()
        if row.model_type in transformers.CONFIG_MAPPING
        and (
            found := unknown_fields(
                row.config, transformers.CONFIG_MAPPING[row.model_type]
            )
        )
    }
    assert swallowed == {}


def test_the_script_exits_1_on_an_error_and_says_how_many_match(capsys):
    assert main(["--ids", "SmolLM2-135M"]) == 0
    assert "1 rows, 1 build and match" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "model_type", ["llama", "qwen2", "gpt_neox", "t5", "opt", "mamba", "gemma3_text"]
)
def test_one_row_of_the_common_kinds_builds_and_matches(model_type):
    row = KINDS[model_type]
    assert check(row, None) == []
    assert configuration(row).model_type == model_type
