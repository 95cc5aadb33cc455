"""What a user may say of the original model, by name, and how each word is read."""

from __future__ import annotations

from typing import Literal, TypedDict

from flops_magic.errors import InputError
from flops_magic.flops.units import parse_count
from flops_magic.near_names import near

# "unknown" is an answer, unlike None: the registry's presumption is then left aside
Status = bool | Literal["unknown"] | None


class OriginalOptions(TypedDict, total=False):
    """The keyword options that name the original model, the same in every function.

    Keys:
        base_model: its id, or an alias, in the registry; the trained model's own name
            by default.
        original_flops: its training compute in FLOP, such as 3.3e24; wins over the
            registry. ``unknown`` asks for the substitute threshold, which applies only
            where the value can neither be known nor estimated.
        original_tokens: tokens that it was trained on, to estimate 6·P·D.
        original_parameters: P, those active for a token; the registry's or the trained
            model's by default.
        original_source: where ``original_flops`` or ``original_tokens`` were read.
        systemic_risk: whether it is classified as one with systemic risk: ``yes``,
            ``no`` or ``unknown`` (True, False); by default the registry's presumption.
        original_is_gpai: whether it is a general-purpose AI model, in the same words;
            by default 10^23 FLOP decides.
        same_provider: True where the original's own provider trains.
        union_market: False where nothing is placed on the Union market.
    """

    base_model: str | None
    original_flops: int | str | None
    original_tokens: int | str | None
    original_parameters: int | str | None
    original_source: str | None
    systemic_risk: bool | str | None
    original_is_gpai: bool | str | None
    same_provider: bool
    union_market: bool


def status(name: str, value: bool | str | None) -> Status:
    """Read a yes, a no or an unknown; the text "no" is true to Python.

    Raises:
        InputError: for another word.
    """
    if value is None or isinstance(value, bool):
        return value
    # A recipe or a command line gives words; ``bool("no")`` would be True.
    words: dict[str, Status] = {"yes": True, "no": False, "unknown": "unknown"}
    if value not in words:
        raise InputError(
            f"cannot read {name}={value!r} as a status; pass True, False or None, or "
            "the words 'yes', 'no' or 'unknown'"
        )
    return words[value]


def count(value: int | str | None) -> int | None:
    """Read a count of at least one; None passes.

    Raises:
        QuantityError: when it cannot be read as one.
    """
    return None if value is None else parse_count(value, minimum=1)


def refuse_unknown(options: dict[str, object]) -> None:
    """Refuse a name that is none of ``OriginalOptions``, with near names.

    Raises:
        InputError: for the first such name.
    """
    known = list(OriginalOptions.__annotations__)
    for key in options:
        if key not in known:
            raise InputError(
                f"no option {key!r}{near(key, known)}; there are {', '.join(known)}"
            )
