"""The command line: ``flops-magic``. Exit 0 holds, 1 does not, 2 used wrongly.

One function is one command, and one row of ``COMMANDS`` says what it takes. Each
function imports what it needs: ``verify`` has to work where nothing is installed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from flops_magic.errors import FlopsMagicError, InputError
from flops_magic.near_names import near
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
from flops_magic.printable import printable_lines


def say(text: object, *, file: TextIO | None = None) -> None:
    """Print what a terminal can show of a text, whatever a file put into it."""
    stream = file or sys.stdout
    shown = printable_lines(str(text))
    # a terminal of a narrow encoding shows what it lacks as an escape
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(shown.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    typed = list(sys.argv[1:] if argv is None else argv)
    args, extra = _build_parser().parse_known_args(typed)
    # Only ``track`` passes arguments on, those behind the script to the script; what is
    # in front of it is a misspelt option of ours.
    passed_on = typed[typed.index(args.script) :] if args.run is track else []
    if extra and extra[0] not in passed_on:
        args.parser.refuse(extra[0])
    args.extra = extra
    try:
        return int(args.run(args) or 0)
    except FlopsMagicError as error:
        say(f"{type(error).__name__}: {error}", file=sys.stderr)
        # 2 as argparse does, so that scripts tell wrong use from evidence that fails
        return 2 if isinstance(error, InputError) else 1
    except BrokenPipeError:
        return 0  # whoever read the output, such as ``head``, has had enough


def verify(args: argparse.Namespace) -> int:
    """Verify files; print what holds and what does not."""
    from flops_magic.evidence.verify import check

    failed = 0
    for path in args.files:
        report = check(path)
        for problem in report.problems:
            say(f"{path}: {type(problem).__name__}: {problem}", file=sys.stderr)
        failed += bool(report.problems)
        if report.problems:
            continue
        say(f"{path}: holds; {len(report.records)} record(s)")
        for sealed, record in report.records:
            verdict = record.decision.verdict if record.decision else "no verdict"
            say(
                f"  {record.run.started_at[:19]} {record.run.outcome}: direct "
                f"{record.flops.direct:,} FLOP, {verdict}, sha256 {sealed.sha256[:12]}"
            )
        for remark in report.remarks:
            say(f"  note: {remark}")
    return 1 if failed else 0


def embed(args: argparse.Namespace) -> None:
    """Put records into a notebook's metadata."""
    from flops_magic.evidence.notebook import embed

    added = embed(args.notebook, args.record)
    say(f"{args.notebook}: {added} record(s) added")


def extract(args: argparse.Namespace) -> None:
    """Write a file's records, one JSON object a line, or into a folder."""
    from flops_magic.evidence.files import write_text
    from flops_magic.evidence.notebook import extract

    for sealed in extract(args.file):
        text = json.dumps(sealed.to_dict(), ensure_ascii=False) + "\n"
        if args.to is None:
            sys.stdout.write(text)
            continue
        path = Path(args.to) / f"{sealed.sha256[:16]}.json"
        write_text(path, text)
        say(path)


def show(args: argparse.Namespace) -> None:
    """Print the card of every record of a file."""
    from flops_magic.display.text import record_text
    from flops_magic.evidence.notebook import extract

    for sealed in extract(args.file):
        say(record_text(sealed.open(), sealed))


def report(args: argparse.Namespace) -> None:
    """Report compute, time and energy as the Model Documentation Form asks."""
    from flops_magic.report.report import report

    made = report(args.files, audience=args.audience)
    sys.stdout.write(made.write(args.format, args.output))


def run(args: argparse.Namespace) -> int:
    """Execute a notebook headless, its records embedded."""
    from flops_magic.jupyter.headless import run_notebook

    try:
        path = run_notebook(
            args.notebook,
            args.output,
            timeout_s=args.timeout,
            kernel_name=args.kernel,
            fresh=args.fresh,
            on_progress=lambda line: say(line, file=sys.stderr),
        )
    except FlopsMagicError:
        raise
    except Exception as error:  # noqa: BLE001 the notebook's own error, shown as such
        lines = str(error).strip().splitlines() or [""]
        say(f"{type(error).__name__}: {lines[-1]}", file=sys.stderr)
        say(f"what ran is kept in {args.output or args.notebook}", file=sys.stderr)
        return 1
    say(f"{path}: executed")
    return 0


