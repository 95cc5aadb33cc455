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

from flops_magic.ai_act.original_model import Original
from flops_magic.display.registry_text import base_model_lines, base_model_text
from flops_magic.errors import FlopsMagicError, InputError
from flops_magic.estimation.estimate import Estimate
from flops_magic.estimation.estimator import METHODS, estimate
from flops_magic.evidence.notebook import body_sha256
from flops_magic.evidence.verify import verify
from flops_magic.jupyter.cell_code import await_tracked, compiled
from flops_magic.jupyter.magic_line import parse_line
from flops_magic.jupyter.notebook_view import show_figure, show_record, view_for
from flops_magic.options import ORIGINAL_OPTIONS, REPORT_OPTIONS, question
from flops_magic.registry.base_models import lookup, search
from flops_magic.report.report import report, report_on
from flops_magic.tracking.run import TrackedRun
from flops_magic.tracking.stop_rule import parse_share

_MOST_MODELS = 40
_TRACKED = re.compile(r"^\s*%%flops_track\b(.*)$")


def _options_of(rows: Any) -> Callable[..., Any]:
    """Return a decorator that adds options to a magic."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for flag, options in reversed(rows):
            function = argument(flag, **options)(function)
        return function

    return add


_base_model_options = _options_of(ORIGINAL_OPTIONS)


@magics_class
class FlopsMagics(Magics):
    """Magics that measure, judge and keep the training compute of fine-tuning."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.last: TrackedRun | None = None

    @magic_arguments()
    @argument(
        "model",
        help="Hub id, folder, recipe YAML, or a variable that holds a model, a config "
        "or a Trainer",
    )
    @argument("--tokens", help="tokens an epoch: 25M, 3e9")
    @argument("--seq-len", help="positions a sequence: 4096")
    @argument("--target-len", help="positions of an encoder-decoder's target")
    @argument("--epochs", help="how often the tokens are seen; 1 by default")
    @argument("--batch-size", type=int, help="sequences a forward call; 1 by default")
    @argument("--method", action="append", choices=METHODS, help="repeat for several")
    @argument("--lora-rank", type=int, help="rank of the adapters; 16 by default")
    @argument("--lora-targets", help="module names, by comma; all-linear by default")
    @argument("--dataset", help="rows to count: a variable, a .jsonl or .txt file")
    @argument("--tokenizer", help="counts them: a variable or a folder")
    @argument("--text-field", help="the field of a row that holds the text")
    @argument("--images", type=int, help="images a sequence carries, or tiles of them")
    @argument("--image-size", help="HEIGHTxWIDTH in pixels: 896x896")
    @argument("--audio-s", type=float, help="seconds of sound a sequence carries")
    @argument("--packing", action="store_true", default=None, help="join the rows")
    @argument(
        "--gradient-checkpointing",
        action="store_true",
        default=None,
        help="activations are computed again in backward",
    )
    @argument("--plot", action="store_true", help="show a bar chart too")
    @argument("--trainable", action="append", help="pattern of trained parameters")
    @argument("--accelerator", help="device name, for hours and energy: H100")
    @argument("--mfu", type=float, help="utilisation to expect, such as 0.4")
    @_base_model_options
    @line_magic
    def flops_estimate(self, line: str) -> Estimate:
        """Tell what fine-tuning will cost, and its share of the line."""
        args = parse_line(self.flops_estimate, line)
        named, targets = self.shell.user_ns, args.lora_targets or ""
        found = estimate(
            named.get(args.model, args.model),
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
            dataset=named.get(args.dataset, args.dataset),
            tokenizer=named.get(args.tokenizer, args.tokenizer),
            text_field=args.text_field,
            packing=args.packing,
            images=args.images,
            image_size=args.image_size,
            audio_s=args.audio_s,
            accelerator=args.accelerator,
            mfu=args.mfu,
            **question(args),
        )
        if args.plot:
            show_figure(found.plot())
        return found

    @magic_arguments()
    @argument("--folder", help="where flops_meter.json goes; beside the notebook")
    @argument("--no-file", action="store_true", help="write no flops_meter.json")
    @argument(
        "--declare",
        action="append",
        metavar="REASON=N",
        help="FLOP that contributed elsewhere, such as synthetic-data=1.6e18",
    )
    @argument(
        "--model",
        action="append",
        metavar="NAME",
        help="variable of a model that the cell trains without a Trainer; repeatable",
    )
    @argument(
        "--stop-at",
        metavar="SHARE",
        help="stop Trainers, a checkpoint saved, before this share of the line: 0.9",
    )
    @_base_model_options
    @cell_magic
    def flops_track(self, line: str, cell: str) -> None:
        """Measure every Trainer that is made or trained in the cell."""
        __tracebackhide__ = True
        run = self._new_run(line, cell)
        code, last = compiled(self.shell, cell)
        with run:
            for part in (code, last):
                if part is not None:
                    exec(part, self.shell.user_ns)  # noqa: S102 the user's own cell

    async def track_async(self, line: str, cell: str) -> None:
        """Measure a cell with a top-level ``await``, in the kernel's own loop."""
        __tracebackhide__ = True
        run = self._new_run(line, cell)
        code, last = compiled(self.shell, cell)
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
        original = Original.of(**question(args))
        self.last = TrackedRun(
            original=original,
            folder=None if args.no_file else _folder(args.folder),
            source_sha256=body_sha256(cell),
            display=view_for(self.shell),
            declared=_declared(args.declare or []),
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
        found = search(line)
        if not found:
            raise InputError(
                f"no base model has all the words of {line!r}; try fewer of them"
            )
        ids = {name for model in found for name in (model.model_id, *model.aliases)}
        if len(found) == 1 or line.strip() in ids:
            name = line.strip() if line.strip() in ids else found[0].model_id
            print(base_model_text(lookup(name)))  # noqa: T201
            return
        print(base_model_lines(found[:_MOST_MODELS]))  # noqa: T201
        if more := len(found[_MOST_MODELS:]):
            print(f"… and {more} more; add a word")  # noqa: T201


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


def _declared(pairs: list[str]) -> dict[str, int]:
    from flops_magic.flops.units import parse_count

    declared = {}
    for pair in pairs:
        reason, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--declare {pair!r} is no REASON=N; write reason=1.6e18")
        declared[reason] = parse_count(value)
    return declared


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
    for kind, table in shell.magics_manager.magics.items():
        for name in [n for n in table if n.startswith("flops_")]:
            owner = getattr(table[name], "__self__", None)
            run = getattr(owner, "last", None)
            if run is not None and kind == "cell":
                run.finish("interrupted")
            del table[name]


__all__ = ["FlopsMagicError", "FlopsMagics", "register", "unregister"]
