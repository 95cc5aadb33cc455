"""Text from a file or a model, made safe for a terminal, a page or a document."""

from __future__ import annotations

import re

# control characters, line and paragraph separators, direction overrides, surrogates
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# Line breaks inside a text would end a table's row or a list's item in Markdown.
_BLANKS = re.compile("[\t\r\n\u2028\u2029]+")


def printable(text: str) -> str:
    """Return a text on one line, unprintable characters replaced by U+FFFD.

    Overrides of the writing direction are replaced too: they can turn a sentence round.
    """
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _BLANKS.sub(" ", text))


def printable_lines(text: str) -> str:
    """Return a text with each of its lines made printable; see ``printable``.

    A model's name in a hostile record could otherwise clear a terminal and print that
    the evidence holds.
    """
    return "\n".join(map(printable, text.split("\n")))
