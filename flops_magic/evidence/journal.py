"""The journal: the record so far, in a file that survives a crash."""

from __future__ import annotations

from pathlib import Path

from flops_magic.errors import EvidenceError
from flops_magic.evidence.files import write_json
from flops_magic.evidence.seal import Sealed


class Journal:
    """The record so far, in a file that outlives the process.

    The record in it says ``recovered``: its run never reached its end.
    ``flops-magic embed NOTEBOOK --record FILE`` adds it to a notebook.

    Args:
        folder: the run's folder; the file is ``.flops_magic/<run id>.json`` in it.
        run_id: the run.
    """

    def __init__(self, folder: str | Path, run_id: str) -> None:
        self.path = Path(folder) / ".flops_magic" / f"{run_id}.json"

    def save(self, sealed: Sealed) -> None:
        """Replace the journal's record.

        Raises:
            EvidenceError: when it cannot be written.
        """
        try:
            # Not ``parents=True``: a run's folder that was deleted is the user's
            # decision.
            self.path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise EvidenceError(
                f"cannot write {str(self.path.parent)!r}: {error.strerror or error}"
            ) from error
        write_json(self.path, sealed.to_dict())

    def discard(self) -> None:
        """Remove the journal, once the record is written elsewhere."""
        try:
            self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()
        except OSError:
            return  # no folder could be made, or it holds another run's journal
