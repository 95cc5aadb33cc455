"""Trainers under measurement: what is counted equals what runs."""

import pytest
import torch
import transformers
from transformers import Trainer

from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.trainer_patches import patched_trainers
from flops_magic.profiling.model_setup import parameter_counts as live_parameters
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted
from flops_magic.profiling.profiler import profile_model
from tests import tiny

FULL_STEP = 37_748_736


@pytest.fixture
def meter():
    meter = TrainerMeter()
    with patched_trainers(meter):
        yield meter
    assert meter.gaps == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_accumulation_steps": 2},
        {"gradient_checkpointing": True},
        {"eval_strategy": "steps", "eval_steps": 2},
    ],
)
def test_what_is_counted_is_what_runs(meter, tmp_path, changes):
    model = tiny.llama()
    trainer = tiny.trainer(model, tmp_path, **changes)
    with OperationCounter() as counter, angles_uncounted(model, counter):
        trainer.train()
    assert meter.flops().executed == counter.flops
    passes = 3 * changes.get("gradient_accumulation_steps", 1)
    assert meter.flops().direct == passes * FULL_STEP
    assert (meter.steps, meter.steps_planned) == (3, 3)


def test_lora_is_counted_as_lora(meter, tmp_path):
    tiny.trainer(tiny.lora(tiny.llama(), ("q_proj", "v_proj")), tmp_path).train()
    assert meter.flops().direct == 3 * 25_526_272


def test_a_trainer_made_before_is_watched_when_it_trains(tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path)
    meter = TrainerMeter()
    with patched_trainers(meter):
        trainer.train()
    assert meter.flops().direct == 3 * FULL_STEP


def test_a_trainer_made_in_a_function_and_two_in_a_block_are_watched(meter, tmp_path):
    def train():
        tiny.trainer(tiny.llama(), tmp_path).train()

    train()
    train()
    assert meter.flops().direct == 2 * 3 * FULL_STEP
    assert len(meter.models()) == 2


def test_a_subclass_with_its_own_train_is_watched(meter, tmp_path):
    class Mine(Trainer):
        def train(self, *args, **kwargs):
            return super().train(*args, **kwargs)

    Mine(tiny.llama(), tiny.arguments(tmp_path), train_dataset=tiny.rows()).train()
    assert meter.flops().direct == 3 * FULL_STEP


def test_training_again_goes_on_counting(meter, tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path)
    trainer.train()
    trainer.train()
    assert meter.flops().direct == 2 * 3 * FULL_STEP
    assert meter.steps_planned == 6


def test_leaving_the_block_restores_everything(tmp_path):
    owners = [
        (transformers.Trainer, "__init__"),
        (transformers.Trainer, "train"),
        (transformers.Trainer, "evaluation_loop"),
        (transformers.GenerationMixin, "generate"),
    ]
    before = [getattr(owner, name) for owner, name in owners]
    trainer = tiny.trainer(tiny.llama(), tmp_path)
    callbacks = list(trainer.callback_handler.callbacks)
    trainer.add_callback(Breaks())
    with pytest.raises(ZeroDivisionError), patched_trainers(TrainerMeter()):
        trainer.train()
    trainer.remove_callback(Breaks)
    assert [getattr(owner, name) for owner, name in owners] == before
    assert trainer.callback_handler.callbacks == callbacks
    assert not trainer.model._forward_pre_hooks


class Breaks(transformers.TrainerCallback):
    def on_step_end(self, *args, **kwargs):
        raise ZeroDivisionError


def test_blocks_may_overlap_and_end_in_any_order(tmp_path):
    train = Trainer.train
    first, second = TrainerMeter(), TrainerMeter()
    one, two = patched_trainers(first), patched_trainers(second)
    one.__enter__()
    two.__enter__()
    tiny.trainer(tiny.llama(), tmp_path).train()
    one.__exit__(None, None, None)
    tiny.trainer(tiny.llama(), tmp_path).train()
    two.__exit__(None, None, None)
    assert first.flops().direct == 3 * FULL_STEP
    assert second.flops().direct == 2 * 3 * FULL_STEP
    assert Trainer.train is train


def test_evaluation_and_prediction_are_no_training(meter, tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path)
    trainer.evaluate()
    trainer.predict(tiny.rows(2))
    meter.settle()
    assert meter.flops().direct == 0
    # 4 rows in two batches, then 2 rows in one
    assert meter.flops().evaluation == 3 * 12_582_912


def test_passes_outside_of_a_trainer_are_shown_as_other(meter, tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path)
    with torch.no_grad():
        trainer.model(input_ids=torch.ones(2, 32, dtype=torch.long))
    meter.settle()
    assert meter.flops().other == 12_582_912
    assert meter.flops().direct == 0


def test_padding_is_counted_and_real_tokens_stand_beside(meter, tmp_path):
    padded = tiny.rows(8)
    for row in padded:
        row["attention_mask"] = torch.tensor([1] * 20 + [0] * 12)
    Trainer(
        tiny.llama(), tiny.arguments(tmp_path, max_steps=2), train_dataset=padded
    ).train()
    assert meter.tokens() == 2 * 2 * 32
    assert meter.models()[0].tokens_non_padding == 2 * 2 * 20
    assert meter.flops().direct == 2 * FULL_STEP


def test_a_failing_listener_stops_nothing(tmp_path):
    meter = TrainerMeter()
    meter.listeners.append(lambda step: 1 / step.number)
    with patched_trainers(meter):
        tiny.trainer(tiny.llama(), tmp_path).train()
    assert meter.steps == 3
    assert len(meter.gaps) == 1
    assert "ZeroDivisionError" in meter.gaps[0]


def test_parameters_that_zero3_empties_keep_their_logical_size():
    """As ZeRO-3 leaves them: no elements, and ``ds_shape`` beside."""
    model = tiny.llama()
    for parameter in model.parameters():
        parameter.ds_shape, parameter.ds_numel = parameter.shape, parameter.numel()
        parameter.data = torch.empty(0)
    assert sum(p.numel() for p in model.parameters()) == 0
    profile = profile_model(model)
    assert profile.parameters_total == profile.parameters_trainable == 106_816
    assert profile.training(2, 32) == FULL_STEP
    assert live_parameters(model) == (106_816, 106_816, "full")


def test_a_run_that_is_interrupted_inside_a_step_keeps_what_ran(tmp_path):
    class Stops(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            if state.global_step == 2:
                raise KeyboardInterrupt

    trainer = tiny.trainer(tiny.llama(), tmp_path)
    trainer.add_callback(Stops())
    meter = TrainerMeter()
    with pytest.raises(KeyboardInterrupt), patched_trainers(meter):
        trainer.train()
    assert meter.flops().direct == 2 * FULL_STEP
    assert not trainer.model._forward_pre_hooks


def test_a_profile_taken_without_gradients_still_has_its_backward_pass():
    model = tiny.llama()
    with torch.no_grad():
        assert profile_model(model).training(2, 32) == FULL_STEP
    with torch.inference_mode():
        assert profile_model(model).training(2, 32) == FULL_STEP
