"""Scans: the formulas against chunked algorithms that are run, and models by hand.

The oracle of a formula is the algorithm itself, written in matrix products that the
operation counter sees, and held against the recurrence that it has to equal. The oracle
of a model is a real run on the CPU whose scan runs uncounted, plus the formula.
"""

import contextlib
import sys
from types import MethodType

import pytest
import torch
import transformers
from torch import nn

from flops_magic.errors import InputError, ShapeFitError
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted
from flops_magic.profiling.profiler import profile_model
from flops_magic.profiling.scan_costs import (
    delta_rule_cost,
    lightning_cost,
    recurrence_cost,
    selective_scan_cost,
    state_space_cost,
)

OLD = transformers.__version__.startswith("4.")
DECODER = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 256,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
MAMBA2 = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
}
DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 32,
    "head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
ROUTED = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}
SSD = state_space_cost(8, 16, 16, 1, 256)
KIMI = {
    "kv_lora_rank": 16,
    "q_lora_rank": None,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "num_key_value_heads": 4,
    "linear_num_heads": 4,
    "linear_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
# family: (settings, scans a pass, cost of one a position)
FAMILIES = {
    "Mamba": (
        {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 256},
        2,
        selective_scan_cost(128, 16),
    ),
    "FalconMamba": (
        {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 256},
        2,
        selective_scan_cost(128, 16),
    ),
    "Jamba": (
        {
            **DECODER,
            **ROUTED,
            "mamba_d_state": 8,
            "use_mamba_kernels": False,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
        },
        2,
        selective_scan_cost(128, 8),
    ),
    "Mamba2": (
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "vocab_size": 256,
            "num_heads": 8,
            "head_dim": 16,
            "n_groups": 1,
            "state_size": 16,
        },
        2,
        SSD,
    ),
    "Bamba": ({**DECODER, **MAMBA2, "attn_layer_indices": [1]}, 3, SSD),
    "FalconH1": (
        {**DECODER, **MAMBA2, "mamba_d_ssm": 128, "mamba_chunk_size": 128},
        4,
        state_space_cost(8, 16, 16, 1, 128),
    ),
    "GraniteMoeHybrid": (
        {
            **DECODER,
            **MAMBA2,
            **ROUTED,
            "layer_types": ["mamba", "attention"] * 2,
            "shared_intermediate_size": 64,
        },
        2,
        SSD,
    ),
    "NemotronH": (
        {
            **DECODER,
            "hybrid_override_pattern": "M*M-",
            "mamba_num_heads": 8,
            "mamba_head_dim": 16,
            "ssm_state_size": 16,
            "n_groups": 1,
            "chunk_size": 128,
        },
        2,
        state_space_cost(8, 16, 16, 1, 128),
    ),
    "Qwen3Next": ({**DECODER, **DELTA, **ROUTED}, 2, delta_rule_cost(4, 16, 32)),
    "Qwen3_5Text": ({**DECODER, **DELTA}, 2, delta_rule_cost(4, 16, 32)),
    "OlmoHybrid": ({**DECODER, **DELTA}, 2, delta_rule_cost(4, 16, 32)),
    "KimiLinear": ({**DECODER, **ROUTED, **KIMI}, 2, delta_rule_cost(4, 16, 16)),
    "Rwkv": (
        {
            "hidden_size": 64,
            "attention_hidden_size": 64,
            "num_hidden_layers": 2,
            "vocab_size": 256,
        },
        2,
        recurrence_cost(64, 5),
    ),
}
CALLED = (
    "mamba_selective_scan",
    "mamba2_chunk_scan",
    "torch_chunk_gated_delta_rule",
    "chunk_kimi_delta_attention",
    "rwkv_linear_attention",
)


def config_of(family):
    if not hasattr(transformers, f"{family}Config"):
        pytest.skip(f"transformers {transformers.__version__} has no {family}")
    settings = FAMILIES[family][0]
    if OLD and "num_experts_per_tok" in settings:
        pytest.skip("transformers 4 routes tokens by shapes that depend on data")
    return getattr(transformers, f"{family}Config")(**settings)


# -- the formulas against algorithms that run ---------------------------------------


def state_space_by_chunks(x, decay, b, c, chunk):
    """Mamba-2's chunked form in matrix products: x (S, P), decay (S,), b, c (S, N)."""
    state = x.new_zeros(b.shape[1], x.shape[1])  # (N, P)
    out = []
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        passed = decay[part].log().cumsum(0)  # (Q,)
        mask = (passed[:, None] - passed[None, :]).exp().tril()
        inside = ((c[part] @ b[part].T) * mask) @ x[part]
        out.append(inside + (c[part] @ state) * passed.exp()[:, None])
        left = (passed[-1] - passed).exp()[:, None]
        state = state * passed[-1].exp() + (b[part] * left).T @ x[part]
    return torch.cat(out)


