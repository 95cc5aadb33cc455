"""One tracked run, from its first line to its sealed record.

``monitoring`` says what ran, ``ai_act`` decides on it, ``display`` shows it and
``evidence`` keeps it. Each step is looked at once; what was seen is handed on.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.errors import InputError, MissingPackageError
from flops_magic.evidence.files import write_json
from flops_magic.evidence.flops_meter import flops_meter
from flops_magic.evidence.hardware import Hardware
from flops_magic.evidence.journal import Journal
from flops_magic.evidence.record import AuditRecord, Outcome, Run
from flops_magic.evidence.seal import Sealed, seal
from flops_magic.gaps import Concern, guard
from flops_magic.monitoring.nvml import NvmlPoller
from flops_magic.tracking.line_watch import LineWatch
from flops_magic.tracking.moment import RunJudge
from flops_magic.tracking.progress import Progress
from flops_magic.tracking.record_builder import record_of

if TYPE_CHECKING:
    from flops_magic.monitoring.child_processes.children import ChildProcesses
    from flops_magic.monitoring.meter import Step, TrainerMeter

# How much a killed process loses, at about the time of one step more.
_JOURNAL_EVERY_S = 5.0


class Display(Protocol):
    """What shows a run while it runs, and its record at the end."""

    def show(self, progress: Progress) -> None:
        """Appear."""

    def update(self, progress: Progress) -> None:
        """Show a later moment, at the display's own pace."""

    def finish(self, progress: Progress, sealed: Sealed, record: AuditRecord) -> None:
        """Give way to the record."""


