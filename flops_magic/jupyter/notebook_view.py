"""A tracked run in a notebook: the live gauge, then the card and the sealed record."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from flops_magic.display.card import card_html
from flops_magic.display.gauge import LiveGauge
from flops_magic.display.text import TextDisplay, record_text
from flops_magic.evidence.notebook import MIME
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import Sealed
from flops_magic.jupyter.headless import HEADLESS
from flops_magic.tracking.progress import Progress

# every record of this kernel's session, for the notebook's metadata
# All of them, since each bridge replaces what the one before it sent.
_SESSION: list[Sealed] = []


class NotebookView:
    """Shows a run in the cell that tracks it, and hands its record to the notebook."""

    def __init__(self) -> None:
        self._gauge = LiveGauge()
        self._bridge: Any = None

    def show(self, progress: Progress) -> None:
        """Show the gauge."""
        self._gauge.show(progress)

    def update(self, progress: Progress) -> None:
        """Move the gauge."""
        self._gauge.update(progress)

    def finish(self, progress: Progress, sealed: Sealed, record: AuditRecord) -> None:
        """Put the card in the gauge's place, and the record in the metadata."""
        self._gauge.replace(record_bundle(sealed, record))
        _SESSION.append(sealed)
        self._bridge = _bridge()


class HeadlessView:
    """Writes a run's progress where the process that executes the notebook reads it.

    Args:
        path: the file; whatever is printed would end in the cell's output.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: Any = None
        self._text: TextDisplay | None = None

    def show(self, progress: Progress) -> None:
        """Open the file."""
        # open until the run ends
        self._file = Path(self._path).open("a", encoding="utf-8")  # noqa: SIM115
        self._text = TextDisplay(self._file)

    def update(self, progress: Progress) -> None:
        """Write a line, now and then."""
        if self._text is not None:
            self._text.update(progress)

    def finish(self, progress: Progress, sealed: Sealed, record: AuditRecord) -> None:
        """Display the card in the notebook."""
        self._file.close()
        show_record(sealed, record)


def record_bundle(sealed: Sealed, record: AuditRecord) -> dict[str, Any]:
    """Return the output that carries a record: sealed, as HTML and as text."""
    return {
        MIME: sealed.to_dict(),
        "text/html": card_html(record, sealed),
        "text/plain": record_text(record, sealed),
    }


def show_record(sealed: Sealed, record: AuditRecord) -> None:
    """Show a record's card, the record itself with it."""
    from IPython.display import display

    display(record_bundle(sealed, record), raw=True)


def view_for(shell: Any) -> Any:
    """Return the display that fits this shell: terminal, notebook or headless."""
    # A terminal's IPython shows no widgets.
    if not hasattr(shell, "kernel"):
        return TextDisplay(sys.stderr)
    headless = os.environ.get(HEADLESS)
    return HeadlessView(headless) if headless else NotebookView()


def _bridge() -> Any:
    """Send the session's records to the notebook's document; None without anywidget."""
    try:
        from flops_magic.jupyter.bridge import NotebookBridge
    # Without anywidget the record is still in the output, and the server's hook or
    # ``flops-magic embed`` lifts it.
    except ImportError:
        return None
    return NotebookBridge(_SESSION)


def show_figure(figure: Any) -> None:
    """Show a figure as a picture, whatever ``%matplotlib`` says."""
    from io import BytesIO

    from IPython.display import Image, display

    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    display(Image(data=picture.getvalue(), alt="FLOP by method, with the line"))
