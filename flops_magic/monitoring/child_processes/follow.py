"""A child process that has torch: its meter, and what it counted, for its file."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from flops_magic.evidence.record import AuditRecord, ModelUse, Outcome, Run
from flops_magic.flops.histogram import FlopTotals
from flops_magic.gaps import Gaps, guard
from flops_magic.monitoring.child_processes.commands import CommandWatch
from flops_magic.monitoring.child_processes.process import ReportingProcess
from flops_magic.monitoring.child_processes.uses import since

if TYPE_CHECKING:
    from flops_magic.monitoring.meter import Step, TrainerMeter

_EVERY_S = 1.0
_LOOP = "a loop of its own, in which nobody named the model"
# what distinguishes the groups of one machine; each launcher sets some of them
_GROUP = (
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "MASTER_ADDR",
    "MASTER_PORT",
)


class MeasuredProcess:
    """A process that reports, and the meter that counts in it.

    After a fork the child goes on with the parent's meter: only what it counts from
    there on is its share.

    Attributes:
        meter: None until there is a model.
    """

    def __init__(self, process: ReportingProcess, commands: CommandWatch) -> None:
        self.process = process
        self.meter: TrainerMeter | None = None
        self._commands = commands
        self._before: dict[tuple[int, int], ModelUse] = {}
        self._steps_before = 0
        self._planned_before = 0
        self._gaps_before = 0
        self.gaps = Gaps()
        self._unnamed_steps = 0
        self._hook: Any = None
        self._resources = ExitStack()
        self._rank: int | None = None
        self._world_size = 1
        self._written_s = 0.0
        self._in_trainer = False
        self._at_rest = False
        process.details = self.details
        process.forked.append(self._forked)

    def hold(self, block: AbstractContextManager[None]) -> None:
        """Keep a block open until the process ends."""
        self._resources.enter_context(block)

    def watch_steps(self) -> None:
        """Notice optimizer steps before there is a meter; once."""
        if self._hook is None:
            self._hook = register_optimizer_step_post_hook(self._optimizer_stepped)

    def _optimizer_stepped(self, *_: Any) -> None:
        if self.meter is None:
            self._unnamed_steps += 1
            self._at_rest = False
            if self._unnamed_steps == 1:
                self.process.appear()

    def stepped(self, _: Step | None = None) -> None:
        """Write what was counted, about once a second; a meter's listener."""
        meter = self.meter
        if meter is None:
            return
        inside = meter.in_trainer
        left = self._in_trainer and not inside
        self._at_rest = left
        turned, self._in_trainer = inside != self._in_trainer, inside
        turned |= meter.steps == self._steps_before + 1
        now_s = time.monotonic()
        if turned or not self.process.reports or now_s - self._written_s >= _EVERY_S:
            self._written_s = now_s
            if self.process.reports:
                self.process.write()
            else:
                self.process.appear()

    def details(self, ended: bool) -> str:
        """Return, as JSON, what the process did; at its end, all of it."""
        told: dict[str, Any] = {}
        with guard(self.gaps.note, "what the process counted"):
            told = self.place() | {
                "commands": self._commands.commands,
                "tools": self._commands.tools,
                "at_rest": self._at_rest,
                "training": self._in_trainer or self._unnamed_steps > 0,
            }
            if self.meter is not None and ended and self._counted():
                self.meter.settle()
            told["record"] = self._record().to_json()
        return json.dumps(told)

    def _counted(self) -> bool:
        """Whether anything ran here; what a fork inherited may not be read in it."""
        meter = self.meter
        if meter is None:
            return False
        return meter.steps > self._steps_before or any(
            use.histogram for use in self._uses()
        )

    def _uses(self) -> list[ModelUse]:
        if self.meter is None:
            return []
        now = self.meter.registry.uses_by_model()
        shares = (since(use, self._before.get(key)) for key, use in now.items())
        return [use for use in shares if use.histogram]

    def _record(self) -> AuditRecord:
        meter, uses = self.meter, tuple(self._uses())
        steps = meter.steps - self._steps_before if meter else 0
        planned = (meter.steps_planned or 0) - self._planned_before if meter else 0
        now_s = time.time()
        run = Run(
            id=f"{self.process.pid}",
            started_at=_iso(self.process.started_s),
            ended_at=_iso(now_s),
            elapsed_s=Decimal(f"{max(now_s - self.process.started_s, 0.0):.3f}"),
            outcome=Outcome.RECOVERED,
            steps=steps,
            steps_planned=planned or None,
        )
        flops = sum((use.flops() for use in uses), FlopTotals())
        gaps = tuple(meter.gaps[self._gaps_before :]) if meter else ()
        if self._unnamed_steps:
            gaps += (f"{_LOOP}: {self._unnamed_steps} optimizer steps",)
        return AuditRecord(
            run=run, models=uses, flops=flops, gaps=(*gaps, *self.gaps.lines)
        )

    def place(self) -> dict[str, Any]:
        """Return the process's place among those that train together."""
        group = torch.distributed
        if group.is_available() and group.is_initialized():
            self._rank, self._world_size = group.get_rank(), group.get_world_size()
        names = [os.environ.get(name, "") for name in _GROUP]
        digest = hashlib.sha256("\0".join(names).encode("utf-8", "replace"))
        return {
            "rank": self._rank,
            "world_size": self._world_size,
            "group": digest.hexdigest()[:16],
        }

    def _forked(self) -> None:
        """Count from here on, in the child."""
        with guard(self.gaps.note, "a forked process"):
            self._commands.forget()
            self.watch_steps()
            self._unnamed_steps = 0
            self._rank, self._world_size = None, 1
            self._written_s, self._in_trainer, self._at_rest = 0.0, False, False
            if self.meter is not None:
                self._before = self.meter.registry.uses_by_model()
                self._steps_before = self.meter.steps
                self._planned_before = self.meter.steps_planned or 0
                self._gaps_before = len(self.meter.gaps)


