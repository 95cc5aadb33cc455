"""Operations and their FLOPs: torch's own formulas, and those that it lacks.

torch's flop counter is exact for what it knows and silently 0 for the rest. This
module adds the formulas that were found missing on the stack in use, and names every
operation that contracts tensors and still has none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import (
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

Formula = Callable[..., int]

# Operations of aten that contract tensors, by name; element-wise work is not counted.
_CONTRACTS = re.compile(
    r"mm|matmul|bmm|conv|attention|linear|einsum|tensordot|(^|_)(v?dot|mv|ger|outer|addr)"
    r"|lstm|gru|rnn|fft|cdist|cholesky|svd|(^|_)qr|solve|kron|scan"
)
# Named like a contraction, without being one.
_HARMLESS = re.compile(
    r"lift|unsafe_view|transform_bias|comm|_to_|linear_index|linspace|convert"
)


def _mm(a: torch.Tensor, b: torch.Tensor) -> int:
    """(m, k) × (k, n) or batches of them: a multiply and an add a product."""
    return 2 * int(prod(a.shape)) * int(b.shape[-1])


def _grouped_mm(a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any) -> int:
    """Rows of ``a`` meet one expert's matrix each; (k, m) × (m, n) for weights."""
    if a.dim() == 2 and b.dim() == 3:
        return 2 * int(a.shape[0] * a.shape[1] * b.shape[2])
    if a.dim() == 3 and b.dim() == 2:
        return 2 * int(a.shape[1] * a.shape[2] * b.shape[1])
    return _mm(a, b)


def _in_place_mm(_: Any, a: torch.Tensor, b: torch.Tensor, **__: Any) -> int:
    return _mm(a, b)


def _mv(a: torch.Tensor, _: torch.Tensor, **__: Any) -> int:
    return 2 * int(prod(a.shape))


def _dot(a: torch.Tensor, _: torch.Tensor, **__: Any) -> int:
    return 2 * int(prod(a.shape))


def _addmv(_: Any, a: torch.Tensor, __: torch.Tensor, **___: Any) -> int:
    return 2 * int(prod(a.shape))


def _addbmm(_: Any, a: torch.Tensor, b: torch.Tensor, **__: Any) -> int:
    return _mm(a, b)


def _cpu_sdpa(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, **__: Any
) -> int:
    return int(sdpa_flop_count(q.shape, k.shape, v.shape))


def _cpu_sdpa_backward(
    grad: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *_: Any,
    **__: Any,
) -> int:
    return int(sdpa_backward_flop_count(grad.shape, q.shape, k.shape, v.shape))


def _four_bit(a: torch.Tensor, _: Any, shape: Any, *__: Any, **___: Any) -> int:
    """Rows of ``a`` times the logical, unpacked weight."""
    return 2 * int(prod(a.shape[:-1])) * int(prod(shape))


def _convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    _: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    __: Any,
    groups: int,
    **___: Any,
) -> int:
    """Every kernel element meets each output position once: (c_out, c_in/g, k…).

    A depthwise convolution that is padded by k − 1 is causal: what it computes beyond
    the end of the row is cut off, and causal kernels do not compute it.
    """
    taps = weight.shape[2:]
    # one number may stand for every dimension
    stride, padding, dilation = (
        list(sizes) * (len(taps) if len(sizes) == 1 else 1)
        for sizes in (stride, padding, dilation)
    )
    positions = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(
            x.shape[2:], taps, stride, padding, dilation, strict=True
        )
    ]
    causal = groups == x.shape[1] and len(taps) == 1 and padding[0] == taps[0] - 1
    if transposed or (causal and stride[0] == dilation[0] == 1):
        positions = list(x.shape[2:])  # of a transposed one, each input position
    return 2 * int(x.shape[0] * prod(positions) * prod(weight.shape))


def _convolution_backward(
    _: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, *sizes: Any, **__: Any
) -> int:
    """As much again for the input's gradient and for the weight's, where needed."""
    *places, output_mask = sizes
    return _convolution(x, weight, *places) * sum(map(bool, output_mask[:2]))


def _scan(_: torch.Tensor, __: Any, flops: int) -> int:
    """A stand-in of ``profiling.scan_costs`` says what it costs."""
    return int(flops)


_OURS: dict[str, Formula] = {
    "aten.convolution": _convolution,
    "aten.convolution_backward": _convolution_backward,
    "flops_magic.scan": _scan,
    "aten._grouped_mm": _grouped_mm,
    "aten._scaled_grouped_mm": _grouped_mm,
    "aten.addmm_": _in_place_mm,
    "aten.baddbmm_": _in_place_mm,
    "aten.addbmm": _addbmm,
    "aten.addbmm_": _addbmm,
    "aten.mv": _mv,
    "aten.addmv": _addmv,
    "aten.addmv_": _addmv,
    "aten.dot": _dot,
    "aten.vdot": _dot,
    "aten._scaled_dot_product_flash_attention_for_cpu": _cpu_sdpa,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": _cpu_sdpa_backward,
    "bitsandbytes.gemm_4bit": _four_bit,
    "bitsandbytes.gemv_4bit": _four_bit,
}


class OperationCounter(TorchDispatchMode):
    """Counts FLOPs of everything that runs inside it, and names what it cannot.

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
        packet = func._overloadpacket
        ours = _OURS.get(str(packet))
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
    """Whether an operation may hold matrix products that nobody counted.

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
