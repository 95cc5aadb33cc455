"""Notebooks executed without a browser."""

import json

import nbformat
import pytest

from flops_magic.cli import main
from flops_magic.errors import InputError
from flops_magic.evidence.notebook import extract
from flops_magic.evidence.seal import seal
from flops_magic.evidence.verify import verify
from flops_magic.jupyter.headless import run_notebook
from tests import fakes

TRACKED = """%%flops_track --no-file --original-flops 3e15
import transformers
"""


def write(path, *sources, **metadata):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_a_run_leaves_its_record_in_the_metadata(tmp_path):
    path = write(tmp_path / "n.ipynb", "%load_ext flops_magic", TRACKED)
    lines = []
    out = run_notebook(path, tmp_path / "out.ipynb", on_progress=lines.append)
    assert verify(out).run.outcome == "completed"
    tree = json.loads(out.read_text())
    assert len(tree["metadata"]["flops_magic"]["records"]) == 1
    # progress goes to the terminal, not into the notebook
    kinds = {o["output_type"] for cell in tree["cells"] for o in cell["outputs"]}
    assert kinds == {"display_data"}
    assert all(line.startswith("flops_magic") for line in lines)


def test_a_failing_cell_leaves_the_notebook_and_its_record(tmp_path, capsys):
    path = write(
        tmp_path / "n.ipynb", "%load_ext flops_magic", f"{TRACKED}raise KeyError(7)"
    )
    assert main(["run", str(path)]) == 1
    assert verify(path).run.outcome == "failed"
    assert "what ran is kept" in capsys.readouterr().err


@pytest.mark.parametrize(("fresh", "records"), [(False, 2), (True, 1)])
def test_earlier_records_are_kept_unless_asked_for_a_fresh_start(
    tmp_path, fresh, records
):
    earlier = {"records": [seal(fakes.record()).to_dict()]}
    path = write(
        tmp_path / "n.ipynb", "%load_ext flops_magic", TRACKED, flops_magic=earlier
    )
    run_notebook(path, fresh=fresh)
    assert len(extract(path)) == records


def test_what_is_no_notebook_is_refused(tmp_path):
    with pytest.raises(InputError, match="no cells"):
        run_notebook(fakes.save(tmp_path / "n.json", {}))


def test_papermill_with_the_engine_lifts_the_record(tmp_path):
    papermill = pytest.importorskip("papermill")
    path = write(
        tmp_path / "n.ipynb",
        "%load_ext flops_magic",
        TRACKED,
        kernelspec={"name": "python3", "display_name": "Python 3"},
    )
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        str(path), str(out), engine_name="flops_magic", progress_bar=False
    )
    assert len(json.loads(out.read_text())["metadata"]["flops_magic"]["records"]) == 1
