"""The names under which people, mirrors and quantisations know one model."""

from __future__ import annotations

import re
from collections.abc import Iterator

# What a mirror or a quantisation adds to a name, at its end. Sizes, versions and "base"
# are not in the list, because they name another model.
_SUFFIXES = re.compile(
    r"[-_.](?:(?:unsloth-)?bnb-[48]bit|[48]bit|int[48]|gguf|gptq|awq|exl2|mlx|fp8|bf16"
    r"|fp16|w[48]a(?:8|16)|i?q\d(?:_[a-z0-9]+)*|quantized|dynamic|nvfp4|mxfp4|hf)$",
    re.IGNORECASE,
)
_TUNED = re.compile(r"[-_](?:instruct|it|chat|chat-hf)$", re.IGNORECASE)
# "base" marks a stage of training if the name has a size beside it, as Qwen3-8B-Base
# has; in t5-base it is the size itself, and must not be taken off or put on.
_SIZE = re.compile(r"\d[bm]\d*(?:[-_.]|$)", re.IGNORECASE)
_STAGE = re.compile(r"-(?:base|pt)$", re.IGNORECASE)
# who uploads other people's weights under their own name, unchanged or quantised
MIRRORS = (
    "unsloth",
    "mlx-community",
    "bartowski",
    "thebloke",
    "lmstudio-community",
    "neuralmagic",
    "hugging-quants",
    "redhatai",
)


def spellings(name: str) -> Iterator[tuple[str, str]]:
    """Yield spellings of a name to look for, with the rule that made each."""
    yield name, "as given"
    bare = name
    # Suffixes come in chains, such as -unsloth-bnb-4bit-gguf.
    while (shorter := _SUFFIXES.sub("", bare)) != bare:
        bare = shorter
        yield bare, "mirror or quantisation suffix taken off"
    if (untuned := _TUNED.sub("", bare)) != bare:
        yield untuned, "tuned variant of the same model"
    if _SIZE.search(untuned):
        stem = _STAGE.sub("", untuned)
        for suffix in ("", "-base", "-hf", "-pt"):
            yield stem + suffix, "tuned variant of the same model"
