"""Trainers under measurement: those made in a block, and those trained in it.

``Trainer`` and everything derived from it, TRL's trainers included, run through the
four functions that are wrapped here. Whatever the meter does wrong is recorded as a
gap; the user's training goes on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import TrainerCallback

from flops_magic.core.profile import FlopsProfile
from flops_magic.core.record import ModelUse
from flops_magic.core.tally import FlopTotals, histogram_flops
from flops_magic.errors import CountingError
from flops_magic.measure.environment import config_sha256, model_id, model_revision
from flops_magic.measure.live import base_model, unwrapped
from flops_magic.measure.opcount import profile_model
from flops_magic.measure.passes import PassObserver


@dataclass
class _Watched:
    """One model of the run."""

    model: Any
    base: Any
    observer: PassObserver
    profile: FlopsProfile | None = None
    trains: bool = False


class TrainerMeter:
    """What the Trainers of one run do, in passes, steps and FLOPs.

    Attributes:
        steps: optimizer steps done, over all Trainers.
        steps_planned: optimizer steps planned by the Trainers that started; None
            before the first one did.
        facts: what the Trainers say of themselves, for the record.
        gaps: what could not be observed.
        listeners: called after every optimizer step and when training begins and ends.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.steps_planned: int | None = None
        self.facts: dict[str, Any] = {}
        self.gaps: list[str] = []
        self.listeners: list[Callable[[], None]] = []
        self._watched: dict[int, _Watched] = {}
        self._callbacks: list[tuple[Any, MeterCallback]] = []
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

    def watch_trainer(self, trainer: Any) -> None:
        """Watch the models of a Trainer, and hear of its steps."""
        if not any(known is trainer for known, _ in self._callbacks):
            callback = MeterCallback(self)
            trainer.add_callback(callback)
            self._callbacks.append((trainer, callback))
        model = getattr(trainer, "model", None)
        self.watch_model(model, role="trained")
        for value in list(vars(trainer).values()):
            if isinstance(value, torch.nn.Module) and value is not model:
                self._watch_other(value, model)

    def _watch_other(self, module: Any, trained: Any) -> None:
        """Watch a reference, teacher or reward model; wrappers of the trained do not."""
        base = base_model(module)
        ours = base is base_model(trained) if trained is not None else False
        if not ours and isinstance(base, transformers.PreTrainedModel):
            self.watch_model(module, role="reference")

    def watch_model(self, model: Any, *, role: str) -> None:
        """Watch one model; a second call for the same model changes its wrapper only."""
        if not isinstance(model, torch.nn.Module):
            return
        model = unwrapped(model)
        base = base_model(model)
        if (known := self._watched.get(id(base))) is not None:
            known.model = model
            return
        observer = PassObserver(
            base, role=role, purpose=self._current_purpose, on_gap=self.gap
        )
        self._watched[id(base)] = _Watched(model, base, observer)

    def _current_purpose(self) -> str | None:
        return self._purposes[-1] if self._purposes else None

    def training_begins(self, trainer_model: Any, planned_steps: int) -> None:
        """Count the cost of every model's passes, now that training is set up."""
        self.steps_planned = (self.steps_planned or 0) + planned_steps
        self.watch_model(trainer_model, role="trained")
        for watched in self._watched.values():
            if watched.model is trainer_model or watched.base is base_model(
                trainer_model
            ):
                watched.profile, watched.trains = None, True
        self.count_costs()
        self._tell()

    def count_costs(self) -> None:
        """Profile the models that have run, or will, and have no profile yet."""
        for watched in self._watched.values():
            if watched.profile is not None:
                continue
            try:
                watched.profile = profile_model(watched.model)
            except CountingError as error:
                self.gap("operations not counted", error)
            except Exception as error:  # noqa: BLE001 a broken meter may not stop training
                self.gap(f"operations of {type(watched.base).__name__}", error)

    def step_ended(self) -> None:
        """Note an optimizer step."""
        self.steps += 1
        self._tell()

    def settle(self) -> None:
        """Read what was left on the device, and count what has no cost yet."""
        for watched in self._watched.values():
            watched.observer.settle()
        self.count_costs()

    def _tell(self) -> None:
        for listener in self.listeners:
            try:
                listener()
            except Exception as error:  # noqa: BLE001 a broken gauge may not stop training
                self.gap("the display of progress", error)

    def models(self) -> tuple[ModelUse, ...]:
        """Return what ran, model by model; the trained ones first."""
        uses = []
        for watched in self._watched.values():
            rows = watched.observer.tally.rows()
            if not rows and not watched.trains:
                continue
            uses.append(
                ModelUse(
                    id=model_id(watched.base),
                    role=watched.observer.role,
                    revision=model_revision(watched.base),
                    config_sha256=config_sha256(watched.base),
                    profile=watched.profile,
                    histogram=rows,
                    tokens_non_padding=watched.observer.real_tokens()
                    if watched.observer.role == "trained"
                    else None,
                )
            )
        return tuple(sorted(uses, key=lambda use: use.role != "trained"))

    def flops(self) -> FlopTotals:
        """Return the FLOPs so far; nothing is read from the device."""
        counted = (
            histogram_flops(w.observer.tally.rows(), w.profile)
            for w in list(self._watched.values())
            if w.profile is not None
        )
        return sum(counted, FlopTotals())

    def tokens(self) -> int:
        """Return the positions processed in training so far, padding included."""
        watched = list(self._watched.values())
        return sum(w.observer.tally.total("train").tokens for w in watched)

    def uncounted(self) -> list[str]:
        """Return the names of the models that ran and have no profile."""
        return [
            type(watched.base).__name__
            for watched in list(self._watched.values())
            if watched.profile is None
            and (watched.trains or watched.observer.tally.rows())
        ]

    def trained_model_id(self) -> str | None:
        """Return the id of the first model that a Trainer holds."""
        trained = [w for w in self._watched.values() if w.observer.role == "trained"]
        started = [w for w in trained if w.trains] or trained
        return model_id(started[0].base) if started else None

    def close(self) -> None:
        """Take hooks and callbacks away again."""
        for watched in self._watched.values():
            watched.observer.close()
        for trainer, callback in self._callbacks:
            trainer.remove_callback(callback)
        self._callbacks.clear()


