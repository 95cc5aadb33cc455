"""Counts of the tiny Llama, held against the table computed by hand.

T = 64 positions, P = 36,864 matrix parameters a layer, h·V = 16,384, and
A = 2·heads·d·batch·s² = 262,144 for one of QKᵀ and PV in one layer. Dense forward:
2·64·(2·36,864 + 16,384) + 4·262,144 = 12,582,912; backward is twice that.
"""

import pytest
import torch
import transformers

from flops_magic.errors import InputError, ShapeFitError, UnsupportedModelError
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted
from flops_magic.profiling.profiler import profile_model, solve
from tests import tiny

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def counted(profile):
    return (
        profile.forward(tiny.BATCH, tiny.SEQ),
        profile.backward(tiny.BATCH, tiny.SEQ),
        profile.recompute(tiny.BATCH, tiny.SEQ),
    )


def executed(model):
    """Forward and backward FLOPs of a real run on the CPU."""
    ids = torch.randint(0, 256, (tiny.BATCH, tiny.SEQ))
    with OperationCounter() as counter, angles_uncounted(model, counter):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        forward = counter.flops
        loss.backward()
    return forward, counter.flops - forward


def test_full_fine_tuning_equals_the_table():
    assert counted(profile_model(tiny.config())) == (12_582_912, 25_165_824, 0)


@pytest.mark.parametrize(
    ("reentrant", "backward"), [(True, 35_651_584), (False, 33_554_432)]
)
def test_checkpointing_is_a_category_of_its_own(reentrant, backward):
    model = tiny.llama()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    forward, plain, recompute = counted(profile_model(model))
    assert (forward, plain) == (12_582_912, 25_165_824)
    assert plain + recompute == backward


@pytest.mark.parametrize(
    ("targets", "layers", "forward", "backward"),
    [
        (("q_proj", "v_proj"), None, 12_812_288, 12_713_984),
        (("q_proj", "v_proj"), [1], 12_697_600, 6_717_440),
        (ALL, None, 13_631_488, 14_581_760),
        (("down_proj",), None, 12_779_520, 8_192_000),
    ],
)
def test_lora_equals_the_table(targets, layers, forward, backward):
    model = tiny.lora(tiny.llama(), targets, layers=layers)
    assert counted(profile_model(model)) == (forward, backward, 0)


def test_lora_with_checkpointing_and_input_gradients_equals_the_table():
    model = tiny.lora(tiny.llama(), ("q_proj", "v_proj"))
    model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    forward, backward, recompute = counted(profile_model(model))
    assert (forward, backward + recompute) == (12_812_288, 22_708_224)


def test_lora_from_a_config_equals_lora_from_a_model():
    from_config = profile_model(
        tiny.config(), method="lora", lora_rank=4, lora_targets=["q_proj", "v_proj"]
    )
    from_model = profile_model(tiny.lora(tiny.llama(), ("q_proj", "v_proj")))
    assert from_config == from_model
    assert from_config.parameters_trainable == 1792


def test_lora_can_be_estimated_for_a_plain_live_model():
    profile = profile_model(
        tiny.llama(), method="lora", lora_rank=4, lora_targets=["q_proj", "v_proj"]
    )
    assert counted(profile)[:2] == (12_812_288, 12_713_984)


@pytest.mark.parametrize("trains", [[r"layers\.1\."], [r"lm_head"], [r"layers\.0\."]])
def test_backward_stops_at_the_first_trainable_layer(trains):
    profile = profile_model(tiny.config(), method="spectrum", trainable=trains)
    live = tiny.llama()
    for name, parameter in live.named_parameters():
        parameter.requires_grad_(trains[0].replace("\\", "") in name + ".")
    assert counted(profile)[:2] == executed(live)
    assert profile_model(live).costs == profile.costs


@pytest.mark.parametrize("layers", [6, 9])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_repeated_layers_stand_for_all(layers, method):
    short = profile_model(tiny.config(num_hidden_layers=layers), method=method)
    model = tiny.llama(num_hidden_layers=layers)
    if method == "lora":
        model = tiny.lora(model, ALL, r=16)
    assert counted(short)[:2] == executed(model)


