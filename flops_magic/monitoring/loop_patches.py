"""Models that the user names: a name says which one is meant, and has to be true.

Every model that is called is counted without being named. A name is for whoever wants
to be told that a variable was never trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from flops_magic.monitoring.meter import TrainerMeter

Models = Callable[[], Mapping[str, Any]]


@contextmanager
def named_models(meter: TrainerMeter, models: Models) -> Iterator[None]:
    """See to it that the named models ran inside the block.

    Args:
        meter: told of names that nothing was called by.
        models: returns what the names mean now; a name may be bound later.
    """
    yield
    for name, model in models().items():
        if not isinstance(model, torch.nn.Module) or not meter.registry.knows(model):
            meter.gap(
                f"model {name!r}",
                "no model of that name was called; name the variable that holds it",
            )
