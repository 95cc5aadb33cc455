"""Loops without a Trainer are counted like a Trainer's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from flops_magic.attach import attach_to_trainers
from flops_magic.monitoring.loop_patches import named_models
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.trainer_patches import patched_trainers
from tests import tiny

ROOT = Path(__file__).parents[2]
FULL_STEP = 37_748_736  # forward 12,582,912 and backward 25,165,824, from the table


def step(model, optimizer=None):
    ids = torch.randint(0, 256, (tiny.BATCH, tiny.SEQ))
    model(input_ids=ids, labels=ids).loss.backward()
    if optimizer is not None:
        optimizer.step()


def test_a_plain_loop_costs_its_steps():
    model = tiny.llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        for _ in range(3):
            step(model, optimizer)
    assert run.record.flops.direct == 3 * FULL_STEP
    assert run.record.run.steps == 3
    assert run.record.gaps == ()


def test_a_pass_without_gradients_in_a_loop_is_evaluation():
    model = tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
        with torch.no_grad():
            model.eval()(input_ids=torch.ones(2, 32, dtype=torch.long))
    assert run.record.flops.direct == FULL_STEP
    assert run.record.flops.evaluation == FULL_STEP // 3


def test_a_model_that_the_block_makes_is_seen_from_its_first_call():
    names = {"model": None}
    meter = TrainerMeter()
    with patched_trainers(meter), named_models(meter, lambda: names):
        names["model"] = tiny.llama()
        step(names["model"])
        step(names["model"])
    assert meter.flops().direct == 2 * FULL_STEP
    assert meter.gaps == []


def test_adapters_in_a_loop_are_counted_as_adapters():
    model = tiny.lora(tiny.llama(), ["q_proj", "v_proj"])
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
    assert run.record.flops.direct == 12_812_288 + 12_713_984


def test_a_compiled_model_is_counted_by_its_shapes():
    model = torch.compile(tiny.llama(), backend="eager")
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
        step(model)
    assert run.record.flops.direct == 2 * FULL_STEP


def test_an_accelerate_loop_is_counted():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = tiny.llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimizer = accelerator.prepare(model, optimizer)
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        ids = torch.randint(0, 256, (tiny.BATCH, tiny.SEQ))
        accelerator.backward(model(input_ids=ids, labels=ids).loss)
        optimizer.step()
    assert run.record.flops.direct == FULL_STEP
    assert run.record.run.steps == 1


def test_a_name_that_is_never_called_leaves_a_gap():
    meter = TrainerMeter()
    with patched_trainers(meter), named_models(meter, lambda: {"modle": None}):
        step(tiny.llama())
    assert any("no model of that name was called" in gap for gap in meter.gaps)


def test_a_name_bound_to_another_model_counts_both():
    names = {"model": tiny.llama()}
    meter = TrainerMeter()
    with patched_trainers(meter), named_models(meter, lambda: names):
        step(names["model"])
        names["model"] = tiny.llama()
        step(names["model"], torch.optim.SGD(names["model"].parameters(), lr=0.1))
    assert meter.flops().direct == 2 * FULL_STEP
    assert meter.gaps == []


def test_flags_changed_on_the_way_are_priced_as_they_were():
    model = tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
        model.lm_head.requires_grad_(False)
        step(model)
    head = 2 * 64 * 64 * 256  # its weight's gradient: 2·T·h·V
    assert run.record.flops.direct == 2 * FULL_STEP - head
    assert run.record.gaps == ()


def test_a_trainer_inside_such_a_block_reports_its_own_steps(tmp_path):
    model = tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        tiny.trainer(model, tmp_path).train()
    assert run.record.run.steps == 3
    assert run.record.flops.direct == 3 * FULL_STEP


def test_leaving_restores_what_was_patched():
    before = torch.nn.Module.__call__, torch.autograd._engine_run_backward
    with attach_to_trainers(model=tiny.llama(), original_flops="1e24"):
        assert torch.nn.Module.__call__ is not before[0]
        assert torch.autograd._engine_run_backward is not before[1]
    after = torch.nn.Module.__call__, torch.autograd._engine_run_backward
    assert after == before


def test_accumulating_with_accelerate_counts_passes_and_real_steps():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = tiny.llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimizer = accelerator.prepare(model, optimizer)
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        for _ in range(4):
            with accelerator.accumulate(model):
                ids = torch.randint(0, 256, (tiny.BATCH, tiny.SEQ))
                accelerator.backward(model(input_ids=ids, labels=ids).loss)
                optimizer.step()
                optimizer.zero_grad()
        with torch.no_grad():
            model.eval()(input_ids=ids)
    assert run.record.flops.direct == 4 * FULL_STEP
    assert run.record.flops.evaluation == FULL_STEP // 3
    assert run.record.run.steps == 2  # of four calls of the wrapped optimizer
    assert run.record.gaps == ()


FSDP = """
import sys, torch
sys.path.insert(0, {root!r})
from torch.distributed.fsdp import fully_shard
from flops_magic.attach import attach_to_trainers
from tests import tiny
torch.distributed.init_process_group("gloo")
mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
model = tiny.llama()
for part in (*model.model.layers, model):
    fully_shard(part, mesh=mesh)
with attach_to_trainers(model=model, original_flops="1e24") as run:
    ids = torch.randint(0, 256, (2, 32))
    model(input_ids=ids, labels=ids).loss.backward()
use, = run.record.models
profile = use.profile
seen = (run.record.flops.direct, profile.parameters_total, profile.method)
sys.stdout.write("counted %d %d %s\\n" % seen)  # in one piece: two processes write
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_a_model_sharded_by_fsdp2_has_its_logical_size_and_cost(tmp_path):
    script = tmp_path / "sharded.py"
    script.write_text(FSDP.format(root=str(ROOT)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, "--standalone", str(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # each process counts its own pass, and the first one the sum of both
    assert f"counted {FULL_STEP} 106816 full" in done.stdout
    assert f"counted {2 * FULL_STEP} 106816 full" in done.stdout


def test_everything_that_was_wrapped_is_put_back():
    wrapped = [
        (torch.nn.Module, "__call__"),
        (torch.autograd, "_engine_run_backward"),
        (transformers.GenerationMixin, "generate"),
        (transformers.PreTrainedModel, "__init__"),
        (transformers.Trainer, "__init__"),
        (transformers.Trainer, "train"),
        (transformers.Trainer, "evaluation_loop"),
        (torch._dynamo.eval_frame.OptimizedModule, "__call__"),
    ]
    before = [vars(owner)[name] for owner, name in wrapped]
    run = attach_to_trainers(model=tiny.llama(), original_flops="1e24")

    def stopped():
        with run:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [vars(owner)[name] for owner, name in wrapped] == before
