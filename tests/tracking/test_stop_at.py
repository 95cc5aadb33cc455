"""``stop_at``: a Trainer ends before the chosen share of the line, and saves."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.attach import attach_to_trainers
from flops_magic.callback import FlopsMeterCallback
from flops_magic.display.text import record_text
from flops_magic.errors import InputError
from flops_magic.evidence.seal import seal
from flops_magic.evidence.verify import check
from flops_magic.tracking.line_watch import LineWatch
from flops_magic.tracking.moment import RunJudge
from tests import tiny
from tests.fakes import notebook, save

STEP = 37_748_736
# the line is at ten steps
ORIGINAL = {
    "original_flops": 3 * 10 * STEP,
    "original_is_gpai": True,
    "systemic_risk": False,
}


def checkpoints(folder):
    return sorted(path.name for path in Path(folder).glob("checkpoint-*"))


def test_training_stops_before_the_share_with_a_checkpoint(tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path, max_steps=20)
    with attach_to_trainers(stop_at=0.5, **ORIGINAL) as run:
        trainer.train()
    record = run.record
    assert (record.run.outcome, record.run.steps) == ("stopped", 5)
    assert record.flops.direct == 5 * STEP
    assert trainer.state.global_step == 5
    assert checkpoints(tmp_path) == ["checkpoint-5"]
    assert record.run.stopped.startswith("stopped after step 5: 50 % of the line")
    assert "Training was stopped after step 5" in " ".join(
        record_text(record, run.sealed).split()
    )


def test_a_stopped_record_verifies_and_opens_again(tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path, max_steps=20)
    with attach_to_trainers(stop_at="50%", folder=tmp_path, **ORIGINAL) as run:
        trainer.train()
    report = check(tmp_path / "flops_meter.json")
    assert not report.problems
    assert report.records[0][1].run == run.record.run
    # as the notebook carries it, with a cell that it does not describe
    path = save(tmp_path / "nb.ipynb", notebook(seal(run.record)))
    assert {type(p).__name__ for p in check(path).problems} <= {"MisplacedRecordError"}


def test_a_run_that_stays_below_is_not_stopped(tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path, max_steps=3)
    with attach_to_trainers(stop_at=0.5, **ORIGINAL) as run:
        trainer.train()
    assert (run.record.run.outcome, run.record.run.stopped) == ("completed", None)
    assert checkpoints(tmp_path) == []


def test_the_callback_stops_its_trainer(tmp_path):
    callback = FlopsMeterCallback(stop_at=0.3, quiet=True, **ORIGINAL)
    trainer = tiny.trainer(tiny.llama(), tmp_path, max_steps=20)
    trainer.add_callback(callback)
    trainer.train()
    assert (callback.run.record.run.outcome, trainer.state.global_step) == (
        "stopped",
        3,
    )
    assert checkpoints(tmp_path) == ["checkpoint-3"]


def test_a_second_training_in_the_block_finds_no_room(tmp_path):
    first = tiny.trainer(tiny.llama(), tmp_path / "a", max_steps=20)
    second = tiny.trainer(tiny.llama(), tmp_path / "b", max_steps=20)
    with attach_to_trainers(stop_at=0.3, **ORIGINAL) as run:
        first.train()
        with pytest.raises(InputError, match="no room for another step"):
            second.train()
    assert run.record.flops.direct == 3 * STEP


def test_without_a_line_training_does_not_begin(tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path)
    with (
        pytest.raises(InputError, match="nothing to stop at: the original model's"),
        attach_to_trainers(stop_at=0.9) as run,
    ):
        trainer.train()
    assert (run.record.run.outcome, run.record.flops.executed) == ("failed", 0)


def test_a_loop_of_ones_own_is_told(tmp_path):
    model = tiny.llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ids = torch.zeros(2, 32, dtype=torch.long)
    with attach_to_trainers(model=model, stop_at=0.4, **ORIGINAL) as run:
        for _ in range(20):
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            if run.should_stop:
                break
    assert (run.record.run.outcome, run.record.run.steps) == ("stopped", 4)


def test_a_loop_that_goes_on_all_the_same_leaves_a_gap(tmp_path):
    model = tiny.llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ids = torch.zeros(2, 32, dtype=torch.long)
    with attach_to_trainers(model=model, stop_at=0.4, **ORIGINAL) as run:
        for _ in range(6):
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
    assert run.record.run.outcome == "completed"
    assert any("went on for 2 steps" in gap for gap in run.record.gaps)


def test_a_loop_without_a_line_is_told_so_by_a_gap():
    model = tiny.llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ids = torch.zeros(2, 32, dtype=torch.long)
    with attach_to_trainers(model=model, stop_at=0.4) as run:
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    assert any("stop_at: nothing to stop at" in gap for gap in run.record.gaps)


def test_a_crossing_that_is_foreseen_is_dated_and_told(tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path, max_steps=20)
    warnings = []

    class Screen:
        def show(self, progress):
            pass

        def update(self, progress):
            warnings.append(progress.warning)

        def finish(self, progress, sealed, record):
            warnings.append(progress.warning)

    run = attach_to_trainers(**ORIGINAL)
    run.display = Screen()
    run.clock = iter(range(10_000)).__next__  # a second passes at every look
    with run:
        trainer.train()
    record = run.record
    assert record.run.started_at < record.run.crossing_foreseen_at
    assert record.run.crossing_foreseen_at <= record.run.ended_at
    told = [text for text in warnings if text]
    assert told[0].startswith("at this pace the line is crossed at step 11 of 20")
    assert told[-1] == "the line is crossed"
    assert record.decision.verdict == "over"


def test_a_run_that_stays_below_foresees_nothing(tmp_path):
    with attach_to_trainers(**ORIGINAL) as run:
        tiny.trainer(tiny.llama(), tmp_path, max_steps=3).train()
    assert run.record.run.crossing_foreseen_at is None


def test_a_model_that_cannot_be_counted_is_not_trained_towards_a_line():
    class Blind:
        steps = 0

        def uncounted(self):
            return ["AcmeForCausalLM"]

    unasked = RunJudge(
        OriginalModel(), Blind(), {}, stop_at=Fraction(1), elapsed_s=lambda: 0.0
    )
    watch = LineWatch(Blind(), unasked, Fraction(1), lambda: 0.0)
    with pytest.raises(InputError, match="AcmeForCausalLM cannot be counted"):
        watch.training_begins()
