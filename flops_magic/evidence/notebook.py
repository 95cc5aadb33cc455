"""Records in notebooks: read, embed, lift from outputs into metadata.

Only ``json`` is used: a hostile notebook is text here and nothing in it runs. Every
record is kept once, by run id, in ``metadata.flops_magic.records``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flops_magic.errors import (
    EvidenceError,
    MalformedRecordError,
    NoRecordError,
    UnreadableFileError,
    VerificationError,
)
from flops_magic.evidence.files import write_text
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import Sealed, text_sha256

# Metadata and a vendor MIME type are the two places that every front-end keeps when it
# saves, and that "clear outputs" does not take both of.
METADATA_KEY = "flops_magic"
MIME = "application/vnd.flops-magic.audit+json"
# json.loads needs several times the file's size in memory.
_LARGEST_BYTES = 512 * 2**20
_MAGIC = re.compile(r"^\s*%%flops_track\b")


@dataclass(frozen=True)
class Output:
    """A record in a cell's output, with its cell and its cards.

    Attributes:
        cell: number of the cell, from 1.
        tree: what the output holds under the record's MIME type.
        twins: the text/plain and text/html beside it.
        source: the cell's source.
    """

    cell: int
    tree: Any
    twins: tuple[str, ...]
    source: str


def read_tree(path: str | Path) -> dict[str, Any]:
    """Return a JSON file's top object.

    Raises:
        UnreadableFileError: when the file is missing, too large, truncated, or holds
            anything but a JSON object.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise UnreadableFileError(f"{str(path)!r} is larger than 512 MiB")
        tree = json.loads(path.read_bytes())
    except OSError as error:
        raise UnreadableFileError(
            f"cannot read {str(path)!r}: {error.strerror or error}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(
            f"{str(path)!r} is truncated or not JSON: {str(error)[:120]}"
        ) from error
    if not isinstance(tree, dict):
        raise UnreadableFileError(f"the top of {str(path)!r} is not a JSON object")
    return tree


def is_notebook(tree: dict[str, Any]) -> bool:
    """Whether a JSON object is a notebook."""
    return isinstance(tree.get("cells"), list)


