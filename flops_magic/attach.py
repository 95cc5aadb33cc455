"""``attach_to_trainers``: measurement of a block of code, without a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flops_magic.core.judge import Original
from flops_magic.tracker import TrackedRun


def attach_to_trainers(
    *,
    base_model: str | None = None,
    original_flops: int | str | None = None,
    systemic_risk: bool | None = None,
    original_is_gpai: bool | None = None,
    folder: str | Path | None = None,
    model: Any = None,
) -> TrackedRun:
    """Measure every Hugging Face Trainer that is made or trained inside the block.

    ::

        with flops_magic.attach_to_trainers(base_model="Qwen/Qwen3-8B") as run:
            trainer.train()
        print(run.record.flops.direct)

    Args:
        base_model: id of the original model; the trained model's own name otherwise.
        original_flops: the original's training compute in FLOP, if you know better.
        systemic_risk: whether the original was classified as a GPAI model with
            systemic risk; None if unknown.
        original_is_gpai: whether the original is a GPAI model; None to go by 10^23.
        folder: where ``flops_meter.json`` goes; None to write no file.
        model: a ``torch.nn.Module`` that a loop of your own trains in the block.

    Returns:
        A context manager; ``.record`` and ``.sealed`` are there after the block.

    Raises:
        UnknownModelError: when ``base_model`` is not in the registry.
        MissingPackageError: at the block's start, without torch or transformers.
    """
    original = Original.of(
        base_model=base_model,
        original_flops=original_flops,
        systemic_risk=systemic_risk,
        original_is_gpai=original_is_gpai,
    )
    return TrackedRun(
        original,
        Path(folder) if folder is not None else None,
        models=None if model is None else lambda: {"model": model},
    )
