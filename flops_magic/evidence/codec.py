"""Dataclasses as JSON trees and back, driven by their type hints.

A tree holds text, true, false, null, lists and objects, and no JSON numbers: some
readers round those. An ``int`` is plain decimal digits, a ``Fraction`` is in lowest
terms, a ``Decimal`` has no exponent. Reading is strict: each value has one text, and an
error names the place of whatever else is found.

The codec is the project's own because ``flops-magic verify`` has to work after ``pip
install --no-deps``. A field's ``metadata`` may say:

* ``{"omit_default": True}``: the key is absent while the field holds its default, so
  that the texts of earlier records stay the same; ``later`` writes such a field.
* ``{"none_is_empty_object": True}``: ``None`` is written as ``{}``.
* ``{"key": "N_total"}``: the key, where it is not the field's name.

The class attribute ``RECORDED`` names properties that are written too; reading checks
that they follow from the fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import Field, field, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from flops_magic.errors import MalformedRecordError

T = TypeVar("T")
# also the patterns of the JSON schema; checked before a number is made of a text,
# because Fraction("1e999999999") would compute for hours
COUNT = r"(0|[1-9][0-9]*)"
FRACTION = rf"-?{COUNT}(/[1-9][0-9]*)?"
DECIMAL = rf"-?{COUNT}(\.[0-9]+)?"


def later(default: Any = None) -> Any:
    """Return a field that is left out of the text while it holds its default."""
    return field(default=default, metadata={"omit_default": True})


# Type hints are text under ``from __future__ import annotations``; resolving them for
# each value would make verifying slow.
@cache
def entries(kind: Any) -> tuple[tuple[str, Field[Any], Any], ...]:
    """Return key, field and type hint of each field of a dataclass."""
    hints = get_type_hints(kind)
    return tuple(
        (f.metadata.get("key", f.name), f, hints[f.name]) for f in fields(kind)
    )


def recorded(kind: type) -> tuple[str, ...]:
    """Return the properties of a dataclass that are written beside its fields."""
    names: tuple[str, ...] = getattr(kind, "RECORDED", ())
    return names


def to_tree(value: Any, where: str = "record") -> Any:
    """Return a value as a tree.

    Args:
        value: a dataclass, or what its fields may hold.
        where: names the value in an error.

    Raises:
        MalformedRecordError: for a float, and for any other type without a text.
    """
    # Before text: a StrEnum is text too, and its value is what is written.
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, Fraction)):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite():
        # Without an exponent: "1E+3" and "1000" would be two texts of one value.
        return f"{value:f}"
    if is_dataclass(value) and not isinstance(value, type):
        return _object_tree(value, where)
    if isinstance(value, Mapping):
        return {str(k): to_tree(item, f"{where}.{k}") for k, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_tree(item, f"{where}[{i}]") for i, item in enumerate(value)]
    return _refuse(where, value, "text, an integer, a fraction or a decimal")


def _object_tree(value: Any, where: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, f, _ in entries(cast(Hashable, type(value))):
        item = getattr(value, f.name)
        # A record of an older version must come out as the text that was sealed.
        if f.metadata.get("omit_default") and item == f.default:
            continue
        if item is None and f.metadata.get("none_is_empty_object"):
            item = {}
        tree[key] = to_tree(item, f"{where}.{key}")
    for name in recorded(type(value)):
        tree[name] = to_tree(getattr(value, name), f"{where}.{name}")
    return tree


def from_tree(kind: type[T], tree: Any, where: str = "record") -> T:
    """Return the dataclass that a tree holds.

    Args:
        kind: its type.
        tree: parsed JSON.
        where: names the tree in an error.

    Raises:
        MalformedRecordError: naming the place of what breaks the type.
    """
    _is(dict, tree, where, "an object")
    listed = entries(cast(Hashable, kind))
    known = {key for key, _, _ in listed} | set(recorded(kind))
    # Ignored keys could hold anything and would still carry the seal's authority.
    if unknown := sorted(set(tree) - known):
        raise MalformedRecordError(f"{where} has unknown keys: {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for key, f, hint in listed:
        if key not in tree:
            if not f.metadata.get("omit_default"):
                raise MalformedRecordError(f"{where} lacks {key}")
        elif tree[key] == {} and f.metadata.get("none_is_empty_object"):
            values[f.name] = None
        else:
            values[f.name] = _read(hint, tree[key], f"{where}.{key}")
    made = kind(**values)
    for name in recorded(kind):
        ours = to_tree(getattr(made, name))
        if name not in tree or tree[name] != ours:
            given = _short(tree.get(name))
            raise MalformedRecordError(
                f"{where}.{name} is {given}, but its other fields give {_short(ours)}"
            )
    return made


def _read(hint: Any, tree: Any, where: str) -> Any:
    """Return the value of a type hint that a tree holds."""
    origin, inner = get_origin(hint), get_args(hint)
    # ``Optional[X]`` and ``X | None`` are two types to Python.
    if origin in (Union, UnionType):
        return _read_union(inner, tree, where)
    if origin is tuple:
        _is(list, tree, where, "a list")
        return tuple(_read(inner[0], v, f"{where}[{i}]") for i, v in enumerate(tree))
    if origin is Mapping:
        _is(dict, tree, where, "an object")
        return {key: _read(inner[1], v, f"{where}.{key}") for key, v in tree.items()}
    if is_dataclass(hint):
        return from_tree(cast("type[Any]", hint), tree, where)
    if origin is Literal or issubclass(hint, Enum):
        # a Literal's values are their own text; of an Enum, that is each member's value
        choices = {to_tree(one): one for one in inner or hint}
        if isinstance(tree, str) and tree in choices:
            return choices[tree]
        _refuse(where, tree, f"one of {', '.join(choices)}")
    kind, said, read = _SCALARS[hint]
    _is(kind, tree, where, said)
    try:
        value = read(tree)
    except ValueError:  # a number of more digits than Python converts
        value = None
    return _refuse(where, tree, said) if value is None else value


def _read_union(hints: tuple[Any, ...], tree: Any, where: str) -> Any:
    if tree is None and NoneType in hints:
        return None
    *first, last = (hint for hint in hints if hint is not NoneType)
    for hint in first:
        try:
            return _read(hint, tree, where)
        except MalformedRecordError:
            continue  # the error of the last type is the one to show
    return _read(last, tree, where)


def _number(pattern: str, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader that takes a number's one text, and returns None for others."""

    def read(text: str) -> Any:
        made = kind(text) if re.fullmatch(pattern, text) else None
        return made if to_tree(made) == text else None

    return read


_SCALARS: Mapping[Any, tuple[type, str, Callable[[Any], Any]]] = {
    str: (str, "text", str),
    bool: (bool, "true or false", bool),
    int: (str, "a count in plain decimal digits", _number(COUNT, int)),
    Fraction: (str, "a fraction in lowest terms", _number(FRACTION, Fraction)),
    Decimal: (str, "a decimal without an exponent", _number(DECIMAL, Decimal)),
}


def _is(kind: type, tree: Any, where: str, wanted: str) -> None:
    if not isinstance(tree, kind):
        _refuse(where, tree, wanted)


def _refuse(where: str, got: Any, wanted: str) -> NoReturn:
    raise MalformedRecordError(f"{where} is {_short(got)}, not {wanted}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
