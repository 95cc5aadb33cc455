"""Experts of a configuration: their number, and how many of them a token uses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def text_config(config: Any) -> Any:
    """Return the language part of a configuration that has several."""
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def experts_of(config: Any) -> tuple[int, int] | None:
    """Return (experts, experts a token uses) of a mixture; None for a dense model."""
    text = text_config(config)
    # Configurations agree on no name: Mixtral and gpt-oss, DeepSeek, Qwen and OLMoE,
    # and ERNIE each use their own. A mixture under yet another name counts as dense, so
    # its active parameters read too high, and the FLOPs stay right: they come from a
    # walk.
    names = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
    parts = (text, getattr(text, "ffn_config", None))  # DBRX keeps them in a part
    total = _first_int(parts, names)
    used = _first_int(
        parts,
        (
            "num_experts_per_tok",
            "moe_topk",
            "num_experts_per_token",
            "top_k_experts",
            "moe_top_k",
        ),
    )
    # One expert is a dense feed-forward layer under another name.
    return (total, used) if total > 1 and used else None


def _first_int(parts: Iterable[Any], names: Iterable[str]) -> int:
    """Return the first of these settings that is a number; 0 without one."""
    found = (getattr(part, name, None) for part in parts for name in names)
    return next((n for n in found if isinstance(n, int)), 0)


def idle_expert_parameters(base: Any) -> int:
    """Return how many expert parameters one token does not use."""
    experts = experts_of(base.config)
    if experts is None:
        return 0
    total, used = experts
    # Shared experts serve every token, so none of them idles.
    stacked: int = sum(
        p.numel()
        for name, p in base.named_parameters()
        if re.search(r"\.experts\.", name) and "shared_expert" not in name
    )
    return stacked - stacked * used // total
