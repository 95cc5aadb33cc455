"""A hidden widget that writes records into the open notebook's metadata.

It works in JupyterLab 4 and Notebook 7, where a widget reaches the document. Elsewhere
it does nothing, and the record is in the cell's output alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from flops_magic.evidence.seal import Sealed


class NotebookBridge(anywidget.AnyWidget):
    """Merges records into ``metadata.flops_magic``; never displayed.

    Attributes:
        records: sealed records of this session, as JSON text: one opaque string, for
            JavaScript rounds numbers.
    """

    # anywidget's own name for the front-end module (0.11); required, though it begins
    # with an underscore.
    _esm = Path(__file__).parent / "bridge.js"
    records = traitlets.Unicode("[]").tag(sync=True)

    def __init__(self, sealed: list[Sealed], **more: Any) -> None:
        records = json.dumps([one.to_dict() for one in sealed])
        super().__init__(records=records, **more)
