"""The magics in a real kernel, as a notebook runs them."""

import json

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from flops_magic.evidence.notebook import MIME, body_sha256
from flops_magic.evidence.seal import Sealed

SETUP = """
import os
os.environ["HF_HUB_OFFLINE"] = "1"
import sys, tempfile, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, ROOT)
from tests import tiny
"""
STEP = 37_748_736
TRAIN = "trainer = tiny.trainer(tiny.llama(), tempfile.mkdtemp())\n_ = trainer.train()"
TRACK = "%%flops_track --original-flops 3e23 --systemic-risk no"


@pytest.fixture
def run(request, tmp_path):
    """Run cells in one kernel; return the cells with their outputs."""

    def run(*sources, allow_errors=False):
        root = f"ROOT = {str(request.config.rootpath)!r}\n"
        cells = [root + SETUP, "%load_ext flops_magic", *sources]
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells]
        )
        client = NotebookClient(
            notebook,
            timeout=300,
            allow_errors=allow_errors,
            resources={"metadata": {"path": str(tmp_path)}},
        )
        try:
            client.execute()
        finally:
            run.cells = notebook.cells[2:]
        return run.cells

    return run


def record_in(cell):
    (data,) = [o["data"] for o in cell.outputs if MIME in o.get("data", {})]
    return Sealed.from_dict(data[MIME]).open()


def texts(cell):
    return [o.data["text/plain"] for o in cell.outputs if "data" in o]


def test_a_tracked_cell_leaves_variables_a_card_and_a_record(run, tmp_path):
    tracked, after = run(f"{TRACK}\n{TRAIN}", "trainer.state.global_step")
    record = record_in(tracked)
    assert record.flops.direct == 3 * STEP
    assert record.run.outcome == "completed"
    assert record.run.source_sha256 == body_sha256(TRAIN)
    assert texts(after) == ["3"]
    meter = json.loads((tmp_path / "flops_meter.json").read_text())
    assert meter["Flops_architecture"] == str(3 * STEP)
    assert Sealed.from_dict(meter["audit"]).open() == record
    assert not (tmp_path / ".flops_magic").exists()


def test_exactly_one_output_is_left_of_the_gauge(run):
    (tracked,) = run(f"{TRACK}\n{TRAIN}")
    shown = [o for o in tracked.outputs if o.output_type != "stream"]
    assert len(shown) == 1
    assert set(shown[0].data) == {MIME, "text/html", "text/plain"}


def test_the_last_expression_displays(run):
    loud, quiet = run(f"{TRACK}\n{TRAIN}\n6 * 7", f"{TRACK}\n6 * 7;")
    assert "42" in texts(loud)
    assert "42" not in texts(quiet)


def test_an_exception_passes_after_the_record_was_written(run):
    cell = f"{TRACK}\n{TRAIN}\nraise KeyError('mine')"
    with pytest.raises(CellExecutionError, match="mine"):
        run(cell)
    record = record_in(run.cells[0])
    assert (record.run.outcome, record.flops.direct) == ("failed", 3 * STEP)


def test_an_interrupt_passes_after_the_record_was_written(run):
    stop = (
        "import transformers, signal\n"
        "class Stop(transformers.TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **more):\n"
        "        if state.global_step == 2: signal.raise_signal(signal.SIGINT)\n"
        "trainer = tiny.trainer(tiny.llama(), tempfile.mkdtemp())\n"
        "trainer.add_callback(Stop())\n"
        "trainer.train()"
    )
    tracked, after = run(f"{TRACK}\n{stop}", "6 * 7", allow_errors=True)
    assert tracked.outputs[-1].ename == "KeyboardInterrupt"
    record = record_in(tracked)
    assert record.run.outcome == "interrupted"
    assert record.flops.direct == 2 * STEP
    assert texts(after) == ["42"]


def test_a_top_level_await_works_in_a_tracked_cell(run):
    body = (
        f"import asyncio\nawait asyncio.sleep(0.01)\n{TRAIN}\nawait asyncio.sleep(0, 9)"
    )
    (tracked,) = run(f"{TRACK}\n{body}")
    record = record_in(tracked)
    assert record.flops.direct == 3 * STEP
    assert record.run.source_sha256 == body_sha256(body)
    assert "9" in texts(tracked)


def test_it_nests_inside_time_and_time_inside_it(run):
    outer, inner = run(f"%%time\n{TRACK}\n{TRAIN}", f"{TRACK}\n%%time\n{TRAIN}")
    for cell in (outer, inner):
        assert record_in(cell).flops.direct == 3 * STEP
        assert any("Wall time" in o.get("text", "") for o in cell.outputs)


def test_an_earlier_trainer_is_tracked_when_it_trains_in_the_cell(run):
    made = "trainer = tiny.trainer(tiny.llama(), tempfile.mkdtemp())"
    _, tracked = run(made, f"{TRACK}\ntrainer.train();")
    assert record_in(tracked).flops.direct == 3 * STEP


