"""A notebook executed without a browser, its records lifted into its metadata."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flops_magic.errors import EvidenceError, InputError, MissingPackageError
from flops_magic.evidence.files import write_text
from flops_magic.evidence.notebook import METADATA_KEY, is_notebook, lift, read_tree

# names the file that a headless run's progress goes to
HEADLESS = "FLOPS_MAGIC_HEADLESS"


def run_notebook(
    path: str | Path,
    output: str | Path | None = None,
    *,
    timeout_s: int | None = None,
    kernel_name: str | None = None,
    fresh: bool = False,
    on_progress: Callable[[str], object] | None = None,
) -> Path:
    """Execute a notebook and return where it was written, records embedded.

    A cell that fails, and Ctrl-C, still leave the notebook with what ran until then;
    the error is raised after it was written.

    Args:
        path: the notebook.
        output: where to write it; in place by default.
        timeout_s: seconds that a cell may take; None for no limit.
        kernel_name: the kernel; the notebook's own by default.
        fresh: True to start without the records of earlier runs.
        on_progress: told each line of a tracked run's progress.

    Raises:
        UnreadableFileError: when the notebook cannot be read.
        EvidenceError: when it cannot be written.
        MissingPackageError: without nbclient.
    """
    source, target = Path(path), Path(output) if output is not None else Path(path)
    if not is_notebook(read_tree(source)):
        raise InputError(f"{str(source)!r} is not a notebook: it has no cells")
    if not target.parent.is_dir():
        raise EvidenceError(
            f"no folder {str(target.parent)!r} to write the notebook to"
        )
    try:
        import nbformat
        from nbclient import NotebookClient
    except ImportError as error:
        raise MissingPackageError(
            "running a notebook needs nbclient; run pip install nbclient"
        ) from error
    notebook = nbformat.read(source, as_version=4)
    more: dict[str, Any] = {"kernel_name": kernel_name} if kernel_name else {}
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        resources={"metadata": {"path": str(source.parent)}},
        **more,
    )
    if fresh:
        # Only the metadata: the outputs of earlier runs are replaced as cells run.
        notebook.metadata.pop(METADATA_KEY, None)
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder) / "progress"
        progress.touch()
        environment = {**os.environ, HEADLESS: str(progress)}
        # Jupyter Server sets it for kernels of its own. Here it tells the kernel the
        # target's folder, so that flops_meter.json lies beside the notebook.
        environment["JPY_SESSION_NAME"] = str(target)
        with _following(progress, on_progress):
            _execute(client, environment, target)
    return target


def _execute(client: Any, environment: dict[str, str], target: Path) -> None:
    """Execute, and write the notebook even where a cell fails."""
    import nbformat

    try:
        client.execute(env=environment)
    finally:
        # ``client.nb`` is filled cell by cell, so it also holds what ran before a
        # failure.
        lift(client.nb)
        write_text(target, nbformat.writes(client.nb) + "\n")


@contextmanager
def _following(path: Path, tell: Callable[[str], object] | None) -> Iterator[None]:
    """Pass on the lines that the kernel writes to a file, as they come."""
    done = threading.Event()

    def follow() -> None:
        with path.open(encoding="utf-8") as lines:
            while True:
                # Read once more after the end: the last lines are written just before
                # it.
                last = done.wait(0.3)
                for line in lines:
                    if tell is not None:
                        tell(line.rstrip("\n"))
                if last:
                    return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()
