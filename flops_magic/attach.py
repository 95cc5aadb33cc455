"""``attach_to_trainers``: measurement of a block of code, without a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.ai_act.original_options import OriginalOptions
from flops_magic.tracking.run import TrackedRun
from flops_magic.tracking.stop_rule import parse_share


def attach_to_trainers(
    *,
    folder: str | Path | None = None,
    model: Any = None,
    stop_at: float | str | None = None,
    **original: Unpack[OriginalOptions],
) -> TrackedRun:
    """Measure every Hugging Face Trainer that is made or trained inside the block.

    ::

        with flops_magic.attach_to_trainers(base_model="Qwen/Qwen3-8B") as run:
            trainer.train()
        print(run.record.flops.direct)

    Args:
        folder: where ``flops_meter.json`` goes; None to write no file.
        model: a ``torch.nn.Module`` that a loop of your own trains in the block.
        stop_at: share of the line, such as 0.9 or "90%", before which Trainers are
            stopped, a checkpoint saved; a loop of your own has to ask
            ``run.should_stop`` after each step.
        original: what is known of the original model, such as ``base_model`` and
            ``original_flops``; all of it:
            ``flops_magic.ai_act.original_options.OriginalOptions``.

    Returns:
        A context manager; ``.record`` and ``.sealed`` are there after the block.

    Raises:
        UnknownModelError: when ``base_model`` is not in the registry.
        InputError: for options that contradict each other, and unknown ones.
        MissingPackageError: at the block's start, without torch or transformers.
    """
    return TrackedRun(
        OriginalModel.of(**original),
        Path(folder) if folder is not None else None,
        models=None if model is None else lambda: {"model": model},
        stop_at=None if stop_at is None else parse_share(stop_at),
    )
