"""One value, one text: what the codec writes, reads, and refuses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flops_magic.errors import MalformedRecordError
from flops_magic.evidence.codec import from_tree, later, to_tree


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    count: int
    share: Fraction | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    on: bool
    seconds: Decimal
    colour: Colour
    kind: Literal["a", "b"]
    rows: tuple[Inner, ...] = ()
    named: Mapping[str, int] = field(default_factory=dict)
    added: int | None = later()


WHOLE = Outer(
    "n",
    True,
    Decimal("1.250"),
    Colour.RED,
    "a",
    (Inner(2**70, Fraction(1, 3)),),
    {"x": 3},
)
TREE = to_tree(WHOLE)


def test_a_tree_holds_text_and_no_numbers():
    assert TREE == {
        "name": "n",
        "on": True,
        "seconds": "1.250",
        "colour": "red",
        "kind": "a",
        "rows": [{"count": "1180591620717411303424", "share": "1/3"}],
        "named": {"x": "3"},
    }
    assert from_tree(Outer, json.loads(json.dumps(TREE))) == WHOLE


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"seconds": 1.25}, r"record\.seconds"),
        ({"seconds": "1e9"}, r"record\.seconds"),
        ({"named": {"x": "03"}}, r"record\.named\.x"),
        ({"named": {"x": "-3"}}, r"record\.named\.x"),
        ({"named": {"x": 3}}, r"record\.named\.x"),
        ({"named": {"x": "3\n"}}, r"record\.named\.x"),
        ({"named": {"x": "٣"}}, r"record\.named\.x"),
        ({"rows": [{"count": "1", "share": "2/6"}]}, r"record\.rows\[0\]\.share"),
        ({"rows": [{"count": "1", "share": "1/0"}]}, r"record\.rows\[0\]\.share"),
        ({"rows": {}}, r"record\.rows"),
        ({"colour": "blue"}, r"record\.colour"),
        ({"kind": "c"}, r"record\.kind"),
        ({"on": "true"}, r"record\.on"),
        ({"name": None}, r"record\.name"),
        ({"surplus": "1"}, "surplus"),
    ],
)
def test_anything_but_the_one_text_of_a_value_is_refused_by_place(changed, place):
    with pytest.raises(MalformedRecordError, match=place):
        from_tree(Outer, TREE | changed)


def test_a_missing_key_is_refused_but_for_one_that_came_later():
    with pytest.raises(MalformedRecordError, match="lacks on"):
        from_tree(Outer, {k: v for k, v in TREE.items() if k != "on"})
    assert from_tree(Outer, TREE).added is None
    assert from_tree(Outer, TREE | {"added": "7"}).added == 7


def test_a_huge_exponent_is_refused_before_a_number_is_made_of_it():
    with pytest.raises(MalformedRecordError):
        from_tree(Inner, {"count": "1", "share": "1e999999999"})


def test_a_float_has_no_place_in_a_record():
    with pytest.raises(MalformedRecordError, match=r"1\.5"):
        to_tree({"x": 1.5})


@given(st.integers(min_value=0), st.fractions())
def test_every_number_comes_back(count, share):
    one = Inner(count, share)
    assert from_tree(Inner, to_tree(one)) == one
