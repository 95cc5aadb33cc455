"""Processes that a tracked block starts: their sum, to the digit, or a gap.

The oracle is one process: STEP is what ``FlopCounterMode`` counts of one step of the
tiny Llama, and every child here takes a known number of them.
"""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from flops_magic import attach_to_trainers
from flops_magic.errors import MalformedRecordError
from flops_magic.evidence.verify import verify
from flops_magic.monitoring.child_processes import commands, findings, run_folder
from flops_magic.monitoring.child_processes.living import Living
from flops_magic.monitoring.child_processes.process import FOLDERS, PARENT
from flops_magic.monitoring.child_processes.share import Share, read_share
from flops_magic.monitoring.child_processes.uses import added, since
from tests import fakes, tiny

ROOT = Path(__file__).parents[2]
STEP = 37_748_736
TRAIN = f"""
import sys, tempfile
sys.path.insert(0, {str(ROOT)!r})
from tests import tiny
trainer = tiny.trainer(tiny.llama(), tempfile.mkdtemp(), max_steps=2)
"""


def tracked():
    return attach_to_trainers(
        original_flops="3e15", original_is_gpai=True, systemic_risk=False
    )


def run(command, **options):
    options = {"check": True, "capture_output": True} | options
    return subprocess.run(command, **options)