def test_the_chunked_form_of_mamba_2_costs_what_the_formula_says():
    torch.manual_seed(0)
    x = torch.randn(32, 5, dtype=torch.float64, requires_grad=True)
    b, c = (torch.randn(32, 3, dtype=torch.float64, requires_grad=True) for _ in "bc")
    decay = torch.rand(32, dtype=torch.float64) * 0.5 + 0.5
    state, expected = torch.zeros(3, 5, dtype=torch.float64), []
    for t in range(32):
        state = decay[t] * state + torch.outer(b[t], x[t])
        expected.append(c[t] @ state)
    with OperationCounter() as counter:
        found = state_space_by_chunks(x, decay, b, c, chunk=8)
        forward = counter.flops
        found.sum().backward()
    assert torch.allclose(found, torch.stack(expected))
    # one head, one group; the counter sees no element-wise hand-over of the state:
    # 2·8·(3 + 5) + 4·3·5 = 188, and ⌈2·3·5 / 8⌉ = 4 for the hand-over
    cost = state_space_cost(heads=1, head_dim=5, state=3, groups=1, chunk=8)
    assert forward == 32 * 188
    assert cost.forward == 188 + 4
    # the first chunk reads a state that no gradient flows to, the last state is unused
    unread = 2 * 8 * 3 * 5
    assert counter.flops - forward == 2 * 32 * 188 - 3 * unread
    assert cost.backward == 2 * cost.forward


class Inverse(torch.autograd.Function):
    """(1 + L)⁻¹ of a strictly lower L by forward substitution, row by row."""

    @staticmethod
    def forward(ctx, lower):
        found = -lower
        for i in range(1, len(lower)):
            found[i, :i] = found[i, :i] + found[:i, :i].T.mv(found[i, :i].clone())
        found = found + torch.eye(len(lower), dtype=lower.dtype)
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx, grad):
        (found,) = ctx.saved_tensors
        return -(found.T @ grad @ found.T).tril(-1)


def delta_rule_by_chunks(q, k, v, beta, decay, chunk):
    """The gated delta rule's chunked form: q, k (S, d_k), v (S, d_v), one head."""
    state = q.new_zeros(k.shape[1], v.shape[1])
    state.requires_grad_()  # so that every product's gradients are taken
    out = []
    for start in range(0, len(q), chunk):
        part = slice(start, start + chunk)
        passed = decay[part].log().cumsum(0)
        mask = (passed[:, None] - passed[None, :]).exp().tril()
        k_beta = k[part] * beta[part, None]
        inverse = Inverse.apply(((k_beta @ k[part].T) * mask).tril(-1))
        corrected = inverse @ (v[part] * beta[part, None])
        reading = inverse @ (k_beta * passed.exp()[:, None])
        new = corrected - reading @ state
        scores = (q[part] @ k[part].T) * mask
        out.append((q[part] * passed.exp()[:, None]) @ state + scores @ new)
        left = (passed[-1] - passed).exp()[:, None]
        state = state * passed[-1].exp() + (k[part] * left).T @ new
    return torch.cat(out), state


@pytest.mark.parametrize("chunk", [8, 16])
def test_the_chunked_gated_delta_rule_costs_what_the_formula_says(chunk):
    torch.manual_seed(0)
    shapes = ((32, 3), (32, 3), (32, 5))
    q, k, v = (
        torch.randn(s, dtype=torch.float64).div(2).requires_grad_() for s in shapes
    )
    beta, decay = (torch.rand(32, dtype=torch.float64) * 0.5 + 0.5 for _ in "bd")
    state, expected = torch.zeros(3, 5, dtype=torch.float64), []
    for t in range(32):
        state = decay[t] * state
        state = state + torch.outer(k[t], beta[t] * (v[t] - k[t] @ state))
        expected.append(q[t] @ state)
    with OperationCounter() as counter:
        found, last = delta_rule_by_chunks(q, k, v, beta, decay, chunk)
        forward = counter.flops
        (found.sum() + last.sum()).backward()
    assert torch.allclose(found, torch.stack(expected))
    cost = delta_rule_cost(heads=1, key_dim=3, value_dim=5, chunk=chunk)
    assert forward == 32 * cost.forward
    assert counter.flops - forward == 32 * cost.backward


