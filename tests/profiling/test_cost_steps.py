"""A model whose cost grows in steps is exact on them, and never too low in between."""

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from flops_magic.errors import ShapeFitError
from flops_magic.profiling.probes import in_steps, step_of
from flops_magic.profiling.profiler import profile_model

pytestmark = pytest.mark.skipif(
    "deepseek_v4" not in transformers.CONFIG_MAPPING, reason="needs transformers 5"
)


def config():
    """A small DeepSeek-V4: a key for every 4 positions, and one for every 16."""
    return transformers.AutoConfig.for_model(
        "deepseek_v4",
        hidden_size=32,
        head_dim=16,
        qk_rope_head_dim=8,
        moe_intermediate_size=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        num_attention_heads=4,
        num_hidden_layers=4,
        num_hash_layers=1,
        compress_rates={
            "compressed_sparse_attention": 4,
            "heavily_compressed_attention": 16,
        },
        layer_types=[
            "sliding_attention",
            "heavily_compressed_attention",
            "compressed_sparse_attention",
            "heavily_compressed_attention",
        ],
        sliding_window=8,
        index_n_heads=2,
        index_head_dim=8,
        index_topk=4,
        q_lora_rank=16,
        o_groups=2,
        o_lora_rank=8,
        vocab_size=64,
    )


@pytest.fixture(scope="module")
def profile():
    return profile_model(config())


def counted(seq_len):
    """Products of a real forward pass on the CPU, by torch's own counter."""
    # experts one by one: torch's counter has no formula for their grouped product
    model = transformers.AutoModelForCausalLM.from_config(
        config(), experts_implementation="eager"
    )
    ids = torch.zeros(1, seq_len, dtype=torch.long)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(input_ids=ids, use_cache=False)
    return counter.get_total_flops()


def test_the_step_is_the_least_common_multiple_of_the_strides():
    model = torch.nn.Module()
    model.config = transformers.LlamaConfig()
    model.compress_rate, model.block_size, model.hidden = 4, 6, 5
    assert step_of(model) == 12


def test_probes_in_steps_keep_their_rows_and_scored_positions():
    assert in_steps([(1, 16, -1), (1, 32, 1), (3, 40, -1)], 128) == [
        (1, 128, -1),
        (1, 256, 1),
        (3, 384, -1),
    ]


def test_the_reader_is_told_where_the_count_is_exact(profile):
    assert any("a multiple of 16 positions" in note for note in profile.notes)


def test_on_the_steps_the_count_is_torch_s_and_between_them_never_lower(profile):
    real = {n: counted(n) for n in (16, 80, 81, 95, 96)}
    assert [profile.forward(1, n) for n in (16, 80, 96)] == [
        real[n] for n in (16, 80, 96)
    ]
    for between in (81, 95):
        assert real[between] <= profile.forward(1, between) <= real[96]


def test_a_live_model_is_left_to_be_counted_live():
    model = transformers.AutoModelForCausalLM.from_config(config())
    with pytest.raises(ShapeFitError, match="does not follow the polynomial"):
        profile_model(model)
