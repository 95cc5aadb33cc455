"""Hostile and broken evidence: an error of the tree, and nothing else."""

import copy
import json

import pytest

from flops_magic.errors import (
    FlopsMagicError,
    MisplacedRecordError,
    UnreadableFileError,
    VerificationError,
)
from flops_magic.evidence.notebook import MIME
from flops_magic.evidence.seal import seal
from flops_magic.evidence.verify import check, verify
from tests import fakes

JUNK = [
    None,
    0,
    -1,
    1e999,
    True,
    "",
    "x",
    [],
    [[]],
    {},
    {"a": {}},
    ["\ud800"],
    "🦊" * 9,
]


def paths_in(tree, here=()):
    """Every place in a JSON tree, but not inside of texts."""
    yield here
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        if isinstance(value, (dict, list)):
            yield from paths_in(value, (*here, key))
        else:
            yield (*here, key)


def mangled(tree, path, junk):
    tree = copy.deepcopy(tree)
    *way, last = path
    place = tree
    for key in way:
        place = place[key]
    place[last] = junk
    return tree


WHOLE = fakes.notebook(seal(fakes.record()))
PATHS = [path for path in paths_in(WHOLE) if path]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: ".".join(map(str, p))[:60])
def test_junk_anywhere_in_a_notebook_raises_nothing_foreign(tmp_path, path):
    for junk in JUNK:
        file = fakes.save(tmp_path / "n.ipynb", mangled(WHOLE, path, junk))
        report = check(file)
        assert all(isinstance(p, VerificationError) for p in report.problems)


PAYLOAD = json.loads(seal(fakes.record()).payload)
INNER = [path for path in paths_in(PAYLOAD) if path]


@pytest.mark.parametrize("path", INNER, ids=lambda p: ".".join(map(str, p))[:60])
def test_junk_anywhere_in_a_resealed_record_raises_nothing_foreign(tmp_path, path):
    from flops_magic.evidence.seal import Sealed, text_sha256

    for junk in JUNK:
        payload = json.dumps(mangled(PAYLOAD, path, junk))
        sealed = Sealed(payload, text_sha256(payload))
        file = fakes.save(tmp_path / "r.json", sealed.to_dict())
        report = check(file)
        assert all(isinstance(p, FlopsMagicError) for p in report.problems)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b"[" * 100_000,
        b'{"cells": [' * 9999,
    ],
)
def test_a_file_that_is_no_notebook_is_unreadable(tmp_path, content):
    path = tmp_path / "n.ipynb"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError):
        verify(path)


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path):
    for path in (tmp_path, tmp_path / "none.ipynb"):
        with pytest.raises(UnreadableFileError, match="cannot read"):
            verify(path)


def test_every_problem_of_a_file_is_named(tmp_path):
    tree = fakes.notebook(seal(fakes.record()))
    tree["cells"][1]["source"] = "%%flops_track\nother()"
    tree["cells"][1]["outputs"][0]["data"]["text/plain"] = "12 FLOP"
    with pytest.raises(VerificationError) as caught:
        verify(fakes.save(tmp_path / "n.ipynb", tree))
    assert len(str(caught.value).splitlines()) == 2


def test_a_record_of_another_notebook_pasted_in_is_misplaced(tmp_path):
    tree = fakes.notebook(seal(fakes.record()))
    tree["metadata"]["flops_magic"]["records"] = [
        seal(fakes.record(run_id="c" * 32)).to_dict()
    ]
    with pytest.raises(MisplacedRecordError, match="another notebook"):
        verify(fakes.save(tmp_path / "n.ipynb", tree))


def test_an_output_alone_and_metadata_alone_both_verify(tmp_path):
    only_output = fakes.notebook(seal(fakes.record()))
    only_output["metadata"] = {}
    only_metadata = fakes.notebook(seal(fakes.record()))
    only_metadata["cells"] = []
    for tree in (only_output, only_metadata):
        assert verify(fakes.save(tmp_path / "n.ipynb", tree)) == fakes.record()


def test_a_cell_split_into_lines_and_blank_space_at_its_end_verify(tmp_path):
    tree = fakes.notebook(seal(fakes.record()))
    tree["cells"][1]["source"] = f"%%time\n%%flops_track --no-file\n\n{fakes.BODY}\n\n"
    assert verify(fakes.save(tmp_path / "n.ipynb", tree)) == fakes.record()


def test_gaps_and_unfinished_runs_hold_and_are_remarked(tmp_path):
    path = fakes.saved(tmp_path / "n.ipynb", gaps=("the clock stopped",))
    report = check(path)
    assert not report.problems
    assert any("the clock stopped" in remark for remark in report.remarks)


def test_nothing_in_a_notebook_is_executed(tmp_path):
    tree = fakes.notebook(seal(fakes.record()))
    trap = tmp_path / "sprung"
    evil = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    tree["cells"][1]["outputs"][0]["data"][MIME]["payload"] = evil
    tree["metadata"]["kernelspec"] = {"name": evil}
    assert check(fakes.save(tmp_path / "n.ipynb", tree)).problems
    assert not trap.exists()
