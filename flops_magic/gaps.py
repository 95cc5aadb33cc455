"""Gaps: what the meter could not observe, each noted once; the user's work goes on.

Every broad ``except`` of the package goes through ``guard``, so that a defect of the
meter, or of a library it looks into, costs a line in the record and never a training
run, a checkpoint or a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

GapSink = Callable[[str, BaseException | str], None]

_MOST = 100  # a defect that repeats with changing words must not fill the record
_LONGEST = 300  # characters of an error's first line


class Gaps:
    """The gaps of one run, in the order in which they were noted.

    Attributes:
        lines: one line a gap: where, then what happened.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, where: str, what: BaseException | str) -> None:
        """Note a gap; the same one again changes nothing.

        Args:
            where: what was being observed, in the words of the user.
            what: the error, of which the first line is kept, or a reason.
        """
        kind = f"{type(what).__name__}: " if isinstance(what, BaseException) else ""
        first = (str(what).strip().splitlines() or [""])[0]
        line = f"{where}: {kind}{first[:_LONGEST]}"
        # The same gap at each of a million steps is one fact.
        if line not in self.lines and len(self.lines) < _MOST:
            self.lines.append(line)


@contextmanager
def guard(note: GapSink, where: str) -> Iterator[None]:
    """Turn whatever the block raises into a gap.

    ``KeyboardInterrupt`` and ``SystemExit`` pass: they are the user's.

    Args:
        note: takes the gap, such as ``Gaps.note``.
        where: what the block observes.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 a broken meter stops no training
        note(where, error)
