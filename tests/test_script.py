"""Scripts: the standalone callback, ``track``, and several processes."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flops_magic import FlopsMeterCallback, attach_to_trainers
from flops_magic.cli import main
from flops_magic.evidence.verify import verify
from tests import tiny

STEP = 37_748_736
ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys, tempfile
sys.path.insert(0, {root!r})
from tests import tiny
trainer = tiny.trainer(tiny.llama(), tempfile.mkdtemp(), max_steps=4)
trainer.train()
{after}
"""


def script(tmp_path, after=""):
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(SCRIPT.format(root=str(ROOT), after=after)))
    return path


def test_the_callback_alone_writes_flops_meter_json(tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path)
    callback = FlopsMeterCallback(
        original_flops="3e15", original_is_gpai=True, quiet=True
    )
    trainer.add_callback(callback)
    trainer.train()
    record = verify(tmp_path / "flops_meter.json")
    assert record == callback.run.record
    assert record.flops.direct == 3 * STEP
    assert record.run.outcome == "completed"


def test_a_callback_that_is_made_wrong_says_so_at_once():
    with pytest.raises(ValueError, match="near:"):
        FlopsMeterCallback("meta-lama/Llama-3.1-8B")


def test_a_block_measures_and_restores(tmp_path):
    with attach_to_trainers(original_flops="3e15", folder=tmp_path) as run:
        tiny.trainer(tiny.llama(), tmp_path).train()
    assert run.record.flops.direct == 3 * STEP
    assert verify(tmp_path / "flops_meter.json") == run.record


def test_a_block_that_raises_leaves_its_record(tmp_path):
    with pytest.raises(KeyError), attach_to_trainers(folder=tmp_path):
        raise KeyError("mine")
    assert verify(tmp_path / "flops_meter.json").run.outcome == "failed"


def test_track_measures_a_script_and_passes_its_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path, "assert sys.argv[1:] == ['--mine', '7']")
    assert main(["track", str(path), "--mine", "7"]) == 0
    assert verify(tmp_path / "flops_meter.json").flops.direct == 4 * STEP


def test_track_adds_what_the_user_declares(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path)
    assert main(["track", "--declare", "synthetic-data=1.6e18", str(path)]) == 0
    assert verify(tmp_path / "flops_meter.json").flops.declared == 16 * 10**17


def test_track_of_a_missing_script_is_a_wrong_use(tmp_path, capsys):
    assert main(["track", str(tmp_path / "none.py")]) == 2
    assert "no script" in capsys.readouterr().err


def test_a_killed_process_leaves_a_journal_that_verifies(tmp_path):
    slow = (
        "import transformers, time\n"
        "class Slow(transformers.TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **more):\n"
        "        time.sleep(2.6)\n"
        "        if state.global_step == 3: os._exit(9)\n"
        "trainer.add_callback(Slow())\n"
        "trainer.train()\n"
    )
    path = script(
        tmp_path, slow.replace("import transformers", "import os, transformers")
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "flops_magic.track",
            str(path),
            "--folder",
            str(tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 9
    (journal,) = (tmp_path / ".flops_magic").glob("*.json")
    record = verify(journal)
    assert record.run.outcome == "recovered"
    assert record.flops.direct >= 4 * STEP


def launch(tmp_path, path, *options):
    """Run a script in two processes, tracked; return its record."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--standalone", "-m", "flops_magic.track", str(path)]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return verify(tmp_path / "flops_meter.json")


@pytest.mark.slow
def test_two_processes_add_up(tmp_path):
    record = launch(tmp_path, script(tmp_path))
    assert record.flops.direct == 2 * 4 * STEP
    assert not record.gaps
    meter = json.loads((tmp_path / "flops_meter.json").read_text())
    assert meter["tokens_processed"] == str(2 * 4 * 64)


@pytest.mark.slow
def test_two_processes_stop_together_by_their_sum(tmp_path):
    # the line is at 8 steps, and half of it at two of each process
    options = ["--stop-at", "0.5", "--original-flops", str(3 * 8 * STEP)]
    options += ["--original-is-gpai", "yes", "--systemic-risk", "no"]
    record = launch(tmp_path, script(tmp_path), *options)
    assert (record.run.outcome, record.run.steps) == ("stopped", 2)
    assert record.flops.direct == 2 * 2 * STEP
    assert not record.gaps
