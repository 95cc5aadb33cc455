"""The JSON schema of the audit record, written from the types that are the record.

    python tools/record_schema.py            # writes the schema of this version anew
    python tools/record_schema.py --check    # exit 1 where the file is not up to date

Other languages read records by it. The package itself reads them by the types.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from flops_magic.evidence.codec import COUNT, DECIMAL, FRACTION, entries, recorded
from flops_magic.evidence.record import SCHEMA, AuditRecord

FILE = Path(__file__).parents[1] / "flops_magic" / "evidence" / "data"
PATTERNS = {int: COUNT, Fraction: FRACTION, Decimal: DECIMAL}


def schema_of(hint):
    """Return the JSON schema of a type hint."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(one) for one in inner]}
    if hint is NoneType:
        return {"type": "null"}
    if origin is tuple:
        return {"type": "array", "items": schema_of(inner[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": schema_of(inner[1])}
    if origin is Literal:
        return {"enum": [str(one) for one in inner]}
    if is_dataclass(hint):
        return _object(hint)
    if issubclass(hint, Enum):
        return {"enum": [one.value for one in hint]}
    if hint in PATTERNS:
        return {"type": "string", "pattern": f"^{PATTERNS[hint]}$"}
    return {"type": "boolean" if hint is bool else "string"}


def _object(kind):
    properties, required = {}, list(recorded(kind))
    for key, field, hint in entries(kind):
        properties[key] = schema_of(hint)
        if field.metadata.get("none_is_empty_object"):
            properties[key] = {"anyOf": [{"maxProperties": 0}, properties[key]]}
        if not field.metadata.get("omit_default"):
            required.append(key)
    for name in recorded(kind):  # a property that follows from the fields
        properties[name] = {"type": ["string", "null"]}
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(required),
        "additionalProperties": False,
    }


def text():
    """Return the schema's file."""
    tree = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        **schema_of(AuditRecord),
    }
    return json.dumps(tree, indent=1, sort_keys=True) + "\n"


def path():
    """Return where the schema of this version is kept."""
    return FILE / f"record-{SCHEMA.rsplit('.', 1)[-1]}.schema.json"


def main():
    """Write the schema, or check it."""
    if "--check" in sys.argv[1:]:
        return int(not path().is_file() or path().read_text() != text())
    path().parent.mkdir(exist_ok=True)
    path().write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
