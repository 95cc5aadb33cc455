"""The processes of one training run: one sum at its end, by all or by none."""

from __future__ import annotations

import os
from typing import Any

import torch


def rank() -> int:
    """Return this process's number; 0 for the one that writes the record."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return how many processes train together; 1 without a process group."""
    group = torch.distributed
    if group.is_available() and group.is_initialized():
        return int(group.get_world_size())
    return 1


def of_the_others(mine: Any) -> list[Any]:
    """Return what the other processes hold where this one holds ``mine``.

    Every process has to call this at the same point; the Trainer's end of training is
    one. Called once a run, it moves a few kilobytes.

    Args:
        mine: anything that pickles.
    """
    size = world_size()
    if size == 1:
        return []
    gathered: list[Any] = [None] * size
    # Objects are pickled through the group's own backend, NCCL or Gloo.
    torch.distributed.all_gather_object(gathered, mine)
    own = torch.distributed.get_rank()
    return [theirs for number, theirs in enumerate(gathered) if number != own]
