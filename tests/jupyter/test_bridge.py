"""The bridge's JavaScript, run by node against a small real fake of a document."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import flops_magic

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None, reason="no node on this machine"
)
SCRIPT = """
import bridge from %s;
const input = %s;
const stored = input.stored;
const document = {
  getMetadata: (key) => stored[key],
  setMetadata: (key, value) => { stored[key] = value; },
};
const model = {
  get: () => input.records,
  on: () => {},
  widget_manager: input.document ? { context: { model: document } } : {},
};
bridge.initialize({ model });
bridge.initialize({ model });
console.log(JSON.stringify(stored));
"""


def bridged(tmp_path, stored, records, *, document=True):
    module = tmp_path / "bridge.mjs"
    module.write_text(
        (Path(flops_magic.__file__).parent / "jupyter/bridge.js").read_text()
    )
    given = {"stored": stored, "records": records, "document": document}
    script = tmp_path / "run.mjs"
    script.write_text(SCRIPT % (json.dumps(str(module)), json.dumps(given)))
    done = subprocess.run(
        ["node", str(script)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


ONE, TWO = ({"sha256": digest, "payload": f'{{"n":"{2**60}"}}'} for digest in "ab")


def test_records_are_written_once(tmp_path):
    stored = bridged(tmp_path, {}, json.dumps([ONE]))
    assert stored == {"flops_magic": {"records": [ONE]}}


def test_earlier_records_are_kept(tmp_path):
    stored = bridged(
        tmp_path, {"flops_magic": {"records": [TWO]}}, json.dumps([ONE, TWO])
    )
    assert stored["flops_magic"]["records"] == [TWO, ONE]


@pytest.mark.parametrize("records", ["", "nonsense", "{}"])
def test_nonsense_raises_nothing(tmp_path, records):
    assert bridged(tmp_path, {}, records) == {}


def test_a_front_end_without_a_document_is_left_alone(tmp_path):
    assert bridged(tmp_path, {}, json.dumps([ONE]), document=False) == {}
