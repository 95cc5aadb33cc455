"""Every forward pass of a watched model: its shape, and what it was for.

A forward pre-hook reads shapes and flags only. Nothing is copied from the device and
nothing waits for it: what needs values (packed lengths, the number of real tokens) is
summed on the device and read when the Trainer has waited for it anyway, at its logs and
at the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from flops_magic.flops.histogram import Histogram
from flops_magic.flops.profile import PassShape
from flops_magic.monitoring.pass_reader import cached_len, first_tensor, packed_sums
from flops_magic.monitoring.torch_compile import inlined_only

GapSink = Callable[[str, BaseException], None]
Purpose = Callable[[], str | None]


class PassObserver:
    """Watches one transformers model and feeds a tally.

    A pass is counted once, where it enters the model: at the model's own call, or at
    its backbone's, which some trainers call by itself to compute the head in pieces.
    Replicas of the model may run in threads.

    Attributes:
        tally: what ran.
        role: ``trained``, ``reference`` or ``other``.
        outside: whether the pass that runs was counted before it entered a compiled
            graph, into which the hooks compile to nothing.
    """

    def __init__(
        self,
        model: Any,
        *,
        role: str,
        purpose: Purpose,
        on_gap: GapSink,
    ) -> None:
        """Watch ``model`` until ``close``.

        Args:
            model: the innermost transformers model, whose ``forward`` does the work.
            role: what the model is to the run.
            purpose: returns what the run is doing now: ``train``, ``evaluation``,
                ``rollout``, ``setup``; None outside of a Trainer.
            on_gap: told what could not be observed.
        """
        self.tally = Histogram()
        self.role = role
        self.outside = False
        self._model = model
        self._purpose = purpose
        self._on_gap = on_gap
        self._lock = threading.Lock()
        self._running = threading.local()
        self._adapter_layer: Any = None
        self._adapters_sought = -1
        self._real_tokens: torch.Tensor | None = None
        self._tokens_read = 0
        self._unmasked_tokens = 0
        self._packed: dict[tuple[str, bool], torch.Tensor] = {}
        self._handles = []
        self._ours = self._entrances(model)
        for module in self._ours:
            before = module.register_forward_pre_hook(
                self._hook, with_kwargs=True, prepend=True
            )
            after = module.register_forward_hook(self._after, always_call=True)
            self._handles += [before, after]

    def _entrances(self, model: Any) -> list[Any]:
        return entrances(model)

    def close(self) -> None:
        """Stop watching; the model is as it was before."""
        for handle in self._handles:
            handle.remove()

    def __deepcopy__(self, memo: Any) -> PassObserver:
        """A copied model keeps the hook, which knows its own model."""
        return self

    def __reduce__(self) -> Any:
        """A saved model forgets that it was watched."""
        return Nobody, ()

    def watches(self, module: Any) -> bool:
        """Whether a module is the model, its backbone or a replica; no copy."""
        mine = any(module is one for one in self._ours)
        return mine or getattr(module, "_is_replica", False) is True

    def settle(self) -> None:
        """Take stock at the end of a run; waits for the device."""
        self.read_device()

    def read_device(self) -> None:
        """Read what was summed on the device; waits for it."""
        with self._lock:
            packed, self._packed = self._packed, {}
            real, self._real_tokens = self._real_tokens, None
        for (kind, adapters), sums in packed.items():
            shape = PassShape(*sums.tolist())
            self.tally.add(kind, shape, label="packed", adapters=adapters)
        if real is not None:
            read = int(real.item())
            with self._lock:
                self._tokens_read += read

    def real_tokens(self) -> int:
        """Return training tokens that are not padding, as far as they were read."""
        return self._unmasked_tokens + self._tokens_read

    def enter(self, args: Any, kwargs: Any) -> None:
        """Count a call that began before the model was watched."""
        self._enter(self._model, args, kwargs)

    @contextmanager
    def compiled_pass(self, args: Any, kwargs: Any) -> Iterator[None]:
        """Count the pass inside the block here, before it enters a compiled graph."""
        already, self.outside = self.outside, True
        if not already:
            self._enter(self._model, args, kwargs)
        try:
            yield
        finally:
            self.outside = already
            if not already:
                self._leave(self._model, None)

    # Hooks are traced when an outer module is compiled: nothing may stay of them in
    # the graph, so they end before the part that torch.compile may not see.

    @inlined_only
    def _hook(self, module: Any, args: Any, kwargs: Any) -> None:
        if not self.outside:
            self._enter(module, args, kwargs)

    @inlined_only
    def _after(self, module: Any, args: Any, output: Any) -> None:
        if not self.outside:
            self._leave(module, output)

    @torch.compiler.disable
    def _enter(self, module: Any, args: Any, kwargs: Any) -> None:
        running = self._running
        if getattr(running, "counted_at", None) is not None:
            return  # inside of a pass that was counted
        if not self.watches(module):
            return  # a copy, which has the hook too
        tokens = first_tensor(args, kwargs)
        if tokens is None:  # it may enter further inside
            problem = f"no input of 2 dimensions among {sorted(kwargs)}"
            running.unread = (module, TypeError(problem))
            return
        try:
            self._observe(module, tokens, kwargs)
        except Exception as error:  # noqa: BLE001 a broken meter may not stop training
            self._on_gap("a forward pass could not be read", error)
        running.counted_at, running.unread = module, None

    @torch.compiler.disable
    def _leave(self, module: Any, _: Any) -> None:
        running = self._running
        if getattr(running, "counted_at", None) is module:
            running.counted_at = None
        unread = getattr(running, "unread", None)
        if unread is not None and unread[0] is module:
            running.unread = None
            self._on_gap("a forward pass could not be read", unread[1])

    def _observe(self, module: Any, tokens: torch.Tensor, kwargs: Any) -> None:
        batch_size, query_len = int(tokens.shape[0]), int(tokens.shape[1])
        adapters = self._adapters_on()
        kind = self._kind(module, kwargs, adapters)
        positions = batch_size * query_len
        mask = kwargs.get("attention_mask")
        if kind == "train":
            self._count_real(kwargs, positions)
        sums = packed_sums(kwargs, mask, positions)
        if sums is not None:
            with self._lock:
                known = self._packed.get((kind, adapters))
                sums = sums if known is None else known + sums.to(known.device)
                self._packed[kind, adapters] = sums
            if sums.device.type == "cpu":
                self.read_device()
            return
        shape, label = self._dense(tokens, kwargs)
        self.tally.add(kind, shape, label=label, adapters=adapters)

    def _dense(
        self, tokens: torch.Tensor, kwargs: Mapping[str, Any]
    ) -> tuple[PassShape, str]:
        """Return the shape of a pass whose rows are not packed, and its label."""
        batch_size, query_len = int(tokens.shape[0]), int(tokens.shape[1])
        cached = cached_len(kwargs.get("past_key_values"), query_len)
        keep = kwargs.get("logits_to_keep", 0)
        scored = batch_size * min(keep, query_len) if isinstance(keep, int) else 0
        shape = PassShape.dense(
            batch_size, query_len, cached_len=cached, logits=scored or -1
        )
        return shape, f"{batch_size}x{query_len}" + (f"+{cached}" if cached else "")

    def _kind(self, module: Any, kwargs: Any, adapters: bool) -> str:
        """Return what a pass is for, in the words of ``flops.histogram.PASSES``."""
        purpose = self._purpose()
        if torch.is_grad_enabled() and purpose == "train" and self.role == "trained":
            return "train"
        if purpose in ("evaluation", "rollout"):
            return purpose
        if purpose == "setup":
            return "reference"
        if purpose is None or self.role == "other":
            return "other"
        if self.role == "reference" or not adapters:
            return "reference"
        if kwargs.get("use_cache") is True or kwargs.get("past_key_values") is not None:
            return "rollout"
        # without gradients and in training mode: old log-probabilities for the update
        return "reference" if module.training else "evaluation"

    def _adapters_on(self) -> bool:
        """Whether the model's adapters, if any, are in use."""
        model = self._model
        if self._adapter_layer is None:
            layers = sum(1 for _ in model.children())
            if self._adapters_sought == layers and not hasattr(model, "peft_config"):
                return True
            self._adapters_sought = layers
            self._adapter_layer = next(
                (m for m in model.modules() if hasattr(m, "_disable_adapters")), None
            )
            if self._adapter_layer is None:
                return True
        return not self._adapter_layer._disable_adapters

    def _count_real(self, kwargs: Mapping[str, Any], positions: int) -> None:
        """Count the training tokens of a pass that are not padding."""
        mask = kwargs.get("attention_mask")
        if not isinstance(mask, torch.Tensor) or mask.dim() != 2:
            with self._lock:
                self._unmasked_tokens += positions
        else:
            self._add_real(mask.detach().ne(0))

    def _add_real(self, places: torch.Tensor) -> None:
        """Add the true places of a mask, on its device."""
        real = places.sum()
        with self._lock:
            known = self._real_tokens
            self._real_tokens = real if known is None else known + real.to(known.device)
        if real.device.type == "cpu":
            self.read_device()


def entrances(model: Any) -> list[Any]:
    """Return the modules at which a pass may enter a model, the outer one first."""
    backbone = getattr(model, getattr(model, "base_model_prefix", "") or "", None)
    within = isinstance(backbone, torch.nn.Module) and backbone is not model
    return [model, backbone] if within else [model]


class Nobody:
    """What a saved model has in the place of its observer: hooks that do nothing."""

    def __call__(self, *_: Any) -> None:
        """Do nothing."""

    _hook = _after = __call__
