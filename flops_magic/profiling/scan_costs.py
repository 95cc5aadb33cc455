"""What the scans of recurrent layers cost, and their replacements on a dry walk.

Kernels run these scans chunk by chunk; transformers' own torch code pads short rows to
whole chunks, loops over positions, or multiplies element by element, so walking it does
not give the real cost. A stand-in of the same output shape takes its place, and a
stated formula counts its operations: the matrix products of the scan at two operations
a multiply-add, linear in the positions, at full chunks.

Per position, with H heads, channels P = d_v and state N = d_k a head, chunks of Q:

selective scan (Mamba, arXiv:2312.00752, eq. 2): three multiply-adds a channel and
    state: decay the state, add the input, read the output: 6·D·N for D channels.
state-space duality (Mamba-2, arXiv:2405.21060, section 6; G groups share B and C):
    C·Bᵀ 2·Q·N·G, its product with x 2·Q·P·H, the chunk's state Bᵀ·x 2·N·P·H, the read
    of the state before 2·N·P·H, and the state handed on once a chunk, ⌈2·N·P·H / Q⌉.
gated delta rule (arXiv:2412.06464, section 3.3; arXiv:2406.06484, section 3.2), a head:
    K·Kᵀ, Q·Kᵀ and T·K 6·Q·d_k, T·V and the scores times V 4·Q·d_v, three products with
    the state 6·d_k·d_v, and the inverse T of the unit triangular matrix by forward
    substitution, (Q − 1)·(2·Q − 1) / 3, whose gradient Tᵀ·dT·Tᵀ is 4·Q². Per-channel
    decay (Kimi delta attention, arXiv:2510.26692) changes no product.
lightning attention (arXiv:2401.04658, algorithm 1), a head: Q·Kᵀ and its product with V
    4·Q·d, Kᵀ·V and the read 4·d².
linear recurrent unit (Griffin, arXiv:2402.19427, eq. 4): one multiply-add a channel.
WKV (RWKV-4, arXiv:2305.13048, eq. 16): five multiply-adds a channel.

Backward is twice forward: each product has two operands, and each operand's gradient is
one product of the same size. Where only some operands need a gradient, in the first
trainable layer, the count is too high, never too low.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch


@dataclass(frozen=True)
class ScanCost:
    """FLOPs of a scan a position, forward and backward."""

    forward: int
    backward: int


def selective_scan_cost(channels: int, state: int) -> ScanCost:
    """Return the cost of Mamba's scan, a position."""
    forward = 6 * channels * state
    return ScanCost(forward, 2 * forward)