def test_estimate_returns_an_object(run):
    _, est = run(
        "model = tiny.config()",
        "est = %flops_estimate model --tokens 640 --seq-len 32 --method full "
        "--original-flops 3e24\nest['full'].flops.direct",
    )
    # 20 sequences of 32: ten batches of two
    assert texts(est)[-1] == str(10 * STEP)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%flops_estimate x --tokns 5 --seq-len 2", "InputError"),
        ("%%flops_track --base-modle x\n1", "--base-model"),
        ("%%flops_track --base-model meta-lama/Llama-3.1-8B\n1", "near:"),
        ("%flops_estimate Qwen/Qwen3-8B --tokens banana --seq-len 9", "'banana'"),
        ("%%flops_track --original-flops lots\n1", "'lots'"),
        ("%%flops_track --declare 5\n1", "REASON=N"),
        ("%flops_report", "no run was tracked"),
        ("%flops_verify nothing.ipynb", "nothing.ipynb"),
    ],
)
def test_bad_input_is_answered_in_one_line_and_fails_the_cell(run, cell, says):
    (answered,) = run(cell, allow_errors=True)
    (error,) = [o for o in answered.outputs if o.output_type == "error"]
    assert len(error.traceback) == 1
    assert says in error.traceback[0]
    assert "Traceback" not in error.traceback[0]


def test_an_unwritable_folder_is_a_gap_and_the_record_is_in_the_output(run):
    (tracked,) = run(f"{TRACK} --folder /proc/nowhere\n{TRAIN}")
    record = record_in(tracked)
    assert record.flops.direct == 3 * STEP
    assert any("/proc/nowhere" in gap for gap in record.gaps)


def test_without_anywidget_the_output_carries_the_record(run):
    hide = "import sys; sys.modules['anywidget'] = None"
    _, tracked = run(hide, f"{TRACK}\n{TRAIN}")
    assert record_in(tracked).gaps == ()
    assert "anywidget" not in str(tracked.outputs)


def test_without_ipywidgets_the_run_is_tracked_and_the_gap_is_named(run):
    hide = "import sys; sys.modules['ipywidgets'] = None"
    _, tracked = run(hide, f"{TRACK}\n{TRAIN}")
    assert record_in(tracked).flops.direct == 3 * STEP


def test_unloading_restores_and_takes_the_magics_away(run):
    cells = run(
        "import transformers; before = transformers.Trainer.train",
        f"{TRACK}\n{TRAIN}",
        "%unload_ext flops_magic\ntransformers.Trainer.train is before",
        "%%flops_track\n1",
        allow_errors=True,
    )
    assert texts(cells[2]) == ["True"]
    assert "not found" in str(cells[3].outputs)


def test_a_tracked_cell_that_does_not_compile_leaves_nothing_behind(run):
    broken, unloaded, gone = run(
        "%%flops_track\nprint(",
        "%unload_ext flops_magic",
        "%%flops_track\n1",
        allow_errors=True,
    )
    assert "SyntaxError" in str(broken.outputs)
    assert unloaded.outputs == []
    assert "not found" in str(gone.outputs)


def test_help_shows_the_options(run):
    (shown,) = run("get_ipython().find_cell_magic('flops_track').__doc__")
    assert "--base-model" in texts(shown)[0]


LOOP = """ids = torch.randint(0, 256, (2, 32))
model = tiny.llama()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()"""


def test_a_plain_loop_is_tracked_by_the_name_of_its_model(run):
    _, tracked = run("import torch", f"{TRACK} --model model\n{LOOP}")
    record = record_in(tracked)
    assert (record.flops.direct, record.run.steps) == (3 * STEP, 3)
    assert record.gaps == ()


def test_a_name_that_is_no_variable_is_answered_in_one_line(run):
    with pytest.raises(CellExecutionError, match="not the name of a variable"):
        run(f"{TRACK} --model my-model\npass")


def test_stop_at_ends_the_training_of_the_cell_and_not_the_cell(run):
    line = f"--original-flops {30 * STEP} --original-is-gpai yes --systemic-risk no"
    train = (
        "trainer = tiny.trainer(tiny.llama(), tempfile.mkdtemp(), max_steps=20)\n"
        "_ = trainer.train()\ntrainer.state.global_step"
    )
    (tracked,) = run(f"%%flops_track --stop-at 50% {line}\n{train}")
    record = record_in(tracked)
    assert (record.run.outcome, record.run.steps) == ("stopped", 5)
    assert "5" in texts(tracked)


def test_stop_at_is_refused_for_a_loop_of_ones_own(run):
    with pytest.raises(CellExecutionError, match="attach_to_trainers"):
        run("%%flops_track --stop-at 0.9 --model model\n1")


def test_models_are_searched_and_shown(run):
    many, one = run("%flops_models gpt-oss", "%flops_models openai/gpt-oss-20b")
    assert len(many.outputs[0].text.splitlines()) == 2
    assert "the line for a modification" in one.outputs[0].text


def test_a_report_is_shown_in_a_frame_written_and_printed(run, tmp_path):
    _, shown, written, printed, again = run(
        f"{TRACK}\n{TRAIN}",
        "%flops_report flops_meter.json",
        "%flops_report --output 'a report.html'",
        "%flops_report --format model-card --audience all",
        "%flops_report",
    )
    (html,) = [o.data["text/html"] for o in shown.outputs if "data" in o]
    assert html.startswith('<iframe srcdoc="')
    assert f"{3 * STEP:,}" in html
    assert written.outputs[0].text == "report: a report.html\n"
    assert f"{3 * STEP:,}" in (tmp_path / "a report.html").read_text()
    assert "## Training compute (EU AI Act)" in printed.outputs[0].text
    assert record_in(again).flops.direct == 3 * STEP


def test_quotes_hold_a_value_together_and_are_no_part_of_it(run):
    line = f'{TRACK} --original-source "its model card, table 3"'
    (tracked,) = run(f"{line}\n{TRAIN}")
    facts = record_in(tracked).decision.facts
    assert facts.original_source == "given by the user: its model card, table 3"
