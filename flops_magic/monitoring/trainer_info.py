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
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "__init__" and isinstance(
            frame.f_locals.get("self"), transformers.Trainer
        ):
            return True
        frame = frame.f_back
    return False


def training_facts(args: Any, state: Any, kwargs: Any, begun: int) -> dict[str, Any]:
    """Return the settings that a reader of the record needs; no paths, no tokens."""
    loader = kwargs.get("train_dataloader")
    dataset = getattr(loader, "dataset", None)
    return {
        "num_train_epochs": str(getattr(args, "num_train_epochs", "")),
        "max_steps": str(state.max_steps),
        "resumed_at_step": str(begun),
        "per_device_train_batch_size": str(args.per_device_train_batch_size),
        "gradient_accumulation_steps": str(args.gradient_accumulation_steps),
        "world_size": str(args.world_size),
        "dataset_fingerprint": str(getattr(dataset, "_fingerprint", "") or "unknown"),
        "dataset_rows": str(len(dataset)) if isinstance(dataset, Sized) else "unknown",
    }
