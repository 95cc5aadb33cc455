"""Near names: the same offer for options, commands, models and devices."""

import pytest

from flops_magic.near_names import near

KNOWN = ["Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B", "--tokens"]


@pytest.mark.parametrize(
    ("typed", "offer"),
    [
        ("--toknes", "; near: --tokens"),
        ("qwen/qwen3-8b", "; near: Qwen/Qwen3-8B"),
        ("Qwen3-9B", "; near: Qwen/Qwen3-8B"),
        ("somebody/Llama-3.1-8b", "; near: meta-llama/Llama-3.1-8B"),
        ("banana", ""),
        ("", ""),
    ],
)
def test_a_typo_is_answered_with_the_names_most_like_it(typed, offer):
    assert near(typed, KNOWN) == offer
