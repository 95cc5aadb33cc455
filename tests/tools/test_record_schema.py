"""The record's JSON schema says what the types say, and every record follows it."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from flops_magic.evidence.record import AuditRecord
from tests import fakes, reports
from tools import record_schema

GOLDEN = Path(__file__).parents[1] / "golden" / "record-v1.json"
SCHEMA = json.loads(record_schema.path().read_text())


def test_the_schema_is_up_to_date():
    command = [sys.executable, record_schema.__file__, "--check"]
    done = subprocess.run(command, check=False)
    assert done.returncode == 0, "run python tools/record_schema.py, look at the diff"


@pytest.mark.parametrize(
    "record",
    [fakes.record(), *(make() for make in reports.RECORDS.values())],
    ids=["tracked", *reports.RECORDS],
)
def test_a_record_follows_the_schema(record):
    jsonschema.validate(json.loads(record.to_json()), SCHEMA)


def test_the_golden_record_follows_the_schema():
    payload = json.loads(GOLDEN.read_text())["payload"]
    jsonschema.validate(json.loads(payload), SCHEMA)
    assert AuditRecord.from_json(payload)


@pytest.mark.parametrize(
    "changed",
    [{"surplus": "1"}, {"undecided": 3}, {"declared": {"x": 1.5}}, {"run": {}}],
)
def test_what_the_types_refuse_the_schema_refuses(changed):
    tree = json.loads(fakes.record().to_json()) | changed
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tree, SCHEMA)
