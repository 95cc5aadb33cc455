"""Whether a backward pass went through a forward pass, told by its own output.

A forward pass with gradients switched on may be trained on once, never (a loss that is
only printed) or several times (``retain_graph``). The gradient that arrives at its
output tells, whoever asked autograd for it and however many models share the graph.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

COUNTED = "flops_magic.counted"  # key in a node's metadata: a counted pass's output
_NO_HOLDERS = (type, torch.nn.Module)  # whose attributes are no output
_DEEPEST = 3  # tensors in tuples in a mapping, as hidden states and caches are


class GradientArrival:
    """Calls back once for each backward pass that reaches a forward pass's output.

    Attributes:
        awaited: whether gradients can arrive at all.
    """

    def __init__(self, output: Any, arrived: Callable[[bool], None]) -> None:
        """Wait for gradients of an output.

        Args:
            output: of a forward pass: a tensor, or what holds tensors.
            arrived: called with whether it is the first backward pass; it runs in the
                thread of the backward pass and must not raise.
        """
        self._arrived = arrived
        self._tasks: set[int] = set()
        self._lock = threading.Lock()
        self.awaited = False
        for tensor in differentiable(output):
            tensor.register_hook(self._gradient)
            mark_counted(tensor)
            self.awaited = True

    def _gradient(self, _: torch.Tensor) -> None:
        # torch's number of the running backward pass (2.8 to 2.13): several outputs of
        # one pass get gradients in one backward pass, which is to count once. Without
        # it an output and its loss would count twice.
        task = torch._C._current_graph_task_id()
        with self._lock:
            first = not self._tasks
            known = task in self._tasks
            self._tasks.add(task)
        if not known:
            self._arrived(first)


def mark_counted(tensor: Any) -> None:
    """Mark that what autograd finds below this tensor is counted by its pass."""
    if tensor.grad_fn is not None:
        # the node's own dictionary, which lives as long as the graph (torch 2.0 on)
        tensor.grad_fn.metadata[COUNTED] = True


def differentiable(output: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """Yield the tensors of an output through which gradients can flow."""
    if isinstance(output, torch.Tensor):
        if output.requires_grad:
            yield output
        return
    if depth >= _DEEPEST:
        return
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, (tuple, list)):
        parts = list(output)
    elif hasattr(output, "__dict__") and not isinstance(
        output, (type, torch.nn.Module)
    ):
        parts = list(vars(output).values())  # a dataclass, a namespace, one's own
    else:
        return
    for part in parts:
        yield from differentiable(part, depth + 1)
