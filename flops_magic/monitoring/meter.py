"""The meter of one run: what it is doing now, its steps, and the models it runs.

Whatever the meter does wrong is recorded as a gap; the user's training goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from flops_magic.evidence.record import ModelUse
from flops_magic.flops.histogram import FlopTotals
from flops_magic.gaps import Concern, Gaps, GapSink, guard
from flops_magic.monitoring.backward_passes import BackwardCall
from flops_magic.monitoring.child_processes.uses import Elsewhere, added
from flops_magic.monitoring.distributed import world_size
from flops_magic.monitoring.monitored_models import ModelRegistry
from flops_magic.monitoring.trainer_info import a_trainer_is_being_made, training_facts
from flops_magic.monitoring.witnesses import OptimizerSteps


@dataclass(frozen=True)
class Step:
    """A run's counts after an optimizer step, or when training begins.

    Attributes:
        number: optimizer steps done, over all Trainers; 0 before the first.
        planned: optimizer steps planned; None if unknown.
        flops: FLOPs so far, as far as this process knows.
        tokens: positions processed in training so far, padding included.
        uncounted: names of the models that ran and cannot be counted.
    """

    number: int
    planned: int | None
    flops: FlopTotals
    tokens: int
    uncounted: tuple[str, ...]


class TrainerMeter:
    """What the Trainers and loops of one run do, in passes, steps and FLOPs.

    Attributes:
        registry: the models under observation.
        steps: optimizer steps done, over all Trainers.
        steps_planned: optimizer steps planned by the Trainers that started; None
            before the first one did.
        facts: what the Trainers say of themselves, for the record.
        gathered: whether the other processes' counts were added.
        collective: whether the other processes of a group are tracked as this one is,
            so that all of them add up at the same point.
        adds_up_by_files: whether the other processes report by files instead.
        elsewhere: returns what child processes did, as far as it is known.
        on_training: called when a Trainer's training is set up, before its first
            step; what it raises ends that training.
        on_training_end: called when a Trainer is done, where processes report by files.
        stop_now: whether training is to stop after this step.
        listeners: called with every ``Step``.
        loop_steps: optimizer steps that no Trainer reported.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.steps_planned: int | None = None
        self.facts: dict[str, Any] = {}
        self.listeners: list[Callable[[Step], None]] = []
        self.gathered = False
        self.collective = True
        self.adds_up_by_files = False
        self.elsewhere: Callable[[], Elsewhere] = Elsewhere
        self.on_training: Callable[[], None] = lambda: None
        self.on_training_end: Callable[[], None] = lambda: None
        self.stop_now = False
        self._gaps = Gaps()
        self._purposes: list[str] = []
        self.loop_steps = 0
        self._optimizers: OptimizerSteps | None = None
        self.registry = ModelRegistry(self.current_purpose, self._gaps)

    @property
    def gaps(self) -> list[str]:
        """What could not be observed, one line a gap."""
        return self._gaps.lines

    def gap(
        self,
        where: str,
        error: BaseException | str,
        concerns: Concern = Concern.COUNT,
    ) -> None:
        """Note once what could not be observed; see ``Gaps.note``."""
        self._gaps.note(where, error, concerns)

    def about(self, concern: Concern) -> GapSink:
        """Return a ``gap`` for gaps of one concern."""
        return self._gaps.about(concern)

    def unseen(self) -> list[str]:
        """Return the gaps that concern the count."""
        noted = self._gaps.noted
        return [str(gap) for gap in noted if gap.concerns is Concern.COUNT]

    # -- what the run does now ----------------------------------------------------

    @contextmanager
    def purpose(self, name: str) -> Iterator[None]:
        """Say what the passes inside the block are for."""
        self._purposes.append(name)
        try:
            yield
        finally:
            self._purposes.pop()

    def current_purpose(self) -> str:
        """Return what the run is doing now; ``loop`` outside of a Trainer."""
        if self._purposes:
            return self._purposes[-1]
        return "setup" if a_trainer_is_being_made() else "loop"

    @property
    def in_trainer(self) -> bool:
        """Whether a Trainer is training now."""
        return "train" in self._purposes

    @property
    def steps_everywhere(self) -> int:
        """Optimizer steps done, here and in child processes."""
        return self.steps + self.elsewhere().steps

    @property
    def steps_planned_everywhere(self) -> int | None:
        """Optimizer steps planned, here and in child processes; None if unknown."""
        return ((self.steps_planned or 0) + self.elsewhere().steps_planned) or None

    # -- events -------------------------------------------------------------------

    def enter_training(self, args: Any, state: Any, model: Any, more: Any) -> None:
        """Price a model's passes, now that its training is set up.

        Args:
            args: the Trainer's arguments.
            state: the Trainer's state; ``max_steps`` is planned, ``global_step`` done.
            model: the model that trains.
            more: what else a callback receives, the data loader among it.
        """
        self._purposes.append("train")
        done = int(state.global_step or 0)
        self.steps_planned = (self.steps_planned or 0) + int(state.max_steps) - done
        self.gathered = False
        self.facts.update(training_facts(args, state, more, done))
        self.train_model(model, compiled=bool(getattr(args, "torch_compile", False)))
        self._tell()

    def leave_training(self) -> None:
        """End the training block: later passes do not count as training."""
        if "train" in self._purposes:
            self._purposes.remove("train")

    def watch_model(self, model: Any, *, role: str) -> None:
        """Watch one model; a known one may have a new wrapper."""
        self.registry.adopt(model, role=role)

    def train_model(self, model: Any, *, compiled: bool = False) -> None:
        """Watch a model whose training begins, or goes on set up anew.

        Args:
            model: the model.
            compiled: whether the Trainer compiles it.
        """
        if (monitor := self.registry.adopt(model, role="trained")) is not None:
            monitor.training_begins(compiled=compiled)

    def compiled_pass(
        self, module: Any, args: Any, kwargs: Any
    ) -> AbstractContextManager[None]:
        """Return a context that counts a compiled model's pass before its graph."""
        return self.registry.compiled_pass(module, args, kwargs)

    def met(self, module: Any) -> bool:
        """Adopt a module that is called at the top; see ``module_calls.Meets``."""
        with guard(self.gap, f"model {type(module).__name__}"):
            return self.registry.met(module)
        return False

    def backward(self, call: BackwardCall) -> AbstractContextManager[None]:
        """Return a context that counts the backward pass inside it, where needed."""
        self.registry.loop.trained |= not self.in_trainer
        return self.registry.backward(call)

    def start(self) -> None:
        """Listen to the witnesses that do not depend on a Trainer."""
        self._optimizers = OptimizerSteps(
            stepped=self._stepped_in_loop,
            strangers=self.registry.strangers,
            backward_begun=lambda: self.registry.backward_passes.begun,
            note=self.gap,
        )

    def _stepped_in_loop(self) -> None:
        """Note a step of an optimizer that no Trainer reports."""
        if not self.in_trainer:
            self.loop_steps += 1
            self.step_ended()

    def step_ended(self) -> None:
        """Note an optimizer step."""
        self.steps += 1
        self._tell()

    def now(self) -> Step:
        """Return where the run is; nothing is read from the device."""
        return Step(
            self.steps_everywhere,
            self.steps_planned_everywhere,
            self.flops(),
            self.tokens(),
            tuple(self.uncounted()),
        )

    def _tell(self) -> None:
        if not self.listeners:
            return
        where, shown = "the display of progress", self.about(Concern.DISPLAY)
        with guard(shown, where):
            step = self.now()
            for listener in self.listeners:
                with guard(shown, where):
                    listener(step)

    def settle(self) -> None:
        """Read what was left on the device, and say what of the run is missing."""
        alone = self.gathered or self.adds_up_by_files
        if (size := world_size()) > 1 and not alone:
            why = "training did not come to its end"
            if self.loop_steps:
                why = "a loop of your own adds up in none; each process has a record"
            self.gap(
                f"the other {size - 1} processes", f"their passes are missing: {why}"
            )
        self.registry.settle()

    def gather(self) -> None:
        """Add what the other processes counted; all of them have to call this.

        Where they report by files nobody waits: this process's file is renewed.
        """
        if self.adds_up_by_files:
            self.on_training_end()
            return
        self.registry.gather()
        self.gathered = True

    def close(self) -> None:
        """Take the hooks away again."""
        if self._optimizers is not None:
            self._optimizers.close()
        self.registry.close()

    # -- what the models add up to, here and in child processes ---------------------

    def models(self) -> tuple[ModelUse, ...]:
        """Return what ran, model by model; see ``ModelRegistry.uses``."""
        uses = added((self.registry.uses(), self.elsewhere().uses))
        return tuple(sorted(uses, key=lambda use: use.role != "trained"))

    def trained_models(self) -> int:
        """Return how many models were trained; see ``ModelRegistry.trained_models``."""
        return self.registry.trained_models()

    def flops(self) -> FlopTotals:
        """Return the FLOPs so far; see ``ModelRegistry.flops``."""
        return self.registry.flops() + self.elsewhere().flops

    def flops_everywhere(self) -> FlopTotals:
        """Return the FLOPs of all processes; see ``ModelRegistry.flops_everywhere``."""
        if world_size() == 1 or not self.collective:
            return self.flops()
        return self.registry.flops_everywhere()

    def tokens(self) -> int:
        """Return the positions processed in training; see ``ModelRegistry.tokens``."""
        return self.registry.tokens() + self.elsewhere().tokens

    def uncounted(self) -> list[str]:
        """Return the names of models without a count."""
        return self.registry.uncounted() + self.elsewhere().uncounted

    def trained_model_id(self) -> str | None:
        """Return the id of the first model that trains, here if one does."""
        elsewhere = self.elsewhere().trained_model_id
        here = self.registry.trained_model_id()
        return here if self.registry.trains or elsewhere is None else elsewhere

    def trained_parameters(self) -> int | None:
        """Return P of the first model that trains, adapters left out."""
        if self.registry.trains:
            return self.registry.trained_parameters()
        return self.elsewhere().trained_parameters

    def read_device(self) -> None:
        """Read what was summed on the device; see ``ModelRegistry.read_device``."""
        self.registry.read_device()