def script(tmp_path, after="trainer.train()"):
    path = tmp_path / "train.py"
    path.write_text(TRAIN + textwrap.dedent(after))
    return str(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train(steps=2):
    tiny.trainer(tiny.llama(), tempfile.mkdtemp(), max_steps=steps).train()


def launched():
    train(2)


def whole(record, steps):
    """The record holds exactly these steps, nothing is missing, a verdict is given."""
    assert record.flops.direct == steps * STEP
    assert record.gaps == ()
    assert record.decision.verdict == "below"


def lacking(record, *words):
    """The record says what is missing, and gives no verdict."""
    assert record.decision is None
    assert record.undecided
    assert any(all(word in gap for word in words) for gap in record.gaps), record.gaps


def test_the_oracle():
    model = tiny.llama()
    ids = torch.zeros(2, 32, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    assert counter.get_total_flops() == STEP


# -- each way to start a process ------------------------------------------------------


@pytest.mark.slow
def test_a_script_in_a_subprocess_counts(tmp_path):
    with tracked() as tracking:
        run([sys.executable, script(tmp_path)])
    whole(tracking.record, 2)
    assert (tracking.record.run.steps, tracking.record.run.steps_planned) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_of_multiprocessing_counts_beside_its_parent(method):
    with tracked() as tracking:
        train(1)
        child = multiprocessing.get_context(method).Process(target=train)
        child.start()
        child.join()
    assert child.exitcode == 0
    whole(tracking.record, 3)
    # one model in two processes is one model
    assert len(tracking.record.models) == 1
    assert tracking.record.run.steps == 3


@pytest.mark.slow
def test_a_pool_that_is_terminated_at_rest_counts():
    with tracked() as tracking, multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(train)
    whole(tracking.record, 2)


@pytest.mark.slow
def test_a_bare_fork_that_leaves_the_block_keeps_no_record(tmp_path):
    run(
        [sys.executable, "-c", BARE_FORK.format(root=str(ROOT), out=str(tmp_path))],
        cwd=ROOT,
    )
    whole_from(tmp_path / "flops_meter.json", 3)


BARE_FORK = """
import os, sys
sys.path.insert(0, {root!r})
from tests.monitoring.test_child_processes import train
from flops_magic import attach_to_trainers
original = dict(original_flops="3e15", original_is_gpai=True, systemic_risk=False)
with attach_to_trainers(folder={out!r}, **original):
    train(1)
    if (pid := os.fork()) == 0:
        train(2)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


def whole_from(path, steps):
    whole(verify(path), steps)


@pytest.mark.slow
def test_grandchildren_count(tmp_path):
    inner = script(tmp_path)
    outer = tmp_path / "outer.py"
    outer.write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, {inner!r}])\n"
        f"subprocess.run(f'{{sys.executable}} {inner}; true', shell=True)\n"
    )
    with tracked() as tracking:
        run([sys.executable, str(outer)])
    whole(tracking.record, 4)


@pytest.mark.slow
@pytest.mark.parametrize("tracks", [True, False], ids=["ranks track", "parent tracks"])
def test_the_ranks_of_torchrun_add_up_without_a_collective(tmp_path, tracks):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += [f"--master-port={free_port()}"]
    if tracks:
        original = ["--original-flops", "3e15", "--original-is-gpai", "yes"]
        original += ["--systemic-risk", "no", "--folder", str(tmp_path)]
        run(
            [*command, "-m", "flops_magic.track", script(tmp_path), *original], cwd=ROOT
        )
        whole_from(tmp_path / "flops_meter.json", 4)
    else:
        with tracked() as tracking:
            run([*command, script(tmp_path)])
        whole(tracking.record, 4)
        assert tracking.record.run.steps == 2  # ranks step together


@pytest.mark.slow
def test_an_uneven_rank_adds_what_it_did(tmp_path):
    after = """
    import os, torch
    trainer.train()
    if os.environ["RANK"] == "1":
        with torch.no_grad():
            trainer.model(input_ids=torch.zeros(2, 32, dtype=torch.long))
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += [f"--master-port={free_port()}", "-m", "flops_magic.track"]
    run([*command, script(tmp_path, after), "--folder", str(tmp_path)], cwd=ROOT)
    record = verify(tmp_path / "flops_meter.json")
    assert record.flops.direct == 4 * STEP
    assert record.flops.other == STEP // 3  # a forward pass, of the second rank alone
    assert record.gaps == ()


@pytest.mark.slow
def test_accelerate_launch_counts(tmp_path):
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu"]
    with tracked() as tracking:
        run([*launcher, "--num_processes=1", script(tmp_path)])
    whole(tracking.record, 2)


@pytest.mark.slow
def test_the_launchers_of_accelerate_count():
    from accelerate import debug_launcher

    with tracked() as tracking:
        debug_launcher(launched, num_processes=2)
    whole(tracking.record, 4)
    assert tracking.record.run.steps == 2


@pytest.mark.slow
def test_a_command_in_a_cell_of_a_real_kernel_counts(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    from flops_magic.jupyter.headless import run_notebook

    body = f"!{sys.executable} {script(tmp_path)}"
    known = "--original-flops 3e15 --original-is-gpai yes --systemic-risk no"
    cells = [
        nbformat.v4.new_code_cell("%load_ext flops_magic"),
        nbformat.v4.new_code_cell(f"%%flops_track --no-file {known}\n{body}"),
    ]
    path = tmp_path / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    whole_from(run_notebook(path), 2)


@pytest.mark.slow
def test_notebook_launcher_in_a_cell_counts(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    from flops_magic.jupyter.headless import run_notebook

    known = "--original-flops 3e15 --original-is-gpai yes --systemic-risk no"
    body = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from accelerate import notebook_launcher\n"
        "from tests.monitoring.test_child_processes import launched\n"
        f"notebook_launcher(launched, num_processes=2, use_port='{free_port()}')"
    )
    cells = [
        nbformat.v4.new_code_cell("%load_ext flops_magic"),
        nbformat.v4.new_code_cell(f"%%flops_track --no-file {known}\n{body}"),
    ]
    path = tmp_path / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    whole_from(run_notebook(path), 4)


# -- what is missing is a gap, and no verdict -----------------------------------------


@pytest.mark.slow
def test_a_killed_child_leaves_what_it_wrote_and_a_gap(tmp_path):
    after = """
    import os, transformers
    class Dies(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            if state.global_step == 2:
                os.kill(os.getpid(), 9)
    trainer.add_callback(Dies())
    trainer.train()
    """
    with tracked() as tracking:
        done = run([sys.executable, script(tmp_path, after)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert STEP <= tracking.record.flops.direct <= 2 * STEP
    lacking(tracking.record, "killed while it trained")


@pytest.mark.slow
def test_a_loop_in_which_nobody_named_the_model_is_a_gap(tmp_path):
    after = """
    model = trainer.model
    import torch
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    ids = torch.zeros(2, 32, dtype=torch.long)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    """
    with tracked() as tracking:
        run([sys.executable, script(tmp_path, after)])
    if tracking.record.decision is None:
        lacking(tracking.record, "optimizer steps")
    else:
        whole(tracking.record, 1)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["-I"], ["-S", "-E"]])
def test_python_without_its_environment_is_a_gap_by_its_cpu_time(flags):
    busy = "import time\nwhile time.process_time() < 2.5: pass"
    with tracked() as tracking:
        run([sys.executable, *flags, "-c", busy])
    lacking(tracking.record, "CPU time", "reported nothing", "python")


def test_a_child_that_still_trains_when_the_block_ends_is_a_gap():
    notes = []
    share = replace(trained_share(), ended=False)
    alive = {share.pid: Living(share.pid, "python", 1.0, 0.0)}
    findings.note_ends([share], alive, lambda *gap: notes.append(gap))
    assert notes == [
        ("process 7", "it still runs; what it does from here on is not counted")
    ]


def test_ranks_of_another_machine_are_a_gap():
    notes = []
    here = [
        replace(trained_share(), pid=n, rank=n, world_size=4, group="g") for n in (0, 1)
    ]
    findings.note_ranks(here, lambda *gap: notes.append(gap))
    ((where, what),) = notes
    assert where == "a group of 4 processes"
    assert "rank 2, 3 reported nothing" in what


# -- what is fine ---------------------------------------------------------------------


def test_children_that_do_not_train_leave_no_gap(tmp_path):
    busy = "import time\nwhile time.process_time() < 1.5: pass"
    with tracked() as tracking:
        run([sys.executable, "-c", busy])
        run(["ls", "/"])
        run("true", shell=True)  # noqa: S604 a shell is tried
    assert tracking.record.gaps == ()


def test_a_child_without_torch_does_not_import_it(tmp_path):
    heavy = ["torch", "transformers", "numpy", "json", "typing", "flops_magic"]
    code = f"import sys; print(*[name for name in {heavy} if name in sys.modules])"
    plain = run([sys.executable, "-c", code], text=True).stdout
    with tracked():
        assert run([sys.executable, "-c", code], text=True).stdout == plain


def test_workers_that_load_data_may_outlive_the_block():
    loader = torch.utils.data.DataLoader(
        list(range(8)), num_workers=1, persistent_workers=True
    )
    with tracked() as tracking:
        rows = iter(loader)
        next(rows)
    assert tracking.record.gaps == ()
    rows._shutdown_workers()


def test_compilers_may_use_any_time_and_a_silent_program_may_not():
    parent = replace(trained_share(), pid=1, waited_cpu_s=60.0, tools=True)
    notes = []
    findings.note_unreported([parent], [], {}, lambda *gap: notes.append(gap))
    assert notes == []
    silent = replace(parent, commands={5: "llama-finetune"})
    findings.note_unreported([silent], [], {}, lambda *gap: notes.append(gap))
    assert "llama-finetune" in notes[0][1]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/usr/bin/x86_64-linux-gnu-g++-13", "-c"], "g++"),
        (["/opt/triton/bin/ptxas"], "ptxas"),
        (["python3.11", "train.py"], "python3.11"),
        ("gcc.exe", "gcc"),
        ([b"/bin/ls"], "ls"),
    ],
)
def test_a_program_is_known_by_its_bare_name(command, name):
    assert commands.program_name(command) == name


# -- the run leaves no trace ----------------------------------------------------------


def test_the_environment_and_the_folder_go_with_the_run(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "mine")
    before = dict(os.environ)
    plain = subprocess.Popen.__init__
    with tracked():
        folder = Path(os.environ[FOLDERS])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert os.environ["PYTHONPATH"] == f"{run_folder.STARTUP}{os.pathsep}mine"
    assert dict(os.environ) == before
    assert subprocess.Popen.__init__ is plain
    assert not folder.exists()


def test_what_the_user_puts_into_the_environment_stays(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with tracked():
        os.environ["PYTHONPATH"] += f"{os.pathsep}src"
    assert os.environ["PYTHONPATH"] == "src"
    assert FOLDERS not in os.environ
    assert PARENT not in os.environ


def test_the_users_own_sitecustomize_still_runs(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.mine = 7")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = (
        "import sys, sitecustomize; print(sys.mine, sitecustomize.__file__, sys.path)"
    )
    with tracked():
        told = run([sys.executable, "-c", code], text=True).stdout
    assert told.startswith(f"7 {tmp_path}")
    assert "child_processes" not in told


def test_a_run_folder_that_others_can_write_is_refused(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    run_folder.check_private(folder)
    folder.chmod(0o770)
    with pytest.raises(ValueError, match="not private"):
        run_folder.check_private(folder)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(ValueError, match="not private"):
        run_folder.check_private(link)


# -- arithmetic and files -------------------------------------------------------------


def trained_share():
    return Share(
        pid=7,
        parent=1,
        started_s=0.0,
        cpu_s=1.0,
        waited_cpu_s=0.0,
        torch=True,
        ended=True,
        worker=False,
        record=fakes.record(),
    )


def test_two_uses_of_one_model_are_one_and_a_moment_can_be_taken_off():
    one, two = fakes.record(steps=3).models[0], fakes.record(steps=4).models[0]
    (both,) = added([[one], [two]])
    assert both.flops() == one.flops() + two.flops()
    assert both.tokens_non_padding == 7 * 64
    assert since(both, one).flops() == two.flops()
    assert since(one, one).histogram == ()


def test_uses_of_two_models_stay_two():
    one = fakes.record().models[0]
    other = fakes.record(model_id="tiny/other").models[0]
    assert added([[one], [other]]) == (one, other)


def test_two_models_of_one_process_stay_two_however_alike():
    one, two = fakes.record(steps=3).models[0], fakes.record(steps=4).models[0]
    assert added([[one, two]]) == (one, two)
    first, second = added([[one, two], [one, two]])
    assert first.flops() == one.flops() + one.flops()
    assert second.flops() == two.flops() + two.flops()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1, "details": 3}'])
def test_a_broken_file_of_a_process_is_refused(tmp_path, text):
    path = tmp_path / "1-1.json"
    path.write_text(text)
    with pytest.raises(MalformedRecordError, match="share"):
        read_share(path)


def test_a_share_written_by_a_process_is_read_back(tmp_path):
    code = (
        "import time\n"
        "from flops_magic.monitoring.child_processes.process import ReportingProcess\n"
        f"p = ReportingProcess([{str(tmp_path)!r}], 3, reports=True)\n"
        "p.problem = 'a \"quoted\" \\\\ thing'\n"
        "p.appear()"
    )
    run([sys.executable, "-c", code], cwd=ROOT)
    (path,) = tmp_path.glob("*.json")
    share = read_share(path)
    assert (share.parent, share.ended, share.torch) == (3, True, False)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["written_s"] <= time.time()
