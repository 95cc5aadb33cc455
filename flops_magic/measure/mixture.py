"""What a configuration says of experts: how many there are, how many a token uses."""

from __future__ import annotations

import re
from typing import Any


def text_config(config: Any) -> Any:
    """Return the language part of a configuration that has several."""
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def experts_of(config: Any) -> tuple[int, int] | None:
    """Return (experts, experts a token uses) of a mixture; None for a dense model."""
    text = text_config(config)
    names = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
    total = next((n for k in names if isinstance(n := getattr(text, k, None), int)), 0)
    used = next(
        (
            n
            for k in (
                "num_experts_per_tok",
                "moe_topk",
                "num_experts_per_token",
                "top_k_experts",
            )
            if isinstance(n := getattr(text, k, None), int)
        ),
        0,
    )
    return (total, used) if total > 1 and used else None


def idle_expert_parameters(base: Any) -> int:
    """Return how many expert parameters one token does not use."""
    experts = experts_of(base.config)
    if experts is None:
        return 0
    total, used = experts
    stacked: int = sum(
        p.numel()
        for name, p in base.named_parameters()
        if re.search(r"\.experts\.", name) and "shared_expert" not in name
    )
    return stacked - stacked * used // total