@dataclass
class TrackedRun:
    """Measures everything that Trainers do between ``start`` and ``finish``.

    Attributes:
        original: what the user says of the original model.
        folder: where ``flops_meter.json`` goes; None to write no file.
        source_sha256: digest of the tracked cell or script.
        display: shows the run; None for silence.
        declared: FLOPs that the user declares, by reason.
        models: returns the models that a loop without a Trainer trains, by name.
        stop_at: share of the line before which training is stopped; None for none.
        record: the record, once the run is finished.
        sealed: the sealed record, once the run is finished.
    """

    original: OriginalModel = field(default_factory=OriginalModel)
    folder: Path | None = None
    source_sha256: str | None = None
    display: Display | None = None
    declared: Mapping[str, int] = field(default_factory=dict)
    models: Callable[[], Mapping[str, Any]] | None = None
    stop_at: Fraction | None = None
    clock: Callable[[], float] = time.monotonic
    record: AuditRecord | None = None
    sealed: Sealed | None = None

    def __post_init__(self) -> None:
        self.id = uuid.uuid4().hex
        self._measuring = False
        self._resources = ExitStack()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._journaled_s = 0.0
        self._hardware: Hardware | None = None

    # -- life ---------------------------------------------------------------------

    def start(self) -> TrackedRun:
        """Begin to measure.

        Raises:
            MissingPackageError: when torch or transformers is missing.
        """
        self._started_at, self._began_s = _now(), self.clock()
        self.meter = _new_meter()
        self._children = _children_of(self.meter, self._forked)
        self._judge = RunJudge(
            self.original,
            self.meter,
            self.declared,
            stop_at=self.stop_at,
            elapsed_s=self._elapsed_s,
        )
        self._line = LineWatch(self.meter, self._judge, self.stop_at, self.clock)
        self.meter.listeners.append(self._stepped)
        self.meter.on_training = self._line.training_begins
        # what fails in here takes back what was patched before it
        with ExitStack() as undo:
            undo.callback(self._children.finish, completed=False)
            self._children.start()
            undo.enter_context(_patches(self.meter))
            if self.models is not None:
                undo.enter_context(_loop_patches(self.meter, self.models))
            if self.folder is not None:
                self._journal = Journal(self.folder, self.id)
            self._resources = undo.pop_all()
        # After the patches: a driver that hangs must not leave Trainers unwatched.
        self._poller = NvmlPoller()
        self._poller.start()
        self._measuring = True
        if self.display is not None:
            self._quietly(lambda display: display.show(self.progress()))
            # Daemon: a display must never keep the interpreter from ending.
            ticker = threading.Thread(target=self._tick, daemon=True)
            ticker.start()
            # Callbacks run in reverse: the stop is set first, then the thread is
            # joined.
            self._resources.callback(ticker.join, 2.0)
            self._resources.callback(self._stop.set)
        return self

    def finish(self, outcome: str) -> AuditRecord | None:
        """Stop measuring, judge, seal, write and show; once.

        Args:
            outcome: ``completed``, ``interrupted`` or ``failed``.

        Returns:
            The record; None where the run was never started, so nothing was measured.
        """
        if self.record is not None or not self._measuring:
            return self.record
        with guard(self.meter.gap, "the last passes"):
            self.meter.settle()
        self._children.finish(completed=outcome == "completed")
        self._resources.close()
        self._hardware = self._poller.stop()
        now = self._judge.moment().progress
        outcome = self._line.ended(outcome, now)
        self.record = record = self._record(outcome)
        self.sealed = sealed = seal(record)
        if self._keep():  # once more, with the gap that keeping it left
            self.record = record = self._record(outcome)
            self.sealed = sealed = seal(record)
        ended = replace(now, outcome=outcome)
        self._quietly(lambda display: display.finish(ended, sealed, record))
        return record

    def __enter__(self) -> TrackedRun:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish; an error of the block is raised on, unchanged."""
        if kind is None:
            self.finish("completed")
        else:
            stopped = issubclass(kind, KeyboardInterrupt)
            self.finish("interrupted" if stopped else "failed")

    # -- while it runs ------------------------------------------------------------

    @property
    def should_stop(self) -> bool:
        """Whether ``stop_at`` is reached: for loops of your own, which must ask."""
        return self._measuring and self.meter.stop_now

    def progress(self) -> Progress:
        """Return where the run is.

        Raises:
            InputError: before the run was started.
        """
        if not self._measuring:
            raise InputError("this run was not started; use it as a 'with' block")
        outcome = self.record.run.outcome if self.record else "running"
        return self._judge.moment(outcome=outcome).progress

    def _stepped(self, step: Step) -> None:
        """Compare a step with the line once, and hand the result on."""
        # what waits on the device is in the figure only after it was read
        moment = self._judge.moment(self.meter.now() if self._line.reads() else step)
        self._line.stepped(moment)
        self._quietly(lambda display: display.update(moment.progress))
        now_s = self.clock()
        if self._journal and now_s - self._journaled_s >= _JOURNAL_EVERY_S:
            self._journaled_s = now_s
            with guard(self.meter.about(Concern.FILE), "the journal"):
                self._journal.save(seal(self._record("recovered")))

    def _tick(self) -> None:
        """Show that time passes while a long step runs."""
        while not self._stop.wait(1.0):
            self._quietly(lambda display: display.update(self.progress()))

    def _quietly(self, act: Callable[[Display], None]) -> None:
        if self.display is None:
            return
        with self._lock, guard(self.meter.about(Concern.DISPLAY), "the display"):
            act(self.display)

    def _elapsed_s(self) -> float:
        return self.clock() - self._began_s

    # -- the record ---------------------------------------------------------------

    def _record(self, outcome: str) -> AuditRecord:
        run = Run(
            id=self.id,
            started_at=self._started_at,
            ended_at=_now(),
            elapsed_s=Decimal(f"{self._elapsed_s():.3f}"),
            outcome=Outcome(outcome),
            steps=self.meter.steps_everywhere,
            steps_planned=self.meter.steps_planned_everywhere,
            source_sha256=self.source_sha256,
            stopped=self._line.reason if outcome == "stopped" else None,
            crossing_foreseen_at=self._line.crossing_foreseen_at,
        )
        return record_of(
            run,
            self.meter,
            judge=self._judge.decide,
            declared=self.declared,
            hardware=self._hardware,
            unseen=self._children.gaps.lines,
        )

    def _forked(self) -> None:
        """In a forked child: the record, its files and its display are the parent's."""
        self.display, self.folder, self._journal = None, None, None
        self._poller = NvmlPoller()

    def _keep(self) -> bool:
        """Write ``flops_meter.json``; return whether that left a gap."""
        if self.folder is None or self.record is None or self.sealed is None:
            return False
        # torchrun and accelerate set RANK; two writers would overwrite each other.
        if int(os.environ.get("RANK", "0")):
            return False  # the first process writes for all
        gaps = len(self.meter.gaps)
        with guard(self.meter.about(Concern.FILE), "flops_meter.json"):
            path = self.folder / "flops_meter.json"
            write_json(path, flops_meter(self.record, self.sealed))
            if self._journal:
                self._journal.discard()
        return len(self.meter.gaps) > gaps


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _new_meter() -> TrainerMeter:
    try:
        from flops_magic.monitoring.meter import TrainerMeter
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"tracking a Trainer needs {error.name}; run pip install "
            "'flops-magic[train]'"
        ) from error
    return TrainerMeter()


def _children_of(meter: TrainerMeter, forked: Callable[[], None]) -> ChildProcesses:
    from flops_magic.monitoring.child_processes.children import ChildProcesses

    return ChildProcesses(meter, forked)


def _patches(meter: TrainerMeter) -> Any:
    from flops_magic.monitoring.trainer_patches import patched_trainers

    return patched_trainers(meter)


def _loop_patches(meter: TrainerMeter, models: Callable[[], Mapping[str, Any]]) -> Any:
    from flops_magic.monitoring.loop_patches import named_models

    return named_models(meter, models)