class MeterCallback(TrainerCallback):
    """Tells a meter when training begins, steps and ends."""

    def __init__(self, meter: TrainerMeter) -> None:
        self._meter = meter
        self._training = False

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        """Profile the model; the passes from here on are for training."""
        try:
            begun = int(getattr(state, "global_step", 0) or 0)
            self._training = True
            self._meter._purposes.append("train")
            self._meter.training_begins(model, int(state.max_steps) - begun)
            self._meter.facts.update(_training_facts(args, state, kwargs, begun))
        except Exception as error:  # noqa: BLE001 a broken meter may not stop training
            self._meter.gap("the beginning of training", error)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count an optimizer step."""
        self._meter.step_ended()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave training."""
        self.leave()

    def leave(self) -> None:
        """Leave training, however it ended."""
        if self._training:
            self._training = False
            self._meter._purposes.remove("train")


def _training_facts(args: Any, state: Any, kwargs: Any, begun: int) -> dict[str, Any]:
    """Return the settings that a reader of the record needs; no paths, no tokens."""
    loader = kwargs.get("train_dataloader")
    dataset = getattr(loader, "dataset", None)
    return {
        "num_train_epochs": str(getattr(args, "num_train_epochs", "")),
        "max_steps": str(state.max_steps),
        "resumed_at_step": str(begun),
        "per_device_train_batch_size": str(args.per_device_train_batch_size),
        "gradient_accumulation_steps": str(args.gradient_accumulation_steps),
        "world_size": str(args.world_size),
        "dataset_fingerprint": str(getattr(dataset, "_fingerprint", "") or "unknown"),
        "dataset_rows": str(len(dataset)) if hasattr(dataset, "__len__") else "unknown",
    }


@contextmanager
def patched_trainers(meter: TrainerMeter) -> Iterator[None]:
    """Watch every Trainer that is made, or trained, inside the block."""
    trainer = transformers.Trainer
    generation = transformers.GenerationMixin
    originals = [
        (trainer, "__init__", trainer.__init__),
        (trainer, "train", trainer.train),
        (trainer, "evaluation_loop", trainer.evaluation_loop),
        (generation, "generate", generation.generate),
    ]
    _patch(trainer, "__init__", lambda call: _watching_init(call, meter))
    _patch(trainer, "train", lambda call: _watching_train(call, meter))
    _patch(
        trainer,
        "evaluation_loop",
        lambda call: _with_purpose(call, meter, "evaluation"),
    )
    _patch(generation, "generate", lambda call: _with_purpose(call, meter, "rollout"))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
        meter.close()


def _patch(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(wrap(original)))


def _watching_init(call: Any, meter: TrainerMeter) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        # TRL's DPO runs its reference passes in here: watch the model before
        model = kwargs.get("model", args[0] if args else None)
        _guarded(meter, lambda: meter.watch_model(model, role="trained"))
        call(self, *args, **kwargs)
        _guarded(meter, lambda: meter.watch_trainer(self))

    return init


def _watching_train(call: Any, meter: TrainerMeter) -> Any:
    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        _guarded(meter, lambda: meter.watch_trainer(self))
        try:
            return call(self, *args, **kwargs)
        finally:
            for trainer, callback in meter._callbacks:
                if trainer is self:
                    callback.leave()

    return train


def _with_purpose(call: Any, meter: TrainerMeter, name: str) -> Any:
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        # generation inside an evaluation is evaluation
        inside = meter._current_purpose()
        with meter.purpose("evaluation" if inside == "evaluation" else name):
            return call(self, *args, **kwargs)

    return wrapped


def _guarded(meter: TrainerMeter, action: Callable[[], None]) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 training goes on
        meter.gap("a Trainer could not be watched", error)
