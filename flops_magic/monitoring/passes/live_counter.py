"""Counting a model by what it runs, where it cannot be walked dry.

The first pass of each input signature runs under the operation counter, its backward
pass too; every later pass with the same signature costs the same. Nothing is predicted:
any ``nn.Module`` works, and a shape that has not run has no cost.

A backward pass belongs to the forward passes since the last one, so its cost is kept
by their signatures. What gradient checkpointing computes again inside of it is told
apart, see ``monitoring.passes.recompute``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from flops_magic.flops.profile import PassCost, PassShape, cost_by_shape
from flops_magic.gaps import GapSink
from flops_magic.monitoring.passes.gradient_arrival import differentiable, mark_counted
from flops_magic.monitoring.passes.pass_counter import Elsewhere, nothing_elsewhere
from flops_magic.monitoring.passes.pass_hooks import EndOfPass, PassCall
from flops_magic.monitoring.passes.pass_reader import PassReader
from flops_magic.monitoring.passes.pass_signature import digest, signature_of, sizes_of
from flops_magic.monitoring.passes.pass_totals import PassTotals
from flops_magic.monitoring.passes.recompute import RecomputeCounter
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted

# Counting the first of each shape slows that pass; with a new shape at every step the
# whole run would be slow, and its record long.
MAX_SIGNATURES = 256


@dataclass(frozen=True)
class LivePass:
    """A forward pass: what it looked like, and what it cost.

    Attributes:
        signature: what its cost can depend on.
        kind: one of ``flops.histogram.PASSES``.
        adapters: whether its adapters were on.
        label: names it in the histogram.
        shape: its size, with the calls that its own cost holds for.
        flops: what it cost forward; None while unknown.
        profiled: the part of it that a profile counts; empty for none.
        profiled_label: names that part in the histogram.
        live: whether any part of it is counted live.
    """

    signature: str
    kind: str
    adapters: bool
    label: str
    shape: PassShape
    flops: int | None = None
    profiled: PassShape = field(default_factory=PassShape)
    profiled_label: str = ""
    live: bool = True


class LiveCounter:
    """Counts the first pass of each signature of one module of any kind."""

    def __init__(self, reader: PassReader, totals: PassTotals, on_gap: GapSink) -> None:
        """Add passes to ``totals``.

        Args:
            reader: says what a pass is for.
            totals: where passes and their costs are added.
            on_gap: told what could not be observed.
        """
        self._reader = reader
        self._totals = totals
        self._on_gap = on_gap
        self._forward_flops: dict[str, int] = {}
        self._pending: list[LivePass] = []

    @property
    def waiting(self) -> bool:
        """Whether forward passes wait for their backward pass."""
        return bool(self._pending)

    def begin(self, call: PassCall) -> EndOfPass | None:
        """Count a pass that enters, if it is the first of its kind."""
        # a pass inside a backward pass is recomputation, and counted there
        # Private in torch, tried with 2.13; see ``hybrid_counter``.
        if torch._C._current_graph_task_id() != -1:
            return _recomputed
        return self.begin_pass(call, self._read(call))

    def begin_pass(self, call: PassCall, seen: LivePass) -> EndOfPass:
        """Count a pass that was read already; see ``begin``."""
        modes = ExitStack()
        counter = None
        if seen.live and seen.signature not in self._forward_flops:
            counter = OperationCounter()
            # Private in torch (2.13): set on the copies that DataParallel runs in
            # threads.
            if not getattr(call.module, "_is_replica", False):
                # replicas share their hooks with other threads
                modes.enter_context(angles_uncounted(call.module, counter))
            modes.enter_context(counter)
        return functools.partial(self._end, call.module, seen, counter, modes)

    def _read(self, call: PassCall) -> LivePass:
        adapters = self._reader.adapters_on()
        kind = self._reader.kind(call, adapters)
        first, rows, tokens = sizes_of(call.args, call.kwargs)
        signature = signature_of_pass(call, kind, adapters, call.kwargs)
        label = f"{first} ~{digest(signature)}"
        if kind == "train":
            self._totals.real_tokens.add_pass(call.kwargs, tokens)
        shape = PassShape(calls=1, sequences=rows, tokens=tokens, logits=tokens)
        return LivePass(signature, kind, adapters, label, shape)

    def _end(
        self,
        module: Any,
        seen: LivePass,
        counter: OperationCounter | None,
        modes: ExitStack,
        output: Any,
    ) -> None:
        modes.close()
        if output is None:
            return  # the pass raised
        if counter is not None:
            if len(self._forward_flops) >= MAX_SIGNATURES:
                self._lose(module)
                return
            flops = self._beside_profile(seen, "forward", counter.flops)
            self._forward_flops[seen.signature] = flops
            self._totals.unknown.update(counter.unknown)
        flops = self._forward_flops[seen.signature] if seen.live else 0
        seen = replace(seen, flops=flops)
        tensors = list(differentiable(output))
        for tensor in tensors:
            mark_counted(tensor)
        if seen.kind == "train" and tensors:
            self._pending.append(seen)
        else:
            self._add(seen, {"forward": flops})

    def _lose(self, module: Any) -> None:
        self._totals.lost += 1
        self._on_gap(
            f"{type(module).__name__}",
            f"more than {MAX_SIGNATURES} input shapes; the further ones are not "
            "counted: pad to fewer lengths",
        )

    @contextmanager
    def backward(
        self, *, counted: bool = True, elsewhere: Elsewhere = nothing_elsewhere
    ) -> Iterator[None]:
        """Count the backward pass inside the block, if it is the first of its kind.

        Args:
            counted: False where another counter counts this backward pass.
            elsewhere: returns what profiles counted of it when it is over.
        """
        passes, self._pending = self._pending, []
        whole, first = None, False
        if any(one.live for one in passes):
            whole = _together(passes, counted)
            label = cost_by_shape("backward", whole.label)
            first = label not in self._totals.costs
        # One backward pass serves all waiting models: only one counter may count it.
        counter = RecomputeCounter() if counted and first else None
        try:
            with counter.counting() if counter else nullcontext():
                yield
        except BaseException:
            self._pending = passes  # settled as passes without a backward pass
            raise
        if whole is None:
            for one in passes:
                self._add(one, {})
            return
        costs = {"forward": whole.flops or 0, "backward": 0, "recompute": 0}
        if counter is not None:
            self._totals.unknown.update(counter.unknown)
            backward, again = elsewhere()
            ordinary = counter.flops - counter.recompute
            own = {
                "backward": max(ordinary - backward, 0),
                "recompute": max(counter.recompute - again, 0),
            }
            costs |= {k: self._beside_profile(whole, k, v) for k, v in own.items()}
        self._add(whole, costs if first else {})

    def read_device(self) -> None:
        """Read what was summed on the device; waits for it."""
        self._totals.real_tokens.read()

    def settle(self) -> None:
        """Say which passes had no backward pass; waits for the device."""
        self.read_device()
        pending, self._pending = self._pending, []
        for one in pending:
            self._add(replace(one, kind="other"), {"forward": one.flops or 0})
        if pending:
            self._on_gap(
                f"{len(pending)} passes with gradients",
                "no backward pass was seen; they are counted under 'other'",
            )

    def _beside_profile(self, seen: LivePass, name: str, flops: int) -> int:
        """Return the part of a pass's FLOPs that no profile counts."""
        if not seen.profiled.calls:
            return flops
        full = (
            name if name != "forward" or seen.adapters else f"{name}_without_adapters"
        )
        cost = (self._totals.profiled_costs or {}).get(full, PassCost())
        return max(flops - cost.flops(seen.profiled), 0)

    def _add(self, seen: LivePass, costs: Mapping[str, int]) -> None:
        histogram = self._totals.histogram
        if seen.profiled.calls:
            histogram.add(
                seen.kind,
                seen.profiled,
                label=seen.profiled_label,
                adapters=seen.adapters,
            )
        if not seen.live:
            return
        for name, flops in costs.items():
            off = name == "forward" and not seen.adapters
            full = "forward_without_adapters" if off else name
            self._totals.costs[cost_by_shape(full, seen.label)] = PassCost(
                per_call=flops
            )
        histogram.add(
            seen.kind,
            seen.shape,
            label=seen.label,
            adapters=seen.adapters,
            merges=False,
        )