def estimate(args: argparse.Namespace) -> None:
    """Print what fine-tuning will cost."""
    from flops_magic.estimation.estimator import estimate

    found = estimate(**estimate_arguments(args))
    say(found)
    if args.plot:
        try:
            found.plot().savefig(args.plot, dpi=150)
        except (OSError, ValueError) as error:
            raise InputError(
                f"no chart in {args.plot!r}: {error}; name a .png, .svg or .pdf file"
            ) from error
        say(f"chart: {args.plot}")


def track(args: argparse.Namespace) -> None:
    """Run a script with every Trainer in it measured."""
    from flops_magic.script import run_script

    run_script(
        args.script,
        args.extra,
        folder=args.folder or ".",
        declared=declared_flops(args.declare),
        stop_at=args.stop_at,
        **question(args),
    )


def models(args: argparse.Namespace) -> None:
    """List base models, or show one."""
    from flops_magic.display.registry_text import base_model_text, found_lines
    from flops_magic.registry.base_models import lookup

    say(base_model_text(lookup(args.id)) if args.id else found_lines(args.search))


def accelerators(args: argparse.Namespace) -> None:
    """List accelerators and their dense bf16 and fp16 peaks."""
    from flops_magic.registry.accelerators import accelerators

    for row in accelerators():
        peaks = {f: row.peak_flops_per_s(f) for f in ("bf16", "fp16")}
        figures = [f"{f} {peak / 1e12:g}" for f, peak in peaks.items() if peak]
        say(f"{row.name:<28} {', '.join(figures)} TFLOP/s dense")


@dataclass(frozen=True)
class Command:
    """One command of ``flops-magic``, named after the function that runs it.

    Attributes:
        run: takes what was parsed and returns the exit code; None for 0.
        options: what it takes of its own.
        asks_original: whether it takes the options of the original model too.
    """

    run: Callable[[argparse.Namespace], int | None]
    options: tuple[Option, ...] = ()
    asks_original: bool = False


_ABOUT = (
    "Training compute of fine-tuning: estimated, measured, judged and verified. Exit "
    "code 0: holds; 1: does not hold; 2: used wrongly."
)
_FILE = option("file", "a notebook, flops_meter.json, journal or extracted record")
_FILES = option("files", "notebooks, flops_meter.json files, …", nargs="+")
_PLOT = option("--plot", "write a bar chart", metavar="FILE")
_SCRIPT = option("script", "a Python script; what follows are its arguments")

COMMANDS = (
    Command(estimate, (*ESTIMATE_OPTIONS, _PLOT), asks_original=True),
    Command(track, (_SCRIPT, *TRACK_OPTIONS), asks_original=True),
    Command(
        run,
        (
            option("notebook", "the notebook to execute"),
            option("--output", "where to write it; in place by default"),
            option("--timeout", "seconds a cell may take", type=int),
            option("--kernel", "name of the kernel; by default the notebook's own"),
            option("--fresh", "drop earlier runs' records", action="store_true"),
        ),
    ),
    Command(
        embed,
        (
            option("notebook", "the notebook that gets the records"),
            option("--record", "a flops_meter.json or a journal; else its outputs'"),
        ),
    ),
    Command(extract, (_FILE, option("--to", "a folder, one file a record"))),
    Command(show, (_FILE,)),
    Command(report, (_FILES, *REPORT_OPTIONS)),
    Command(verify, (_FILES,)),
    Command(
        models,
        (
            option("id", "show one model", nargs="?"),
            option("--search", "words of id, family or developer", default=""),
        ),
    ),
    Command(accelerators),
)


class _Parser(argparse.ArgumentParser):
    """Answers a mistake in one line, a typo with near names."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def refuse(self, typed: str) -> NoReturn:
        """Answer arguments that no option takes."""
        # private in argparse (Python 3.11 to 3.14): it has no public list of options
        known = [flag for action in self._actions for flag in action.option_strings]
        kind = "option" if typed.startswith("-") else "argument"
        self.error(f"unknown {kind} {typed!r}{near(typed.partition('=')[0], known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse's own name (Python 3.11 to 3.14): it raises for what is not among
        # the choices. Were it gone, argparse would list them, without near names.
        choices = action.choices or ()
        if value not in choices and (offer := near(str(value), map(str, choices))):
            self.error(f"unknown {value!r}{offer}")
        super()._check_value(action, value)


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="flops-magic", description=_ABOUT, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        told = command.run.__doc__
        sub = commands.add_parser(command.run.__name__, help=told, allow_abbrev=False)
        sub.set_defaults(run=command.run, parser=sub)
        for name, settings in command.options:
            sub.add_argument(name, **settings)
        if command.asks_original:
            group = sub.add_argument_group("the original model")
            for name, settings in ORIGINAL_OPTIONS:
                group.add_argument(name, **settings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
