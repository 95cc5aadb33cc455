"""What a record states besides its counts: assumptions, uncertainty, comparison."""

from __future__ import annotations

from typing import Any

from flops_magic.core.formulas import lora_pd
from flops_magic.core.record import ModelUse

ASSUMPTIONS = (
    "Matrix products, convolutions, attention products and scans are counted.",
    "A multiply-add is two operations.",
    "Attention counts the full square; what a causal mask leaves of it stands beside.",
    "Padding is computed and counted; tokens without padding stand beside.",
    "A forward pass with gradients in training is counted with its backward pass.",
)
UNCERTAINTY = ("Not counted: element-wise work, about 0.1 to 1 per cent.",)


def legacy_figure(models: tuple[ModelUse, ...]) -> dict[str, Any]:
    """Return (4·N_total + 2·N_trainable)·D of the trained models, for comparison."""
    trained = [use for use in models if use.role == "trained"]
    if len(trained) != 1 or (profile := trained[0].profile) is None:
        return {}
    rows = [row for row in trained[0].histogram if row.kind == "train"]
    tokens = sum(row.total.tokens for row in rows)
    total, trainable = profile.parameters_total, profile.parameters_trainable
    return {
        "formula": "(4·N_total + 2·N_trainable)·D",
        "N_total": str(total),
        "N_trainable": str(trainable),
        "tokens": str(tokens),
        "flops": str(lora_pd(total, trainable, tokens)),
    }


def assumptions_of(models: tuple[ModelUse, ...]) -> tuple[str, ...]:
    """Return what a count of these models rests on."""
    trained = [use for use in models if use.role == "trained"]
    lines = []
    if len(trained) > 1:
        lines.append(
            f"{len(trained)} models were trained; their compute is added up and held "
            "against one original."
        )
    unknown = sorted(
        {op for use in models if use.profile for op in use.profile.unknown_ops}
    )
    if unknown:
        lines.append(
            f"Operations without a formula, not counted: {', '.join(unknown)}."
        )
    notes = {note for use in models if use.profile for note in use.profile.notes}
    return (*ASSUMPTIONS, *lines, *sorted(notes))
