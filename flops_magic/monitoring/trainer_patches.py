"""Trainers under measurement: those made in a block, and those trained in it.

``Trainer`` and everything derived from it, TRL's trainers included, run through the
five functions that are wrapped here while a meter is active, and are put back when the
last one is done.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

# Private module of torch, tried with 2.13: the class that ``torch.compile`` returns for
# a module. If it goes, importing this module fails and nothing can be tracked; compiled
# passes cannot be counted by hooks inside of their graph.
import torch._dynamo.eval_frame
import transformers
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from transformers import TrainerCallback

from flops_magic.gaps import guard
from flops_magic.monitoring.backward_passes import BackwardCall
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.module_calls import meeting_calls
from flops_magic.monitoring.torch_compile import watching_compiled

# tensors without values: gradients are taken of them, but nothing is trained
_TRACED = (FakeTensor, FunctionalTensor)

_ACTIVE: list[ActiveMeter] = []
_ORIGINALS: list[tuple[Any, str, Any, bool]] = []
_NOT_WATCHED = "a Trainer could not be watched"


class MeterCallback(TrainerCallback):
    """Tells a meter when training begins, steps and ends."""

    def __init__(self, meter: TrainerMeter) -> None:
        self.meter = meter
        self._training = False

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        """Price the model; the passes from here on are for training."""
        self._training = True
        with guard(self.meter.gap, "the beginning of training"):
            self.meter.enter_training(args, state, model, kwargs)
        self.meter.on_training()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count an optimizer step; stop after it, with a checkpoint, if asked to."""
        self.meter.step_ended()
        stop_if_asked(self.meter, control)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the device: the Trainer has just waited for its loss."""
        with guard(self.meter.gap, "what was summed on the device"):
            self.meter.read_device()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave training; every process comes here, so this is where they add up."""
        self.leave()
        with guard(self.meter.gap, "the other processes"):
            self.meter.gather()

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


class ActiveMeter:
    """A meter that watches Trainers, and the callbacks by which it hears of them."""

    def __init__(self, meter: TrainerMeter) -> None:
        self.meter = meter
        self._callbacks: list[tuple[Any, MeterCallback]] = []

    def watch(self, trainer: Any) -> None:
        """Watch a Trainer's models and hear of its steps; once for each Trainer."""
        with guard(self.meter.gap, _NOT_WATCHED):
            self.meter.registry.adopt_trainer(trainer)
            if not any(known is trainer for known, _ in self._callbacks):
                callback = MeterCallback(self.meter)
                trainer.add_callback(callback)
                self._callbacks.append((trainer, callback))

    def forget_trainers(self) -> None:
        """Take the callbacks away again."""
        while self._callbacks:
            trainer, callback = self._callbacks.pop()
            trainer.remove_callback(callback)


@contextmanager
def patched_trainers(meter: TrainerMeter) -> Iterator[None]:
    """Watch every Trainer that is made, or trained, inside the block."""
    active = ActiveMeter(meter)
    if not _ACTIVE:
        _wrap_all()
    _ACTIVE.append(active)
    try:
        meter.start()
        yield
    finally:
        _ACTIVE.remove(active)
        if not _ACTIVE:
            _unwrap_all()
        active.forget_trainers()
        meter.close()


def _meters() -> list[TrainerMeter]:
    return [active.meter for active in _ACTIVE]


def _wrap_all() -> None:
    trainer, generation = transformers.Trainer, transformers.GenerationMixin
    # Base-class functions: every subclass, TRL's included, ends up in them.
    _wrap(trainer, "__init__", _watching_init)
    _wrap(trainer, "train", _watching_train)
    _wrap(trainer, "evaluation_loop", functools.partial(_for, "evaluation"))
    if hasattr(trainer, "prediction_loop"):  # transformers 4
        _wrap(trainer, "prediction_loop", functools.partial(_for, "evaluation"))
    _wrap(generation, "generate", functools.partial(_for, "rollout"))
    # torch.autograd's own name for what both backward() and grad() call (2.8 to 2.13);
    # without it a backward pass that is asked for by grad() would not be seen
    _wrap(torch.autograd, "_engine_run_backward", _watching_backward)
    _wrap(torch.nn.Module, "__call__", functools.partial(meeting_calls, _meters))
    compiled = functools.partial(watching_compiled, _meters)
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


def _watching_init(call: Any) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        # TRL computes reference log-probabilities in here: watch the model before
        model = kwargs.get("model", args[0] if args else None)
        for meter in _meters():
            with guard(meter.gap, _NOT_WATCHED):
                meter.watch_model(model, role="trained")
        with _purposes("setup"):
            call(self, *args, **kwargs)
        for active in list(_ACTIVE):
            active.watch(self)

    return init


def _watching_train(call: Any) -> Any:
    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        for active in list(_ACTIVE):
            active.watch(self)
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
    def backward(
        tensors: Any,
        grad_tensors: Any,
        retain_graph: Any,
        create_graph: Any,
        inputs: Any,
        *more: Any,
        **named: Any,
    ) -> Any:
        given = (tensors, grad_tensors, retain_graph, create_graph, inputs, *more)
        # a backward pass inside of another one is a part of it: reentrant checkpointing
        inside = torch._C._current_graph_task_id() != -1
        if inside or any(isinstance(tensor, _TRACED) for tensor in tensors):
            return call(
                *given, **named
            )  # a dry walk of our own, or a graph in the making
        asked = BackwardCall(tuple(tensors), bool(create_graph), tuple(inputs or ()))
        with ExitStack() as stack:
            for meter in _meters():
                stack.enter_context(_counted_backward(meter, asked))
            return call(*given, **named)

    return backward


@contextmanager
def _counted_backward(meter: TrainerMeter, asked: BackwardCall) -> Iterator[None]:
    """Count a backward pass; what the meter raises is a gap, what torch raises is not.

    A plain ``with`` would let an error of the meter out between two of the user's.
    """
    where = "a backward pass"
    block = meter.backward(asked)
    with guard(meter.gap, where):
        block.__enter__()
    try:
        yield
    except BaseException as raised:
        with guard(meter.gap, where):
            block.__exit__(type(raised), raised, raised.__traceback__)
        raise
    with guard(meter.gap, where):
        block.__exit__(None, None, None)


def _for(purpose: str, call: Any) -> Any:
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _purposes(purpose):
            return call(self, *args, **kwargs)

    return wrapped


@contextmanager
def _purposes(name: str) -> Iterator[None]:
    with ExitStack() as stack:
        for meter in _meters():
            # generation inside an evaluation is evaluation
            inside = meter.current_purpose() == "evaluation"
            stack.enter_context(meter.purpose("evaluation" if inside else name))
        yield
