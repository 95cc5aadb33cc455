"""Every option of the magics and the command line, written once.

A row is what argparse's and IPython's ``add_argument`` take. Both doors add the same
rows, and one function turns what was parsed into the keyword arguments of the function
behind them: a new option is one row here, and one line in that function.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flops_magic.errors import InputError
from flops_magic.flops.profile import METHODS
from flops_magic.flops.units import parse_count

Option = tuple[str, dict[str, Any]]

# Words instead of switches: "unknown" is a third answer.
STATUS = ("yes", "no", "unknown")


def option(name: str, description: str, **settings: Any) -> Option:
    """Return one row.

    Args:
        name: a flag such as ``--tokens``, or the name of a positional argument.
        description: its line in ``--help``.
        settings: what else ``add_argument`` takes.
    """
    return name, {"help": description, **settings}


# a switch that was not set is None: then a Trainer's or a recipe's own setting counts
_SWITCH: dict[str, Any] = {"action": "store_true", "default": None}

ESTIMATE_OPTIONS: tuple[Option, ...] = (
    option(
        "model",
        "folder, Hub id or recipe YAML; in a notebook also a variable that holds a "
        "model, a config or a Trainer",
    ),
    option("--tokens", "tokens an epoch: 25M, 3e9", metavar="N"),
    option("--seq-len", "positions a sequence: 4096", metavar="N"),
    option("--target-len", "positions of an encoder-decoder's target", metavar="N"),
    option("--epochs", "how often the tokens are seen; 1 by default", metavar="N"),
    option(
        "--batch-size",
        "sequences a forward call; 1 by default",
        type=int,
        metavar="N",
    ),
    option(
        "--method",
        "repeat for several; by default what the recipe says, or full, lora and qlora, "
        "with --trainable spectrum too",
        action="append",
        choices=METHODS,
    ),
    option("--lora-rank", "rank of the adapters; 16 by default", type=int, metavar="N"),
    option(
        "--lora-targets",
        "module names, by comma; all-linear by default",
        metavar="NAMES",
    ),
    option(
        "--trainable",
        "pattern of the parameters that train, or Spectrum's YAML; repeatable",
        action="append",
        metavar="PATTERN",
    ),
    option(
        "--dataset",
        "rows to count: a .jsonl or .txt file; in a notebook also a variable",
    ),
    option("--tokenizer", "counts them: a folder; in a notebook also a variable"),
    option("--text-field", "the field of a row that holds the text", metavar="NAME"),
    option("--packing", "join the rows to full sequences", **_SWITCH),
    option(
        "--images",
        "images a sequence carries, or tiles of them",
        type=int,
        metavar="N",
    ),
    option("--image-size", "in pixels: 896x896", metavar="HEIGHTxWIDTH"),
    option(
        "--audio-s",
        "seconds of sound a sequence carries",
        type=float,
        metavar="SECONDS",
    ),
    option(
        "--gradient-checkpointing",
        "activations are computed again in backward",
        **_SWITCH,
    ),
    option("--accelerator", "device name, for hours and energy: H100", metavar="NAME"),
    option("--mfu", "utilisation to expect: 0.4", type=float, metavar="SHARE"),
)
TRACK_OPTIONS: tuple[Option, ...] = (
    option(
        "--folder",
        "where flops_meter.json goes; by default beside the notebook, or the working "
        "folder of a script",
    ),
    option(
        "--declare",
        "FLOP that contributed elsewhere, such as synthetic-data=1.6e18; repeatable",
        action="append",
        metavar="REASON=N",
    ),
    option(
        "--stop-at",
        "stop Trainers, a checkpoint saved, before this share of the line: 0.9",
        metavar="SHARE",
    ),
)
ORIGINAL_OPTIONS: tuple[Option, ...] = (
    option(
        "--base-model",
        "the original model's id; the trained model's own name by default",
        metavar="ID",
    ),
    option(
        "--original-flops",
        "the original's training compute in FLOP, such as 3.3e24",
        metavar="N",
    ),
    option(
        "--original-tokens",
        "tokens that it was trained on, such as 9T, to estimate 6·P·D",
        metavar="N",
    ),
    option(
        "--original-parameters",
        "P, those active for a token; by default the registry's, or those of the "
        "trained model",
        metavar="N",
    ),
    option(
        "--original-source",
        "where the figure was read; the record keeps it",
        metavar="TEXT",
    ),
    option(
        "--original",
        "its compute can neither be known nor estimated: use the substitute threshold",
        choices=("unknown",),
    ),
    option(
        "--systemic-risk",
        "whether the original is classified as a model with systemic risk; by default "
        "the registry's presumption by compute",
        choices=STATUS,
    ),
    option(
        "--original-is-gpai",
        "whether the original is a GPAI model; by default 10^23 FLOP decides",
        choices=STATUS,
    ),
    option(
        "--same-provider",
        "the original's own provider trains: no downstream modifier",
        action="store_true",
    ),
    option(
        "--not-on-union-market",
        "nothing is placed on the Union market",
        action="store_true",
    ),
)
REPORT_OPTIONS: tuple[Option, ...] = (
    option(
        "--format",
        "by default what --output ends in, or md",
        choices=("html", "md", "docx", "json", "model-card"),
    ),
    option(
        "--audience",
        "one form alone; by default an internal report with all of them",
        choices=("ai-office", "national-authority", "downstream", "all"),
        default="all",
    ),
    option("--output", "ends in .html, .md, .docx or .json", metavar="FILE"),
)


def estimate_arguments(
    args: Any, variables: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return parsed estimate options as the keyword arguments of ``estimate``.

    Args:
        args: what was parsed with ``ESTIMATE_OPTIONS`` and ``ORIGINAL_OPTIONS``.
        variables: of a notebook; a model, data set or tokenizer may be named by one.

    Raises:
        InputError: for options that contradict each other.
    """
    held = variables or {}
    targets = args.lora_targets or ""
    return {
        "model": held.get(args.model, args.model),
        "tokens": args.tokens,
        "seq_len": args.seq_len,
        "target_len": args.target_len,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "methods": args.method,
        "lora_rank": args.lora_rank,
        "lora_targets": targets.split(",") if "," in targets else targets or None,
        "trainable": args.trainable,
        "gradient_checkpointing": args.gradient_checkpointing,
        "dataset": held.get(args.dataset, args.dataset),
        "tokenizer": held.get(args.tokenizer, args.tokenizer),
        "text_field": args.text_field,
        "packing": args.packing,
        "images": args.images,
        "image_size": args.image_size,
        "audio_s": args.audio_s,
        "accelerator": args.accelerator,
        "mfu": args.mfu,
        **question(args),
    }


