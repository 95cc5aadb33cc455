"""FLOPs of whole layers that torch runs as one operation: recurrent, and attention."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import torch


def _matrices(x: torch.Tensor, weights: Iterable[Any]) -> int:
    """Every position of ``x`` meets every matrix of a recurrent layer once.

    The gates of an LSTM or GRU multiply W_ih by the input and W_hh by the state at each
    step, and W_hr projects it: 2 · positions · Σ numel(W) over the matrices, whatever
    the number of gates. Biases are vectors and multiply nothing. ``x`` is (time, batch,
    features), or (positions, features) where sequences are packed.
    """
    sizes = (
        int(w.numel()) for w in weights if isinstance(w, torch.Tensor) and w.dim() == 2
    )
    return 2 * int(prod(x.shape[:-1])) * sum(sizes)


def onednn_rnn(x: torch.Tensor, *weights: Any, **_: Any) -> int:
    """One recurrent layer in one direction, on the CPU."""
    return _matrices(x, weights[:2])  # then biases and states, (batch, hidden) too


def onednn_rnn_backward(x: torch.Tensor, *weights: Any, **_: Any) -> int:
    """Of each product the gradients of both operands."""
    return 2 * _matrices(x, weights[:2])


def cudnn_rnn(x: torch.Tensor, weights: Any, *_: Any, **__: Any) -> int:
    """All recurrent layers of a module, on a GPU."""
    return _matrices(x, weights)


def cudnn_rnn_backward(x: torch.Tensor, weights: Any, *_: Any, **__: Any) -> int:
    """Of each product the gradients of both operands."""
    return 2 * _matrices(x, weights)


def _attention(tokens: int, keys: int, width: int) -> int:
    """QKᵀ and PV of all heads: two products of ``width`` a pair of positions."""
    return 2 * 2 * tokens * keys * width


def native_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    embed_dim: int,
    _: int,
    qkv_weight: torch.Tensor,
    __: Any,
    proj_weight: torch.Tensor,
    *___: Any,
    **____: Any,
) -> int:
    """Fused multi-head attention of ``nn.MultiheadAttention`` without gradients.

    q, k, v (batch, positions, embed_dim); each meets its third of ``qkv_weight``.
    """
    # Query, key and value are stacked in one weight.
    third = qkv_weight.numel() // 3
    rows = sum(int(prod(x.shape[:-1])) for x in (q, k, v))
    tokens = int(prod(q.shape[:-1]))
    products = int(rows * third + tokens * proj_weight.numel())
    return 2 * products + _attention(tokens, int(k.shape[-2]), embed_dim)


def native_encoder_layer(
    x: torch.Tensor,
    embed_dim: int,
    _: int,
    qkv_weight: torch.Tensor,
    __: Any,
    proj_weight: torch.Tensor,
    *rest: Any,
    **___: Any,
) -> int:
    """Fused ``nn.TransformerEncoderLayer`` without gradients, (batch, S, embed_dim)."""
    tokens = int(prod(x.shape[:-1]))
    feed_forward = (w for w in rest if isinstance(w, torch.Tensor) and w.dim() == 2)
    matrices = [qkv_weight, proj_weight, *list(feed_forward)[:2]]  # then a mask
    products = 2 * tokens * sum(int(w.numel()) for w in matrices)
    return products + _attention(tokens, int(x.shape[-2]), embed_dim)
