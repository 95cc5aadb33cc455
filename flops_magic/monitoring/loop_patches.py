"""Training loops without a Trainer: plain PyTorch, Accelerate.

The user names the model. A forward pass of it with gradients is a training pass, and
every step of any optimizer is a step of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from flops_magic.gaps import guard
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.pass_hooks import entrances
from flops_magic.profiling.model_setup import base_model

Models = Callable[[], Mapping[str, Any]]


@contextmanager
def patched_loops(meter: TrainerMeter, models: Models) -> Iterator[None]:
    """Watch the named models inside the block, from their first call on.

    Args:
        meter: told of passes and steps.
        models: returns what the names stand for now; a name may be bound later.
    """
    seen: dict[str, Any] = {}

    def watch(called: Any = None) -> None:
        for name, model in models().items():
            if not isinstance(model, torch.nn.Module) or seen.get(name) is model:
                continue
            rebound = called is None and name in seen
            base = base_model(model)
            if rebound or any(called is one for one in (model, *entrances(base))):
                if rebound:
                    meter.gap(
                        f"model {name!r}",
                        "it was bound to another model; passes before are not counted",
                    )
                seen[name] = model
                meter.train_model(model)

    def watch_quietly(called: Any = None) -> None:
        with guard(meter.gap, "a model could not be watched"):
            watch(called)

    def stepped(*_: Any) -> None:
        if meter.in_trainer:
            return  # a Trainer reports its own steps
        watch_quietly()
        meter.step_ended()

    handle = register_optimizer_step_post_hook(stepped)
    # The class and not one model: which object the name will hold is known only when it
    # is called. It is put back as soon as all named models were seen.
    plain = torch.nn.Module.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with guard(meter.gap, "a model could not be watched"):
            watch(self)
            if set(seen) == set(models()):
                torch.nn.Module.__call__ = plain
        return plain(self, *args, **kwargs)

    torch.nn.Module.__call__ = call
    meter.registry.look_for_unregistered()
    try:
        with meter.user_loop(watch_quietly):
            yield
    finally:
        torch.nn.Module.__call__ = plain
        handle.remove()
        for name in set(models()) - set(seen):
            meter.gap(
                f"model {name!r}",
                "no model of that name was called; name the variable that holds it",
            )