def follow(process: ReportingProcess) -> None:
    """Measure from the first model on that the process builds.

    Torch alone costs nothing more: a process that reads data, or compiles, has no
    model. The meter is loaded where a module is made and transformers is not halfway
    through its own import.
    """
    # orig_argv: torch 2.8 to 2.13 start torch/_inductor/compile_worker/__main__.py
    process.worker |= any("_inductor" in part for part in sys.orig_argv[:2])
    process.await_multiprocessing()
    measured = MeasuredProcess(process, CommandWatch())
    measured.watch_steps()
    plain = torch.nn.Module.__init__

    @functools.wraps(plain)
    def init(module: Any, *args: Any, **kwargs: Any) -> None:
        if measured.meter is None and not process.problem and not _importing():
            if torch.nn.Module.__init__ is init:
                torch.nn.Module.__init__ = plain
            _measure(measured)
        plain(module, *args, **kwargs)

    torch.nn.Module.__init__ = init


def _importing() -> bool:
    """Whether transformers is halfway through an import; the meter has to wait."""
    # _initializing: importlib sets it on a spec while it runs the module, 3.11 to 3.14
    return any(
        getattr(getattr(module, "__spec__", None), "_initializing", False)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "transformers"
    )


def _measure(measured: MeasuredProcess) -> None:
    process = measured.process
    try:
        with guard(measured.gaps.note, "the meter of a child process"):
            from flops_magic.monitoring.meter import TrainerMeter
            from flops_magic.monitoring.trainer_patches import patched_trainers

            meter = TrainerMeter()
            meter.collective, meter.adds_up_by_files = False, True
            measured.hold(patched_trainers(meter))
            meter.listeners.append(measured.stepped)
            meter.on_training_end = measured.stepped
            measured.meter = meter
    finally:
        if measured.meter is None and not process.problem:
            process.problem = measured.gaps.lines[0]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
