"""Near names for a typo: the one place that offers them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST = 4
# difflib's default: "Qwen3-9B" still finds "Qwen3-8B", "banana" finds nothing
_CUTOFF = 0.6


def near(name: str, known: Iterable[str]) -> str:
    """Return ``"; near: a, b"`` for the known names most like one; or nothing.

    Case does not count. Of names with an owner, such as ``Qwen/Qwen3-8B``, the part
    behind the slash is compared too: who types a model's name seldom types its owner,
    or types that of a mirror.

    Args:
        name: what was typed.
        known: what would do.
    """
    whole: dict[str, str] = {}
    tails: dict[str, str] = {}
    for one in known:
        whole.setdefault(one.lower(), one)
        tails.setdefault(_tail(one), one)
    typed = name.lower()
    found = [whole[n] for n in difflib.get_close_matches(typed, whole, _MOST, _CUTOFF)]
    # Matches of the whole name first: they agree in the owner too.
    found += [
        tails[n] for n in difflib.get_close_matches(_tail(name), tails, _MOST, _CUTOFF)
    ]
    unique = list(dict.fromkeys(found))[:_MOST]
    return f"; near: {', '.join(unique)}" if unique else ""


def _tail(name: str) -> str:
    return name.rsplit("/", 1)[-1].lower()
