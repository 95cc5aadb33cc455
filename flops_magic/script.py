"""A script, run with every Trainer in it measured."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.display.text import TextDisplay
from flops_magic.errors import InputError
from flops_magic.evidence.seal import text_sha256
from flops_magic.tracking.run import TrackedRun
from flops_magic.tracking.stop_rule import parse_share


def run_script(
    script: str,
    arguments: Sequence[str],
    *,
    folder: str,
    declared: Mapping[str, int] | None = None,
    stop_at: str | None = None,
    **original: Any,
) -> None:
    """Run a script as ``__main__``; what it raises passes through, recorded.

    Args:
        script: path of the script.
        arguments: its ``sys.argv[1:]``.
        folder: where ``flops_meter.json`` goes.
        declared: FLOP that contributed elsewhere, by reason.
        stop_at: share of the line before which Trainers are stopped; None for none.
        original: what is known of the original model; all of it:
            ``flops_magic.ai_act.original_options.OriginalOptions``.

    Raises:
        InputError: when there is no such script or folder.
    """
    path = Path(script)
    if not path.is_file():
        raise InputError(f"no script {script!r}; name a Python file")
    if not Path(folder).is_dir():
        raise InputError(f"no folder {folder!r}; make it, or name another --folder")
    tracked = TrackedRun(
        original=OriginalModel.of(**original),
        folder=Path(folder),
        source_sha256=text_sha256(path.read_text(encoding="utf-8").strip()),
        display=TextDisplay(sys.stderr),
        declared=declared or {},
        stop_at=None if stop_at is None else parse_share(stop_at),
    )
    # The script must see what it would see under ``python script.py``.
    argv, sys.argv = sys.argv, [script, *arguments]
    # As ``python script.py`` does; it stays, for imports at exit.
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        with tracked:
            runpy.run_path(script, run_name="__main__")
    finally:
        sys.argv = argv