def test_the_formulas_by_hand():
    assert selective_scan_cost(128, 16).forward == 6 * 128 * 16
    # 2·256·(16 + 128) + 4·2048 + 2·2048 / 256
    assert SSD.forward == 73_728 + 8_192 + 16
    # a head: 6·64·16 + 4·64·32 + 6·16·32 + 63·127 / 3 = 6144 + 8192 + 3072 + 2667
    assert delta_rule_cost(4, 16, 32).forward == 4 * 20_075
    assert delta_rule_cost(4, 16, 32).backward == 4 * (2 * 17_408 + 16_384)
    assert lightning_cost(4, 16, 256).forward == 4 * 4 * 16 * (256 + 16)
    assert recurrence_cost(64, 5).forward == 640


# -- models by hand -----------------------------------------------------------------


def test_a_mamba_by_hand():
    # h 64, D 128, N 16, rank 4: in 2·64·256, conv 2·4·128, x 2·128·36, dt 2·4·128,
    # scan 6·128·16, out 2·128·64
    layer = 32_768 + 1_024 + 9_216 + 1_024 + 12_288 + 16_384
    profile = profile_model(config_of("Mamba"))
    assert profile.forward(1, 1) == 2 * layer + 2 * 64 * 256
    assert profile.backward(1, 1) == 2 * profile.forward(1, 1)