def signature_of_pass(
    call: PassCall, kind: str, adapters: bool, kwargs: Mapping[str, Any]
) -> str:
    """Return what a pass's cost can depend on.

    Args:
        call: the pass.
        kind: what it is for; passes in training have a backward pass.
        adapters: whether its adapters are on.
        kwargs: its keyword arguments, or those that matter.
    """
    return repr(
        (
            type(call.module).__name__,
            torch.is_grad_enabled(),
            kind == "train",
            call.module.training,
            adapters,
            signature_of(call.args),
            signature_of(kwargs),
        )
    )


def _recomputed(_: object) -> None:
    """A pass inside a backward pass is counted with that."""


def _together(passes: list[LivePass], counted: bool) -> LivePass:
    """Return the forward passes of one backward pass as one."""
    if len(passes) == 1 and counted:
        return passes[0]
    joined = "+".join(one.signature for one in passes) + f" {counted}"
    live = [one for one in passes if one.live]
    return replace(
        passes[0],
        label=f"{len(passes)} passes ~{digest(joined)}",
        shape=replace(sum((one.shape for one in live), PassShape()), calls=1),
        profiled=sum((one.profiled for one in passes), PassShape()),
        profiled_label=live[0].profiled_label,
        signature=joined,
        flops=sum(one.flops or 0 for one in passes),
        live=True,
    )
