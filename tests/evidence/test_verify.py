"""Hostile and broken evidence: an error of the tree, and nothing else."""

import copy
import json
from fractions import Fraction

import pytest

from flops_magic.errors import (
    DecisionError,
    FlopsMagicError,
    MalformedRecordError,
    MisplacedRecordError,
    UnreadableFileError,
    VerificationError,
)
from flops_magic.evidence.notebook import MIME
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import Sealed, seal, text_sha256
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


def dumped(tree, sort_keys=True):
    return json.dumps(
        tree, sort_keys=sort_keys, ensure_ascii=False, separators=(",", ":")
    )


def sealed_text(folder, text):
    """A file with a record's text, and the digest of that text."""
    sealed = Sealed(text, text_sha256(text))
    return fakes.save(folder / "r.json", sealed.to_dict())


def resealed(folder, tree):
    """The same of a tree, as the one text of it."""
    return sealed_text(folder, dumped(tree))


PAYLOAD = json.loads(seal(fakes.record()).payload)
INNER = [path for path in paths_in(PAYLOAD) if path]


@pytest.mark.parametrize("path", INNER, ids=lambda p: ".".join(map(str, p))[:60])
def test_junk_anywhere_in_a_resealed_record_raises_nothing_foreign(tmp_path, path):
    for junk in JUNK:
        report = check(resealed(tmp_path, mangled(PAYLOAD, path, junk)))
        assert all(isinstance(p, FlopsMagicError) for p in report.problems)


DECISION = [path for path in INNER if path[0] == "decision" and "facts" not in path]
DECISION.remove(("decision",))


@pytest.mark.parametrize("path", DECISION, ids=lambda p: ".".join(map(str, p)))
def test_no_key_of_a_decision_can_be_changed_and_sealed_again(tmp_path, path):
    value = PAYLOAD
    for key in path:
        value = value[key]
    # a value of the same kind, so that the schema alone does not find it
    other = [*value, "row-7"] if isinstance(value, list) else f"{value}1"
    report = check(resealed(tmp_path, mangled(PAYLOAD, path, other)))
    # of a number that a ratio is made of, the ratio is named
    assert any("decision." in str(p) for p in report.problems)
    assert {type(p) for p in report.problems} <= {DecisionError, MalformedRecordError}


def test_a_line_moved_with_its_shares_does_not_follow_from_the_facts(tmp_path):
    tree = copy.deepcopy(PAYLOAD)
    told, moved = tree["decision"], Fraction(2 * 10**12)
    share = Fraction(told["compared"]) / moved
    told |= {"threshold": str(moved), "line": str(moved)}
    told |= {"ratio": str(share), "share_of_line": str(share)}
    problems = check(resealed(tmp_path, tree)).problems
    assert {type(p) for p in problems} == {DecisionError}
    assert sorted(str(p).split("decision.")[1].split()[0] for p in problems) == [
        "line",
        "threshold",
    ]


@pytest.mark.parametrize("key", ["explanation", "consequence", "line_text", "flags"])
def test_a_changed_sentence_is_a_decision_that_does_not_follow(tmp_path, key):
    told = ["all is well"] if key == "flags" else "All is well."
    path = resealed(tmp_path, mangled(PAYLOAD, ("decision", key), told))
    with pytest.raises(DecisionError, match=rf"decision\.{key} is .*well"):
        verify(path)


def test_a_wording_of_a_later_release_is_named(tmp_path):
    path = resealed(tmp_path, mangled(PAYLOAD, ("decision", "wording"), "99"))
    with pytest.raises(DecisionError, match="no wording '99' here"):
        verify(path)


def in_another_order(text):
    tree = json.loads(text)
    return dumped({key: tree[key] for key in reversed(tree)}, sort_keys=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + " ",
        lambda text: text.replace('":"', '": "', 1),
        lambda text: text.replace("{", '{"undecided":"",', 1),  # a key twice
        lambda text: text.replace("tiny/llama", r"tiny\u002fllama"),
        # what a later key says while it holds its default
        lambda text: text.replace('"devices":[]', '"devices":[],"gaps":null', 1),
        in_another_order,
    ],
    ids=["space at the end", "space", "twice", "escape", "default", "order"],
)
def test_a_record_has_one_text(tmp_path, change):
    text = seal(fakes.record()).payload
    assert change(text) != text
    assert AuditRecord.from_json(text).to_json() == text
    with pytest.raises(MalformedRecordError, match="not the one text"):
        verify(sealed_text(tmp_path, change(text)))


@pytest.mark.parametrize("count", ["9" * 4301, "9" * 4300])
def test_counts_beyond_what_python_converts_are_malformed(tmp_path, count):
    tree = mangled(PAYLOAD, ("flops", "forward"), count)
    with pytest.raises(MalformedRecordError):
        verify(resealed(tmp_path, tree))


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
