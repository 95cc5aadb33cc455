"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from flops_magic.errors import EvidenceError


def write_text(path: str | Path, text: str) -> None:
    """Write a text file beside its old version, then put it in its place.

    Raises:
        EvidenceError: when it cannot be written; the old file is left whole.
    """
    path = Path(path)
    draft: str | None = None
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        # In the same folder: a rename is atomic only within one file system.
        number, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(number, "wb") as stream:
            # Notebooks may hold lone surrogates, which strict UTF-8 refuses.
            stream.write(text.encode("utf-8", "surrogatepass"))
            stream.flush()
            # Before the rename: after a power failure the new name must not be an empty
            # file.
            os.fsync(stream.fileno())
        Path(draft).chmod(mode)
        Path(draft).replace(path)
    except OSError as error:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)
        raise EvidenceError(
            f"cannot write {str(path)!r}: {error.strerror or error}; the record is "
            "still in the cell's output"
        ) from error


def write_json(path: str | Path, tree: dict[str, Any]) -> None:
    """Write a JSON file, all or nothing.

    Raises:
        EvidenceError: when it cannot be written.
    """
    write_text(path, json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
