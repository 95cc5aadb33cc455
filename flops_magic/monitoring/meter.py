"""The meter of one run: its models, what their passes cost, and its steps.

Whatever the meter does wrong is recorded as a gap; the user's training goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
import transformers

from flops_magic.errors import CountingError
from flops_magic.monitoring.distributed import of_the_others, world_size
from flops_magic.monitoring.hybrid_counter import MixedObserver, is_mixed
from flops_magic.monitoring.live_counter import OccurrenceObserver
from flops_magic.monitoring.model_monitor import Watched
from flops_magic.monitoring.monitored_models import Readings
from flops_magic.monitoring.pass_hooks import PassObserver
from flops_magic.monitoring.torch_compile import watch_in_place
from flops_magic.monitoring.trainer_info import a_trainer_is_being_made, training_facts
from flops_magic.monitoring.unregistered_models import Strangers
from flops_magic.profiling.model_setup import base_model, unwrapped


class TrainerMeter(Readings):
    """What the Trainers of one run do, in passes, steps and FLOPs.

    Attributes:
        steps: optimizer steps done, over all Trainers.
        steps_planned: optimizer steps planned by the Trainers that started; None
            before the first one did.
        facts: what the Trainers say of themselves, for the record.
        gaps: what could not be observed.
        gathered: whether the other processes' counts were added.
        on_trainer: called with every Trainer that is made or trained.
        on_training: called when a Trainer's training is set up, before its first
            step; what it raises ends that training.
        stop_now: whether training is to stop after this step.
        loop: whether a loop of the user's own trains, rather than a Trainer alone.
        on_call: told of a compiled model that is about to be called, in such a loop.
        strangers: models that nobody holds or named.
        listeners: called after every optimizer step and when training begins and ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.steps_planned: int | None = None
        self.facts: dict[str, Any] = {}
        self.gaps: list[str] = []
        self.listeners: list[Callable[[], None]] = []
        self.gathered = False
        self.on_trainer: Callable[[Any], None] = self.watch_trainer_models
        self.on_training: Callable[[], None] = _nothing
        self.stop_now = False
        self.loop = False
        self.on_call: Callable[[Any], None] | None = None
        self.strangers = Strangers(self._introduce)
        self._restore: list[Callable[[], None]] = []
        self._known_parts: set[int] = set()
        self._purposes: list[str] = []

    def gap(self, where: str, error: BaseException | str) -> None:
        """Note once what could not be observed."""
        name = f"{type(error).__name__}: " if isinstance(error, BaseException) else ""
        lines = str(error).strip().splitlines() or [""]
        line = f"{where}: {name}{lines[0][:300]}"
        if line not in self.gaps and len(self.gaps) < 100:
            self.gaps.append(line)

    @contextmanager
    def purpose(self, name: str) -> Iterator[None]:
        """Say what the passes inside the block are for."""
        self._purposes.append(name)
        try:
            yield
        finally:
            self._purposes.pop()

    def watch_trainer_models(self, trainer: Any) -> None:
        """Watch the model that a Trainer trains, and those that it holds beside it."""
        model = getattr(trainer, "model", None)
        self.watch_model(model, role="trained")
        for value in list(vars(trainer).values()):
            # reward functions come in lists, and some of them are models
            for one in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(one, torch.nn.Module) and one is not model:
                    self._watch_other(one, model)

    def _watch_other(self, module: Any, trained: Any) -> None:
        """Watch a reference, teacher or reward model; no wrapper."""
        base = base_model(module)
        ours = base is base_model(trained) if trained is not None else False
        if not ours and isinstance(base, transformers.PreTrainedModel):
            self.watch_model(module, role="reference")

    def watch_model(self, model: Any, *, role: str) -> None:
        """Watch one model; a known one may have a new wrapper."""
        if not isinstance(model, torch.nn.Module):
            return
        compiled = hasattr(model, "_orig_mod")
        model = unwrapped(model)
        base = base_model(model)
        for module in (model, base):
            if restore := watch_in_place(module, self.compiled_pass):
                self._restore.append(restore)
        if (known := self._watched.get(id(base))) is not None:
            if known.model is not model:
                known.model = model
                known.forget_cost()
            known.compiled |= compiled
            if known.observer.role == "other":
                known.observer.role = role  # it has met its Trainer
            return
        watch = MixedObserver if is_mixed(base) else PassObserver
        observer = watch(base, role=role, purpose=self.current_purpose, on_gap=self.gap)
        self._watched[id(base)] = Watched(model, base, observer, compiled=compiled)

    def look_for_strangers(self) -> None:
        """Find the models that nobody holds or named; their passes are shown."""
        try:
            self.strangers.look()
        except Exception as error:  # noqa: BLE001 a broken meter may not stop training
            self.gap("models that no Trainer holds", error)

    def _introduce(self, module: Any, args: Any, kwargs: Any) -> None:
        """Watch a model that is called and unknown; parts of known ones are known."""
        if id(module) in self._known_parts or self.current_purpose() is None:
            return
        try:
            self._meet(module, args, kwargs)
        except Exception as error:  # noqa: BLE001 a broken meter may not stop training
            self.gap(f"model {type(module).__name__}", error)

    def _meet(self, module: Any, args: Any, kwargs: Any) -> None:
        bases = [watched.base for watched in self._watched.values()]
        self._known_parts = {id(part) for base in bases for part in base.modules()}
        if id(module) in self._known_parts:
            return
        self.watch_model(module, role="other")
        self.count_costs()
        self._known_parts |= {id(part) for part in module.modules()}
        self._watched[id(module)].observer.enter(args, kwargs)
        trains = any(p.requires_grad for p in module.parameters())
        if torch.is_grad_enabled() and trains and self.current_purpose() == "train":
            self.gap(
                f"model {type(module).__name__}",
                "it ran with gradients, but no Trainer holds it and nobody named it; "
                "its backward passes are not counted; if it trains, name it (--model)",
            )

    def compiled_pass(self, module: Any, args: Any, kwargs: Any) -> Any:
        """Return a context that counts a compiled model's pass before its graph."""
        if self.on_call is not None:
            self.on_call(module)
        watched = self._watched.get(id(base_model(module)))
        if watched is None:
            return nullcontext()
        live = isinstance(watched.observer, OccurrenceObserver)
        if live and not isinstance(watched.observer, MixedObserver):
            return nullcontext()
        return watched.observer.compiled_pass(args, kwargs)

    def current_purpose(self) -> str | None:
        """Return what the run is doing now; None outside of a Trainer."""
        if self._purposes:
            return self._purposes[-1]
        return "setup" if a_trainer_is_being_made() else None

    def enter_training(self, args: Any, state: Any, model: Any, more: Any) -> None:
        """Count the cost of a model's passes, now that its training is set up.

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
        self.watch_model(model, role="trained")
        watched = self._watched[id(base_model(model))]
        watched.forget_cost()
        watched.trains = True
        watched.compiled |= bool(getattr(args, "torch_compile", False))
        self.count_costs()
        self.look_for_strangers()
        self._tell()

    @property
    def in_trainer(self) -> bool:
        """Whether a Trainer is training now."""
        return self._purposes.count("train") > int(self.loop)

    def watch_loop_model(self, model: Any) -> None:
        """Watch the model of a loop of the user's own, about to be called."""
        self.watch_model(model, role="trained")
        self._watched[id(base_model(model))].trains = True
        self.count_costs()

    def leave_training(self) -> None:
        """Passes from here on are no training passes."""
        if "train" in self._purposes:
            self._purposes.remove("train")

    def count_costs(self) -> None:
        """Profile the models that have run, or will, and have no profile yet."""
        for watched in self._watched.values():
            try:
                watched.count_cost(self.current_purpose, self.gap)
            except CountingError as error:
                self.gap("operations not counted", error)
            except Exception as error:  # noqa: BLE001 a broken meter may not stop training
                watched.refused = str(error) or type(error).__name__
                self.gap(f"operations of {type(watched.base).__name__}", error)

    @contextmanager
    def backward(self) -> Iterator[None]:
        """Count the backward pass inside the block for models that are counted live."""
        waiting = [
            observer
            for watched in self._watched.values()
            if isinstance(observer := watched.observer, OccurrenceObserver)
            and observer.pending
        ]
        with ExitStack() as stack:
            for number, observer in enumerate(waiting):
                stack.enter_context(observer.backward(counted=number == 0))
            yield

    def step_ended(self) -> None:
        """Note an optimizer step."""
        self.steps += 1
        self._tell()

    def read_device(self) -> None:
        """Read what was summed on the device, where the Trainer has waited for it."""
        for watched in self._watched.values():
            watched.observer.read_device()

    def settle(self) -> None:
        """Read what was left on the device, and count what has no cost yet."""
        if (size := world_size()) > 1 and not self.gathered:
            why = "training did not come to its end"
            if self.loop:
                why = "a loop of your own adds up in none; each process has a record"
            self.gap(
                f"the other {size - 1} processes", f"their passes are missing: {why}"
            )
        for watched in self._watched.values():
            watched.observer.settle()
            if self.loop and watched.flags_changed():
                self.gap(
                    type(watched.base).__name__,
                    "parameters were frozen or unfrozen after its first pass; it is "
                    "counted as it was then",
                )
        self.count_costs()

    def _tell(self) -> None:
        for listener in self.listeners:
            try:
                listener()
            except Exception as error:  # noqa: BLE001 a broken gauge may not stop training
                self.gap("the display of progress", error)

    def gather(self) -> None:
        """Add what the other processes counted; all of them have to call this."""
        watched = list(self._watched.values())
        for one in watched:
            one.observer.settle()
        others = of_the_others([one.share() for one in watched])
        for index, one in enumerate(watched):
            one.add_shares([other[index] for other in others if index < len(other)])
        self.gathered = True

    def close(self) -> None:
        """Take the hooks away again."""
        for watched in self._watched.values():
            watched.observer.close()
        self.strangers.close()
        while self._restore:
            self._restore.pop()()


def _nothing() -> None:
    """Nobody asks."""
