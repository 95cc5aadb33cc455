"""What a pass looks like from outside: shapes, types and switches, and their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

from flops_magic.monitoring.passes.pass_reader import cached_len


def digest(text: str) -> str:
    """Return a short digest that names a signature."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def signature_of(value: Any) -> Any:
    """Return what a pass's cost can depend on: shapes, types and switches."""
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), str(value.dtype))
    if isinstance(value, Mapping):
        return sorted((str(key), signature_of(item)) for key, item in value.items())
    if isinstance(value, (tuple, list)):
        return [signature_of(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if hasattr(value, "get_seq_length"):
        return f"cache of {cached_len(value)}"
    return type(value).__name__


def sizes_of(args: Any, kwargs: Any) -> tuple[str, int, int]:
    """Return a label, the rows, and the positions of token sequences (0 for others)."""
    tensors = {
        **{str(index): value for index, value in enumerate(args)},
        **kwargs,
    }
    found = {k: v for k, v in tensors.items() if isinstance(v, torch.Tensor)}
    if not found:
        return "no tensors", 0, 0
    first = next(iter(found.values()))
    tokens = 0
    source = found.get("input_ids", found.get("inputs_embeds"))
    if isinstance(source, torch.Tensor) and source.dim() >= 2:
        first, tokens = source, int(source.shape[0] * source.shape[1])
    answer = found.get("decoder_input_ids")
    if answer is not None and answer.dim() == 2:
        tokens += answer.numel()
    rows = int(first.shape[0]) if first.dim() else 1
    return "x".join(map(str, first.shape)) or "scalar", rows, tokens
