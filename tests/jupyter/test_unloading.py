"""``%unload_ext`` takes everything away, whatever state the last run is in."""

import sys

import pytest
import transformers
from IPython.core.interactiveshell import InteractiveShell

from flops_magic.errors import InputError
from flops_magic.jupyter.magics import register, unregister

TRACK = "%%flops_track --no-file --original-flops 3e15"
OURS = "FlopsMagics"
METHODS = [
    (transformers.Trainer, "__init__"),
    (transformers.Trainer, "train"),
    (transformers.Trainer, "training_step"),
]
# what was done before the extension is unloaded: cells, and how the last one ends
STATES = {
    "nothing ran": [],
    "a run was completed": [f"{TRACK}\nx = 1"],
    "a cell raised": [f"{TRACK}\nraise KeyError('mine')"],
    "a cell was interrupted": [f"{TRACK}\nraise KeyboardInterrupt"],
    "a cell does not compile": [f"{TRACK}\nx = = 1"],
    "a cell compiled by another magic does not": [f"%%time\n{TRACK}\nx = = 1"],
    "a cell with an await does not compile": [f"{TRACK}\nawait f(\nx = = 1"],
    "an option is wrong": [f"{TRACK} --folde x\n1"],
    "the original is not known": ["%%flops_track --base-model no/such-model\n1"],
    "a cell after a good one does not compile": [f"{TRACK}\n1", f"{TRACK}\nx = = 1"],
    "a run is still tracked": [
        f"{TRACK}\n%unload_ext flops_magic\n%load_ext flops_magic"
    ],
    "it was loaded twice": ["%load_ext flops_magic", "%reload_ext flops_magic"],
}


@pytest.fixture
def shell():
    """A shell of its own, with the extension loaded."""
    made = InteractiveShell()
    made.run_cell("before = 1")
    clean = state_of(made)
    made.run_line_magic("load_ext", "flops_magic")
    assert state_of(made) != clean
    yield made
    made.run_line_magic("unload_ext", "flops_magic")
    assert state_of(made) == clean


def state_of(shell):
    """Everything that loading may change in a shell or in transformers."""
    tables = shell.magics_manager.magics
    return (
        [sorted(table) for _, table in sorted(tables.items())],
        list(shell.input_transformers_cleanup),
        # IPython 9 loads its own magics late, so that only ours can be compared
        [name for one in shell.configurables if OURS in (name := type(one).__name__)],
        OURS in shell.magics_manager.registry,
        [vars(owner).get(name) for owner, name in METHODS],
    )


def magics_of(shell):
    """The loaded magics' owner."""
    return shell.magics_manager.magics["cell"]["flops_track"].__self__


@pytest.mark.parametrize("cells", STATES.values(), ids=STATES)
def test_nothing_is_left_whatever_happened_before(shell, cells):
    for cell in cells:
        shell.run_cell(cell)
    unregister(shell)
    result = shell.run_cell("%%flops_track\n1")
    assert "not found" in str(result.error_in_exec or result.error_before_exec)
    unregister(shell)  # again: there is nothing to do


def test_a_cell_that_does_not_compile_starts_no_run_and_keeps_the_last(shell, capsys):
    shell.run_cell(f"{TRACK}\nx = 1")
    run = magics_of(shell).last
    assert run.record is not None
    result = shell.run_cell(f"{TRACK}\nx = = 1")
    assert isinstance(result.error_in_exec, SyntaxError)
    assert magics_of(shell).last is run


def test_a_run_that_cannot_start_is_not_the_last_one(shell, monkeypatch):
    monkeypatch.setitem(sys.modules, "flops_magic.monitoring.meter", None)
    result = shell.run_cell(f"{TRACK}\nx = 1")
    assert result.error_in_exec is not None
    assert magics_of(shell).last is None


def test_a_run_that_is_still_tracked_is_recorded_as_interrupted(shell):
    owner = magics_of(shell)
    result = shell.run_cell(f"{TRACK}\n%unload_ext flops_magic\nx = 1")
    assert result.success
    assert owner.last.record.run.outcome == "interrupted"


def test_runs_inside_of_runs_are_all_finished(shell):
    owner = magics_of(shell)
    body = "runs.append(owner.last)\n%unload_ext flops_magic"
    inner = f"get_ipython().run_cell_magic('flops_track', '--no-file', {body!r})"
    shell.user_ns.update(owner=owner, runs=[])
    shell.run_cell(f"{TRACK}\nruns.append(owner.last)\n{inner}")
    outer, inside = shell.user_ns["runs"]
    assert outer is not inside
    assert {outer.record.run.outcome, inside.record.run.outcome} == {"interrupted"}


class Broken:
    """A run whose end fails."""

    def finish(self, outcome):
        raise RuntimeError("no end\nsecond line")


def test_a_run_that_cannot_be_finished_is_one_line_and_no_error(shell, capsys):
    magics_of(shell)._running.append(Broken())
    unregister(shell)
    assert capsys.readouterr().err == (
        "flops_magic: the run that was tracked: RuntimeError: no end\n"
    )


def test_registering_twice_adds_one_of_each(shell):
    before = state_of(shell)
    register(shell)
    assert state_of(shell) == before


@pytest.mark.parametrize(
    "cell",
    [
        f"{TRACK}\nimport asyncio\nx = await asyncio.sleep(0, 7)",
        f"\n\n{TRACK}\nimport asyncio\nx = await asyncio.sleep(0, 7)",
        f"  {TRACK}\n  import asyncio\n  x = await asyncio.sleep(0, 7)",
        f"{TRACK}\n%precision 3\nimport asyncio\nx = await asyncio.sleep(0, 7)",
        f"{TRACK}\nimport asyncio\nif True:\n    x = await asyncio.sleep(0, 7)",
    ],
)
def test_a_cell_that_awaits_runs_and_is_recorded(shell, cell):
    result = shell.run_cell(cell)
    assert result.success, result.error_in_exec
    assert shell.user_ns["x"] == 7
    assert magics_of(shell).last.record.run.outcome == "completed"


def test_a_call_that_cannot_await_says_so_and_does_not_skip_the_cell(shell):
    body = "import asyncio\nx = await asyncio.sleep(0, 7)"
    result = shell.run_cell(
        f"get_ipython().run_cell_magic('flops_track', '--no-file', {body!r})"
    )
    assert isinstance(result.error_in_exec, InputError)
    assert "first line" in str(result.error_in_exec)
    assert magics_of(shell).last is None
