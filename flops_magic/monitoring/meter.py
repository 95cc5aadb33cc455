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
from flops_magic.gaps import Gaps, guard
from flops_magic.monitoring.distributed import world_size
from flops_magic.monitoring.monitored_models import ModelRegistry
from flops_magic.monitoring.trainer_info import a_trainer_is_being_made, training_facts

CallSink = Callable[[Any], None]


@dataclass(frozen=True)
class Step:
    """Where a run stands after an optimizer step, or when training begins.

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
        on_training: called when a Trainer's training is set up, before its first
            step; what it raises ends that training.
        stop_now: whether training is to stop after this step.
        listeners: called with every ``Step``.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.steps_planned: int | None = None
        self.facts: dict[str, Any] = {}
        self.listeners: list[Callable[[Step], None]] = []
        self.gathered = False
        self.on_training: Callable[[], None] = lambda: None
        self.stop_now = False
        self._gaps = Gaps()
        self._purposes: list[str] = []
        self._in_loop = False
        self._before_call: CallSink | None = None
        self.registry = ModelRegistry(self.current_purpose, self._gaps)

    @property
    def gaps(self) -> list[str]:
        """What could not be observed, one line a gap."""
        return self._gaps.lines

    def gap(self, where: str, error: BaseException | str) -> None:
        """Note once what could not be observed."""
        self._gaps.note(where, error)

    # -- what the run does now ----------------------------------------------------

    @contextmanager
    def purpose(self, name: str) -> Iterator[None]:
        """Say what the passes inside the block are for."""
        self._purposes.append(name)
        try:
            yield
        finally:
            self._purposes.pop()

    def current_purpose(self) -> str | None:
        """Return what the run is doing now; None outside of a Trainer."""
        if self._purposes:
            return self._purposes[-1]
        return "setup" if a_trainer_is_being_made() else None

    @contextmanager
    def user_loop(self, before_call: CallSink) -> Iterator[None]:
        """Say that a loop of the user's own trains inside the block.

        Args:
            before_call: told of a compiled model that is about to be called.
        """
        self._in_loop, self._before_call = True, before_call
        try:
            with self.purpose("train"):
                yield
        finally:
            self._in_loop, self._before_call = False, None

    @property
    def in_trainer(self) -> bool:
        """Whether a Trainer is training now."""
        return self._purposes.count("train") > int(self._in_loop)

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
        self.registry.look_for_unregistered()
        self._tell()

    def leave_training(self) -> None:
        """Passes from here on are no training passes."""
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
        self.registry.price()

    def compiled_pass(
        self, module: Any, args: Any, kwargs: Any
    ) -> AbstractContextManager[None]:
        """Return a context that counts a compiled model's pass before its graph."""
        if self._before_call is not None:
            self._before_call(module)
        return self.registry.compiled_pass(module, args, kwargs)

    def backward(self) -> AbstractContextManager[None]:
        """Return a context that counts the backward pass inside it, where needed."""
        return self.registry.backward()

    def step_ended(self) -> None:
        """Note an optimizer step."""
        self.steps += 1
        self._tell()

    def now(self) -> Step:
        """Return where the run is; nothing is read from the device."""
        return Step(
            self.steps,
            self.steps_planned,
            self.flops(),
            self.tokens(),
            tuple(self.uncounted()),
        )

    def _tell(self) -> None:
        if not self.listeners:
            return
        where = "the display of progress"
        with guard(self.gap, where):
            step = self.now()
            for listener in self.listeners:
                with guard(self.gap, where):
                    listener(step)

    def settle(self) -> None:
        """Read what was left on the device, and price what has no cost yet."""
        if (size := world_size()) > 1 and not self.gathered:
            why = "training did not come to its end"
            if self._in_loop:
                why = "a loop of your own adds up in none; each process has a record"
            self.gap(
                f"the other {size - 1} processes", f"their passes are missing: {why}"
            )
        self.registry.settle()

    def gather(self) -> None:
        """Add what the other processes counted; all of them have to call this."""
        self.registry.gather()
        self.gathered = True

    def close(self) -> None:
        """Take the hooks away again."""
        self.registry.close()

    # -- what the models add up to --------------------------------------------------

    def models(self) -> tuple[ModelUse, ...]:
        """Return what ran, model by model; see ``ModelRegistry.uses``."""
        return self.registry.uses()

    def flops(self) -> FlopTotals:
        """Return the FLOPs so far; see ``ModelRegistry.flops``."""
        return self.registry.flops()

    def flops_everywhere(self) -> FlopTotals:
        """Return the FLOPs of all processes; see ``ModelRegistry.flops_everywhere``."""
        return self.registry.flops_everywhere()

    def tokens(self) -> int:
        """Return the positions processed in training; see ``ModelRegistry.tokens``."""
        return self.registry.tokens()

    def uncounted(self) -> list[str]:
        """Return the names of models without a count."""
        return self.registry.uncounted()

    def trained_model_id(self) -> str | None:
        """Return the id of the first model that a Trainer holds."""
        return self.registry.trained_model_id()

    def trained_parameters(self) -> int | None:
        """Return P of the first model that trains, adapters left out."""
        return self.registry.trained_parameters()

    def read_device(self) -> None:
        """Read what was summed on the device; see ``ModelRegistry.read_device``."""
        self.registry.read_device()
