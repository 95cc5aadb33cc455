"""Gaps: what the meter could not observe, each noted once; the user's work goes on.

Every broad ``except`` of the package goes through ``guard``, so that a defect of the
meter, or of a library it looks into, costs a line in the record and never a training
run, a checkpoint or a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

GapSink = Callable[[str, BaseException | str], None]

_MOST = 100  # a defect that repeats with changing words must not fill the record
_LONGEST = 300  # characters of an error's first line


class Concern(StrEnum):
    """What a gap leaves open.

    Attributes:
        COUNT: the FLOPs of the run may be too low; no verdict below the line.
        DISPLAY: something was not shown.
        FILE: something was not written.
        HARDWARE: a sensor was not read.
    """

    COUNT = "count"
    DISPLAY = "display"
    FILE = "file"
    HARDWARE = "hardware"


@dataclass(frozen=True)
class Gap:
    """One thing that could not be observed.

    Attributes:
        concerns: what it leaves open.
        where: what was being observed, in the words of the user.
        what: why it could not be.
    """

    concerns: Concern
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Gaps:
    """The gaps of one run, in the order in which they were noted.

    Attributes:
        noted: each of them once.
    """

    def __init__(self) -> None:
        self.noted: list[Gap] = []

    @property
    def lines(self) -> list[str]:
        """The gaps as lines: where, then what happened."""
        return [str(gap) for gap in self.noted]

    def note(
        self, where: str, what: BaseException | str, concerns: Concern = Concern.COUNT
    ) -> None:
        """Note a gap; the same one again changes nothing.

        Args:
            where: what was being observed, in the words of the user.
            what: the error, of which the first line is kept, or a reason.
            concerns: what it leaves open. The count, unless somebody knows better: a
                gap that is taken for harmless by mistake would let a verdict pass.
        """
        kind = f"{type(what).__name__}: " if isinstance(what, BaseException) else ""
        first = (str(what).strip().splitlines() or [""])[0]
        gap = Gap(concerns, where, f"{kind}{first[:_LONGEST]}")
        if gap not in self.noted and len(self.noted) < _MOST:
            self.noted.append(gap)

    def about(self, concern: Concern) -> GapSink:
        """Return a ``note`` for gaps of one concern."""
        return partial(self.note, concerns=concern)


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
