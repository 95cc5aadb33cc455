"""TRL's other trainers: each pass in its category, by numbers worked out by hand.

The tiny Llama: per position 2·(2·36,864) = 147,456 in the layers and 32,768 in the
head, 512 a query-key pair (facts: peers.md 2.11).
"""

import importlib

import pytest
import torch

pytest.importorskip("trl")

import transformers
from datasets import Dataset
from peft import LoraConfig
from trl import (
    DistillationConfig,
    DistillationTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    RLOOConfig,
    RLOOTrainer,
    SFTConfig,
    SFTTrainer,
)

from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.trainer_patches import patched_trainers
from flops_magic.profiling.op_counter import OperationCounter
from tests import tiny
from tests.tiny import measured

LETTERS = "abcdefghijklmnopqrstuvwx"  # a prompt of 24 tokens
PROMPTS = Dataset.from_dict({"prompt": [LETTERS] * 8})
PAIRS = Dataset.from_dict(
    {"prompt": ["abcd"] * 8, "chosen": ["efgh"] * 8, "rejected": ["ijkl"] * 8}
)
FORWARD, STEP = 12_582_912, 37_748_736  # 2 rows of 24 + 8 tokens
# prefill 7,733,248 and seven decoding steps, 2,723,840
ROLLOUT = 7_733_248 + 2_723_840
LORA_STEP = 25_526_272
# distillation asks for the logits of 8 + 1 positions a row, 18 of the 64
UNSCORED = 46 * 64 * 256
# 2·4·(64 + 64) for q and 2·4·(64 + 32) for v, two layers, 2·24 + 7·2 positions
LORA_ROLLOUT = ROLLOUT + 62 * 2 * (1024 + 768)


def adapters():
    return LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def classifier(**changes):
    return transformers.LlamaForSequenceClassification._from_config(
        tiny.config(num_labels=1, pad_token_id=26, **changes),
        attn_implementation="eager",
    )


def forward(rows, length, *, per_position=180_224):
    return rows * length * per_position + 512 * rows * length * length


def one_reward(completions, **_):
    return [1.0] * len(completions)


def grpo(model, tokenizer, settings, *, peft=None, reward=one_reward, **changes):
    options = {"num_generations": 2, "max_completion_length": 8, "beta": 0.0}
    return GRPOTrainer(
        model,
        reward_funcs=reward,
        args=GRPOConfig(**settings | options | changes),
        train_dataset=PROMPTS,
        processing_class=tokenizer,
        reward_processing_classes=tokenizer if hasattr(reward, "forward") else None,
        peft_config=peft,
    )


@pytest.mark.parametrize(
    ("changes", "with_adapters", "expected"),
    [
        ({"max_steps": 1}, False, (STEP, 0, ROLLOUT)),
        ({"max_steps": 1, "beta": 0.04}, False, (STEP, FORWARD, ROLLOUT)),
        ({"max_steps": 1, "beta": 0.04}, True, (LORA_STEP, FORWARD, LORA_ROLLOUT)),
        # one rollout and its old log-probabilities serve two steps
        ({"max_steps": 2, "num_iterations": 2}, False, (2 * STEP, FORWARD, ROLLOUT)),
    ],
    ids=["beta 0", "beta 0.04", "beta 0.04 LoRA", "2 iterations"],
)
def test_grpo_by_hand(model, tokenizer, settings, changes, with_adapters, expected):
    peft = adapters() if with_adapters else None
    meter = measured(lambda: grpo(model, tokenizer, settings, peft=peft, **changes))
    flops = meter.flops()
    assert (flops.direct, flops.reference, flops.rollout) == expected
    assert flops.other == flops.evaluation == 0


def test_a_reward_model_is_seen_and_is_needed_by_the_update(model, tokenizer, settings):
    judge = classifier()
    meter = measured(
        lambda: grpo(model, tokenizer, settings | {"max_steps": 1}, reward=judge)
    )
    use = meter.models()[1]
    assert (use.role, use.profile.model_class) == (
        "reference",
        "LlamaForSequenceClassification",
    )
    (row,) = use.histogram
    rows, length = (int(n) for n in row.shape.split("x"))
    # the score is one number a position: 2·64
    assert meter.flops().reference == forward(rows, length, per_position=147_584)
    assert (rows, meter.flops().direct) == (2, STEP)


def test_a_reward_model_that_only_a_function_knows_is_shown_as_other(
    model, tokenizer, settings
):
    judge = classifier().eval()

    def reward(completions, **_):
        with torch.no_grad():
            judge(input_ids=torch.ones(2, 10, dtype=torch.long))
        return [1.0] * len(completions)

    meter = measured(
        lambda: grpo(model, tokenizer, settings | {"max_steps": 1}, reward=reward)
    )
    assert [use.role for use in meter.models()] == ["trained", "other"]
    assert meter.flops().other == forward(2, 10, per_position=147_584)
    assert meter.flops().direct == STEP


def test_rloo_has_old_log_probabilities_and_a_reference(model, tokenizer, settings):
    meter = measured(
        lambda: RLOOTrainer(
            model,
            reward_funcs=one_reward,
            args=RLOOConfig(
                **settings | {"max_steps": 1},
                num_generations=2,
                max_completion_length=8,
            ),
            train_dataset=PROMPTS,
            processing_class=tokenizer,
        )
    )
    flops = meter.flops()
    assert (flops.direct, flops.reference, flops.rollout) == (
        STEP,
        2 * FORWARD,
        ROLLOUT,
    )


