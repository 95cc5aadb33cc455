"""Putting stand-ins for scans, and for experts that loop over data, into a fake model.

Only the fake twin is changed, module by module; the live model and transformers' own
modules stay as they are. transformers 5 calls scans as functions of its modeling
files, so a mixer's ``forward`` is bound anew with these names replaced; transformers 4
writes them inline or keeps them as attributes, so its mixers get a ``forward`` that
runs the same projections, norms and convolution around the stand-in. A mixer with a
scan of another kind stays as it is: the walk at a long row then misses the polynomial,
and the model is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import torch

from flops_magic.profiling import scan_costs

# Function names of transformers 5.23; an unknown one is walked as written, and the long
# row refuses the model if its cost comes in chunks.
_NAMES: dict[str, str] = {
    "mamba_selective_scan": "selective scan",
    "mamba2_chunk_scan": "state-space duality",
    "torch_chunk_gated_delta_rule": "gated delta rule",
    "chunk_kimi_delta_attention": "Kimi delta attention",
    "rwkv_linear_attention": "WKV",
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "mamba_selective_scan": scan_costs.selective_scan,
    "mamba2_chunk_scan": scan_costs.state_space_scan,
    "torch_chunk_gated_delta_rule": scan_costs.delta_rule,
    "chunk_kimi_delta_attention": scan_costs.delta_rule,
    "rwkv_linear_attention": scan_costs.wkv,
    "causal_conv1d_fn": scan_costs.causal_conv,
    "mamba_inner_fn": scan_costs.no_fused_kernel,
    "mamba2_split_conv1d_scan_combined": scan_costs.no_fused_kernel,
}


def put_stand_ins(model: torch.nn.Module) -> tuple[str, ...]:
    """Put stand-ins into a fake model; return a note for each kind of scan."""
    found: dict[str, str] = {}
    for module in model.modules():
        _swap_what_asks_for_data(module)
        if kind := _swap_functions(module) or _swap_inline(module):
            found[type(module).__name__] = kind
    return tuple(
        f"the scan of {name} is counted by formula ({kind}, "
        "flops_magic/profiling/scan_costs.py): its matrix products, linear in the "
        "positions, at full chunks; short rows cost less, never more"
        for name, kind in sorted(found.items())
    )


def _swap_what_asks_for_data(module: Any) -> None:
    """Replace code that reads values: fake tensors hold shapes and no values."""
    if "top_k_index" in _parameters(module) and "Dbrx" in type(module).__name__:
        module.forward = MethodType(_dbrx_experts, module)
    # Private in transformers, tried with 4.57.6, where Jamba, Zamba and Bamba call them
    # and ask whether all entries are one. 5.23 has no such methods. If a version
    # renames them, the walk fails with a data-dependent error that names the model.
    for name in ("_update_mamba_mask", "_update_linear_attn_mask"):
        if hasattr(module, name):  # transformers 4 drops a mask of ones
            setattr(module, name, scan_costs.no_fused_kernel)


def _parameters(module: Any) -> set[str]:
    return set(inspect.signature(type(module).forward).parameters)


def _swap_functions(module: Any) -> str:
    """Bind ``forward`` anew if it calls scans by name; return the kind of scan."""
    forward = inspect.unwrap(type(module).forward)
    # Decorated in C or built in: without Python code it cannot be bound anew.
    code = getattr(forward, "__code__", None)
    if code is None:
        return ""
    # A name counts only if the modeling file has it too: ``co_names`` also lists
    # attributes that happen to be spelled alike.
    called = set(code.co_names) & set(_FUNCTIONS) & set(forward.__globals__)
    if not called:
        return ""
    stand_ins = {name: _FUNCTIONS[name] for name in called}
    # Same code, other globals. Patching the modeling file would change every model of
    # this process, the one in training included.
    bound = FunctionType(
        code,
        {**forward.__globals__, **stand_ins},
        forward.__name__,
        forward.__defaults__,
        forward.__closure__,
    )
    # ``FunctionType`` does not take them, and keyword defaults would be lost.
    bound.__kwdefaults__ = forward.__kwdefaults__
    module.forward = MethodType(bound, module)
    return next((_NAMES[name] for name in sorted(called) if name in _NAMES), "")


def _swap_inline(module: Any) -> str:
    """Replace scans that transformers keeps in attributes or writes inline."""
    if hasattr(module, "chunk_gated_delta_rule"):
        module.chunk_gated_delta_rule = scan_costs.delta_rule
        module.causal_conv1d_fn = None  # its torch code takes the convolution's module
        # A Triton kernel of another package, which reads storage; norm and gate are
        # element-wise, so a product of the same shape costs the same: nothing.
        if type(module.norm).__name__ == "FusedRMSNormGated":
            module.norm.forward = torch.mul
        return "gated delta rule"
    # Private in transformers, tried with 4.57.6 and 5.23 (RecurrentGemma). Without it
    # the walk runs the loop over positions and counts no product of it.
    if hasattr(module, "_rnn_scan") and hasattr(module, "recurrent_param"):
        module._rnn_scan = scan_costs.linear_recurrence
        return "linear recurrent unit"
    # Known by name: in 4.57.6 and 5.23 its scan is written inline, a loop over blocks.
    if type(module).__name__ == "MiniMaxLightningAttention":
        module.forward = MethodType(_lightning_attention, module)
        return "lightning attention"
    # Both are transformers' slow paths; ``A_log`` marks a state-space mixer.
    inline = hasattr(module, "torch_forward") or hasattr(module, "slow_forward")
    if not inline or not hasattr(module, "A_log"):
        return ""
    if hasattr(module, "x_proj_weight"):
        module.forward = MethodType(_zamba_mixer, module)
        return "selective scan"
    if hasattr(module, "x_proj"):
        module.forward = MethodType(_mamba_mixer, module)
        return "selective scan"
    if hasattr(module, "chunk_size") and hasattr(module, "head_dim"):
        module.forward = MethodType(_mamba2_mixer, module)
        return "state-space duality"
    return ""


def _mamba_mixer(mixer: Any, hidden_states: Any, *_: Any, **__: Any) -> Any:
    """Mamba, FalconMamba and Jamba of transformers 4: (B, S, h) in and out."""
    seq_len = hidden_states.shape[1]
    x, gate = mixer.in_proj(hidden_states).transpose(1, 2).chunk(2, dim=1)
    x = mixer.act(mixer.conv1d(x)[..., :seq_len])
    rank, state = mixer.time_step_rank, mixer.ssm_state_size
    step, b, c = mixer.x_proj(x.transpose(1, 2)).split([rank, state, state], dim=-1)
    dt = mixer.dt_proj(step).transpose(1, 2)
    # The inner norms of Jamba and FalconMamba are element-wise and left out.
    y = scan_costs.selective_scan(x, dt, mixer.A_log, b, c, mixer.D, gate)
    return mixer.out_proj(y.transpose(1, 2))


def _zamba_mixer(mixer: Any, hidden_states: Any, *_: Any, **__: Any) -> Any:
    """Zamba of transformers 4, whose heads have their own projections."""
    batch_size, seq_len, _size = hidden_states.shape
    x, gate = mixer.in_proj(hidden_states).transpose(1, 2).chunk(2, dim=1)
    x = mixer.act(mixer.conv1d(x)[..., :seq_len])
    heads = x.reshape(-1, mixer.n_mamba_heads, mixer.mamba_head_dim, seq_len)
    heads = heads.transpose(0, 1)  # (heads, B, d, S)
    rank, state = mixer.time_step_rank, mixer.ssm_state_size
    selected = (mixer.x_proj_weight[:, None] @ heads).transpose(-1, -2)
    step, b, c = selected.split([rank, state, state], dim=-1)
    dt = mixer.dt_proj_weight[:, None] @ step.transpose(-1, -2)
    y = scan_costs.selective_scan(
        x, dt, mixer.A_log, b, c, mixer.D, gate, mixer.dt_proj_bias
    )
    return mixer.out_proj(y.reshape(batch_size, -1, seq_len).transpose(1, 2))


def _mamba2_mixer(mixer: Any, hidden_states: Any, *_: Any, **__: Any) -> Any:
    """Mamba2 and the hybrids of transformers 4: (B, S, h) in and out."""
    batch_size, seq_len, _size = hidden_states.shape
    inner, shared = mixer.intermediate_size, mixer.n_groups * mixer.ssm_state_size
    sizes = [inner, inner + 2 * shared, mixer.num_heads]
    projected = mixer.in_proj(hidden_states)
    # Mamba2 and Zamba2 have room for an MLP in front
    room = projected.shape[-1] - sum(sizes)
    _room, gate, x, dt = projected.split([room, *sizes], dim=-1)
    x = mixer.act(mixer.conv1d(x.transpose(1, 2))[..., :seq_len].transpose(1, 2))
    x, b, c = x.split([inner, shared, shared], dim=-1)
    grouped = (batch_size, seq_len, mixer.n_groups, -1)
    y = scan_costs.state_space_scan(
        x.reshape(batch_size, seq_len, mixer.num_heads, mixer.head_dim),
        dt,
        mixer.A_log,
        b.reshape(grouped),
        c.reshape(grouped),
        mixer.chunk_size,
        D=mixer.D,
        dt_bias=mixer.dt_bias,
    ).reshape(batch_size, seq_len, -1)
    y = y * gate if getattr(mixer, "norm", None) is None else mixer.norm(y, gate)
    return mixer.out_proj(y.to(hidden_states.dtype))


def _dbrx_experts(experts: Any, x: Any, top_k_index: Any, top_k_weights: Any) -> Any:
    """DBRX asks which experts were hit; T·k rows meet one expert's matrices each."""
    used = top_k_index.shape[-1]
    # Every token meets k experts whichever they are, and experts are of one size.
    rows = x.reshape(-1, experts.hidden_size).repeat_interleave(used, dim=0)
    shape = (-1, experts.ffn_hidden_size, experts.hidden_size)
    mlp = experts.mlp
    y = mlp(rows, *(w.view(shape)[0] for w in (mlp.w1, mlp.v1, mlp.w2)))
    y = y * top_k_weights.reshape(-1, 1)
    return y.reshape(-1, used, experts.hidden_size).sum(1).reshape(x.shape)


def _lightning_attention(mixer: Any, hidden_states: Any, *_: Any, **__: Any) -> Any:
    """MiniMax's linear attention: (B, S, h) in and out, and a state."""
    batch_size, seq_len, _size = hidden_states.shape
    mixed = mixer.act_fn(mixer.qkv_proj(hidden_states))  # (B, S, H·3·d)
    inner = mixed.shape[-1] // 3
    cost = scan_costs.lightning_cost(
        mixer.num_attention_heads, mixer.head_dim, mixer.block_size
    )
    shape = (batch_size, seq_len, inner)
    y = mixer.norm(scan_costs.scan(shape, cost, batch_size * seq_len, mixed))
    return mixer.out_proj(mixer.output_gate(hidden_states).sigmoid() * y), None
