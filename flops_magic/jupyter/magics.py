"""The notebook magics: ``%flops_estimate``, ``%%flops_track`` and their company."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import (
    argument,
    magic_arguments,
)

from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.display.registry_text import base_model_text, found_lines
from flops_magic.errors import FlopsMagicError, InputError
from flops_magic.estimation.estimate import Estimate
from flops_magic.estimation.estimator import estimate
from flops_magic.evidence.notebook import body_sha256
from flops_magic.evidence.verify import verify
from flops_magic.jupyter.cell_code import await_tracked, compiled
from flops_magic.jupyter.magic_line import parse_line
from flops_magic.jupyter.notebook_view import show_figure, show_record, view_for
from flops_magic.options import (
    ESTIMATE_OPTIONS,
    ORIGINAL_OPTIONS,
    REPORT_OPTIONS,
    TRACK_OPTIONS,
    declared_flops,
    estimate_arguments,
    question,
)
from flops_magic.registry.base_models import find
from flops_magic.report.report import report, report_on
from flops_magic.tracking.run import TrackedRun
from flops_magic.tracking.stop_rule import parse_share

_MOST = 40  # base models that %flops_models lists at once
_TRACKED = re.compile(r"^\s*%%flops_track\b(.*)$")


def _options_of(rows: Any) -> Callable[..., Any]:
    """Return a decorator that adds options to a magic."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for flag, options in reversed(rows):
            function = argument(flag, **options)(function)
        return function

    return add


@magics_class
class FlopsMagics(Magics):
    """Magics that measure, judge and keep the training compute of fine-tuning."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.last: TrackedRun | None = None

    @magic_arguments()
    @_options_of(ESTIMATE_OPTIONS)
    @argument("--plot", action="store_true", help="show a bar chart too")
    @_options_of(ORIGINAL_OPTIONS)
    @line_magic
    def flops_estimate(self, line: str) -> Estimate:
        """Tell what fine-tuning will cost, and its share of the line."""
        args = parse_line(self.flops_estimate, line)
        found = estimate(**estimate_arguments(args, self.shell.user_ns))
        if args.plot:
            show_figure(found.plot())
        return found

    @magic_arguments()
    @_options_of(TRACK_OPTIONS)
    @argument("--no-file", action="store_true", help="write no flops_meter.json")
    @argument(
        "--model",
        action="append",
        metavar="NAME",
        help="variable of a model that the cell trains without a Trainer; repeatable",
    )
    @_options_of(ORIGINAL_OPTIONS)
    @cell_magic
    def flops_track(self, line: str, cell: str) -> None:
        """Measure every Trainer that is made or trained in the cell."""
        __tracebackhide__ = True
        code, last = compiled(self.shell, cell)  # before a run is made: it may raise
        run = self._new_run(line, cell)
        with run:
            for part in (code, last):
                if part is not None:
                    exec(part, self.shell.user_ns)  # noqa: S102 the user's own cell

    async def track_async(self, line: str, cell: str) -> None:
        """Measure a cell with a top-level ``await``, in the kernel's own loop."""
        __tracebackhide__ = True
        code, last = compiled(self.shell, cell)  # before a run is made: it may raise
        run = self._new_run(line, cell)
        with run:
            for part in (code, last):
                if part is None:
                    continue
                awaited = eval(part, self.shell.user_ns)  # noqa: S307 the user's own cell
                if awaited is not None:
                    await awaited

    def _new_run(self, line: str, cell: str) -> TrackedRun:
        args = parse_line(self.flops_track, line)
        if args.stop_at is not None and args.model:
            raise InputError(
                "--stop-at stops Trainers, and --model names a loop of your own; use "
                "attach_to_trainers(model=…, stop_at=…) and ask run.should_stop in it"
            )
        original = OriginalModel.of(**question(args))
        self.last = TrackedRun(
            original=original,
            folder=None if args.no_file else _folder(args.folder),
            source_sha256=body_sha256(cell),
            display=view_for(self.shell),
            declared=declared_flops(args.declare),
            models=_named_models(args.model, self.shell.user_ns),
            stop_at=None if args.stop_at is None else parse_share(args.stop_at),
        )
        return self.last

    @magic_arguments()
    @argument("files", nargs="*", help="by default the last run")
    @_options_of(REPORT_OPTIONS)
    @line_magic
    def flops_report(self, line: str) -> Any:
        """Show the session's last record again, or report on it or on files."""
        args, run = parse_line(self.flops_report, line), self.last
        last = [(run.sealed, run.record)] if run and run.sealed and run.record else []
        if not args.files and not last:
            raise InputError(
                "no run was tracked in this session; start with %%flops_track"
            )
        if not line.strip():
            return show_record(*last[0])
        make: Any = report if args.files else report_on
        made = make(args.files or last, audience=args.audience)
        if args.output is None and args.format in (None, "html"):
            return made
        return print(made.write(args.format, args.output), end="")  # noqa: T201

    @line_magic
    def flops_verify(self, line: str) -> Any:
        """Verify a notebook or a ``flops_meter.json``, and return its last record."""
        if not line.strip():
            raise InputError("name a file: %flops_verify notebook.ipynb")
        return verify(line.strip())

    @line_magic
    def flops_models(self, line: str) -> None:
        """List base models by words of their names; show the one of an exact id."""
        words = line.strip()
        match = find(words)
        exact = match is not None and match.matched_id == words
        text = base_model_text(match) if match and exact else found_lines(words, _MOST)
        print(text)  # noqa: T201


def _named_models(names: list[str] | None, variables: dict[str, Any]) -> Any:
    """Return a function that looks the named models up; None without names."""
    if not names:
        return None
    for name in names:
        if not name.isidentifier():
            raise InputError(
                f"--model {name!r} is no variable's name; pass --model model"
            )
    return lambda: {name: variables.get(name) for name in names}


def _folder(named: str | None) -> Path:
    """Return the notebook's folder, or the one that the user names."""
    if named:
        return Path(named).expanduser()
    session = os.environ.get("JPY_SESSION_NAME", "")
    parent = Path(session).parent
    return parent if session and parent.is_dir() else Path.cwd()


def register(shell: Any) -> None:
    """Add the magics to a shell; again does nothing more."""
    transforms = shell.input_transformers_cleanup
    if await_tracked not in transforms:
        transforms.insert(0, await_tracked)
        shell.register_magics(FlopsMagics(shell))


def unregister(shell: Any) -> None:
    """Take the magics away; a run that is still tracked is finished and recorded."""
    transforms = shell.input_transformers_cleanup
    if await_tracked in transforms:
        transforms.remove(await_tracked)
    for table in shell.magics_manager.magics.values():
        for name in [n for n in table if n.startswith("flops_")]:
            owner = getattr(table.pop(name), "__self__", None)
            if isinstance(owner, FlopsMagics) and owner.last is not None:
                owner.last.finish("interrupted")  # nothing where it is finished


__all__ = ["FlopsMagicError", "FlopsMagics", "register", "unregister"]
