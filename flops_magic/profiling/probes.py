"""The shapes at which a model is walked: small ones to solve, a long one to check."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from flops_magic.profiling.moe import text_config

# batch_size, seq_len, positions that the head scores (-1: every one); of an
# encoder-decoder: batch_size, length of the source, length of the target
Probe = tuple[int, int, int]
# Three equally spaced lengths give the second difference, a second row separates what a
# call and what a row cost, one scored position separates the head. The last probe
# solves nothing: it checks the form at a shape that no equation used.
PROBES: tuple[Probe, ...] = (
    (1, 16, -1),
    (1, 32, -1),
    (1, 48, -1),
    (2, 32, -1),
    (1, 32, 1),
    (3, 40, -1),
)
# The same idea in two lengths: three sources, three targets, one mixed, two rows.
TWO_LENGTH_PROBES: tuple[Probe, ...] = (
    (1, 16, 16),
    (1, 32, 16),
    (1, 48, 16),
    (1, 16, 32),
    (1, 16, 48),
    (1, 32, 32),
    (2, 16, 16),
    (3, 40, 24),
)
# Names under which configurations keep the longest row, newest first.
_POSITIONS = ("max_position_embeddings", "max_seq_len", "n_positions")
# Settings that make a cost change with length: attention and scans work in pieces of
# these sizes, and below one piece the cost looks like a polynomial that it is not.
_SPANS = re.compile(r"chunk|block|window|stride|local|topk")
_STEPS = re.compile(r"chunk|block|stride|compress")
_CHECK_LEN = 4099  # a prime, beyond the chunks that are written into code


def feasible(
    probes: Sequence[Probe], longest: int | None, *, two_lengths: bool, keeps: bool
) -> list[Probe]:
    """Return the probes that a model can take, shortened where its rows are short.

    Args:
        probes: ``PROBES``, or ``TWO_LENGTH_PROBES``.
        longest: positions that a row may have; None for any number.
        two_lengths: whether source and target have lengths of their own.
        keeps: whether the model can score a few positions only.
    """
    scale = 1
    # 48 is the longest row among the probes. Halving keeps lengths equally spaced,
    # which the solver needs.
    while longest is not None and 48 // scale > longest:
        scale *= 2
    if two_lengths:
        return [(b, s // scale, t // scale) for b, s, t in probes]
    return [(b, s // scale, k) for b, s, k in probes if k < 0 or keeps]


def step_of(base: Any) -> int:
    """Return the least common multiple of a model's chunks and strides; 1 without any.

    A model that compresses or blocks its keys costs a polynomial only at multiples.

    Args:
        base: the transformers model.
    """
    holders = [text_config(base.config), *base.modules()]
    return math.lcm(
        *{
            value
            for holder in holders
            for name, value in vars(holder).items()
            if type(value) is int and 1 < value < 2**12 and _STEPS.search(name)
        }
    )


def in_steps(probes: Sequence[Probe], step: int) -> list[Probe]:
    """Return probes of one length with rows of 1, 2 and 3 steps and whole multiples."""
    short = PROBES[0][1]
    return [(b, -(-s // short) * step, k) for b, s, k in probes]


def long_probe(base: Any, *, two_lengths: bool) -> Probe:
    """Return a probe beyond every chunk, block and window of a model.

    A cost that comes in chunks is flat at short rows, and breaks the polynomial here.

    Args:
        base: the transformers model.
        two_lengths: whether source and target have lengths of their own.
    """
    holders = [text_config(base.config), *base.modules()]
    spans = [
        value
        for holder in holders
        for name, value in vars(holder).items()
        # ``type is int`` leaves booleans out. Larger numbers are vocabulary hashes and
        # seeds; a walk at such a length would take minutes.
        if type(value) is int and value < 2**17 and _SPANS.search(name)
    ]
    # Two whole pieces and a remainder of seven: padding to whole pieces then shows.
    seq_len = max(_CHECK_LEN, 2 * max(spans, default=0) + 7)
    seq_len = min(seq_len, longest_row(base) or seq_len)
    # Two rows, since some kernels pad each row and others all rows together.
    return 2, seq_len, seq_len // 2 if two_lengths else -1


def longest_row(base: Any) -> int | None:
    """Return how many positions a row may have; None if any number will do."""
    text = text_config(base.config)
    sizes = (getattr(text, name, None) for name in _POSITIONS)
    # Several names may be set at once (a trained and a rotary length); the smaller one
    # is the row that position tables can serve.
    return min((n for n in sizes if type(n) is int and n > 0), default=None)
