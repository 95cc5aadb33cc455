"""What one process reports, read from its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flops_magic.errors import MalformedRecordError
from flops_magic.evidence.record import AuditRecord


@dataclass(frozen=True)
class Share:
    """What one process said last.

    Attributes:
        pid: the process.
        parent: pid of the nearest process above that reports.
        started_s: seconds since 1970 when it began.
        cpu_s: CPU seconds of its own.
        waited_cpu_s: CPU seconds of its children that ended.
        torch: whether it imported torch.
        ended: whether it came to its end; one that was killed did not.
        worker: whether it only loads data, or compiles, for another process.
        problem: why what it did could not be measured; empty if it could.
        rank: its number in a process group; None outside of one.
        world_size: processes of that group; 1 outside of one.
        group: what the processes of one group have in common.
        training: whether a Trainer was training.
        at_rest: whether its Trainers were done, and nothing trained since.
        commands: programs that it started and that need not be Python, by pid.
        tools: whether it started compilers and the like.
        record: what it counted; None if it had no model.
    """

    pid: int
    parent: int
    started_s: float
    cpu_s: float
    waited_cpu_s: float
    torch: bool
    ended: bool
    worker: bool
    problem: str = ""
    rank: int | None = None
    world_size: int = 1
    group: str = ""
    training: bool = False
    at_rest: bool = False
    commands: Mapping[int, str] = field(default_factory=dict)
    tools: bool = False
    record: AuditRecord | None = None

    @property
    def trained(self) -> bool:
        """Whether it trained, or was about to: a Trainer had begun."""
        if self.record is None or self.training:
            return self.training
        rows = (row for use in self.record.models for row in use.histogram)
        return self.record.run.steps > 0 or any(row.kind == "train" for row in rows)


def read_share(path: Path) -> Share:
    """Read a process's file.

    Raises:
        MalformedRecordError: when it is not what a process writes.
        OSError: when it cannot be read.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        more = dict(tree.pop("details"))
        tree.pop("written_s")
        text = more.pop("record", None)
        commands = {int(k): str(v) for k, v in more.pop("commands", {}).items()}
        record = None if text is None else AuditRecord.from_json(text)
        return Share(**tree, **more, commands=commands, record=record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, MalformedRecordError):
            raise
        raise MalformedRecordError(
            f"a process's share breaks its form: {type(error).__name__}: {error}"
        ) from error
