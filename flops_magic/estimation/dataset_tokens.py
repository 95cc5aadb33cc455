"""How many tokens the rows of a data set have, counted with its tokenizer.

A large data set is sampled: n of N rows, drawn without replacement with a fixed seed.
The total is then N times the sample's mean, and its standard error

    SE = N · s / √n · √(1 − n/N)

with s the sample's standard deviation and √(1 − n/N) the correction for a finite
population (Cochran, Sampling Techniques, 3rd ed., theorem 2.2). ± 1.96 · SE is stated.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from math import ceil, sqrt
from pathlib import Path
from statistics import stdev
from typing import Any

from flops_magic.errors import InputError
from flops_magic.flops.profile import PassShape

# a sample's error goes with its own size, whatever the size of the data set
COUNT_ALL_UP_TO = 20_000
SAMPLE_ROWS = 5_000
SEED = 0
_NORMAL_95 = 1.96  # the normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class TokenLengths:
    """The lengths of a data set's rows, or of a sample of them.

    Attributes:
        lengths: tokens of each row that was counted.
        rows: rows of the data set.
        packed: the lengths of the sequences in each row, where rows are packed.
    """

    lengths: tuple[int, ...]
    rows: int
    packed: tuple[tuple[int, ...], ...] = ()

    @property
    def longest(self) -> int:
        """Tokens of the longest row that was counted."""
        return max(self.lengths)

    @property
    def sampled(self) -> bool:
        """Whether only some rows were counted."""
        return len(self.lengths) < self.rows

    @property
    def relative_error(self) -> float:
        """Half of the 95 % interval as a share of the total; 0 if all were counted."""
        counted = len(self.lengths)
        if not self.sampled or counted < 2:
            return 0.0
        mean = sum(self.lengths) / counted
        spread = stdev(self.lengths) / sqrt(counted) * sqrt(1 - counted / self.rows)
        return _NORMAL_95 * spread / mean

    def truncated(self, seq_len: int) -> TokenLengths:
        """Return the lengths of rows that are cut at ``seq_len`` tokens."""
        if self.packed or self.longest <= seq_len:
            return self
        return replace(self, lengths=tuple(min(n, seq_len) for n in self.lengths))

    def shape(
        self, *, batch_size: int, packing: bool, seq_len: int, epochs: Fraction
    ) -> PassShape:
        """Return the summed shape of all passes over the data.

        Args:
            batch_size: rows a forward call; each is padded to the longest of its
                call, as Trainers do (rows shuffled, with a fixed seed).
            packing: whether rows are joined to sequences of ``seq_len`` instead.
            seq_len: positions a sequence, for ``packing``.
            epochs: how often the data is seen.
        """
        if self.packed:
            once = self._packed_shape(batch_size)
        elif packing:
            once = filled_shape(sum(self.lengths), seq_len, batch_size)
        else:
            once = self._padded_shape(batch_size)
        scale = epochs * Fraction(self.rows, len(self.lengths))
        return PassShape(*(ceil(getattr(once, f.name) * scale) for f in fields(once)))

    def _padded_shape(self, batch_size: int) -> PassShape:
        # Trainers shuffle, so a call joins long and short rows: sorted rows would pad
        # less than training will
        order = list(self.lengths)
        random.Random(SEED).shuffle(order)  # noqa: S311 no secret
        total = PassShape()
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            total += PassShape.dense(len(batch), max(batch))
        return total

    def _packed_shape(self, batch_size: int) -> PassShape:
        # each sequence attends to itself only, so pairs are squares of sequences
        sizes = [n for row in self.packed for n in row]
        tokens = sum(sizes)
        return PassShape(
            calls=-(-len(self.packed) // batch_size),
            sequences=len(sizes),
            tokens=tokens,
            pairs=sum(n * n for n in sizes),
            causal_pairs=sum(n * (n + 1) // 2 for n in sizes),
            logits=tokens,
        )


def filled_shape(tokens: int, seq_len: int, batch_size: int) -> PassShape:
    """Return the shape of ``tokens`` in full sequences, and one of the rest."""
    whole, rest = divmod(tokens, seq_len)
    sequences = whole + bool(rest)
    return PassShape(
        calls=-(-sequences // batch_size),
        sequences=sequences,
        tokens=tokens,
        pairs=whole * seq_len * seq_len + rest * rest,
        causal_pairs=(whole * seq_len * (seq_len + 1) + rest * (rest + 1)) // 2,
        logits=tokens,
    )


def lengths_of_rows(rows: Any, *, packed: bool = False) -> TokenLengths:
    """Return the lengths of rows that are tokenised already (``input_ids``).

    Raises:
        InputError: for rows without a number, or none.
    """
    number, chosen = _chosen(rows)
    counted = [rows[i] for i in _shown(chosen, "rows")]
    found = tuple(len(row["input_ids"]) for row in counted)
    within = tuple(tuple(row["seq_lengths"]) for row in counted) if packed else ()
    return TokenLengths(found, number, within)


def lengths_of_text(
    dataset: Any, tokenizer: Any, *, text_field: str | None = None
) -> TokenLengths:
    """Count the tokens of a data set's rows.

    Args:
        dataset: rows (a ``datasets.Dataset``, a list of dicts or texts), or the path
            of a ``.jsonl`` or ``.txt`` file, a row a line.
        tokenizer: a tokenizer, or a folder or Hub id on this machine.
        text_field: the field that holds the text; by default ``text``, ``messages``
            (through the chat template), or ``prompt`` and ``completion``.

    Raises:
        InputError: for rows without text, or a tokenizer that is not here.
    """
    rows = _rows_of(dataset)
    number, chosen = _chosen(rows)
    encode = _encoder(tokenizer, text_field)
    return TokenLengths(
        tuple(encode(rows[i]) for i in _shown(chosen, "tokens")), number
    )


def _chosen(rows: Any) -> tuple[int, Sequence[int]]:
    """Return the number of rows, and which of them are counted."""
    if not hasattr(rows, "__len__") or not hasattr(rows, "__getitem__"):
        raise InputError(
            f"the data set is a stream ({type(rows).__name__}) of unknown length; pass "
            "tokens= instead"
        )
    number = len(rows)
    if not number:
        raise InputError("the data set has no rows; pass one that has, or tokens=")
    if number <= COUNT_ALL_UP_TO:
        return number, range(number)
    drawn = random.Random(SEED).sample(range(number), SAMPLE_ROWS)  # noqa: S311
    return number, sorted(drawn)


def _shown(chosen: Sequence[int], what: str) -> Iterable[int]:
    """Return the row numbers, with a progress bar where somebody looks."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return chosen
    bar: Iterable[int] = tqdm(
        chosen, desc=f"counting {what}", unit="row", leave=False, disable=None
    )
    return bar


