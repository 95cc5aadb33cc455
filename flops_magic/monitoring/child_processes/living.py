"""Processes that run now: their CPU time, by psutil where it is installed.

Accelerate and ipykernel bring psutil. Without it, what a killed process used since it
reported is unknown, and so are living children that report nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Living:
    """A process that runs now.

    Attributes:
        pid: the process.
        name: of its program.
        cpu_s: CPU seconds of its own.
        started_s: seconds since 1970 when it began.
    """

    pid: int
    name: str
    cpu_s: float
    started_s: float


def living(pid: int) -> Living | None:
    """Return a process that runs; None for one that ended, also if nobody waited."""
    psutil = _psutil()
    if psutil is None:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return _read(process)
    except psutil.Error:
        return None


def descendants() -> list[Living]:
    """Return the processes below this one that run now."""
    psutil = _psutil()
    found = []
    for process in psutil.Process().children(recursive=True) if psutil else ():
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(_read(process))
        except psutil.Error:
            continue  # it ended meanwhile
    return found


def _read(process: Any) -> Living:
    times = process.cpu_times()
    used_s = times.user + times.system
    return Living(process.pid, process.name(), used_s, process.create_time())


def _psutil() -> Any:
    try:
        import psutil
    except ImportError:
        return None
    return psutil