def test_distillation_counts_backbones_that_are_called_by_themselves(
    model, tokenizer, settings
):
    teacher = tiny.llama()
    meter = measured(
        lambda: DistillationTrainer(
            model,
            teacher_model=teacher,
            args=DistillationConfig(
                **settings | {"max_steps": 1}, max_completion_length=8
            ),
            train_dataset=PROMPTS,
            processing_class=tokenizer,
        )
    )
    flops = meter.flops()
    assert flops.direct == STEP - 6 * UNSCORED
    assert (flops.reference, flops.rollout) == (FORWARD, ROLLOUT)


def test_distillation_into_adapters_counts_as_adapters(model, tokenizer, settings):
    meter = measured(
        lambda: DistillationTrainer(
            model,
            teacher_model=tiny.llama(),
            args=DistillationConfig(
                **settings | {"max_steps": 1}, max_completion_length=8
            ),
            train_dataset=PROMPTS,
            processing_class=tokenizer,
            peft_config=adapters(),
        )
    )
    # the head is frozen: its forward and the gradient of its input
    assert meter.flops().direct == LORA_STEP - 4 * UNSCORED
    assert meter.flops().rollout == LORA_ROLLOUT


def test_kto_scores_unrelated_answers_and_a_reference(model, tokenizer, settings):
    rows = {
        "prompt": ["abcd"] * 8,
        "completion": ["efgh", "ijkl"] * 4,
        "label": [True, False] * 4,
    }
    meter = measured(
        lambda: KTOTrainer(
            model,
            args=KTOConfig(**settings),
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
        )
    )
    # rows of 4 + 4 tokens and an end; KL of the policy, KL and answers of the reference
    assert meter.flops().direct == 2 * 3 * forward(2, 9)
    assert meter.flops().reference == 2 * 3 * forward(2, 9)


def test_reward_training_scores_chosen_and_rejected(tokenizer, settings):
    meter = measured(
        lambda: RewardTrainer(
            classifier(),
            args=RewardConfig(**settings),
            train_dataset=PAIRS,
            processing_class=tokenizer,
        )
    )
    assert meter.flops().direct == 2 * 3 * forward(4, 9, per_position=147_584)
    assert meter.flops().reference == meter.flops().other == 0


def test_the_fused_head_computes_less_than_is_counted_and_again(
    model, tokenizer, settings
):
    """Of 2·32 positions 2·31 are scored: forward, again in backward, twice backward."""
    rows = Dataset.from_dict({"input_ids": [[1] * 32] * 8, "labels": [[1] * 32] * 8})
    config = SFTConfig(
        **settings | {"max_steps": 1}, dataset_kwargs={"skip_prepare_dataset": True}
    )
    meter = TrainerMeter()
    with patched_trainers(meter), OperationCounter() as ran:
        SFTTrainer(
            model, config, train_dataset=rows, processing_class=tokenizer
        ).train()
    head = 64 * 256
    assert meter.flops().direct == meter.flops().executed == STEP
    assert ran.flops == STEP - 64 * 6 * head + 62 * 8 * head
    # without the second computation: never too low
    assert meter.flops().direct >= ran.flops - 62 * 2 * head


def experimental(name):
    return importlib.import_module(f"trl.experimental.{name}")


def preference(kind, model, tokenizer, settings, **changes):
    module = experimental(kind.lower())
    return getattr(module, f"{kind}Trainer")(
        model,
        args=getattr(module, f"{kind}Config")(
            **settings | changes | {"remove_unused_columns": False}
        ),
        train_dataset=PAIRS,
        processing_class=tokenizer,
    )


def gkd(model, tokenizer, settings):
    module = experimental("gkd")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    talk = [{"role": "user", "content": "abcd"}]
    talk += [{"role": "assistant", "content": "efgh"}]
    return module.GKDTrainer(
        model,
        teacher_model=tiny.llama(num_hidden_layers=3),
        args=module.GKDConfig(**settings, lmbda=1.0, max_new_tokens=4),
        train_dataset=Dataset.from_dict({"messages": [talk] * 8}),
        processing_class=tokenizer,
    )


def online_dpo(model, tokenizer, settings):
    module = experimental("online_dpo")
    return module.OnlineDPOTrainer(
        model,
        reward_funcs=classifier(),
        args=module.OnlineDPOConfig(**settings, max_new_tokens=4, max_length=64),
        train_dataset=PROMPTS,
        processing_class=tokenizer,
        reward_processing_classes=tokenizer,
    )


EXPERIMENTAL = {
    "ORPO": (lambda *a: preference("ORPO", *a), ()),
    "SimPO": (lambda *a: preference("CPO", *a, loss_type="simpo"), ()),
    "GKD": (gkd, ("reference", "rollout")),
    "online DPO": (online_dpo, ("reference", "rollout")),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "beside"), EXPERIMENTAL.values(), ids=EXPERIMENTAL.keys()
)
def test_experimental_trainers_are_counted_as_they_run(
    model, tokenizer, settings, make, beside
):
    """An operation counter around the whole run, and the categories that it needs."""
    meter = TrainerMeter()
    with patched_trainers(meter), OperationCounter() as ran:
        make(model, tokenizer, settings).train()
        meter.settle()
    flops = meter.flops()
    assert flops.executed == ran.flops
    for category in ("reference", "rollout", "evaluation", "other"):
        assert (getattr(flops, category) > 0) == (category in beside)
    assert meter.gaps == []
