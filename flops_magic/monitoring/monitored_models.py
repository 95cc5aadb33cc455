"""The models of a run: adopting them, pricing their passes, adding them up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
import transformers

from flops_magic.evidence.record import ModelUse
from flops_magic.flops.histogram import FlopTotals, histogram_flops
from flops_magic.flops.profile import parameters_without_adapters
from flops_magic.gaps import Gaps, guard
from flops_magic.monitoring.distributed import of_the_others, world_size
from flops_magic.monitoring.model_monitor import ModelMonitor
from flops_magic.monitoring.pass_reader import Purpose
from flops_magic.monitoring.provenance import model_id
from flops_magic.monitoring.torch_compile import watch_in_place
from flops_magic.monitoring.unregistered_models import UnregisteredModels
from flops_magic.profiling.model_setup import base_model, unwrapped


class ModelRegistry:
    """The models under observation, each once, whatever wraps it.

    Attributes:
        unregistered: hooks on models that nobody holds or named.
    """

    def __init__(self, purpose: Purpose, gaps: Gaps) -> None:
        """Start with no model.

        Args:
            purpose: returns what the run is doing now; see ``PassReader``.
            gaps: takes what could not be observed.
        """
        self.unregistered = UnregisteredModels(self._introduce)
        self._purpose = purpose
        self._gaps = gaps
        self._monitors: dict[int, ModelMonitor] = {}
        self._known_parts: set[int] = set()
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
            model: the model; what is no module is left alone.
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
            monitor = ModelMonitor(
                model, base, role=role, purpose=self._purpose, on_gap=self._gaps.note
            )
            self._monitors[id(base)] = monitor
        monitor.meet(model, role=role, compiled=hidden)
        return monitor

    def look_for_unregistered(self) -> None:
        """Find the models that nobody holds or named; their passes are shown."""
        with guard(self._gaps.note, "models that no Trainer holds"):
            self.unregistered.look()

    def _introduce(self, module: Any, args: Any, kwargs: Any) -> None:
        """Watch a model that is called and unknown; parts of known ones are known."""
        if id(module) in self._known_parts or self._purpose() is None:
            return
        with guard(self._gaps.note, f"model {type(module).__name__}"):
            self._meet(module, args, kwargs)

    def _meet(self, module: Any, args: Any, kwargs: Any) -> None:
        bases = [monitor.base for monitor in self._monitors.values()]
        self._known_parts = {id(part) for base in bases for part in base.modules()}
        if id(module) in self._known_parts:
            return
        monitor = self.adopt(module, role="other")
        self.price()
        self._known_parts |= {id(part) for part in module.modules()}
        if monitor is not None:
            monitor.begun_before(args, kwargs)
        trains = any(p.requires_grad for p in module.parameters())
        if torch.is_grad_enabled() and trains and self._purpose() == "train":
            self._gaps.note(
                f"model {type(module).__name__}",
                "it ran with gradients outside of any Trainer, and was not named; its "
                "backward passes are not counted; if it trains, name it (--model)",
            )

    # -- counting -----------------------------------------------------------------

    def price(self) -> None:
        """Find out what the models' passes cost, where that is not known yet."""
        for monitor in self._monitors.values():
            with guard(self._gaps.note, "operations not counted"):
                monitor.price()

    def compiled_pass(
        self, module: Any, args: Any, kwargs: Any
    ) -> AbstractContextManager[None]:
        """Return a context that counts a compiled model's pass before its graph."""
        monitor = self._monitors.get(id(base_model(module)))
        return monitor.compiled_pass(args, kwargs) if monitor else nullcontext()

    @contextmanager
    def backward(self) -> Iterator[None]:
        """Count the backward pass inside the block for models that are counted live."""
        waiting = [
            counter
            for monitor in self._monitors.values()
            if (counter := monitor.segment.counter).waiting
        ]
        with ExitStack() as stack:
            for number, counter in enumerate(waiting):
                stack.enter_context(counter.backward(counted=number == 0))
            yield

    def read_device(self) -> None:
        """Read what was summed on the device, where the Trainer has waited for it."""
        for monitor in self._monitors.values():
            monitor.segment.counter.read_device()

    def settle(self) -> None:
        """Read what was left on the device, and price what has no cost yet."""
        for monitor in self._monitors.values():
            monitor.segment.counter.settle()
        self.price()

    def gather(self) -> None:
        """Add what the other processes counted; all of them have to call this."""
        monitors = list(self._monitors.values())
        for one in monitors:
            one.segment.counter.settle()
        others = of_the_others([one.share() for one in monitors])
        for index, one in enumerate(monitors):
            one.add_shares([other[index] for other in others if index < len(other)])

    def close(self) -> None:
        """Take the hooks away again."""
        for monitor in self._monitors.values():
            monitor.close()
        self.unregistered.close()
        while self._restore:
            self._restore.pop()()

    # -- reading ------------------------------------------------------------------

    def uses(self) -> tuple[ModelUse, ...]:
        """Return what ran, model by model; the trained ones first."""
        ran = (m for m in list(self._monitors.values()) if m.rows() or m.trains)
        return tuple(sorted((m.use() for m in ran), key=lambda u: u.role != "trained"))

    def flops(self) -> FlopTotals:
        """Return the FLOPs so far; nothing is read from the device."""
        counted = (
            histogram_flops(monitor.rows(), profile)
            for monitor in list(self._monitors.values())
            if (profile := monitor.profile) is not None
        )
        return sum(counted, FlopTotals())

    def flops_everywhere(self) -> FlopTotals:
        """Return the FLOPs so far of all processes; each of them calls this."""
        if world_size() == 1:
            return self.flops()
        mine = sum(
            (
                histogram_flops(monitor.segment.totals.histogram.rows(), profile)
                for monitor in self._monitors.values()
                if (profile := monitor.profile) is not None
            ),
            FlopTotals(),
        )
        return sum(of_the_others(mine), mine)

    def tokens(self) -> int:
        """Return the positions processed in training so far, padding included."""
        monitors = list(self._monitors.values())
        return sum(m.segment.totals.histogram.total("train").tokens for m in monitors)

    def uncounted(self) -> list[str]:
        """Return the names of the models that ran and cannot be counted."""
        monitors = list(self._monitors.values())
        return [type(m.base).__name__ for m in monitors if m.uncounted]

    def trained_model_id(self) -> str | None:
        """Return the id of the first model that a Trainer holds."""
        trained = [m for m in self._monitors.values() if m.role == "trained"]
        started = [m for m in trained if m.trains] or trained
        return model_id(started[0].base) if started else None

    def trained_parameters(self) -> int | None:
        """Return P of the first model that trains, adapters left out; None if unknown.

        What it is before training: the size that 6·P·D of the original asks for.
        """
        for monitor in list(self._monitors.values()):
            if monitor.trains and (profile := monitor.profile) is not None:
                return parameters_without_adapters(profile)
        return None