def declared_flops(pairs: list[str] | None) -> dict[str, int]:
    """Return the FLOP that ``--declare REASON=N`` names, by reason.

    Raises:
        InputError: for a pair without a reason or a count, and a reason named twice.
    """
    declared: dict[str, int] = {}
    for pair in pairs or []:
        reason, _, value = (part.strip() for part in pair.partition("="))
        if not (reason and value):
            raise InputError(
                f"--declare {pair!r} is not REASON=N; write synthetic-data=1.6e18"
            )
        if reason in declared:
            raise InputError(
                f"--declare names {reason!r} twice; add the two counts, or give each "
                "a reason of its own"
            )
        declared[reason] = parse_count(value)
    return declared


def question(args: Any) -> dict[str, Any]:
    """Return parsed original options as the keyword arguments of ``OriginalModel.of``.

    Raises:
        InputError: for a figure that is declared unknown and given.
    """
    if args.original and args.original_flops:
        raise InputError(
            f"--original unknown and --original-flops {args.original_flops} contradict "
            "each other; pass one of them"
        )
    return {
        "base_model": args.base_model,
        "original_flops": args.original or args.original_flops,
        "original_tokens": args.original_tokens,
        "original_parameters": args.original_parameters,
        "original_source": args.original_source,
        "systemic_risk": args.systemic_risk,
        "original_is_gpai": args.original_is_gpai,
        "same_provider": args.same_provider,
        "union_market": not args.not_on_union_market,
    }
