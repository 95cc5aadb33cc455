"""Witnesses of training that do not depend on any Trainer.

Optimizers step, autograd runs backward, operations multiply matrices: each of these is
seen here whoever starts it. Where a witness saw what no counted model accounts for, it
notes a gap, and a verdict below the line is withheld.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from flops_magic.evidence.record import ModelUse
from flops_magic.flops.histogram import FlopTotals, histogram_flops
from flops_magic.flops.profile import FlopsProfile, PassCost, PassShape, cost_by_shape
from flops_magic.gaps import GapSink, guard
from flops_magic.monitoring.passes.gradient_arrival import COUNTED
from flops_magic.monitoring.passes.pass_totals import PassTotals

Strangers = Callable[[Iterable[torch.nn.Parameter]], list[torch.nn.Parameter]]


class OptimizerSteps:
    """Every step of every optimizer, those made before the run included.

    torch calls its global hooks for each subclass of ``torch.optim.Optimizer``, through
    the wrapper that its ``__init__`` puts round ``step`` (2.8 to 2.13).
    """

    def __init__(
        self,
        stepped: Callable[[], None],
        strangers: Strangers,
        backward_begun: Callable[[], int],
        note: GapSink,
    ) -> None:
        """Listen until ``close``.

        Args:
            stepped: called after each step.
            strangers: returns those of the parameters that no counted model owns.
            backward_begun: returns how many counted backward passes began so far.
            note: told what no counted model accounts for.
        """
        self._stepped = stepped
        self._strangers = strangers
        self._backward_begun = backward_begun
        self._begun: dict[int, int] = {}
        self._note = note
        self._seen: dict[int, tuple[int, ...]] = {}
        self._handle = register_optimizer_step_post_hook(self._after)

    def close(self) -> None:
        """Listen no more."""
        self._handle.remove()

    def _after(self, optimizer: Any, *_: Any) -> None:
        with guard(self._note, "an optimizer's step"):
            self._look(optimizer)
        with guard(self._note, "an optimizer's step"):
            self._stepped()

    def _look(self, optimizer: Any) -> None:
        begun = self._backward_begun()
        if self._begun.get(id(optimizer), 0) == begun:
            self._note(
                f"optimizer {type(optimizer).__name__}",
                "it stepped without a backward pass of a counted model",
            )
        self._begun[id(optimizer)] = begun
        sizes = tuple(len(group["params"]) for group in optimizer.param_groups)
        if self._seen.get(id(optimizer)) == sizes:
            return
        self._seen[id(optimizer)] = sizes
        matrices = [
            parameter
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.dim() >= 2 and parameter.grad is not None
        ]
        if unknown := self._strangers(matrices):
            self._note(
                f"optimizer {type(optimizer).__name__}",
                f"it steps {len(unknown)} matrices that belong to no module that was "
                "called; what is computed with them is not counted",
            )


class ProductsOutside:
    """Products of matrices between the models, in the user's own code.

    A contrastive loss multiplies the embeddings of a batch, a soft prompt is made by a
    product: both are done outside of every module that is counted. They are read off
    autograd's graph, from the loss down to the outputs of counted passes, before the
    graph runs backward. Reading changes nothing and takes microseconds; products that
    take no gradients leave no trace there and are not seen.

    Attributes:
        totals: what was found, a label for each shape.
    """

    def __init__(self, strangers: Strangers, note: GapSink) -> None:
        """Find nothing yet.

        Args:
            strangers: returns those of the parameters that no counted model owns.
            note: told of products whose size cannot be read.
        """
        self.totals = PassTotals()
        self._strangers = strangers
        self._note = note

    def look(self, tensors: Iterable[Any]) -> int:
        """Count the products that a backward pass from these tensors goes through.

        Returns:
            FLOPs of their backward pass.
        """
        backward = 0
        nodes = [t.grad_fn for t in tensors if getattr(t, "grad_fn", None) is not None]
        seen = set(nodes)
        while nodes:
            node = nodes.pop()
            if COUNTED in node.metadata:
                continue
            backward += self._count(node)
            for further, _ in node.next_functions:
                if further is not None and further not in seen:
                    seen.add(further)
                    nodes.append(further)
        return backward

    def _count(self, node: Any) -> int:
        name = node.name()
        if not _PRODUCT.search(name) and not _own_function(node):
            return 0
        if self._of_a_model(node):
            return 0
        forward = _product_flops(node)
        if forward is None:
            self._note(
                "an operation outside of models",
                f"{name.removesuffix('0')} belongs to no module that was called",
            )
            return 0
        operands = sum(further is not None for further, _ in node.next_functions[-2:])
        label = f"{name.removesuffix('Backward0')} {forward} ~{operands}"
        costs = self.totals.costs
        costs[cost_by_shape("forward", label)] = PassCost(per_call=forward)
        costs[cost_by_shape("backward", label)] = PassCost(per_call=operands * forward)
        self.totals.histogram.add(
            "train", PassShape(calls=1), label=label, merges=False
        )
        return operands * forward

    def _of_a_model(self, node: Any) -> bool:
        """Whether a product takes a weight of a counted model.

        A fused head does, that a trainer applies to the states of a backbone: the
        backbone's pass is counted with its head.
        """
        below = [n for n, _ in node.next_functions if n and COUNTED not in n.metadata]
        # one step further: the weight may be transposed or cast
        below += [m for n in below for m, _ in n.next_functions[:1] if m is not None]
        leaves = [v for n in below if (v := getattr(n, "variable", None)) is not None]
        return len(self._strangers(leaves)) < len(leaves)

    def flops(self) -> FlopTotals:
        """Return their FLOPs so far."""
        return histogram_flops(self.totals.histogram.rows(), self._profile())

    def uses(self) -> list[ModelUse]:
        """Return their part of the record; empty without any."""
        rows = self.totals.histogram.rows()
        use = ModelUse(OUTSIDE, "other", None, None, self._profile(), rows)
        return [use] if rows else []

    def _profile(self) -> FlopsProfile:
        """Return what the products cost, as a profile without parameters."""
        return FlopsProfile(
            model_class=OUTSIDE,
            method="full",
            parameters_total=0,
            parameters_active=0,
            parameters_trainable=0,
            costs=dict(self.totals.costs),
        )


OUTSIDE = "products outside of models"
_PRODUCT = re.compile(
    r"^(Mm|Bmm|Addmm|Baddbmm|Addbmm|Mv|Addmv|Dot|Linear|Conv|Slow[Cc]onv|Scaled|Flash"
    r"|Efficient|Mkldnn|Cudnn|Miopen|Thnn|Fft|Trilinear|Cdist|Euclidean|Linalg|Grouped)"
)


def _product_flops(node: Any) -> int | None:
    """Return the FLOPs of the product that a node differentiates; None if unknown."""
    name = node.name()
    if name in ("MmBackward0", "AddmmBackward0"):
        first = "mat1" if name.startswith("Addmm") else "self"
        rows, inner = getattr(node, f"_saved_{first}_sym_sizes")
        return 2 * int(rows) * int(inner) * int(node._saved_mat2_sym_sizes[1])
    if name in ("BmmBackward0", "BaddbmmBackward0"):
        # each operand is kept only where the other one needs a gradient
        first = getattr(node, "_saved_self" if name[1] == "m" else "_saved_batch1")
        second = getattr(node, "_saved_mat2" if name[1] == "m" else "_saved_batch2")
        if first is not None and second is not None:
            return 2 * int(first.numel()) * int(second.shape[-1])
    return None


def _own_function(node: Any) -> bool:
    """Whether a node is a function in Python that may multiply what it kept.

    One that keeps fewer than two matrices, such as a cast or a reduction over
    processes, does not.
    """
    if not isinstance(node, torch.autograd.function.BackwardCFunction):
        return False
    kept = [t for t in node.saved_tensors if isinstance(t, torch.Tensor)]
    return len([t for t in kept if t.dim() >= 2]) >= 2
