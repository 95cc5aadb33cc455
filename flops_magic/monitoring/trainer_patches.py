"""Trainers under measurement: those made in a block, and those trained in it.

``Trainer`` and everything derived from it, TRL's trainers included, run through the
five functions that are wrapped here while a meter is active, and are put back when the
last one is done.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch._dynamo.eval_frame
import transformers
from transformers import TrainerCallback

from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.torch_compile import watching_compiled

_ACTIVE: list[TrainerMeter] = []
_ORIGINALS: list[tuple[Any, str, Any, bool]] = []


class MeterCallback(TrainerCallback):
    """Tells a meter when training begins, steps and ends."""

    def __init__(self, meter: TrainerMeter) -> None:
        self.meter = meter
        self._training = False

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        """Profile the model; the passes from here on are for training."""
        self._training = True
        try:
            self.meter.enter_training(args, state, model, kwargs)
        except Exception as error:  # noqa: BLE001 a broken meter may not stop training
            self.meter.gap("the beginning of training", error)
        self.meter.on_training()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count an optimizer step; stop after it, with a checkpoint, if asked to."""
        self.meter.step_ended()
        stop_if_asked(self.meter, control)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the device: the Trainer has just waited for its loss."""
        try:
            self.meter.read_device()
        except Exception as error:  # noqa: BLE001 a broken meter may not stop training
            self.meter.gap("what was summed on the device", error)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave training; every process comes here, so this is where they add up."""
        self.leave()
        try:
            self.meter.gather()
        except Exception as error:  # noqa: BLE001 a broken meter may not stop training
            self.meter.gap("the other processes", error)

    def leave(self) -> None:
        """Leave training, however it ended."""
        if self._training:
            self._training = False
            self.meter.leave_training()


def stop_if_asked(meter: TrainerMeter, control: Any) -> None:
    """Let the Trainer save a checkpoint and end, as it does at its planned end."""
    if meter.stop_now:
        control.should_save = True
        control.should_training_stop = True


@contextmanager
def patched_trainers(meter: TrainerMeter) -> Iterator[None]:
    """Watch every Trainer that is made, or trained, inside the block."""
    if not _ACTIVE:
        _wrap_all()
    _ACTIVE.append(meter)
    callbacks: list[tuple[Any, MeterCallback]] = []
    meter.on_trainer = functools.partial(_listen, meter, callbacks)
    try:
        yield
    finally:
        _ACTIVE.remove(meter)
        if not _ACTIVE:
            _unwrap_all()
        for trainer, callback in callbacks:
            trainer.remove_callback(callback)
        meter.close()


def _listen(
    meter: TrainerMeter, callbacks: list[tuple[Any, MeterCallback]], trainer: Any
) -> None:
    """Watch a Trainer's models and hear of its steps; once for each Trainer."""
    meter.watch_trainer_models(trainer)
    if not any(known is trainer for known, _ in callbacks):
        callback = MeterCallback(meter)
        trainer.add_callback(callback)
        callbacks.append((trainer, callback))


def _wrap_all() -> None:
    trainer, generation = transformers.Trainer, transformers.GenerationMixin
    _wrap(trainer, "__init__", _watching_init)
    _wrap(trainer, "train", _watching_train)
    _wrap(trainer, "evaluation_loop", functools.partial(_for, "evaluation"))
    if hasattr(trainer, "prediction_loop"):  # transformers 4
        _wrap(trainer, "prediction_loop", functools.partial(_for, "evaluation"))
    _wrap(generation, "generate", functools.partial(_for, "rollout"))
    _wrap(torch.autograd, "backward", _watching_backward)
    _wrap(transformers.PreTrainedModel, "__init__", _expecting)
    compiled = functools.partial(watching_compiled, _ACTIVE)
    _wrap(torch._dynamo.eval_frame.OptimizedModule, "__call__", compiled)


def _wrap(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    _ORIGINALS.append((owner, name, original, name in vars(owner)))
    setattr(owner, name, functools.wraps(original)(wrapper(original)))


def _unwrap_all() -> None:
    while _ORIGINALS:
        owner, name, original, its_own = _ORIGINALS.pop()
        if its_own:
            setattr(owner, name, original)
        else:  # it was inherited
            delattr(owner, name)


def _expecting(call: Any) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        call(self, *args, **kwargs)
        for meter in list(_ACTIVE):
            _guarded(meter, lambda meter: meter.strangers.expect(self))

    return init


def _watching_init(call: Any) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        # TRL computes reference log-probabilities in here: watch the model before
        model = kwargs.get("model", args[0] if args else None)
        for meter in list(_ACTIVE):
            _guarded(meter, lambda meter: meter.watch_model(model, role="trained"))
            meter.look_for_strangers()
        with _purposes("setup"):
            call(self, *args, **kwargs)
        for meter in list(_ACTIVE):
            _guarded(meter, lambda meter: meter.on_trainer(self))

    return init


def _watching_train(call: Any) -> Any:
    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        for meter in list(_ACTIVE):
            _guarded(meter, lambda meter: meter.on_trainer(self))
        try:
            # until training begins, TRL computes reference log-probabilities
            with _purposes("setup"):
                return call(self, *args, **kwargs)
        finally:
            for callback in list(self.callback_handler.callbacks):
                if isinstance(callback, MeterCallback):
                    callback.leave()

    return train


def _watching_backward(call: Any) -> Any:
    def backward(*args: Any, **kwargs: Any) -> Any:
        blocks = [(meter, meter.backward()) for meter in list(_ACTIVE)]
        for meter, block in blocks:
            _guarded(meter, functools.partial(_enter, block))
        try:
            result = call(*args, **kwargs)
        except BaseException:
            for meter, block in reversed(blocks):
                _guarded(meter, functools.partial(_leave, block))
            raise
        for meter, block in reversed(blocks):
            _guarded(meter, functools.partial(_leave, block))
        return result

    return backward


def _enter(block: Any, _: TrainerMeter) -> None:
    block.__enter__()


def _leave(block: Any, _: TrainerMeter) -> None:
    """Leave a block, telling it what was raised inside; the caller raises it again."""
    kind, raised, trace = sys.exc_info()
    try:
        block.__exit__(kind, raised, trace)
    except BaseException as error:
        if error is not raised:
            raise


def _for(purpose: str, call: Any) -> Any:
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _purposes(purpose):
            return call(self, *args, **kwargs)

    return wrapped


@contextmanager
def _purposes(name: str) -> Iterator[None]:
    with ExitStack() as stack:
        for meter in list(_ACTIVE):
            # generation inside an evaluation is evaluation
            inside = meter.current_purpose() == "evaluation"
            stack.enter_context(meter.purpose("evaluation" if inside else name))
        yield


def _guarded(meter: TrainerMeter, action: Callable[[TrainerMeter], None]) -> None:
    try:
        action(meter)
    except Exception as error:  # noqa: BLE001 a broken meter may not stop training
        meter.gap("a Trainer could not be watched", error)
