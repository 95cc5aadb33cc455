"""What a recipe or a Trainer says is taken as it says it, and nothing is made up."""

from fractions import Fraction

import pytest

from flops_magic.errors import InputError
from flops_magic.estimation.training_plan import Plan, plan_of
from tests import tiny

TRL = """
model_name_or_path: Qwen/Qwen3-8B
max_length: 4096
num_train_epochs: 3
per_device_train_batch_size: 4
gradient_checkpointing: true
packing: true
use_peft: true
load_in_4bit: true
lora_r: 8
lora_target_modules: all-linear
"""
AXOLOTL = """
base_model: Qwen/Qwen3-8B
sequence_len: 2048
num_epochs: 1.5
micro_batch_size: 2
adapter: lora
lora_r: 32
lora_target_modules: [q_proj, v_proj]
"""
FACTORY = """
model_name_or_path: Qwen/Qwen3-8B
finetuning_type: lora
lora_rank: 4
lora_target: q_proj,v_proj
cutoff_len: 1024
"""


def recipe(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_a_trl_recipe_is_read(tmp_path):
    plan = plan_of(recipe(tmp_path, TRL))
    assert plan.model == "Qwen/Qwen3-8B"
    assert plan.methods == ("qlora",)
    assert (plan.seq_len, plan.epochs, plan.batch_size) == (4096, 3, 4)
    assert (plan.lora_rank, plan.lora_targets) == (8, "all-linear")
    assert plan.gradient_checkpointing is plan.packing is True


def test_an_axolotl_recipe_is_read(tmp_path):
    plan = plan_of(recipe(tmp_path, AXOLOTL))
    assert plan.methods == ("lora",)
    assert (plan.seq_len, plan.epochs) == (2048, Fraction(3, 2))
    assert (plan.batch_size, plan.lora_rank) == (2, 32)
    assert plan.lora_targets == ["q_proj", "v_proj"]


def test_a_llama_factory_recipe_is_read(tmp_path):
    plan = plan_of(recipe(tmp_path, FACTORY))
    assert plan.methods == ("lora",)
    assert (plan.lora_rank, plan.seq_len, plan.epochs) == (4, 1024, None)
    assert plan.lora_targets == ["q_proj", "v_proj"]


@pytest.mark.parametrize(
    ("line", "method", "trainable"),
    [
        ("", "full", None),
        ("use_peft: false", "full", None),
        ("spectrum_config_path: snr.yaml", "spectrum", ("snr.yaml",)),
        ("unfrozen_parameters: [lm_head]", "spectrum", ("lm_head",)),
        ("adapter: qlora", "qlora", None),
    ],
)
def test_the_method_is_what_the_recipe_says(tmp_path, line, method, trainable):
    plan = plan_of(recipe(tmp_path, f"base_model: a/b\n{line}\n"))
    assert (plan.methods, plan.trainable) == ((method,), trainable)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1", "names no model"),
        ("- a", "holds a list"),
        ("a: [", "cannot read .* as a recipe"),
        ("base_model: a/b\nmax_steps: 100", "max_steps=100"),
        (
            "base_model: a/b\nmicro_batch_size: banana",
            "batch size 'banana' cannot be used",
        ),
        ("base_model: a/b\nnum_epochs: -1", "epochs -1 cannot be used"),
    ],
)
def test_a_bad_recipe_is_answered_in_one_line(tmp_path, text, says):
    with pytest.raises(InputError, match=says) as caught:
        plan_of(recipe(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_is_answered_in_one_line():
    with pytest.raises(InputError, match=r"cannot read .* as a recipe"):
        plan_of("nowhere.yaml")


def test_a_trainer_says_rows_batch_size_and_steps(tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path, gradient_accumulation_steps=2)
    plan = plan_of(trainer)
    assert plan.model is trainer.model
    assert plan.lengths.lengths == (32,) * 8
    # 3 steps of 2 · 2 rows, of 8
    assert plan.epochs == Fraction(12, 8)
    assert (plan.batch_size, plan.seq_len) == (2, 32)


def test_a_model_is_a_plan_of_nothing_else():
    config = tiny.config()
    assert plan_of(config) == Plan(config)