def _rows_of(dataset: Any) -> Any:
    if not isinstance(dataset, (str, Path)):
        return dataset
    path = Path(dataset)
    if path.suffix not in (".jsonl", ".txt"):
        raise InputError(
            f"cannot read {str(dataset)!r} as a data set; pass a .jsonl or .txt file, "
            "or the loaded data set itself"
        )
    try:
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
        return [json.loads(line) for line in lines] if path.suffix != ".txt" else lines
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(dataset)!r}: {error}") from error


def _encoder(tokenizer: Any, text_field: str | None) -> Callable[[Any], int]:
    if isinstance(tokenizer, (str, Path)):
        import transformers

        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(tokenizer), local_files_only=True
            )
        except (
            *(OSError, ValueError, KeyError),
            *(AttributeError, ImportError, TypeError),  # transformers 4, without files
        ) as error:
            raise InputError(
                f"cannot load a tokenizer {str(tokenizer)!r} from this machine; pass "
                "tokenizer= with a folder or a loaded tokenizer, or pass tokens="
            ) from error
    if not callable(tokenizer):
        raise InputError(
            "counting tokens needs a tokenizer; pass tokenizer=, or tokens= instead"
        )

    def encode(row: Any) -> int:
        if isinstance(row, dict) and text_field is None and "messages" in row:
            # as TRL does; the template already writes the special tokens
            chat = tokenizer.apply_chat_template(row["messages"], tokenize=False)
            return len(tokenizer(chat, add_special_tokens=False)["input_ids"])
        text = "".join(_texts(row, text_field))
        # an empty text still takes a position once it is padded into a batch
        return max(len(tokenizer(text)["input_ids"]), 1)

    return encode


def _texts(row: Any, text_field: str | None) -> Iterator[str]:
    if isinstance(row, str):
        yield row
        return
    known = dict(row) if hasattr(row, "keys") else {}
    if text_field is not None:
        names: tuple[str, ...] = (text_field,)
    else:
        names = ("text",) if "text" in known else ("prompt", "completion")
    if missing := [n for n in names if not isinstance(known.get(n), str)]:
        raise InputError(
            f"a row has no text under {', '.join(missing)}; its fields are "
            f"{', '.join(map(str, known)) or 'none'}: name one with text_field"
        )
    for name in names:
        yield known[name]
