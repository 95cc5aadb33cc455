"""The options that name the original model, the same at every door."""

from __future__ import annotations

from typing import Any

from flops_magic.errors import InputError

STATUS = ("yes", "no", "unknown")

# what argparse's and IPython's add_argument take
ORIGINAL_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--base-model",
        {
            "metavar": "ID",
            "help": "the original model's id; the trained model's own name by default",
        },
    ),
    (
        "--original-flops",
        {
            "metavar": "N",
            "help": "the original's training compute in FLOP, such as 3.3e24",
        },
    ),
    (
        "--original-tokens",
        {
            "metavar": "N",
            "help": "tokens that it was trained on, such as 9T, to estimate 6·P·D",
        },
    ),
    (
        "--original-parameters",
        {
            "metavar": "N",
            "help": "P, those active for a token; by default the registry's, or those "
            "of the trained model",
        },
    ),
    (
        "--original-source",
        {
            "metavar": "TEXT",
            "help": "where the figure was read; it stands in the record",
        },
    ),
    (
        "--original",
        {
            "choices": ("unknown",),
            "help": "nobody can know or estimate it: use the substitute threshold",
        },
    ),
    (
        "--systemic-risk",
        {
            "choices": STATUS,
            "help": "whether the original is classified as a model with systemic risk; "
            "by default the registry's presumption by compute",
        },
    ),
    (
        "--original-is-gpai",
        {
            "choices": STATUS,
            "help": "whether the original is a GPAI model; by default 10^23 FLOP "
            "decides",
        },
    ),
    (
        "--same-provider",
        {
            "action": "store_true",
            "help": "the original's own provider trains: no downstream modifier",
        },
    ),
    (
        "--not-on-union-market",
        {
            "action": "store_true",
            "help": "nothing is placed on the Union market",
        },
    ),
)
REPORT_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--format",
        {
            "choices": ("html", "md", "docx", "json", "model-card"),
            "help": "by default what --output ends in, or md",
        },
    ),
    (
        "--audience",
        {
            "choices": ("ai-office", "national-authority", "downstream", "all"),
            "default": "all",
            "help": "one form alone; by default an internal report with all of them",
        },
    ),
    (
        "--output",
        {
            "metavar": "FILE",
            "help": "ends in .html, .md, .docx or .json",
        },
    ),
)


def question(args: Any) -> dict[str, Any]:
    """Return parsed options as the keywords of ``OriginalModel.of``.

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
