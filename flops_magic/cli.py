"""The command line: ``flops-magic``. Exit 0 holds, 1 does not, 2 used wrongly."""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from flops_magic.errors import FlopsMagicError, InputError, VerificationError
from flops_magic.options import ORIGINAL_OPTIONS, REPORT_OPTIONS, question


class _Parser(argparse.ArgumentParser):
    """A parser that answers a typo in one line, with near names."""

    def error(self, message: str) -> NoReturn:
        if typo := re.search(r"unrecognized arguments: (\S+)", message):
            known = [s for a in self._actions for s in a.option_strings]
            near = difflib.get_close_matches(typo[1], known, 2)
            message = f"unknown option {typo[1]!r}" + _near(near)
        elif typo := re.search(r"invalid choice: '([^']+)'", message):
            commands = [str(c) for a in self._actions for c in a.choices or ()]
            near = difflib.get_close_matches(typo[1], commands, 2)
            if near:
                message = f"unknown {typo[1]!r}" + _near(near)
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _near(names: Sequence[str]) -> str:
    return f"; near: {', '.join(names)}" if names else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _build_parser()
    args, extra = parser.parse_known_args(argv)
    if extra and args.run is not track:
        args.parser.error(f"unrecognized arguments: {' '.join(extra)}")
    args.extra = extra
    try:
        return int(args.run(args) or 0)
    except VerificationError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except InputError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except FlopsMagicError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0


def verify(args: argparse.Namespace) -> int:
    """Verify files; print what holds and what does not."""
    from flops_magic.evidence.verify import check

    failed = 0
    for path in args.files:
        report = check(path)
        for problem in report.problems:
            print(f"{path}: {type(problem).__name__}: {problem}", file=sys.stderr)
        failed += bool(report.problems)
        if report.problems:
            continue
        print(f"{path}: holds; {len(report.records)} record(s)")
        for sealed, record in report.records:
            verdict = record.decision.verdict if record.decision else "no verdict"
            print(
                f"  {record.run.started_at[:19]} {record.run.outcome}: direct "
                f"{record.flops.direct:,} FLOP, {verdict}, sha256 {sealed.sha256[:12]}"
            )
        for remark in report.remarks:
            print(f"  note: {remark}")
    return 1 if failed else 0


def embed(args: argparse.Namespace) -> None:
    """Put records into a notebook's metadata."""
    from flops_magic.evidence.notebook import embed

    added = embed(args.notebook, args.record)
    print(f"{args.notebook}: {added} record(s) added")


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
        print(path)


def show(args: argparse.Namespace) -> None:
    """Print the card of every record of a file."""
    from flops_magic.display.text import record_text
    from flops_magic.evidence.notebook import extract

    for sealed in extract(args.file):
        print(record_text(sealed.open(), sealed))


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
            on_progress=lambda line: print(line, file=sys.stderr),
        )
    except FlopsMagicError:
        raise
    except Exception as error:  # noqa: BLE001 a cell may raise anything
        lines = str(error).strip().splitlines() or [""]
        print(f"{type(error).__name__}: {lines[-1]}", file=sys.stderr)
        print(f"what ran is kept in {args.output or args.notebook}", file=sys.stderr)
        return 1
    print(f"{path}: executed")
    return 0


def estimate(args: argparse.Namespace) -> None:
    """Print what fine-tuning will cost."""
    from flops_magic.estimation.estimator import estimate

    targets = args.lora_targets or ""
    found = estimate(
        args.model,
        tokens=args.tokens,
        seq_len=args.seq_len,
        target_len=args.target_len,
        epochs=args.epochs,
        batch_size=args.batch_size,
        methods=args.method,
        lora_rank=args.lora_rank,
        lora_targets=targets.split(",") if "," in targets else targets or None,
        trainable=args.trainable,
        gradient_checkpointing=args.gradient_checkpointing,
        dataset=args.dataset,
        tokenizer=args.tokenizer,
        text_field=args.text_field,
        packing=args.packing,
        images=args.images,
        image_size=args.image_size,
        audio_s=args.audio_s,
        accelerator=args.accelerator,
        mfu=args.mfu,
        **question(args),
    )
    print(found)
    if args.plot:
        try:
            found.plot().savefig(args.plot, dpi=150)
        except (OSError, ValueError) as error:
            raise InputError(
                f"no chart in {args.plot!r}: {error}; name a .png, .svg or .pdf file"
            ) from error
        print(f"chart: {args.plot}")


