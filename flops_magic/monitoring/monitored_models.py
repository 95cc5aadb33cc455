"""The models of a run: adopting them, pricing their passes, adding them up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import transformers

from flops_magic.evidence.record import ModelUse
from flops_magic.flops.histogram import FlopTotals
from flops_magic.flops.profile import parameters_without_adapters
from flops_magic.gaps import Gaps
from flops_magic.monitoring.backward_passes import BackwardCall, BackwardPasses
from flops_magic.monitoring.distributed import of_the_others, world_size
from flops_magic.monitoring.model_monitor import Loop, ModelMonitor
from flops_magic.monitoring.module_calls import (
    holds_matrices,
    holds_models,
    is_fake,
)
from flops_magic.monitoring.passes.pass_counter import PassCounter
from flops_magic.monitoring.passes.pass_hooks import head_of
from flops_magic.monitoring.passes.pass_reader import Purpose
from flops_magic.monitoring.provenance import model_id
from flops_magic.monitoring.setup_watch import RegistrationClock
from flops_magic.monitoring.torch_compile import watch_in_place
from flops_magic.monitoring.witnesses import ProductsOutside
from flops_magic.profiling.model_setup import base_model, unwrapped


@dataclass(frozen=True)
class _Met:
    """What became of a module that was called at the top.

    Attributes:
        counted: whether its passes are counted at it.
        monitors: how many models were watched then; with more, it is asked again.
    """

    counted: bool
    monitors: int


class ModelRegistry:
    """The models under observation, each once, whatever wraps it."""

    def __init__(self, purpose: Purpose, gaps: Gaps) -> None:
        """Start with no model.

        Args:
            purpose: returns what the run is doing now; see ``PassReader``.
            gaps: takes what could not be observed.
        """
        self._purpose = purpose
        self._gaps = gaps
        self._clock = RegistrationClock()
        self._monitors: dict[int, ModelMonitor] = {}
        self.loop = Loop()
        self.outside = ProductsOutside(self.strangers, gaps.note)
        self.backward_passes = BackwardPasses(
            lambda: list(self._monitors.values()), self.outside, gaps.note
        )
        self._met: WeakKeyDictionary[Any, _Met] = WeakKeyDictionary()
        self._restore: list[Callable[[], None]] = []

    # -- adopting -----------------------------------------------------------------

    def adopt_trainer(self, trainer: Any) -> None:
        """Watch the model that a Trainer trains, and those that it holds beside it."""
        model = getattr(trainer, "model", None)
        self.adopt(model, role="trained")
        ours = None if model is None else base_model(model)
        for value in list(vars(trainer).values()):
            # TRL keeps them in ``reward_funcs``; a Trainer's own attributes name no
            # roles.
            # reward functions come in lists, and some of them are models
            for one in value if isinstance(value, (list, tuple)) else (value,):
                if not isinstance(one, torch.nn.Module) or one is model:
                    continue
                base = base_model(one)
                if base is not ours and isinstance(base, transformers.PreTrainedModel):
                    self.adopt(one, role="reference")

    def adopt(self, model: Any, *, role: str) -> ModelMonitor | None:
        """Watch one model; a known one may have a new wrapper, or a new role.

        Args:
            model: the model; anything but a torch module is ignored.
            role: ``trained``, ``reference`` or ``other``.
        """
        if not isinstance(model, torch.nn.Module):
            return None
        # torch 2.13 keeps the compiled module under this private name; see
        # ``unwrapped``.
        hidden = hasattr(model, "_orig_mod")
        model = unwrapped(model)
        base = base_model(model)
        for module in (model, base):
            if restore := watch_in_place(module, self.compiled_pass):
                self._restore.append(restore)
        monitor = self._monitors.get(id(base))
        if monitor is None:
            self._clock.start()
            monitor = ModelMonitor(
                model,
                base,
                role=role,
                purpose=self._purpose,
                clock=self._clock,
                loop=self.loop,
                on_gap=self._gaps.note,
            )
            parts = {id(part) for part in base.modules()}
            for other in self._monitors.values():
                other.inside_another |= id(other.base) in parts
                within = {id(part) for part in other.base.modules()}
                monitor.inside_another |= id(base) in within
            self._monitors[id(base)] = monitor
        monitor.meet(model, role=role, compiled=hidden)
        return monitor

    def met(self, module: Any) -> bool:
        """Adopt a module that is called at the top; see ``module_calls.Meets``."""
        known = self._met.get(module)
        if known is None or known.monitors != len(self._monitors):
            known = _Met(self._adopted(module), len(self._monitors))
            self._met[module] = known
        return known.counted

    def _adopted(self, module: Any) -> bool:
        """Return whether a pass is counted at a module, from this call on."""
        if is_fake(module) or getattr(module, "_is_replica", False):
            return True  # walked dry; or a replica, which has its model's hooks
        base = base_model(module)
        if id(base) in self._monitors:
            self.adopt(module, role="other")  # it may be a new wrapper
            return True
        if any(module is way for m in self._monitors.values() for way in m.entrances):
            return True
        if any(module is head_of(m.base) for m in self._monitors.values()):
            return True  # applied to the backbone's states, with which it is counted
        parts = {id(part) for part in base.modules()}
        inside = any(id(m.base) in parts for m in self._monitors.values())
        model = isinstance(base, transformers.PreTrainedModel)
        if not model and (inside or holds_models(base)):
            return False  # a wrapper or a loss: what it calls is met in turn
        if not holds_matrices(base):
            return False
        self.adopt(module, role="other")
        return True

    def knows(self, model: Any) -> bool:
        """Whether a model was called."""
        return id(base_model(model)) in self._monitors

    def strangers(self, parameters: Iterable[Any]) -> list[Any]:
        """Return the parameters that no counted model owns."""
        owned = {
            id(parameter)
            for monitor in self._monitors.values()
            for parameter in monitor.parameters()
        }
        return [one for one in parameters if id(one) not in owned]

    # -- counting -----------------------------------------------------------------

    def compiled_pass(
        self, module: Any, args: Any, kwargs: Any
    ) -> AbstractContextManager[None]:
        """Return a context that counts a compiled model's pass before its graph."""
        self.met(module)
        monitor = self._monitors.get(id(base_model(module)))
        return monitor.compiled_pass(args, kwargs) if monitor else nullcontext()

    def backward(self, call: BackwardCall) -> AbstractContextManager[None]:
        """Return a context that counts a backward pass; see ``BackwardPasses``."""
        return self.backward_passes.counted(call)

    def _counters(self) -> Iterator[PassCounter]:
        for monitor in list(self._monitors.values()):
            yield from monitor.counters()

    def read_device(self) -> None:
        """Read what was summed on the device, where the Trainer has waited for it."""
        for counter in self._counters():
            counter.read_device()

    def settle(self) -> None:
        """Read what was left on the device; see which backward passes never came."""
        for counter in self._counters():
            counter.settle()

    def gather(self) -> None:
        """Add what the other processes counted; all of them have to call this."""
        self.settle()
        monitors = list(self._monitors.values())
        others = of_the_others([one.shares() for one in monitors])
        for index, one in enumerate(monitors):
            one.add_shares([other[index] for other in others if index < len(other)])

    def close(self) -> None:
        """Take the hooks away again."""
        for monitor in self._monitors.values():
            monitor.close()
        self._clock.close()
        while self._restore:
            self._restore.pop()()

    # -- reading ------------------------------------------------------------------

    def uses(self) -> tuple[ModelUse, ...]:
        """Return what ran, model by model; the trained ones first."""
        ran = self.uses_by_model().values()
        return tuple(sorted(ran, key=lambda use: use.role != "trained"))

    def uses_by_model(self) -> dict[tuple[int, int], ModelUse]:
        """Return what ran, by keys that keep to one segment of one model."""
        uses = {
            (key, number): use
            for key, monitor in list(self._monitors.items())
            for number, use in enumerate(monitor.uses())
        }
        return uses | {(0, n): use for n, use in enumerate(self.outside.uses())}

    def trained_models(self) -> int:
        """Return how many models were trained, however often they were set up anew."""
        monitors = list(self._monitors.values())
        return sum(m.role == "trained" and bool(m.uses()) for m in monitors)

    def flops(self) -> FlopTotals:
        """Return the FLOPs so far; nothing is read from the device."""
        models = (m.flops() for m in list(self._monitors.values()))
        return sum(models, self.outside.flops())

    def flops_everywhere(self) -> FlopTotals:
        """Return the FLOPs so far of all processes; each of them calls this."""
        if world_size() == 1:
            return self.flops()
        here = (m.flops(everywhere=False) for m in self._monitors.values())
        mine = sum(here, self.outside.flops())
        return sum(of_the_others(mine), mine)

    def tokens(self) -> int:
        """Return the positions processed in training so far, padding included."""
        return sum(monitor.tokens() for monitor in list(self._monitors.values()))

    def uncounted(self) -> list[str]:
        """Return the names of the models that ran and cannot be counted."""
        monitors = list(self._monitors.values())
        return [type(m.base).__name__ for m in monitors if m.uncounted]

    @property
    def trains(self) -> bool:
        """Whether the training of one of the models has begun."""
        return any(monitor.trains for monitor in list(self._monitors.values()))

    def trained_model_id(self) -> str | None:
        """Return the id of the first model that a Trainer holds."""
        trained = [m for m in self._monitors.values() if m.role == "trained"]
        started = [m for m in trained if m.trains or m.trained] or trained
        return model_id(started[0].base) if started else None

    def trained_parameters(self) -> int | None:
        """Return P of the first model that trains, adapters left out; None if unknown.

        What it is before training: the size that 6·P·D of the original asks for.
        """
        for monitor in list(self._monitors.values()):
            if (monitor.trains or monitor.trained) and (
                profile := monitor.profile
            ) is not None:
                return parameters_without_adapters(profile)
        return None
