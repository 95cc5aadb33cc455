"""Compiled models: a pass is counted before it enters the graph.

Hooks inside of what ``torch.compile`` traces would break its graph, or be refused under
``fullgraph=True``. So the call of the compiled module is wrapped instead, and the hooks
inside compile to nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

import torch

# Private module of torch, tried with 2.13; see ``trainer_patches``.
import torch._dynamo.eval_frame

from flops_magic.monitoring.passes.gradient_arrival import differentiable, mark_counted

Hook = TypeVar("Hook", bound=Callable[..., Any])
Counted = Callable[[Any, Any, Any], AbstractContextManager[None]]


def inlined_only(hook: Hook) -> Hook:
    """Keep dynamo from compiling a hook by itself, where it runs beside a graph.

    What is traced as part of an outer module is not touched by this. Without it dynamo
    makes a graph of nothing of each hook and guards the tensors that the hook is given.
    """
    # Without it each hook compiles to an empty graph of its own: slower, never wrong.
    skip = getattr(torch._dynamo.eval_frame, "skip_code", None)
    if skip is not None:
        skip(hook.__code__)
    return hook


def watching_compiled(meters: Callable[[], list[Any]], call: Any) -> Any:
    """Return ``OptimizedModule.__call__`` with its passes counted outside.

    Args:
        meters: returns those that are active when a model is called.
        call: the method as torch has it.
    """

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return call(self, *args, **kwargs)
        with ExitStack() as stack:
            for meter in meters():
                stack.enter_context(meter.compiled_pass(self, args, kwargs))
            return marked(call(self, *args, **kwargs))

    return run


def marked(output: Any) -> Any:
    """Return a graph's output, marked as that of a counted pass."""
    for tensor in differentiable(output):
        mark_counted(tensor)
    return output


def watch_in_place(model: Any, counted: Counted) -> Callable[[], None] | None:
    """Count the passes of a model that ``model.compile()`` compiled in place.

    Args:
        model: any module.
        counted: returns a context that counts one pass.

    Returns:
        What puts the model back; None if it is not compiled, or watched already.
    """
    # Private in torch, tried with 2.13: what ``module.compile()`` sets, and what
    # ``__call__`` goes through. Without it, such passes are not counted, and training
    # without a counted pass is a gap.
    plain = getattr(model, "_compiled_call_impl", None)
    if plain is None or hasattr(plain, "_counted"):
        return None

    @functools.wraps(plain)
    def run(*args: Any, **kwargs: Any) -> Any:
        with counted(model, args, kwargs):
            return marked(plain(*args, **kwargs))

    run._counted = True  # type: ignore[attr-defined]
    model._compiled_call_impl = run

    def restore() -> None:
        if model._compiled_call_impl is run:
            model._compiled_call_impl = plain

    return restore