@pytest.mark.skipif(
    transformers.__version__.startswith("4."),
    reason="transformers 4 routes tokens by shapes that depend on data",
)
def test_a_mixture_of_experts_counts_the_experts_in_use():
    from transformers import MixtralConfig

    settings = tiny.config().to_dict()
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    names += ("num_key_value_heads", "head_dim", "intermediate_size")
    config = MixtralConfig(
        **{name: settings[name] for name in names},
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=128,
    )
    profile = profile_model(config)
    assert counted(profile) == (18_939_904, 37_879_808, 0)
    live = transformers.MixtralForCausalLM(config)
    live.set_experts_implementation("eager")
    assert profile_model(live) == profile
    assert profile.parameters_active < profile.parameters_total


DECODER = {
    "hidden_size": 64,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 256,
    "pad_token_id": 0,
}
# what needs a mask of rows, experts of its own, or layers of several kinds
PARTICULAR = {
    "BloomForCausalLM": {"hidden_size": 64, "n_layer": 6, "n_head": 4},
    "DbrxForCausalLM": {
        "d_model": 64,
        "n_heads": 4,
        "n_layers": 6,
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 5e5},
        "ffn_config": {
            "ffn_hidden_size": 128,
            "moe_num_experts": 4,
            "moe_top_k": 2,
        },
    },
    "DebertaV2ForSequenceClassification": {
        "hidden_size": 64,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 32,
    },
    "Gemma4ForCausalLM": {
        **DECODER,
        "head_dim": 16,
        "global_head_dim": 32,
        "hidden_size_per_layer_input": 16,
        "vocab_size_per_layer_input": 256,
        "num_kv_shared_layers": 4,
    },
    "Gemma3ForCausalLM": {**DECODER, "head_dim": 16},
}


@pytest.mark.parametrize("name", PARTICULAR)
def test_families_of_their_own_kind_equal_a_real_run(name):
    old = transformers.__version__.startswith("4.")
    if not hasattr(transformers, name) or (old and name == "DbrxForCausalLM"):
        pytest.skip(f"transformers {transformers.__version__} does not build {name}")
    cls = getattr(transformers, name)
    config = cls.config_class(
        **{"vocab_size": 256, **PARTICULAR[name]}, architectures=[name]
    )
    profile = profile_model(config)
    model = cls._from_config(config, attn_implementation="eager").train()
    ids = torch.randint(1, 255, (2, 37))
    with OperationCounter() as counter, angles_uncounted(model, counter):
        logits = model(input_ids=ids).logits
        forward = counter.flops
        logits.sum().backward()
    assert profile.forward(2, 37) == forward
    assert profile.backward(2, 37) == counter.flops - forward


def test_attention_in_blocks_is_refused_by_name():
    # full attention at short rows, blocks of 64 at long ones
    config = transformers.BigBirdConfig(
        **{k: v for k, v in DECODER.items() if k != "num_key_value_heads"},
        architectures=["BigBirdForMaskedLM"],
    )
    with pytest.raises((ShapeFitError, UnsupportedModelError), match="BigBird"):
        profile_model(config)


class Residuals(torch.nn.Module):
    """A layer that multiplies the outputs of all layers before it."""

    def __init__(self, size):
        super().__init__()
        self.proj = torch.nn.Linear(size, size)

    def forward(self, states):
        return [*states, sum(self.proj(state) for state in states)]


class DeepForCausalLM(transformers.PreTrainedModel):
    config_class = transformers.PretrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = torch.nn.Embedding(32, 8)
        self.layers = torch.nn.ModuleList(Residuals(8) for _ in range(9))
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None):
        states = [self.embed(input_ids)]
        for layer in self.layers:
            states = layer(states)
        return transformers.modeling_outputs.CausalLMOutput(logits=states[-1])


def test_layers_that_cost_more_the_deeper_they_are_are_walked_whole():
    profile = profile_model(DeepForCausalLM(transformers.PretrainedConfig()))
    # the n-th layer multiplies n states: 1 + 2 + … + 9 = 45
    assert profile.forward(1, 10) == 45 * 2 * 10 * 8 * 8


