"""The notebook magics: ``%flops_estimate``, ``%%flops_track`` and their company."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import cell_magic as to_magic_call
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments

from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.display.registry_text import base_model_text, found_lines
from flops_magic.errors import InputError
from flops_magic.estimation.estimate import Estimate
from flops_magic.estimation.estimator import estimate
from flops_magic.evidence.notebook import body_sha256
from flops_magic.evidence.verify import verify
from flops_magic.gaps import guard
from flops_magic.jupyter.cell_code import await_tracked, awaits, compiled
from flops_magic.jupyter.magic_line import parse_line
from flops_magic.jupyter.notebook_view import show_figure, show_record, view_for
from flops_magic.options import (
    ESTIMATE_OPTIONS,
    ORIGINAL_OPTIONS,
    REPORT_OPTIONS,
    TRACK_OPTIONS,
    Option,
    declared_flops,
    estimate_arguments,
    option,
    question,
)
from flops_magic.registry.base_models import find
from flops_magic.report.report import report, report_on
from flops_magic.tracking.run import TrackedRun
from flops_magic.tracking.stop_rule import parse_share

_MOST_MODELS = 40
_PREFIX = "flops_"  # every magic's name starts so
_NOTEBOOK_TRACK_OPTIONS = (
    option("--no-file", "write no flops_meter.json", action="store_true"),
    option(
        "--model",
        "variable of a model that the cell trains without a Trainer; repeatable",
        action="append",
        metavar="NAME",
    ),
)


def _takes(*rows: Option) -> Callable[[Any], Any]:
    """Return a decorator that gives a magic its options."""

    def decorate(function: Any) -> Any:
        # decorators apply from the last line up, and IPython lists them from the first
        for name, settings in reversed(rows):
            function = argument(name, **settings)(function)
        return magic_arguments()(function)

    return decorate


@magics_class
class FlopsMagics(Magics):
    """Magics that measure, judge and record the training compute of fine-tuning.

    Attributes:
        last: the run that was started last; None before the first.
    """

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.last: TrackedRun | None = None
        self._running: list[TrackedRun] = []

    # IPython takes a method's name as its magic's name, and its docstring as the help

    @line_magic
    @_takes(
        *ESTIMATE_OPTIONS,
        option("--plot", "show a bar chart too", action="store_true"),
        *ORIGINAL_OPTIONS,
    )
    def flops_estimate(self, line: str) -> Estimate:
        """Estimate the compute of fine-tuning, and its share of the line."""
        args = parse_line(self.flops_estimate, line)
        found = estimate(**estimate_arguments(args, self.shell.user_ns))
        if args.plot:
            show_figure(found.plot())
        return found

    @cell_magic
    @_takes(*TRACK_OPTIONS, *_NOTEBOOK_TRACK_OPTIONS, *ORIGINAL_OPTIONS)
    def flops_track(self, line: str, cell: str) -> None:
        """Measure every Trainer that is made or trained in the cell."""
        __tracebackhide__ = True  # IPython shows the traceback from the user's line on
        run = self._new_run(line, cell)
        # compiled first: a cell with a syntax error starts no run
        parts = compiled(self.shell, cell)
        if any(map(awaits, parts)):
            raise InputError(
                "a cell with a top-level await is tracked where %%flops_track is its "
                "first line; put other cell magics below it, or none"
            )
        with self._tracking(run):
            for part in parts:
                exec(part, self.shell.user_ns)  # noqa: S102 the user's own cell

    async def track_async(self, line: str, cell: str) -> None:
        """Measure a cell with a top-level ``await``, in the kernel's own loop."""
        __tracebackhide__ = True
        run = self._new_run(line, cell)
        parts = compiled(self.shell, cell)
        with self._tracking(run):
            for part in parts:
                awaited = eval(part, self.shell.user_ns)  # noqa: S307 the user's own cell
                if awaits(part):
                    await awaited

    @line_magic
    @_takes(option("files", "by default the last run", nargs="*"), *REPORT_OPTIONS)
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
        text = (
            base_model_text(match)
            if match and exact
            else found_lines(words, _MOST_MODELS)
        )
        print(text)  # noqa: T201

    def finish_runs(self, note: Callable[[str, BaseException | str], None]) -> None:
        """Finish and record what is still tracked, the innermost first.

        Args:
            note: takes what goes wrong; the other runs are finished all the same.
        """
        for run in reversed(self._running[:]):
            with guard(note, "the run that was tracked"):
                run.finish("interrupted")

    def _new_run(self, line: str, cell: str) -> TrackedRun:
        args = parse_line(self.flops_track, line)
        if args.stop_at is not None and args.model:
            raise InputError(
                "--stop-at stops Trainers, and --model names a loop of your own; use "
                "attach_to_trainers(model=…, stop_at=…) and ask run.should_stop in it"
            )
        return TrackedRun(
            original=OriginalModel.of(**question(args)),
            folder=None if args.no_file else _folder(args.folder),
            # of the cell as the user wrote it: ``verify`` compares it with the source
            source_sha256=body_sha256(cell),
            display=view_for(self.shell),
            declared=declared_flops(args.declare),
            models=_named_models(args.model, self.shell.user_ns),
            stop_at=None if args.stop_at is None else parse_share(args.stop_at),
        )

    @contextmanager
    def _tracking(self, run: TrackedRun) -> Iterator[None]:
        """Track the block; only a run that did start becomes the last one."""
        with run:
            self.last = run
            self._running.append(run)
            try:
                yield
            finally:
                self._running.remove(run)