def test_a_mamba_2_by_hand():
    # in 2·64·(2·128 + 2·16 + 8), conv 2·4·160, scan 81,936, out 2·128·64
    layer = 37_888 + 1_280 + 81_936 + 16_384
    profile = profile_model(config_of("Mamba2"))
    assert profile.forward(1, 1) == 2 * layer + 2 * 64 * 256
    assert profile.backward(1, 1) == 2 * profile.forward(1, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_scans_grow_with_the_tokens_and_leave_nothing_unknown(family):
    profile = profile_model(config_of(family))
    forward = profile.cost("forward")
    assert (forward.per_sequence, forward.per_call) == (0, 0)
    assert profile.unknown_ops == ()
    assert any("counted by formula" in note for note in profile.notes)
    for seq_len in (64, 4096, 4097):
        linear = (forward.per_token + forward.per_logit) * seq_len
        assert profile.forward(1, seq_len) == linear + forward.per_pair * seq_len**2


class Uncounted(torch.autograd.Function):
    """A scan that really runs, uncounted; its inputs get gradients of zero."""

    @staticmethod
    def forward(ctx, run, counter, *tensors):
        counter.paused = True
        found = run()
        counter.paused = False
        ctx.tensors = tensors
        return found[0] if isinstance(found, tuple) else found

    @staticmethod
    def backward(ctx, grad):
        return None, None, *(torch.zeros_like(one) for one in ctx.tensors)


def uncounted(function, counter):
    """Return a scan function whose operations the counter does not see."""

    def run(*args, **kwargs):
        found = {}

        def call():
            with torch.no_grad():
                found["all"] = function(*args, **kwargs)
            return found["all"]

        tensors = [a for a in (*args, *kwargs.values()) if torch.is_tensor(a)]
        first = Uncounted.apply(call, counter, *tensors)
        return (first, None) if isinstance(found["all"], tuple) else first

    return run


@pytest.mark.skipif(OLD, reason="transformers 4 writes its scans inline")
@pytest.mark.parametrize("family", FAMILIES)
def test_all_but_the_scan_equals_a_real_run(family, monkeypatch):
    seq_len = 129  # one more than a chunk of NemotronH and FalconH1
    config = config_of(family)
    config.use_cache = False
    _, scans, cost = FAMILIES[family]
    profile = profile_model(config)
    model = getattr(transformers, profile.model_class)._from_config(
        config, attn_implementation="eager"
    )
    with contextlib.suppress(AttributeError, ValueError):
        model.set_experts_implementation("eager")
    counter = OperationCounter()
    source = sys.modules[type(model).__module__]
    for name in CALLED:
        if hasattr(source, name):
            function = uncounted(getattr(source, name), counter)
            monkeypatch.setattr(source, name, function)
    ids = torch.randint(1, 255, (2, seq_len))
    with counter, angles_uncounted(model, counter):
        logits = model.train()(input_ids=ids).logits
        forward = counter.flops
        logits.float().sum().backward()
    rows = 2 * seq_len * scans
    assert profile.forward(2, seq_len) == forward + rows * cost.forward
    backward = counter.flops - forward
    assert profile.backward(2, seq_len) == backward + rows * cost.backward


@pytest.mark.parametrize("family", ["Lfm2", "RecurrentGemma"])
def test_a_causal_convolution_costs_its_taps_a_channel_and_position(family):
    if not hasattr(transformers, f"{family}Config"):
        pytest.skip(f"transformers {transformers.__version__} has no {family}")
    settings = {**DECODER, "lru_width": 64, "layer_types": ["conv"] * 4}
    if family == "RecurrentGemma":
        del settings["layer_types"]
    profile = profile_model(getattr(transformers, f"{family}Config")(**settings))
    forward, backward = profile.cost("forward"), profile.cost("backward")
    assert forward.per_sequence == backward.per_sequence == 0
    assert backward.per_token == 2 * forward.per_token


@pytest.mark.skipif(OLD, reason="transformers 4's Zamba2 asks for its mask's values")
def test_layers_that_are_looked_up_by_place_are_walked_whole():
    config = transformers.Zamba2Config(
        **DECODER | {"num_hidden_layers": 16, "num_key_value_heads": 4},
        layers_block_type=["mamba", "mamba", "mamba", "hybrid"] * 4,
        mamba_d_state=16,
        mamba_headdim=16,
        n_mamba_heads=8,
        num_mem_blocks=2,
        chunk_size=256,
    )
    profile = profile_model(config)
    forward = profile.cost("forward")
    # 16 mixers of the size of the Mamba-2 above, scan included
    assert forward.per_token > 16 * (37_888 + 1_280 + SSD.forward + 16_384)
    assert forward.per_pair == 4 * 4 * 4 * 32
    assert forward.per_sequence == 0


def test_minimax_counts_whole_blocks():
    config = transformers.MiniMaxConfig(
        **DECODER,
        **ROUTED,
        head_dim=16,
        layer_types=["linear_attention"] * 4,
        block_size=256,
    )
    if OLD:
        pytest.skip("transformers 4 routes tokens by shapes that depend on data")
    profile = profile_model(config)
    # qkv 2·64·192, gate 2·64·64, out 2·64·64, router 2·64·4, two experts 2·2·3·64·128
    layer = 24_576 + 8_192 + 8_192 + 512 + 98_304 + lightning_cost(4, 16, 256).forward
    assert profile.forward(1, 1) == 4 * layer + 2 * 64 * 256
    assert profile.cost("forward").per_pair == 0


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("family", ["Mamba2", "FalconH1", "Bamba", "Qwen3_5Text"])
def test_adapters_on_a_model_with_scans_are_counted(family, method):
    config = config_of(family)
    full, lora = profile_model(config), profile_model(config, method=method)
    assert lora.forward(1, 64) > full.forward(1, 64)
    assert lora.backward(1, 64) < full.backward(1, 64)
    assert lora.cost("forward_without_adapters") == full.cost("forward")


def test_a_frozen_scan_has_no_backward_pass():
    config = config_of("Mamba2")
    head = profile_model(config, method="spectrum", trainable=["lm_head"])
    # dW of the head alone; it is tied to nothing that an earlier layer feeds
    assert head.backward(1, 64) == 2 * 64 * 256 * 64


def test_peft_s_refusal_of_a_module_is_passed_on():
    with pytest.raises(InputError, match="out_proj"):
        profile_model(config_of("Mamba2"), method="lora", lora_targets=["out_proj"])


def test_checkpointing_computes_the_scan_again():
    profile = profile_model(config_of("Mamba2"), gradient_checkpointing=True)
    assert profile.recompute(1, 64) > 2 * 64 * SSD.forward


def test_a_live_model_with_scans_is_costed_as_its_configuration():
    config = config_of("Mamba2")
    live = transformers.Mamba2ForCausalLM(config)
    forward = live.backbone.layers[0].mixer.forward
    assert profile_model(live).costs == profile_model(config).costs
    assert isinstance(forward, MethodType)
    assert live.backbone.layers[0].mixer.forward == forward


# -- what is not covered is refused -------------------------------------------------


class ChunkyConfig(transformers.PretrainedConfig):
    model_type = "chunky"

    def __init__(self, hidden_size=16, vocab_size=32, piece=64, **more):
        self.hidden_size, self.vocab_size, self.piece = hidden_size, vocab_size, piece
        super().__init__(**more)


class ChunkyForCausalLM(transformers.PreTrainedModel):
    """A mixer of no known kind, that pads its rows to pieces."""

    config_class = ChunkyConfig
    _supports_sdpa = False

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids)
        room = -x.shape[1] % self.config.piece
        padded = nn.functional.pad(x, (0, 0, 0, room))
        mixed = self.proj(padded)[:, : x.shape[1]]
        return transformers.modeling_outputs.CausalLMOutput(logits=self.head(mixed))


@pytest.mark.parametrize("piece", [64, 256, 4096])
def test_an_unknown_mixer_with_chunks_is_refused_by_name(piece):
    model = ChunkyForCausalLM(ChunkyConfig(piece=piece))
    with pytest.raises(ShapeFitError, match="ChunkyForCausalLM"):
        profile_model(model)


def test_pieces_of_one_are_no_chunks():
    profile = profile_model(ChunkyForCausalLM(ChunkyConfig(piece=1)))
    assert profile.forward(1, 5000) == 5000 * (2 * 16 * 16 + 2 * 16 * 32)
