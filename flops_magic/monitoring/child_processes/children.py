"""The processes that a tracked run starts, added up by the process that tracks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flops_magic.errors import MalformedRecordError
from flops_magic.flops.histogram import FlopTotals
from flops_magic.flops.profile import parameters_without_adapters
from flops_magic.gaps import Gaps, guard
from flops_magic.monitoring.child_processes import findings
from flops_magic.monitoring.child_processes.commands import CommandWatch
from flops_magic.monitoring.child_processes.follow import MeasuredProcess
from flops_magic.monitoring.child_processes.living import descendants, living
from flops_magic.monitoring.child_processes.process import PARENT, ReportingProcess
from flops_magic.monitoring.child_processes.run_folder import (
    RunFolder,
    launched_together,
)
from flops_magic.monitoring.child_processes.share import Share, read_share
from flops_magic.monitoring.child_processes.uses import Elsewhere, added

if TYPE_CHECKING:
    from flops_magic.monitoring.meter import TrainerMeter

_LOOK_EVERY_S = 1.0
_WAIT_S = 2.0  # for children that are about to end
_WAIT_FOR_RANKS_S = 30.0  # for ranks that run as long as this one, or a little longer


class ChildProcesses:
    """Follows the processes that are started between ``start`` and ``finish``.

    Attributes:
        gaps: what is missing, once the run is finished.
    """

    def __init__(self, meter: TrainerMeter, on_fork: Callable[[], None]) -> None:
        """Prepare to follow.

        Args:
            meter: counts in this process; a forked child goes on with it.
            on_fork: called in a forked child, which keeps no record.
        """
        self.gaps = Gaps()
        self._meter = meter
        self._on_fork = on_fork
        self._folder: RunFolder | None = None
        self._shares: dict[str, Share] = {}
        self._read: dict[str, int] = {}
        self._cpu_seen_s: dict[int, float] = {}
        self._elsewhere = Elsewhere()
        self._gone: set[int] = set()
        self._stop = threading.Event()
        self._looking = threading.Lock()
        self._pid = os.getpid()

    def start(self) -> None:
        """Let the processes that are started from here on find the run."""
        self._meter.collective = launched_together()
        self._meter.adds_up_by_files = not self._meter.collective
        with guard(self.gaps.note, "child processes"):
            folder = RunFolder()
            self._meter.adds_up_by_files |= folder.siblings > 1
            self._commands = CommandWatch()
            parent = int(os.environ.get(PARENT, "") or os.getppid())
            self._process = ReportingProcess(
                [str(folder.path)], parent, reports=folder.rank > 0
            )
            self._measured = MeasuredProcess(self._process, self._commands)
            self._measured.meter = self._meter
            self._process.forked.append(self._forked)
            self._process.await_multiprocessing()
            if folder.rank > 0:
                self._meter.listeners.append(self._measured.stepped)
                self._meter.on_training_end = self._measured.stepped
                self._process.write()
            folder.enter_environment()
            self._folder = folder
            self._watch = threading.Thread(target=self._look_often, daemon=True)
            self._watch.start()
            self._meter.elsewhere = self.elsewhere

    @property
    def forked(self) -> bool:
        """Whether this is a fork of the process that tracks."""
        return os.getpid() != self._pid

    def elsewhere(self) -> Elsewhere:
        """Return what the other processes did, when they were last looked at."""
        return self._elsewhere

    def _added(self) -> Elsewhere:
        records = [s.record for s in self._shares.values() if s.record]
        uses = added(record.models for record in records)
        place = self._measured.place()
        ours = place["group"] if place["world_size"] > 1 else None
        leading = [  # ranks step together: the first one's steps are everybody's
            share.record.run
            for share in self._shares.values()
            if share.record and not share.rank and (not ours or share.group != ours)
        ]
        trained = [use for use in uses if use.role == "trained"]
        profiles = [use.profile for use in trained if use.profile]
        rows = (row for use in uses for row in use.histogram if row.kind == "train")
        return Elsewhere(
            uses=uses,
            flops=sum((use.flops() for use in uses), FlopTotals()),
            tokens=sum(row.total.tokens for row in rows),
            uncounted=[use.id for use in uses if use.histogram and not use.profile],
            trained_model_id=trained[0].id if trained else None,
            trained_parameters=parameters_without_adapters(profiles[0])
            if profiles
            else None,
            steps=sum(run.steps for run in leading),
            steps_planned=sum(run.steps_planned or 0 for run in leading),
        )

    def finish(self, *, completed: bool) -> None:
        """Take the last word of every process, and note what is missing.

        Args:
            completed: False where the run was cut short, so ranks may never end.
        """
        folder = self._folder
        if folder is None or self.forked:
            return
        with guard(self.gaps.note, "child processes"):
            self._stop.set()
            self._watch.join(_LOOK_EVERY_S)
            folder.leave_environment()
            self._commands.close()
            if folder.rank > 0:
                self._process.end()
            else:
                self._await(folder, completed)
                self._look(final=True)
                self._note_gaps()
        self._process.leave()
        folder.remove()
        self._folder = None

    def _await(self, folder: RunFolder, completed: bool) -> None:
        """Wait for the processes that are about to end."""
        began_s = time.monotonic()
        ranks = folder.siblings > 1 and completed
        longest_s = _WAIT_FOR_RANKS_S if ranks else _WAIT_S
        try:
            while time.monotonic() - began_s < longest_s:
                self._look()
                shares = list(self._shares.values())
                busy = [s for s in shares if not (s.ended or s.worker)]
                busy = [s for s in busy if s.trained or s.rank is not None]
                heard = {s.rank for s in shares if s.rank is not None}
                missing = ranks and len(heard) < folder.siblings - 1
                late = time.monotonic() - began_s >= _WAIT_S
                if not any(living(s.pid) for s in busy) and (late or not missing):
                    return
                self._stop.wait(0)
                time.sleep(0.05)
        except KeyboardInterrupt:
            return  # nobody has to wait for it

    def _note_gaps(self) -> None:
        shares = list(self._shares.values())
        note = self.gaps.note
        open_ends = {s.pid for s in shares if not s.ended}
        running = {pid: one for pid in open_ends if (one := living(pid))}
        findings.note_ends(shares, running, note)
        me = self._me()
        findings.note_ranks([me, *shares] if me.rank is not None else shares, note)
        findings.note_unreported([me, *shares], shares, self._cpu_seen_s, note)
        reporting = {s.pid for s in shares}
        findings.note_silent(descendants(), reporting, self._process.started_s, note)

    def _me(self) -> Share:
        place = self._measured.place()
        return Share(
            pid=self._process.pid,
            parent=self._process.parent,
            started_s=self._process.started_s,
            cpu_s=0.0,
            waited_cpu_s=self._process.waited_cpu_s(),
            torch=True,
            ended=True,
            worker=False,
            commands=self._commands.commands,
            tools=self._commands.tools,
            **place,
        )

    # -- looking ------------------------------------------------------------------

    def _look_often(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            with guard(self.gaps.note, "child processes"):
                self._look()

    def _look(self, *, final: bool = False) -> None:
        """Read the files that changed, and the CPU time of those that still run."""
        folder = self._folder
        if folder is None:
            return
        with self._looking:
            entries = sorted(folder.path.glob("*.json"))
            changed = [self._read_file(entry, final) for entry in entries]
            if any(changed):
                self._drop_replaced()
                self._elsewhere = self._added()
            for pid in {s.pid for s in self._shares.values()} - self._gone:
                if (now := living(pid)) is not None:
                    self._cpu_seen_s[pid] = now.cpu_s
                else:
                    self._gone.add(pid)  # the pid may be somebody else's from here on

    def _read_file(self, path: Path, final: bool) -> bool:
        """Read a process's file, if it changed; return whether it did."""
        changed_ns = path.stat().st_mtime_ns
        if self._read.get(path.name) == changed_ns and not final:
            return False
        self._read[path.name] = changed_ns
        try:
            share = read_share(path)
        except (MalformedRecordError, OSError) as error:
            self.gaps.note("a process's share", error)
            return False
        if share.pid != self._pid:
            self._shares[path.name] = share
        return True

    def _drop_replaced(self) -> None:
        """Forget a process that became another program, before it did anything."""
        newest: dict[int, str] = {}
        for name, share in sorted(self._shares.items()):
            before = newest.get(share.pid)
            known = self._shares[before] if before else None
            if before and known and not (known.ended or known.trained):
                del self._shares[before]
            newest[share.pid] = name

    def _forked(self) -> None:
        """In a forked child: report what is counted, and keep no record."""
        self._meter.listeners[:] = [self._measured.stepped]
        self._meter.on_training_end = self._measured.stepped
        self._meter.collective, self._meter.adds_up_by_files = False, True
        self._meter.on_training = _nothing
        self._meter.elsewhere = Elsewhere
        self._on_fork()


def _nothing() -> None:
    """The process that tracks looks at the line."""
