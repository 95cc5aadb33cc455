"""One tracked run, from its first line to its sealed record.

This is where the wings meet: ``measure`` says what ran, ``core`` judges it, ``show``
displays it, ``evidence`` keeps it.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from flops_magic.ai_act.original_model import Original
from flops_magic.errors import FlopsMagicError, MissingPackageError
from flops_magic.evidence.files import write_json
from flops_magic.evidence.flops_meter import flops_meter
from flops_magic.evidence.journal import Journal
from flops_magic.evidence.record import AuditRecord, Run
from flops_magic.evidence.seal import Sealed, seal
from flops_magic.flops.histogram import FlopTotals
from flops_magic.monitoring.nvml import NvmlPoller
from flops_magic.tracking.line_watch import LineWatch
from flops_magic.tracking.progress import Progress
from flops_magic.tracking.record_builder import record_of

if TYPE_CHECKING:
    from flops_magic.ai_act.decision import Decision
    from flops_magic.monitoring.meter import Step, TrainerMeter

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

    original: Original = field(default_factory=Original)
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
        self._resources = ExitStack()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._journaled_s = 0.0
        self._hardware: dict[str, Any] = {}

    # -- life ---------------------------------------------------------------------

    def start(self) -> TrackedRun:
        """Begin to measure.

        Raises:
            MissingPackageError: when torch or transformers is missing.
        """
        self.meter = _new_meter()
        self._started = datetime.now(UTC)
        self._began_s = self.clock()
        self._poller = NvmlPoller()
        self._poller.start()
        self.meter.listeners.append(self._stepped)
        self._line = LineWatch(
            self.meter, self._judge, self.declared, self.stop_at, self.clock
        )
        self.meter.on_training = self._line.training_begins
        self._resources.enter_context(_patches(self.meter))
        if self.models is not None:
            self._resources.enter_context(_loop_patches(self.meter, self.models))
        if self.folder is not None:
            self._journal = Journal(self.folder, self.id)
        if self.display is not None:
            self._quietly("the display", lambda d: d.show(self.progress()))
            ticker = threading.Thread(target=self._tick, daemon=True)
            ticker.start()
            self._resources.callback(ticker.join, 2.0)
            self._resources.callback(self._stop.set)
        return self

    def finish(self, outcome: str) -> AuditRecord:
        """Stop measuring, judge, seal, write and show; once.

        Args:
            outcome: ``completed``, ``interrupted`` or ``failed``.
        """
        if self.record is not None:
            return self.record
        try:
            self.meter.settle()
        except Exception as error:  # noqa: BLE001 evidence of the rest must survive
            self.meter.gap("the last passes", error)
        self._resources.close()
        self._hardware = self._poller.stop()
        outcome = self._line.ended(outcome, self.progress)
        progress = self.progress(outcome)
        self.record = self._record(outcome)
        self.sealed = seal(self.record)
        if self._keep():
            self.record = self._record(outcome)  # with the gap that keeping it left
            self.sealed = seal(self.record)
        sealed, record = self.sealed, self.record
        self._quietly("the display", lambda d: d.finish(progress, sealed, record))
        return record

    def __enter__(self) -> TrackedRun:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish; whatever was raised passes on unchanged."""
        if kind is None:
            self.finish("completed")
        else:
            stopped = issubclass(kind, KeyboardInterrupt)
            self.finish("interrupted" if stopped else "failed")

    # -- while it runs ------------------------------------------------------------

    @property
    def should_stop(self) -> bool:
        """Whether ``stop_at`` is reached: for loops of your own, which must ask."""
        return self.meter.stop_now

    def progress(self, outcome: str = "running") -> Progress:
        """Return where the run stands."""
        flops = self.meter.flops() + FlopTotals(declared=sum(self.declared.values()))
        decision, reason = self._judge(flops)
        notion = decision.compared_notion if decision else "direct"
        compared = flops.cumulative if notion == "cumulative" else flops.direct
        uncounted = self.meter.uncounted()
        now = Progress(
            flops=compared,
            flops_executed=flops.executed,
            line=decision.line if decision else None,
            line_text=decision.line_text if decision else reason,
            verdict=decision.verdict if decision else None,
            tokens=self.meter.tokens(),
            step=self.meter.steps,
            steps=self.meter.steps_planned,
            elapsed_s=self.clock() - self._began_s,
            outcome=outcome,
            counted=not uncounted,
            stop_at=self.stop_at,
        )
        return self._with_projection(now, flops)

    def _with_projection(self, now: Progress, flops: FlopTotals) -> Progress:
        projected = now.projected
        if projected is None or now.verdict is None:
            return now
        rest = flops + FlopTotals(forward=max(projected - now.flops, 0))
        decision, _ = self._judge(rest)
        verdict = decision.verdict if decision else None
        return Progress(**{**vars(now), "projected_verdict": verdict})

    def _judge(self, flops: FlopTotals) -> tuple[Decision | None, str]:
        """Return the decision, or why there is none."""
        try:
            named, size = self.meter.trained_model_id(), self.meter.trained_parameters()
            return self.original.judge(flops, named, size), ""
        except FlopsMagicError as error:
            return None, str(error)

    def _stepped(self, _: Step) -> None:
        self._line.stepped(self.progress)
        self._quietly("the display", lambda d: d.update(self.progress()))
        now_s = self.clock()
        if self._journal and now_s - self._journaled_s >= _JOURNAL_EVERY_S:
            self._journaled_s = now_s
            try:
                self._journal.save(seal(self._record("recovered")))
            except (FlopsMagicError, OSError) as error:
                self.meter.gap("the journal", error)

    def _tick(self) -> None:
        """Show that time passes while a long step runs."""
        while not self._stop.wait(1.0):
            self._quietly("the display", lambda d: d.update(self.progress()))

    def _quietly(self, where: str, act: Callable[[Display], None]) -> None:
        if self.display is None:
            return
        with self._lock:
            try:
                act(self.display)
            except Exception as error:  # noqa: BLE001 a broken gauge stops nothing
                self.meter.gap(where, error)

    # -- the record ---------------------------------------------------------------

    def _record(self, outcome: str) -> AuditRecord:
        run = Run(
            id=self.id,
            started_at=self._started.isoformat(timespec="milliseconds"),
            ended_at=_now(),
            elapsed_s=f"{self.clock() - self._began_s:.3f}",
            outcome=outcome,
            steps=self.meter.steps,
            steps_planned=self.meter.steps_planned,
            source_sha256=self.source_sha256,
            stopped=self._line.reason if outcome == "stopped" else None,
            crossing_foreseen_at=self._line.crossing_foreseen_at,
        )
        return record_of(
            run,
            self.meter,
            judge=self._judge,
            declared=self.declared,
            hardware=self._hardware,
        )

    def _keep(self) -> bool:
        """Write ``flops_meter.json``; return whether that left a gap."""
        if self.folder is None or self.record is None or self.sealed is None:
            return False
        if int(os.environ.get("RANK", "0")):
            return False  # the first process writes for all
        path = self.folder / "flops_meter.json"
        try:
            write_json(path, flops_meter(self.record, self.sealed))
        except FlopsMagicError as error:
            self.meter.gap("flops_meter.json", error)
            return True
        if self._journal:
            self._journal.discard()
        return False


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


def _patches(meter: TrainerMeter) -> Any:
    from flops_magic.monitoring.trainer_patches import patched_trainers

    return patched_trainers(meter)


def _loop_patches(meter: TrainerMeter, models: Callable[[], Mapping[str, Any]]) -> Any:
    from flops_magic.monitoring.loop_patches import patched_loops

    return patched_loops(meter, models)
