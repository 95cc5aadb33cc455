"""FLOPs of operations that torch's own counter does not know, by name.

Each formula takes the operation's own arguments and returns FLOPs as ``int``; a
multiply-add is two. Found missing in torch 2.8 to 2.13 by running them: CPU attention,
grouped products, in-place products, recurrent kernels, fused inference layers, FFTs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

# Formulas read shapes and never values: they run on fake tensors, and beside live ones
# without a device sync.
from flops_magic.profiling.fused_layers import (
    cudnn_rnn,
    cudnn_rnn_backward,
    native_attention,
    native_encoder_layer,
    onednn_rnn,
    onednn_rnn_backward,
)

Formula = Callable[..., int]


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
    # torch's own formula, for the name that torch's counter lacks: on CPU attention has
    # a kernel of its own, and torch 2.13 counts it as 0.
    return int(sdpa_flop_count(q.shape, k.shape, v.shape))


def _cpu_sdpa_backward(
    grad: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *_: Any,
    **__: Any,
) -> int:
    # torch counts five products: scores are computed again in the kernel.
    return int(sdpa_backward_flop_count(grad.shape, q.shape, k.shape, v.shape))


def _four_bit(a: torch.Tensor, _: Any, shape: Any, *__: Any, **___: Any) -> int:
    """Rows of ``a`` times the logical, unpacked weight."""
    # The packed tensor's own shape says nothing of the products; ``shape`` does.
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
    # one number may be given for all dimensions
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
    # Depthwise, one-dimensional, padded by k − 1: the mark of a causal convolution. A
    # symmetric padding of k − 1 does not occur in models that were tried.
    causal = groups == x.shape[1] and len(taps) == 1 and padding[0] == taps[0] - 1
    if transposed or (causal and stride[0] == dilation[0] == 1):
        positions = list(x.shape[2:])  # of a transposed one, each input position
    return 2 * int(x.shape[0] * prod(positions) * prod(weight.shape))


def _convolution_backward(
    _: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, *sizes: Any, **__: Any
) -> int:
    """As much again for the input's gradient and for the weight's, where needed."""
    *places, output_mask = sizes
    # ``output_mask`` says which gradients are wanted: input, weight, bias. The bias's
    # is a sum, not a product.
    return _convolution(x, weight, *places) * sum(map(bool, output_mask[:2]))


def _scan(_: torch.Tensor, __: Any, flops: int) -> int:
    """A stand-in of ``profiling.scan_costs`` carries its own FLOPs."""
    return int(flops)


def _addmm_activation(
    _: Any, a: torch.Tensor, b: torch.Tensor, *__: Any, **___: Any
) -> int:
    return _mm(a, b)


def _int8_weight(a: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> int:
    """Rows of ``a`` (m, k) times a weight that is kept as (n, k)."""
    return 2 * int(prod(a.shape)) * int(weight.shape[0])


def _int4_weight(a: torch.Tensor, _: Any, __: Any, scales: torch.Tensor) -> int:
    """Rows of ``a`` (m, k) times a packed weight; scales are (groups, n, 2)."""
    return 2 * int(prod(a.shape)) * int(scales.shape[1])


def _trilinear(
    a: torch.Tensor, weight: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any
) -> int:
    """``nn.Bilinear``: a (B, i) and b (B, j) meet (o, i, j): two products an entry."""
    return 4 * int(a.shape[0]) * int(weight.numel())


def _distances(a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any) -> int:
    """Distances of (…, P, M) and (…, R, M): as much as their product, (…, P, R)."""
    return 2 * int(prod(a.shape)) * int(b.shape[-2])


def _fft_complex(x: torch.Tensor, dim: Any, *_: Any, **__: Any) -> int:
    """5 · n · log2 n real operations for each transform of n complex values.

    Cooley and Tukey (1965): (n/2) · log2 n butterflies of one complex product (six
    operations) and two complex sums (four).
    """
    size = int(prod(x.shape[d] for d in dim))
    # Exact for powers of two and an upper bound elsewhere, in integers: a float log2
    # could round down.
    stages = max(size - 1, 0).bit_length()  # log2 n, rounded up
    return int(5 * x.numel() * stages)


def _fft_from_real(x: torch.Tensor, dim: Any, *_: Any, **__: Any) -> int:
    """Half of the complex transform: the other half follows by symmetry."""
    return (_fft_complex(x, dim) + 1) // 2


def _fft_to_real(
    x: torch.Tensor, dim: Any, _: Any, last_dim_size: int, **__: Any
) -> int:
    """Half of the complex transform of the result's size."""
    # An expanded scalar owns one element: only its shape is read.
    result = x.new_empty((), device="meta").expand(
        [last_dim_size if d == dim[-1] % x.dim() else n for d, n in enumerate(x.shape)]
    )
    return (_fft_complex(result, dim) + 1) // 2


# Keys are texts, so that an operation which this torch lacks needs no guard. Names with
# an underscore are private kernels of aten, tried with torch 2.13: if one is renamed,
# the counter names the new one as unknown and the count becomes a lower bound; it is
# never silently 0.
FORMULAS: dict[str, Formula] = {
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
    "aten._addmm_activation": _addmm_activation,
    "aten._int_mm": _mm,
    "aten._weight_int8pack_mm": _int8_weight,
    "aten._weight_int4pack_mm": _int4_weight,
    "aten.mkldnn_rnn_layer": onednn_rnn,
    "aten.mkldnn_rnn_layer_backward": onednn_rnn_backward,
    "aten.cudnn_rnn": cudnn_rnn,
    "aten.cudnn_rnn_backward": cudnn_rnn_backward,
    "aten.miopen_rnn": cudnn_rnn,
    "aten.miopen_rnn_backward": cudnn_rnn_backward,
    "aten._native_multi_head_attention": native_attention,
    "aten._transformer_encoder_layer_fwd": native_encoder_layer,
    "aten._trilinear": _trilinear,
    "aten._cdist_forward": _distances,
    "aten._euclidean_dist": _distances,
    "aten._fft_c2c": _fft_complex,
    "aten._fft_r2c": _fft_from_real,
    "aten._fft_c2r": _fft_to_real,
    "bitsandbytes.gemm_4bit": _four_bit,
    "bitsandbytes.gemv_4bit": _four_bit,
}
