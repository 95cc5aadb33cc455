"""The summed shape of a planned run: from tokens that are given, or from rows."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from flops_magic.errors import InputError
from flops_magic.estimation.dataset_tokens import (
    SEED,
    TokenLengths,
    filled_shape,
    lengths_of_text,
)
from flops_magic.estimation.training_plan import Plan
from flops_magic.flops.profile import PassShape
from flops_magic.flops.units import parse_count, parse_decimal


def planned_shape(
    plan: Plan,
    *,
    tokens: int | str | None,
    seq_len: int | str | None,
    epochs: int | str | Fraction | None,
    batch_size: int | None,
    dataset: Any,
    tokenizer: Any,
    text_field: str | None,
    packing: bool | None,
) -> tuple[PassShape, int, tuple[str, ...]]:
    """Return the shape of the whole run, its sequences' length, and notes.

    What is passed wins over the plan.

    Raises:
        InputError: naming what is missing.
        QuantityError: for text that does not read as a count.
    """
    rows_a_call = _rows_a_call(plan.batch_size if batch_size is None else batch_size)
    often = _epochs(plan.epochs if epochs is None else epochs)
    length = plan.seq_len if seq_len is None else parse_count(seq_len, minimum=1)
    joined = bool(plan.packing if packing is None else packing)
    if tokens is not None and dataset is not None:
        raise InputError("tokens and dataset are both given; pass one of them")
    if tokens is not None:
        # a fraction of a token is rounded up: never too low
        total = -(-parse_count(tokens, minimum=1) * often // 1)
        if length is None:
            raise InputError(
                "the length of a sequence is missing; pass seq_len (--seq-len 4096)"
            )
        # fewer tokens than a sequence holds make one shorter sequence, not padding
        length = min(length, total)
        return filled_shape(total, length, rows_a_call), length, plan.notes
    rows = plan.lengths if dataset is None else None
    if rows is None:
        rows = _counted(plan, dataset, tokenizer, text_field)
    if length is not None:
        rows = rows.truncated(length)
    elif joined:
        raise InputError("packing needs seq_len, the length to fill (--seq-len 4096)")
    # packed sequences are full; others are at most as long as the longest row
    length = length if joined and length else min(length or rows.longest, rows.longest)
    shape = rows.shape(
        batch_size=rows_a_call, packing=joined, seq_len=length, epochs=often
    )
    return shape, length, (*plan.notes, _note(rows, rows_a_call, joined))


def _counted(
    plan: Plan, dataset: Any, tokenizer: Any, text_field: str | None
) -> TokenLengths:
    rows = plan.dataset if dataset is None else dataset
    if rows is None:
        raise InputError(
            "the number of tokens is missing; pass tokens (--tokens 25M) or a dataset "
            "to count (--dataset)"
        )
    # a model's name is its tokenizer's name too, for every model on the Hub
    if tokenizer is None and isinstance(plan.model, str):
        tokenizer = plan.model
    return lengths_of_text(rows, tokenizer, text_field=text_field)


def _rows_a_call(batch_size: int | None) -> int:
    if batch_size is None:
        return 1
    return parse_count(batch_size, minimum=1)


def _epochs(epochs: int | str | Fraction | None) -> Fraction:
    if epochs is None:
        return Fraction(1)
    exact = epochs if isinstance(epochs, Fraction) else parse_decimal(str(epochs))
    if exact <= 0:
        raise InputError(f"epochs={epochs!r} has to be above 0; pass 1, 3 or 0.5")
    return exact


def _note(rows: TokenLengths, rows_a_call: int, joined: bool) -> str:
    how = (
        "packed rows, each sequence attending to itself"
        if rows.packed
        else "joined to full sequences"
        if joined
        else f"padded to the longest of each {rows_a_call}"
        if rows_a_call > 1
        else "no padding at batch size 1"
    )
    counted = f"{len(rows.lengths):,} of {rows.rows:,} rows"
    if not rows.sampled:
        return f"tokens counted in all {rows.rows:,} rows; {how}"
    error = f"± {100 * rows.relative_error:.2g} % (95 %)"
    return f"tokens sampled in {counted} (seed {SEED}), {error}; {how}"
