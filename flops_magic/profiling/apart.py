"""Walking a model apart from the caller, whose modes and settings are to stay out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import _disable_current_modes


@contextmanager
def apart_from_the_caller() -> Iterator[None]:
    """Walk undisturbed: every walk, and the building for it, happens in this block.

    The caller's own modes, a profiler say, do not see it, and where the caller takes no
    gradients, the walk still does. Tensors are made on the CPU, whatever the default
    device, and in the precision that the model has, whatever autocast says.
    """
    with (
        # private to torch (tried: 2.13); without it the caller's counters see the walk
        _disable_current_modes(),
        torch.device("cpu"),
        torch.autocast("cpu", enabled=False),
        torch.inference_mode(False),
        torch.enable_grad(),
        outside_deepspeed(),
    ):
        yield


@contextmanager
def outside_deepspeed() -> Iterator[None]:
    """Build models whole inside the block, though DeepSpeed's ZeRO-3 is configured.

    While a ZeRO-3 configuration is alive, transformers builds models under
    ``deepspeed.zero.Init``, which shards every new parameter, the walk's too.
    """
    known = sys.modules.get("transformers.integrations.deepspeed")
    # private to transformers (tried: 5.23); if its name goes, walks under ZeRO-3 fail
    # and such models are counted live
    alive = getattr(known, "_hf_deepspeed_config_weak_ref", None)
    config = alive() if alive is not None else None
    if known is None or config is None:
        yield
        return
    known.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        known.set_hf_deepspeed_config(config)