def state_space_cost(
    heads: int, head_dim: int, state: int, groups: int, chunk: int
) -> ScanCost:
    """Return the cost of Mamba-2's scan, a position."""
    whole = heads * head_dim * state
    # Inside a chunk the scan is a small attention: it grows with Q, not with the row.
    inside = 2 * chunk * (groups * state + heads * head_dim)
    # Two products with the state a position; the hand-over once a chunk, rounded up so
    # that the sum is never too low.
    forward = inside + 4 * whole + -(-2 * whole // chunk)
    return ScanCost(forward, 2 * forward)


def delta_rule_cost(
    heads: int, key_dim: int, value_dim: int, chunk: int = 64
) -> ScanCost:
    """Return the cost of the gated delta rule, a position."""
    products = 6 * chunk * key_dim + 4 * chunk * value_dim + 6 * key_dim * value_dim
    # Forward substitution costs a third of Q³ a chunk, and a chunk has Q positions.
    inverse = -(-(chunk - 1) * (2 * chunk - 1) // 3)
    return ScanCost(
        # The inverse is not a product of two operands: its gradient is two products of
        # Q × Q matrices a chunk, 4·Q² a position, and not twice its forward.
        heads * (products + inverse),
        heads * (2 * products + 4 * chunk * chunk),
    )


def lightning_cost(heads: int, head_dim: int, block: int) -> ScanCost:
    """Return the cost of lightning attention, a position."""
    forward = 4 * heads * head_dim * (block + head_dim)
    return ScanCost(forward, 2 * forward)


def recurrence_cost(channels: int, multiply_adds: int) -> ScanCost:
    """Return the cost of a recurrence that works channel by channel, a position."""
    forward = 2 * multiply_adds * channels
    return ScanCost(forward, 2 * forward)


# An operation of its own, so that the counter meets it through the dispatcher like any
# other and needs no side channel; the FLOPs travel as its argument.
@torch.library.custom_op(
    "flops_magic::scan",
    mutates_args=(),
    schema="(Tensor like, SymInt[] shape, SymInt flops) -> Tensor",
)
def _scan_op(like: torch.Tensor, shape: list[int], flops: int) -> torch.Tensor:
    """Be a tensor of that shape; the operation counter adds ``flops``."""
    return like.new_zeros(shape)


@_scan_op.register_fake
def _(like: torch.Tensor, shape: list[int], flops: int) -> torch.Tensor:
    return like.new_empty(shape)


class _Scan(torch.autograd.Function):
    """A tensor with the inputs, the gradients and the cost of a scan."""

    @staticmethod
    def forward(
        ctx: Any, shape: tuple[int, ...], cost: ScanCost, rows: int, *inputs: Any
    ) -> torch.Tensor:
        # ``ctx.inputs`` keeps fake tensors alive, which own no storage.
        ctx.cost, ctx.rows, ctx.inputs = cost, rows, inputs
        return torch.ops.flops_magic.scan(inputs[0], shape, cost.forward * rows)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        # An empty tensor: only its FLOPs are wanted, the gradients below are zeros.
        torch.ops.flops_magic.scan(grad, (0,), ctx.cost.backward * ctx.rows)
        grads = (
            torch.zeros_like(one) if needed else None
            # shape, cost and rows come first and never need a gradient.
            for one, needed in zip(ctx.inputs, ctx.needs_input_grad[3:], strict=True)
        )
        return (None, None, None, *grads)


def scan(shape: tuple[int, ...], cost: ScanCost, rows: int, *inputs: Any) -> Any:
    """Return a tensor of ``shape`` that counts as a scan over ``rows`` positions.

    Args:
        shape: the output's.
        cost: FLOPs a position.
        rows: positions, all rows together.
        inputs: what the scan reads; tensors get gradients, the rest is ignored.
    """
    tensors = [one for one in inputs if isinstance(one, torch.Tensor)]
    return _Scan.apply(tuple(shape), cost, rows, *tensors)


def selective_scan(
    hidden_states: Any, dt: Any, a: Any, b: Any, c: Any, *more: Any, **named: Any
) -> Any:
    """Replace ``mamba_selective_scan``: (B, D, S) in and out."""
    batch_size, channels, seq_len = hidden_states.shape
    cost = selective_scan_cost(channels, a.shape[-1])
    inputs = (hidden_states, dt, a, b, c, *more, *named.values())
    found = scan(hidden_states.shape, cost, batch_size * seq_len, *inputs)
    # transformers asks for the state when it fills a cache, which walks never do; the
    # pair only keeps its unpacking from failing.
    return (found, None) if named.get("return_last_state") else found


def state_space_scan(
    hidden_states: Any, dt: Any, a: Any, b: Any, c: Any, chunk_size: int, **named: Any
) -> Any:
    """Replace ``mamba2_chunk_scan``: (B, S, H, P) out; b, c (B, S, G, N)."""
    batch_size, seq_len, heads, head_dim = hidden_states.shape
    cost = state_space_cost(heads, head_dim, b.shape[3], b.shape[2], chunk_size)
    inputs = (hidden_states, dt, a, b, c, *named.values())
    found = scan(hidden_states.shape, cost, batch_size * seq_len, *inputs)
    return (found, None) if named.get("return_final_states") else found


def delta_rule(
    query: Any, key: Any, value: Any, g: Any, beta: Any, *_: Any, **named: Any
) -> Any:
    """Replace the (Kimi) gated delta rule: (B, S, H, d_v) out, and a state."""
    batch_size, seq_len, heads, value_dim = value.shape
    cost = delta_rule_cost(
        # 64 is the default of transformers' own function and of the kernels.
        heads,
        key.shape[-1],
        value_dim,
        named.get("chunk_size") or 64,
    )
    inputs = (query, key, value, g, beta)
    return scan(value.shape, cost, batch_size * seq_len, *inputs), None


def wkv(
    time_decay: Any, time_first: Any, key: Any, value: Any, *_: Any, **__: Any
) -> Any:
    """Replace RWKV-4's ``rwkv_linear_attention``: (B, S, D) out, and a state."""
    cost = recurrence_cost(value.shape[-1], 5)
    inputs = (value, key, time_decay, time_first)
    return scan(value.shape, cost, prod(value.shape[:2]), *inputs), None


def linear_recurrence(
    hidden_states: Any, recurrent_gate: Any, *_: Any, **__: Any
) -> Any:
    """Replace RG-LRU's ``_rnn_scan``: (B, S, D) out, and a state."""
    cost = recurrence_cost(hidden_states.shape[-1], 1)
    rows = prod(hidden_states.shape[:2])
    return scan(hidden_states.shape, cost, rows, hidden_states, recurrent_gate), None


def causal_conv(
    hidden_states: Any, weight: Any, bias: Any = None, *_: Any, **__: Any
) -> Any:
    """Replace ``causal_conv1d_fn`` by plain torch: (B, D, S) in and out."""
    found = torch.nn.functional.conv1d(
        hidden_states.to(weight.dtype),
        weight.unsqueeze(1),
        bias,
        # Padding k − 1 is how the counter's formula knows a causal convolution, and
        # leaves out what lies beyond the row's end.
        padding=weight.shape[-1] - 1,
        groups=weight.shape[0],
    )
    return found[..., : hidden_states.shape[-1]].to(hidden_states.dtype)


def no_fused_kernel(*_: Any, **__: Any) -> None:
    """Replace kernels that fuse a whole mixer; without them, it calls its parts."""