def _named_models(
    names: Sequence[str] | None, variables: Mapping[str, Any]
) -> Callable[[], dict[str, Any]] | None:
    """Return a function that looks the named models up; None without names.

    The cell may make the model itself, so its name is looked up while it runs.
    """
    if not names:
        return None
    for name in names:
        if not name.isidentifier():
            raise InputError(
                f"--model {name!r} is not the name of a variable; pass --model model"
            )
    return lambda: {name: variables.get(name) for name in names}


def _folder(named: str | None) -> Path:
    """Return the notebook's folder, or the one that the user names."""
    if named:
        return Path(named).expanduser()
    # ipykernel 6 and 7 take the notebook's path from this variable, which Jupyter
    # Server and run_notebook set; without it, the kernel's working folder has to do
    session = os.environ.get("JPY_SESSION_NAME", "")
    parent = Path(session).parent
    return parent if session and parent.is_dir() else Path.cwd()


def register(shell: Any) -> None:
    """Add the magics to a shell; again does nothing more."""
    # a public property of the shell (IPython 8.37 and 9.18): the transforms that turn
    # magics into calls. Without it %load_ext would fail, and say so.
    transforms = shell.input_transformers_cleanup
    if any(map(_is_ours, transforms)):
        return
    # before the one that hides the cell's body in a string, and behind those that take
    # empty lines, indents and prompts off
    known = to_magic_call in transforms
    place = transforms.index(to_magic_call) if known else len(transforms)
    transforms.insert(place, await_tracked)
    shell.register_magics(FlopsMagics(shell))


def unregister(shell: Any) -> None:
    """Take everything away that ``register`` added; raises nothing.

    A run that is still tracked is finished and recorded, which takes its patches of
    Trainers and loops away. What fails on the way is a line on standard error.
    """
    transforms = shell.input_transformers_cleanup
    transforms[:] = [one for one in transforms if not _is_ours(one)]
    manager = shell.magics_manager
    owners: list[Any] = []
    for table in manager.magics.values():
        for name in [one for one in table if one.startswith(_PREFIX)]:
            owner = getattr(table.pop(name), "__self__", None)
            if isinstance(owner, FlopsMagics) and owner not in owners:
                owners.append(owner)
    for owner in owners:
        owner.finish_runs(_warn)
        # the shell keeps every Magics it was given, and with it the last run's models
        manager.registry.pop(type(owner).__name__, None)
        if owner in shell.configurables:
            shell.configurables.remove(owner)


def _is_ours(transform: Any) -> bool:
    # by the name of its module: after %autoreload the function is another object
    return getattr(transform, "__module__", None) == await_tracked.__module__


def _warn(where: str, what: BaseException | str) -> None:
    kind = f"{type(what).__name__}: " if isinstance(what, BaseException) else ""
    first = (str(what).strip().splitlines() or [""])[0]
    sys.stderr.write(f"flops_magic: {where}: {kind}{first}\n")


__all__ = ["FlopsMagics", "register", "unregister"]
