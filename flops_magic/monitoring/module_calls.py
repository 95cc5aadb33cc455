"""Calls of modules from the user's own code: every model is met where it is called.

A Trainer, a loop of one's own, Lightning, Accelerate or a reward function all end in a
call of an ``nn.Module``. Whatever is called outside of a counted model's pass is shown
to the run, which counts it from that very call on. No door has to be known by name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensor

from flops_magic.monitoring.torch_compile import inlined_only

_GATHERS = (torch.nn.Embedding, torch.nn.EmbeddingBag)  # they look up, and add


class Meets(Protocol):
    """A run that is told of the modules that are called."""

    def met(self, module: Any) -> bool:
        """Return whether this call's pass is counted at this very module.

        Where it is not, the modules that are called inside of it are met in turn.
        """


_thread = threading.local()


def called_at_the_top() -> Any:
    """Return the counted module whose call is running in this thread, the outermost."""
    return getattr(_thread, "counted", None)


def meeting_calls(runs: Callable[[], Sequence[Meets]], call: Callable[..., Any]) -> Any:
    """Return ``Module.__call__`` that shows calls at the top to the active runs.

    torch 2.8 to 2.13 trace ``Module.__call__`` where it is not torch's own; the first
    line is a constant to the tracer, so that nothing of this enters a graph.

    Args:
        runs: returns those that are active when a module is called.
        call: the method as torch has it.
    """

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or called_at_the_top() is not None:
            return call(self, *args, **kwargs)
        met = [one.met(self) for one in runs()]  # every run has to see the call
        if not any(met):
            return call(self, *args, **kwargs)
        _thread.counted = self
        try:
            return call(self, *args, **kwargs)
        finally:
            _thread.counted = None

    return inlined_only(run)


def holds_models(module: Any) -> bool:
    """Whether a transformers model is inside of a module, which is none itself."""
    inner = (m for m in module.modules() if m is not module)
    return any(isinstance(m, transformers.PreTrainedModel) for m in inner)


def holds_matrices(module: Any) -> bool:
    """Whether a module has weights that multiply; lookups of embeddings do not."""
    return any(
        parameter.dim() >= 2
        for part in module.modules()
        if not isinstance(part, _GATHERS)
        for parameter in part.parameters(recurse=False)
    )


def is_fake(model: Any) -> bool:
    """Whether a model has no values, being walked dry."""
    first = next(model.parameters(), None)
    return first is not None and (first.is_meta or isinstance(first, FakeTensor))
