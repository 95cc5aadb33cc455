"""Counting a model by what it runs, where it cannot be walked dry.

The first pass of each input signature runs under the operation counter, its backward
pass too; every later pass with the same signature costs the same. Nothing is predicted:
any ``nn.Module`` works, and a shape that has not run has no cost.

A backward pass belongs to the forward passes since the last one, so its cost is kept
by their signatures. What autograd computes with gradients switched on inside a backward
pass is recomputation by gradient checkpointing: ordinary gradients are taken with them
switched off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from flops_magic.flops.profile import FlopsProfile, PassCost, PassShape, cost_by_shape
from flops_magic.monitoring.pass_hooks import GapSink, PassObserver, Purpose
from flops_magic.monitoring.pass_signature import digest, signature_of, sizes_of
from flops_magic.profiling.model_setup import parameter_counts
from flops_magic.profiling.op_counter import (
    OperationCounter,
    RecomputeCounter,
    angles_uncounted,
)

MAX_SIGNATURES = 256
NOTE = (
    "{model} was counted live, the first pass of each input shape, because: {reason}. "
    "Kernels that are launched outside of torch's dispatcher are not seen; fused "
    "attention's backward includes what it recomputes; a cost that depends on values "
    "rather than shapes is the first pass's."
)


@dataclass(frozen=True)
class Pass:
    """A forward pass: what it looked like, and what it cost."""

    signature: str
    kind: str
    adapters: bool
    label: str
    shape: PassShape
    flops: int | None = None
    text: PassShape = field(default_factory=PassShape)  # what a profile counts of it


class OccurrenceObserver(PassObserver):
    """Watches one module of any kind, and counts the first pass of each signature.

    Attributes:
        costs: what each kind of pass cost, by name and label.
        unknown: operations with matrix-sized inputs and no formula.
        lost: passes beyond the number of signatures that are kept apart.
    """

    def __init__(
        self, model: Any, *, role: str, purpose: Purpose, on_gap: GapSink
    ) -> None:
        """Watch ``model`` until ``close``; see ``PassObserver``."""
        super().__init__(model, role=role, purpose=purpose, on_gap=on_gap)
        self.costs: dict[str, PassCost] = {}
        self.unknown: set[str] = set()
        self.lost = 0
        self._forward_flops: dict[str, int] = {}
        self._pending: list[Pass] = []
        self._parameters: tuple[int, int, str] | None = None

    def _entrances(self, model: Any) -> list[Any]:
        return [model]

    def _calls(self) -> list[tuple[Pass | None, OperationCounter | None, ExitStack]]:
        """Return this thread's running calls, the innermost last."""
        if not hasattr(self._running, "calls"):
            self._running.calls = []
        return self._running.calls  # type: ignore[no-any-return]

    def settle(self) -> None:
        """Say which passes with gradients had no backward pass."""
        super().settle()
        pending, self._pending = self._pending, []
        for one in pending:
            self._add(replace(one, kind="other"), {"forward": one.flops or 0})
        if pending:
            self._on_gap(
                f"{len(pending)} passes with gradients",
                RuntimeError("no backward pass was seen; they stand under 'other'"),
            )

    @property
    def pending(self) -> bool:
        """Whether forward passes wait for their backward pass."""
        return bool(self._pending)

    @contextmanager
    def backward(self, *, counted: bool = True) -> Iterator[None]:
        """Count the backward pass inside the block, if it is the first of its kind.

        Args:
            counted: False where another observer counts this backward pass.
        """
        passes, self._pending = self._pending, []
        whole = _together(passes, counted)
        first = cost_by_shape("backward", whole.label) not in self.costs
        counter = RecomputeCounter() if counted and first else None
        try:
            with counter or nullcontext():
                yield
        except BaseException:
            self._pending = passes  # settled as passes without a backward pass
            raise
        costs = {"forward": whole.flops or 0, "backward": 0, "recompute": 0}
        if counter is not None:
            self.unknown.update(counter.unknown)
            own = {"backward": counter.flops - counter.recompute}
            own["recompute"] = counter.recompute
            costs |= {k: self._beside_text(whole, k, v) for k, v in own.items()}
        self._add(whole, costs if first else {})

    def profile(
        self, base: Any, reason: str, costs: Mapping[str, PassCost]
    ) -> FlopsProfile:
        """Return what was counted as a profile.

        Args:
            base: the watched module.
            reason: why it is counted live.
            costs: other processes' costs, added to these.
        """
        if self._parameters is None:
            self._parameters = parameter_counts(base)
        total, trains, method = self._parameters
        name = type(base).__name__
        return FlopsProfile(
            model_class=name,
            method=method,
            parameters_total=total,
            parameters_active=total,
            parameters_trainable=trains,
            costs={**costs, **self.costs},
            unknown_ops=tuple(sorted(self.unknown)),
            notes=(NOTE.format(model=name, reason=reason.split(";")[0]),),
        )

    @torch.compiler.disable
    def _enter(self, module: Any, args: Any, kwargs: Any) -> None:
        if not self.watches(module):
            return  # a copy, which has the hook too
        seen, counter, modes = None, None, ExitStack()
        try:
            # a pass inside a backward pass is recomputation, and counted there
            if torch._C._current_graph_task_id() == -1 and not self._calls():
                seen = self._read(module, args, kwargs)
            if seen is not None and self._known_flops(seen) is None:
                counter = OperationCounter()
                if not getattr(module, "_is_replica", False):
                    # replicas share their hooks with other threads
                    modes.enter_context(angles_uncounted(module, counter))
                modes.enter_context(counter)
        except Exception as error:  # noqa: BLE001 a broken meter may not stop training
            self._on_gap("a forward pass could not be read", error)
        self._calls().append((seen, counter, modes))

    def _read(self, module: Any, args: Any, kwargs: Any) -> Pass:
        adapters = self._adapters_on()
        kind = self._kind(module, kwargs, adapters)
        first, rows, tokens = sizes_of(args, kwargs)
        signature = repr(
            (
                type(module).__name__,
                torch.is_grad_enabled(),
                kind == "train",
                module.training,
                adapters,
                signature_of(args),
                signature_of(kwargs),
            )
        )
        label = f"{first} ~{digest(signature)}"
        if kind == "train":
            self._count_real(kwargs, tokens)
        shape = PassShape(calls=1, sequences=rows, tokens=tokens, logits=tokens)
        return Pass(signature, kind, adapters, label, shape)

    @torch.compiler.disable
    def _leave(self, module: Any, output: Any) -> None:
        if not self.watches(module) or not (calls := self._calls()):
            return  # a copy, or watched since the middle of this call
        seen, counter, modes = calls.pop()
        modes.close()
        if seen is None or output is None:
            return  # recomputation, unreadable, or the pass raised
        if counter is not None:
            if len(self._forward_flops) >= MAX_SIGNATURES:
                self.lost += 1
                self._on_gap(
                    f"{type(module).__name__}",
                    RuntimeError(
                        f"more than {MAX_SIGNATURES} input shapes; the further ones "
                        "are not counted: pad to fewer lengths"
                    ),
                )
                return
            flops = self._beside_text(seen, "forward", counter.flops)
            self._forward_flops[seen.signature] = flops
            self.unknown.update(counter.unknown)
        seen = replace(seen, flops=self._known_flops(seen))
        if seen.kind == "train":
            self._pending.append(seen)
        else:
            self._add(seen, {"forward": seen.flops or 0})

    def _known_flops(self, seen: Pass) -> int | None:
        """Return what a pass of this signature costs forward; None for a new one."""
        return self._forward_flops.get(seen.signature)

    def _beside_text(self, seen: Pass, name: str, flops: int) -> int:
        """Return the part of a pass's FLOPs that no profile counts."""
        return flops

    def _add(self, seen: Pass, costs: Mapping[str, int]) -> None:
        for name, flops in costs.items():
            full = "forward_without_adapters" if not seen.adapters else name
            full = full if name == "forward" else name
            self.costs[cost_by_shape(full, seen.label)] = PassCost(per_call=flops)
        self.tally.add(
            seen.kind,
            seen.shape,
            label=seen.label,
            adapters=seen.adapters,
            merges=False,
        )


def _together(passes: list[Pass], counted: bool) -> Pass:
    """Return the forward passes of one backward pass as one."""
    if len(passes) == 1 and counted:
        return passes[0]
    joined = "+".join(one.signature for one in passes) + f" {counted}"
    shape = sum((one.shape for one in passes), PassShape())
    return replace(
        passes[0],
        label=f"{len(passes)} passes ~{digest(joined)}",
        shape=replace(shape, calls=1),
        text=sum((one.text for one in passes), PassShape()),
        signature=joined,
        flops=sum(one.flops or 0 for one in passes),
    )
