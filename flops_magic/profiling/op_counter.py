"""Operations and their FLOPs: torch's own formulas, and those that it lacks.

torch's flop counter is exact for what it knows and silently 0 for the rest. This
module adds the formulas of ``profiling.op_formulas``, and names every operation that
contracts tensors and still has none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from flops_magic.profiling.op_formulas import FORMULAS, Formula

# Operations of aten that contract tensors, by name; element-wise work is not counted.
_CONTRACTS = re.compile(
    r"mm|matmul|bmm|conv|attention|linear|einsum|tensordot|(^|_)(v?dot|mv|ger|outer|addr)"
    r"|lstm|gru|rnn|fft|cdist|euclidean|cholesky|svd|(^|_)qr|solve|kron|scan|trilinear|_layer_fwd"
)
# Named like a contraction, without being one.
_HARMLESS = re.compile(
    r"lift|unsafe_view|transform_bias|comm|_to_|linear_index|linspace|convert"
    # the cell's products ran before; this is its gates, element by element
    r"|_thnn_fused|_thnn_differentiable"
)


class OperationCounter(TorchDispatchMode):
    """Counts the FLOPs of operations, and names those without a formula.

    Attributes:
        flops: FLOPs so far.
        paused: whether operations run uncounted.
        by_operation: the same, by operation.
        unknown: contracting operations without a formula, with how often they ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.paused = False
        self.by_operation: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation and count it."""
        kwargs = kwargs or {}
        # Private in torch, tried with 2.13: the operation without its overload, which
        # is the key of torch's own table. Without it every operation would be unknown.
        packet = func._overloadpacket
        ours = FORMULAS.get(str(packet))
        if ours is None and packet not in flop_registry and func.namespace != "prim":
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if self.paused:
            return result
        try:
            self._count(func, packet, ours, args, kwargs, result)
        except Exception:  # noqa: BLE001 a broken formula may not stop training
            self.unknown[str(packet)] += 1
        return result

    def _count(
        self,
        func: Any,
        packet: Any,
        ours: Formula | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> None:
        if ours is not None:
            count = ours(*args, **kwargs)
        elif packet in flop_registry:
            count = int(flop_registry[packet](*args, **kwargs, out_val=result))
        else:
            if contracts(str(packet), func.namespace):
                self.unknown[str(packet)] += 1
            return
        self.flops += count
        self.by_operation[str(packet)] += count


@contextmanager
def angles_uncounted(
    model: torch.nn.Module, counter: OperationCounter
) -> Iterator[None]:
    """Leave the angles of rotary embeddings uncounted inside the block.

    They are positions times frequencies, element by element; transformers 4 writes
    them as a matrix product over a dimension of one, transformers 5 does not.
    """

    def pause(*_: Any) -> None:
        counter.paused = True

    def go_on(*_: Any) -> None:
        counter.paused = False

    rotary = [m for m in model.modules() if "RotaryEmbedding" in type(m).__name__]
    hooks = [m.register_forward_pre_hook(pause) for m in rotary]
    hooks += [m.register_forward_hook(go_on) for m in rotary]
    try:
        yield
    finally:
        counter.paused = False
        for hook in hooks:
            hook.remove()


def contracts(name: str, namespace: str) -> bool:
    """Whether an operation may hold matrix products that no formula counts.

    Args:
        name: such as ``aten.mm``.
        namespace: such as ``aten``; kernels of other packages always may.
    """
    if namespace not in ("aten", "prims"):
        return namespace not in (
            "prim",
            "profiler",
            "_c10d_functional",
            "c10d",
            "inductor",
        )
    plain = name.split(".", 1)[-1]
    return bool(_CONTRACTS.search(plain)) and not _HARMLESS.search(plain)
