import json
import stat

import pytest

from flops_magic.errors import EvidenceError, NoRecordError, UnreadableFileError
from flops_magic.evidence.files import write_json
from flops_magic.evidence.flops_meter import flops_meter
from flops_magic.evidence.journal import Journal
from flops_magic.evidence.notebook import (
    embed,
    extract,
    lift,
    load_record,
    tracked_body,
    write_notebook,
)
from flops_magic.evidence.seal import seal
from flops_magic.evidence.verify import verify
from flops_magic.jupyter.server import lift_on_save
from tests import fakes

SEALED = seal(fakes.record())


def bare():
    """A notebook whose record is in the output alone, as VS Code saves it."""
    tree = fakes.notebook(SEALED)
    tree["metadata"] = {"kernelspec": {"name": "python3"}}
    return tree


def test_lifting_twice_changes_nothing_more():
    tree = bare()
    assert lift(tree) == 1
    once = json.dumps(tree)
    assert lift(tree) == 0
    assert json.dumps(tree) == once


def test_lifting_keeps_the_records_of_earlier_runs():
    earlier = seal(fakes.record(run_id="e" * 32)).to_dict()
    tree = bare()
    tree["metadata"]["flops_magic"] = {"records": [earlier]}
    lift(tree)
    assert tree["metadata"]["flops_magic"]["records"] == [earlier, SEALED.to_dict()]


def test_a_spoiled_record_is_not_lifted():
    tree = bare()
    fakes.records_in(fakes.notebook(SEALED))
    data = tree["cells"][1]["outputs"][0]["data"]
    data["application/vnd.flops-magic.audit+json"] = {"payload": "{}", "sha256": "0"}
    assert lift(tree) == 0


def test_embed_writes_what_verifies_and_leaves_the_rest_alone(tmp_path):
    path = fakes.save(tmp_path / "n.ipynb", bare())
    assert embed(path) == 1
    after = json.loads(path.read_text())
    assert after["cells"] == bare()["cells"]
    assert list(after) == list(bare())
    assert verify(path) == fakes.record()
    assert embed(path) == 0


def test_embed_takes_a_record_file(tmp_path):
    tree = bare()
    tree["cells"] = []
    path = fakes.save(tmp_path / "n.ipynb", tree)
    meter = tmp_path / "flops_meter.json"
    write_json(meter, flops_meter(fakes.record(), SEALED))
    assert embed(path, meter) == 1
    assert extract(path) == [SEALED]


def test_embed_without_a_record_says_what_to_do(tmp_path):
    tree = bare()
    tree["cells"] = []
    with pytest.raises(NoRecordError, match="flops-magic run"):
        embed(fakes.save(tmp_path / "n.ipynb", tree))


def test_embed_refuses_what_is_no_notebook(tmp_path):
    with pytest.raises(UnreadableFileError, match="no cells"):
        embed(fakes.save(tmp_path / "n.json", {"a": 1}))


def test_a_full_disk_leaves_the_old_notebook_whole(tmp_path):
    path = fakes.save(tmp_path / "n.ipynb", bare())
    before = path.read_bytes()
    # a folder in which no draft can be made
    with pytest.raises(EvidenceError, match="cannot write"):
        write_notebook("/proc/nowhere/n.ipynb", bare())
    with pytest.raises(EvidenceError):
        write_notebook(path / "beneath.ipynb", bare())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_of_a_notebook_is_kept(tmp_path):
    path = fakes.save(tmp_path / "n.ipynb", bare())
    path.chmod(0o640)
    embed(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_every_kind_of_file_gives_its_record(tmp_path):
    meter = tmp_path / "flops_meter.json"
    write_json(meter, flops_meter(fakes.record(), SEALED))
    bare_seal = fakes.save(tmp_path / "sealed.json", SEALED.to_dict())
    notebook = fakes.saved(tmp_path / "n.ipynb")
    for path in (meter, bare_seal, notebook):
        assert load_record(path) == verify(path) == fakes.record()


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("%%flops_track\nx = 1\n", "x = 1\n"),
        ("%%time\n%%flops_track --no-file\nx = 1", "x = 1"),
        ("  %%flops_track\nx", "x"),
        ("x = 1", None),
        ("%%flops_tracker\nx", None),
    ],
)
def test_the_tracked_body_is_what_stands_below_the_magic(source, body):
    assert tracked_body(source) == body


def test_flops_meter_keeps_the_known_names_with_exact_values():
    tree = flops_meter(fakes.record(), SEALED)
    assert tree["Flops_architecture"] == str(5 * 37_748_736)
    assert tree["N_total"] == tree["N_trainable"] == "106816"
    assert tree["tokens_processed"] == "320"
    assert tree["threshold_value"] == "1000000000000"
    assert tree["Flops_original"] == "3000000000000"
    assert tree["exceeds_30pct"] is tree["exceeds_one_third"] is False
    assert tree["pct_of_pretrain"] == "0.006291456"
    assert tree["audit"] == SEALED.to_dict()


def test_a_journal_is_found_after_a_crash_and_gone_after_a_good_end(tmp_path):
    journal = Journal(tmp_path, "a" * 32)
    journal.save(SEALED)
    assert verify(journal.path) == fakes.record()
    journal.discard()
    assert list(tmp_path.iterdir()) == []


class Manager:
    """What the hook needs of a contents manager: its log."""

    def __init__(self):
        self.warnings = []
        self.log = self

    def warning(self, text, *args):
        self.warnings.append(text % args)


def test_saving_lifts_the_records_of_a_notebook():
    model = {"type": "notebook", "content": bare()}
    lift_on_save(model, "n.ipynb", Manager())
    assert model["content"]["metadata"]["flops_magic"]["records"] == [SEALED.to_dict()]


@pytest.mark.parametrize(
    "model",
    [{}, {"type": "notebook"}, {"type": "file"}, {"content": 7}],
)
def test_saving_anything_else_is_left_alone(model):
    before = dict(model)
    lift_on_save(model, "x", Manager())
    assert model == before


def test_a_save_goes_on_when_the_hook_cannot():
    manager = Manager()
    lift_on_save(
        {"type": "notebook", "content": bare() | {"metadata": 7}}, "n", manager
    )
    assert len(manager.warnings) == 1