def cells_of(tree: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the well-formed cells with their numbers, from 1."""
    for number, cell in enumerate(tree.get("cells", []), start=1):
        if isinstance(cell, dict):
            yield number, cell


def outputs_of(tree: dict[str, Any]) -> Iterator[Output]:
    """Yield every output that holds a record."""
    for number, cell in cells_of(tree):
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else []:
            data = output.get("data") if isinstance(output, dict) else None
            if isinstance(data, dict) and MIME in data:
                twins = tuple(
                    text_of(data[kind])
                    for kind in ("text/plain", "text/html")
                    if kind in data
                )
                yield Output(number, data[MIME], twins, text_of(cell.get("source")))


def text_of(value: Any) -> str:
    """Return a multi-line text of a notebook, which may be a list of lines."""
    # nbformat stores text as lines; some writers store it as one text.
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def metadata_records(tree: dict[str, Any]) -> list[Any]:
    """Return the metadata's list of records, unchecked."""
    metadata = tree.get("metadata")
    ours = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    records = ours.get("records") if isinstance(ours, dict) else None
    return records if isinstance(records, list) else []


def tracked_body(source: str) -> str | None:
    """Return the code below the ``%%flops_track`` line of a cell; None without one."""
    lines = source.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if _MAGIC.match(line):
            return "".join(lines[number + 1 :])
    return None


def body_sha256(body: str) -> str:
    """Return the digest of a tracked body; blank space at its ends does not count."""
    # Front-ends and formatters add or drop blank lines at a cell's ends.
    return text_sha256(body.strip())


def lift(tree: dict[str, Any]) -> int:
    """Copy the records in a notebook's outputs into its metadata.

    Records that do not open are left where they are, for ``verify`` to name.

    Returns:
        How many records were added; a second call adds none.
    """
    found = []
    for output in outputs_of(tree):
        try:
            sealed = Sealed.from_dict(output.tree)
            sealed.open()
        except VerificationError:
            continue
        found.append(sealed)
    return _add(tree, found)


def _add(tree: dict[str, Any], found: list[Sealed]) -> int:
    kept = metadata_records(tree)
    known = {key for record in kept if (key := _digest(record))}
    new = [sealed for sealed in found if sealed.sha256 not in known]
    unique = {sealed.sha256: sealed for sealed in new}
    if unique:
        metadata = tree.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise MalformedRecordError("the notebook's metadata is not an object")
        records = [*kept, *(sealed.to_dict() for sealed in unique.values())]
        metadata[METADATA_KEY] = {"records": records}
    return len(unique)


def _digest(record: Any) -> str | None:
    digest = record.get("sha256") if isinstance(record, dict) else None
    return digest if isinstance(digest, str) else None


def embed(path: str | Path, record_file: str | Path | None = None) -> int:
    """Put the records of a notebook's outputs into its metadata, in the file.

    Close the notebook in Jupyter before: the front-end holds its own copy.

    Args:
        path: the notebook.
        record_file: a ``flops_meter.json``, or a journal, whose record to add.

    Returns:
        How many records were added.

    Raises:
        UnreadableFileError: when a file cannot be read.
        NoRecordError: when there is no record to embed.
        EvidenceError: when the notebook cannot be written; it is left as it was.
    """
    tree = _notebook(path)
    added = lift(tree)
    if record_file is not None:
        added += _add(tree, _sealed_in(read_tree(record_file), record_file))
    if not metadata_records(tree):
        raise NoRecordError(
            f"{str(path)!r} has no record in its outputs; run it with "
            "'flops-magic run', or name a flops_meter.json with --record"
        )
    if added:
        write_notebook(path, tree)
    return added


def extract(path: str | Path) -> list[Sealed]:
    """Return every sealed record of a file, by the start of its run.

    Args:
        path: a notebook, a ``flops_meter.json``, a journal or an extracted record.

    Raises:
        UnreadableFileError: when the file cannot be read.
        NoRecordError: when it holds no record.
        VerificationError: when a record does not open.
    """
    tree = read_tree(path)
    if not is_notebook(tree):
        return _sealed_in(tree, path)
    trees = [*metadata_records(tree), *(output.tree for output in outputs_of(tree))]
    found = {sealed.sha256: sealed for sealed in map(Sealed.from_dict, trees)}
    if not found:
        raise NoRecordError(
            f"{str(path)!r} carries no record of flops_magic; run its %%flops_track "
            "cells and save, or add one with 'flops-magic embed'"
        )
    return sorted(found.values(), key=lambda sealed: sealed.open().run.started_at)


def load_record(path: str | Path) -> AuditRecord:
    """Return the last record of a file, its seal checked and no more.

    Raises:
        VerificationError: when there is none, or it does not open.
    """
    return extract(path)[-1].open()


def _sealed_in(tree: dict[str, Any], path: str | Path) -> list[Sealed]:
    """Return the record of a ``flops_meter.json`` or of a bare sealed record."""
    audit = tree.get("audit", tree)
    if not isinstance(audit, dict) or "payload" not in audit:
        raise NoRecordError(f"{str(path)!r} carries no record of flops_magic")
    return [Sealed.from_dict(audit)]


def _notebook(path: str | Path) -> dict[str, Any]:
    tree = read_tree(path)
    if not is_notebook(tree):
        raise UnreadableFileError(f"{str(path)!r} is not a notebook: it has no cells")
    return tree


def write_notebook(path: str | Path, tree: dict[str, Any]) -> None:
    """Write a notebook as Jupyter does, all or nothing.

    Raises:
        EvidenceError: when it cannot be written; the old file is left whole.
    """
    try:
        # Jupyter's own layout: a diff then shows the records and nothing else.
        text = json.dumps(tree, indent=1, ensure_ascii=False, separators=(",", ": "))
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{str(path)!r} cannot be written: {error}") from error
    write_text(path, text + "\n")
