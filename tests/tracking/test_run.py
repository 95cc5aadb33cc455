"""A run's life: begun, finished once, and never in the way of the user's code."""

import pytest
import torch
import transformers

from flops_magic.errors import InputError
from flops_magic.evidence.verify import verify
from flops_magic.flops.units import parse_count
from flops_magic.tracking.run import TrackedRun
from tests import tiny


def test_a_run_that_was_never_started_finishes_with_nothing():
    run = TrackedRun()
    assert run.finish("interrupted") is None
    assert (run.record, run.sealed, run.should_stop) == (None, None, False)
    with pytest.raises(InputError, match="was not started"):
        run.progress()


def test_a_run_that_could_not_start_leaves_no_patch_and_finishes_with_nothing():
    def no_models():
        return {}

    before = transformers.Trainer.train
    run = TrackedRun(models=no_models, folder=0)  # no folder: the journal refuses it
    with pytest.raises(TypeError):
        run.start()
    assert transformers.Trainer.train is before
    assert run.finish("failed") is None


def test_finishing_twice_returns_the_same_record(tmp_path):
    run = TrackedRun()
    with run:
        tiny.trainer(tiny.llama(), tmp_path, max_steps=1).train()
    assert run.finish("failed") is run.record
    assert run.record.run.outcome == "completed"


def test_a_display_that_breaks_costs_a_gap_and_no_step(tmp_path):
    class Broken:
        def show(self, progress):
            raise RuntimeError("no screen")

        update = show

        def finish(self, progress, sealed, record):
            raise RuntimeError("no screen")

    run = TrackedRun(display=Broken())
    with run:
        tiny.trainer(tiny.llama(), tmp_path, max_steps=2).train()
    assert run.record.run.steps == 2
    assert run.record.gaps == ("the display: RuntimeError: no screen",)


def test_a_journal_that_cannot_be_written_costs_a_gap_and_no_step(tmp_path):
    (tmp_path / ".flops_magic").write_text("a file where the folder should be")
    run = TrackedRun(folder=tmp_path)
    with run:
        tiny.trainer(tiny.llama(), tmp_path, max_steps=2).train()
    assert run.record.run.steps == 2
    assert any(gap.startswith("the journal: EvidenceError") for gap in run.record.gaps)
    # the record is kept all the same, beside the place of the journal
    kept = verify(tmp_path / "flops_meter.json")
    assert kept.flops == run.record.flops


def test_what_is_declared_counts_in_the_figure_that_is_held_against_the_line():
    with TrackedRun(declared={"synthetic data": parse_count("2e9")}) as run:
        torch.zeros(1)
    assert run.record.flops.declared == 2 * 10**9
    assert run.record.flops.cumulative == 2 * 10**9
