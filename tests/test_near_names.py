"""Near names: the same offer for options, commands, base models and accelerators."""

import pytest

from flops_magic.near_names import near


@pytest.mark.parametrize(
    ("name", "known", "offer"),
    [
        ("--tokns", ["--tokens", "--epochs"], "; near: --tokens"),
        ("modles", ["models", "run"], "; near: models"),
        ("LORA-RNK", ["lora-rank"], "; near: lora-rank"),
        ("gpt22", ["openai-community/gpt2"], "; near: openai-community/gpt2"),
        ("mirror/Qwen3-9B", ["Qwen/Qwen3-8B"], "; near: Qwen/Qwen3-8B"),
        ("banana", ["--tokens", "models"], ""),
        ("anything", [], ""),
        ("", ["models"], ""),
    ],
)
def test_a_typo_finds_what_is_spelt_almost_so(name, known, offer):
    assert near(name, known) == offer


def test_the_nearest_comes_first_each_name_once_and_at_most_four():
    known = [f"Qwen/Qwen3-{size}B" for size in (4, 8, 14, 32, 235)]
    offered = near("Qwen/Qwen3-8b-x", known).removeprefix("; near: ").split(", ")
    assert offered[0] == "Qwen/Qwen3-8B"
    assert len(set(offered)) == len(offered) == 4
