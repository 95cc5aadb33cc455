"""TRL's trainers: every pass lands in its own category."""

import pytest

pytest.importorskip("trl")

from datasets import Dataset
from peft import LoraConfig
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    SFTConfig,
    SFTTrainer,
)

from flops_magic.flops.profile import PassShape
from flops_magic.profiling.profiler import profile_model
from tests.tiny import measured

PAIRS = Dataset.from_dict(
    {"prompt": ["abcd"] * 8, "chosen": ["efgh"] * 8, "rejected": ["ijkl"] * 8}
)
PROMPTS = Dataset.from_dict({"prompt": ["abcdefgh"] * 8})


def adapters():
    return LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def test_sft_counts_every_position(model, tokenizer, settings):
    rows = Dataset.from_dict({"input_ids": [[1] * 32] * 8, "labels": [[1] * 32] * 8})
    config = SFTConfig(**settings, dataset_kwargs={"skip_prepare_dataset": True})
    meter = measured(
        lambda: SFTTrainer(
            model,
            config,
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=adapters(),
        )
    )
    assert meter.flops().direct == 2 * 25_526_272


def test_packed_sft_counts_the_squares_of_its_sequences(model, tokenizer, settings):
    rows = Dataset.from_dict({"input_ids": [[1] * n for n in (33, 17, 20, 9)] * 4})
    config = SFTConfig(**settings, packing=True, max_length=64)
    meter = measured(
        lambda: SFTTrainer(
            model, config, train_dataset=rows, processing_class=tokenizer
        )
    )
    (row,) = meter.models()[0].histogram
    assert (row.kind, row.shape) == ("train", "packed")
    assert row.total.pairs < row.total.tokens**2 // row.total.calls
    assert row.total.sequences > row.total.calls


def test_dpo_with_a_reference_model_splits_its_passes(model, tokenizer, settings):
    meter = measured(
        lambda: DPOTrainer(
            model,
            args=DPOConfig(**settings),
            train_dataset=PAIRS,
            processing_class=tokenizer,
        )
    )
    flops = meter.flops()
    # chosen and rejected: 4 rows, of 4 + 4 tokens and an end
    profile = profile_model(model)
    assert flops.direct == 2 * profile.training(4, 9)
    assert flops.reference == 2 * profile.forward(4, 9)
    assert [use.role for use in meter.models()] == ["trained", "reference"]
    assert flops.other == flops.evaluation == flops.rollout == 0


def test_dpo_with_precomputed_references_counts_them_once(model, tokenizer, settings):
    meter = measured(
        lambda: DPOTrainer(
            model,
            args=DPOConfig(**settings, precompute_ref_log_probs=True),
            train_dataset=PAIRS,
            processing_class=tokenizer,
        )
    )
    # 8 pairs in 4 batches, whatever the steps
    assert meter.flops().reference == 4 * profile_model(model).forward(4, 9)
    assert meter.flops().direct == 2 * profile_model(model).training(4, 9)


def test_dpo_with_adapters_refers_to_the_model_without_them(model, tokenizer, settings):
    bare = profile_model(model).forward(4, 9)
    meter = measured(
        lambda: DPOTrainer(
            model,
            args=DPOConfig(**settings),
            train_dataset=PAIRS,
            processing_class=tokenizer,
            peft_config=adapters(),
        )
    )
    assert meter.flops().reference == 2 * bare
    assert [use.role for use in meter.models()] == ["trained"]


@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_grpo_counts_rollouts_and_reference_apart(model, tokenizer, settings, beta):
    config = GRPOConfig(
        **settings, beta=beta, num_generations=2, max_completion_length=8
    )
    meter = measured(
        lambda: GRPOTrainer(
            model,
            reward_funcs=lambda completions, **_: [1.0 for _ in completions],
            args=config,
            train_dataset=PROMPTS,
            processing_class=tokenizer,
        )
    )
    flops, forward = meter.flops(), profile_model(model).cost("forward")
    rows = {row.shape: row.total for row in meter.models()[0].histogram}
    longest = max(int(shape.split("x")[1]) for shape in rows if "+" not in shape)
    new = longest - 8
    # prefill of 2 × 8 scores one position a row; then one token at a time
    rollout = forward.flops(PassShape.dense(2, 8, logits=2))
    for done in range(1, new):
        rollout += forward.flops(PassShape.dense(2, 1, cached_len=7 + done))
    if new == 8:  # no end of text on the way: both rollouts are of full length
        assert flops.rollout == 2 * rollout
    assert flops.rollout > 0
    assert flops.direct > 0
    assert (flops.reference > 0) == (beta > 0)
    assert flops.other == flops.evaluation == 0
