"""What a Trainer says of itself, and whether one is being made."""

from __future__ import annotations

import sys
from collections.abc import Sized
from types import FrameType
from typing import Any

import transformers


def a_trainer_is_being_made() -> bool:
    """Whether a Trainer's ``__init__`` is on the stack.

    TRL's DPO computes its reference log-probabilities there, after the base class is
    done; asked for passes outside of training only.
    """
    # CPython's own, and documented as such. ``inspect.stack`` would read source files.
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "__init__" and isinstance(
            frame.f_locals.get("self"), transformers.Trainer
        ):
            return True
        frame = frame.f_back
    return False


def training_facts(args: Any, state: Any, kwargs: Any, begun: int) -> dict[str, Any]:
    """Return the settings that a reader of the record needs; no paths, no tokens.

    Returns:
        Fields of ``evidence.record.TrainingData``; None where a value is unknown.
    """
    loader = kwargs.get("train_dataloader")
    dataset = getattr(loader, "dataset", None)
    epochs = getattr(args, "num_train_epochs", None)
    # ``datasets.Dataset`` keeps the digest of its contents under this private name
    # (tried: datasets 3 and 4); without it the record says nothing of the contents
    fingerprint = getattr(dataset, "_fingerprint", None)
    return {
        "num_train_epochs": None if epochs is None else str(epochs),
        "max_steps": _count(state.max_steps),
        "resumed_at_step": _count(begun),
        "per_device_train_batch_size": _count(args.per_device_train_batch_size),
        "gradient_accumulation_steps": _count(args.gradient_accumulation_steps),
        "world_size": _count(args.world_size),
        "dataset_fingerprint": str(fingerprint) if fingerprint else None,
        "dataset_rows": len(dataset) if isinstance(dataset, Sized) else None,
    }


def _count(value: Any) -> int | None:
    """Return a count; None for the -1 and the like that settings mean "unset" by."""
    return int(value) if isinstance(value, int) and value >= 0 else None