def track(args: argparse.Namespace) -> None:
    """Run a script with every Trainer in it measured."""
    from flops_magic.script import run_script

    run_script(
        args.script,
        args.extra,
        folder=args.folder,
        stop_at=args.stop_at,
        **question(args),
    )


def models(args: argparse.Namespace) -> None:
    """List base models, or show one."""
    from flops_magic.display.registry_text import base_model_lines, base_model_text
    from flops_magic.registry.base_models import lookup, search

    if args.id:
        print(base_model_text(lookup(args.id)))
        return
    found = search(args.search or "")
    if not found:
        raise InputError(
            f"no base model has all the words of {args.search!r}; try fewer of them"
        )
    print(base_model_lines(found))


def accelerators(args: argparse.Namespace) -> None:
    """List accelerators and their dense bf16 and fp16 peaks."""
    from flops_magic.registry.accelerators import accelerators

    for row in accelerators():
        peaks = {f: row.peak_flops_per_s(f) for f in ("bf16", "fp16")}
        figures = [f"{f} {peak / 1e12:g}" for f, peak in peaks.items() if peak]
        print(f"{row.name:<28} {', '.join(figures)} TFLOP/s dense")


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="flops-magic", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Callable[..., Any], name: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=run.__doc__, allow_abbrev=False)
        sub.set_defaults(run=run, parser=sub)
        return sub

    one = command(estimate, "estimate")
    one.add_argument("model", help="folder, Hub id, or recipe YAML")
    one.add_argument("--tokens", help="tokens an epoch: 25M")
    one.add_argument("--seq-len", help="positions a sequence")
    one.add_argument("--target-len", help="positions of an encoder-decoder's target")
    one.add_argument("--epochs", help="1 by default")
    one.add_argument("--batch-size", type=int, help="sequences a forward call")
    one.add_argument("--method", action="append", help="repeat for several")
    one.add_argument("--lora-rank", type=int, help="16 by default")
    one.add_argument("--lora-targets", help="module names, by comma")
    one.add_argument("--trainable", action="append", help="pattern; or Spectrum's YAML")
    one.add_argument("--dataset", help="rows to count: a .jsonl or .txt file")
    one.add_argument("--tokenizer", help="counts them; a folder")
    one.add_argument("--text-field", help="the field that holds the text")
    one.add_argument("--images", type=int, help="images a sequence, or tiles")
    one.add_argument("--image-size", help="HEIGHTxWIDTH in pixels: 896x896")
    one.add_argument("--audio-s", type=float, help="seconds of sound a sequence")
    one.add_argument("--packing", action="store_true", default=None)
    one.add_argument("--gradient-checkpointing", action="store_true", default=None)
    one.add_argument("--accelerator", help="for hours and energy: H100")
    one.add_argument("--mfu", type=float, help="utilisation to expect: 0.4")
    one.add_argument("--plot", metavar="FILE", help="write a bar chart")
    _add_question(one)
    one = command(track, "track")
    one.add_argument("script", help="a Python script; what follows are its arguments")
    one.add_argument("--folder", default=".", help="where flops_meter.json goes")
    stop = "stop Trainers before this share of the line, a checkpoint saved: 0.9"
    one.add_argument("--stop-at", metavar="SHARE", help=stop)
    _add_question(one)
    one = command(run, "run")
    one.add_argument("notebook")
    one.add_argument("--output", help="where to write it; in place by default")
    one.add_argument("--timeout", type=int, help="seconds a cell may take")
    one.add_argument("--kernel", help="name of the kernel")
    fresh = "start without the records of earlier runs"
    one.add_argument("--fresh", action="store_true", help=fresh)
    one = command(embed, "embed")
    one.add_argument("notebook")
    one.add_argument("--record", help="a flops_meter.json, or a journal")
    one = command(extract, "extract")
    one.add_argument("file")
    one.add_argument("--to", help="a folder, one file a record")
    one = command(show, "show")
    one.add_argument("file")
    one = command(report, "report")
    one.add_argument("files", nargs="+", metavar="FILE")
    for flag, options in REPORT_OPTIONS:
        one.add_argument(flag, **options)
    one = command(verify, "verify")
    one.add_argument("files", nargs="+")
    one = command(models, "models")
    one.add_argument("id", nargs="?", help="show one model")
    one.add_argument("--search", help="words of id, family or developer")
    command(accelerators, "accelerators")
    return parser


def _add_question(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the original model")
    for flag, options in ORIGINAL_OPTIONS:
        group.add_argument(flag, **options)


if __name__ == "__main__":
    sys.exit(main())
