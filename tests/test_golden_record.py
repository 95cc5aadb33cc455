"""Records of earlier versions: opened and verified byte for byte, for ever.

``record-v1.json`` and ``flops_meter-v1.json`` were written by version 0.1.0 (a tiny
Llama with LoRA, four steps, two evaluations). No test writes them anew.
"""

import hashlib
import json
from pathlib import Path

import pytest

import flops_magic

GOLDEN = Path(__file__).parent / "golden"
FILES = [GOLDEN / "record-v1.json", GOLDEN / "flops_meter-v1.json"]
SHA256 = "ec70b4ad9f2cb3d57ff99f63683e04bc9e525635917b0c6894e5c4e3b9dcd696"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_old_record_still_verifies(path):
    record = flops_magic.verify(path)
    assert record.flops.direct == 51_249_152 + 50_855_936
    assert record.flops.evaluation == 51_249_152
    assert record.run.outcome == "completed"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_old_record_is_written_again_byte_for_byte(path):
    tree = json.loads(path.read_text(encoding="utf-8"))
    payload = tree.get("audit", tree)["payload"]
    assert hashlib.sha256(payload.encode()).hexdigest() == SHA256
    assert flops_magic.verify(path).to_json() == payload