def test_inputs_without_embeddings_are_refused_by_name():
    config = transformers.Wav2Vec2Config(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        architectures=["Wav2Vec2ForCTC"],
    )
    with pytest.raises(UnsupportedModelError, match="Wav2Vec2ForCTC"):
        profile_model(config)
    with pytest.raises(UnsupportedModelError, match="Wav2Vec2ForCTC"):
        profile_model(transformers.Wav2Vec2ForCTC(config))


@pytest.mark.parametrize(
    ("layer", "shape", "forward"),
    [
        (torch.nn.Conv1d(8, 6, 3, stride=2), (2, 8, 21), 2 * 2 * 10 * 6 * 8 * 3),
        (torch.nn.Conv1d(8, 8, 4, padding=3, groups=8), (2, 8, 21), 2 * 2 * 21 * 8 * 4),
        (torch.nn.Conv2d(8, 6, 3, padding=1, groups=2), (1, 8, 5, 7), 2 * 35 * 6 * 36),
        (torch.nn.ConvTranspose1d(8, 6, 3), (2, 8, 21), 2 * 2 * 21 * 8 * 6 * 3),
    ],
)
def test_a_convolution_costs_the_same_for_each_of_its_gradients(layer, shape, forward):
    with OperationCounter() as counter:
        found = layer(torch.randn(shape, requires_grad=True))
        assert counter.flops == forward
        found.sum().backward()
    assert counter.flops == 3 * forward


def test_a_405b_model_is_counted_from_its_config_alone():
    config = tiny.config(
        hidden_size=16384,
        num_hidden_layers=126,
        num_attention_heads=128,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=53248,
        vocab_size=128256,
    )
    profile = profile_model(config)
    assert profile.parameters_total == 405_853_388_800
    # 3·(2·2048·(126·(2·h·q + 2·h·kv + 3·h·i) + h·V) + 126·4·q·2048²)
    assert profile.training(1, 2048) == 5_065_158_011_387_904


def test_the_callers_profiler_does_not_see_the_walks():
    with OperationCounter() as counter:
        profile_model(tiny.config())
    assert counter.flops == 0


def test_profiling_leaves_the_live_model_as_it_was():
    model = tiny.lora(tiny.llama(), ("q_proj",))
    before = {n: (p.requires_grad, p.sum().item()) for n, p in model.named_parameters()}
    profile_model(model)
    after = {n: (p.requires_grad, p.sum().item()) for n, p in model.named_parameters()}
    assert before == after
    assert all(p.grad is None for p in model.parameters())


def test_no_operation_of_a_llama_is_without_a_formula():
    assert profile_model(tiny.config()).unknown_ops == ()


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: profile_model(tiny.config(), method="lorra"), InputError, "lora"),
        (lambda: profile_model("no/such-model"), InputError, "config.json"),
        (lambda: profile_model(7), InputError, "pass a transformers model"),
        (lambda: profile_model(torch.nn.Linear(2, 2)), UnsupportedModelError, "Linear"),
        (
            lambda: profile_model(tiny.config(), method="lora", lora_targets=["nope"]),
            InputError,
            "all-linear",
        ),
        (lambda: profile_model(tiny.config(), method="spectrum"), InputError, "names"),
        (
            lambda: profile_model(
                tiny.config(), method="spectrum", trainable=["layers.77"]
            ),
            InputError,
            "matches",
        ),
    ],
)
def test_what_cannot_be_profiled_is_named_in_one_line(call, error, says):
    with pytest.raises(error, match=says) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1


def test_a_cost_that_is_no_polynomial_is_refused():
    class Named:
        model_class = "Odd"

        @staticmethod
        def probe_shape(batch_size, seq_len, logits):
            from flops_magic.flops.profile import PassShape

            return PassShape.dense(batch_size, seq_len)

    def cost(batch_size, seq_len):
        return batch_size * seq_len**3

    probes = [(1, 16, -1), (1, 32, -1), (1, 48, -1), (2, 32, -1), (3, 40, -1)]
    with pytest.raises(ShapeFitError, match="Odd"):
        solve({p: cost(*p[:2]) for p in probes}, Named)
