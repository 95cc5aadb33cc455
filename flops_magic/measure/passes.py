"""Every forward pass of a watched model: its shape, and what it was for.

A forward pre-hook reads shapes and flags only. Nothing is copied from the device and
nothing waits for it: what needs values (packed lengths, the number of real tokens) is
summed on the device and read when the Trainer has waited for it anyway, at its logs and
at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from flops_magic.core.profile import PassShape
from flops_magic.core.tally import Tally

GapSink = Callable[[str, BaseException], None]
Purpose = Callable[[], str | None]


class PassObserver:
    """Watches one transformers model and feeds a tally.

    Attributes:
        tally: what ran.
        role: ``trained`` or ``reference``.
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
        self.tally = Tally()
        self.role = role
        self._purpose = purpose
        self._on_gap = on_gap
        self._adapter_layer: Any = None
        self._adapters_sought = -1
        self._real_tokens: torch.Tensor | None = None
        self._tokens_read = 0
        self._unmasked_tokens = 0
        self._packed: dict[tuple[str, bool], torch.Tensor] = {}
        self._handle = model.register_forward_pre_hook(
            self._hook, with_kwargs=True, prepend=True
        )

    def close(self) -> None:
        """Stop watching; the model is as it was before."""
        self._handle.remove()

    def settle(self) -> None:
        """Take stock at the end of a run; waits for the device."""
        self.read_device()

    def read_device(self) -> None:
        """Read what was summed on the device; waits for it."""
        packed, self._packed = self._packed, {}
        for (kind, adapters), sums in packed.items():
            shape = PassShape(*sums.tolist())
            self.tally.add(kind, shape, label="packed", adapters=adapters)
        if self._real_tokens is not None:
            self._tokens_read += int(self._real_tokens.item())
            self._real_tokens = None

    def real_tokens(self) -> int:
        """Return training tokens that are not padding, as far as they were read."""
        return self._unmasked_tokens + self._tokens_read

    @torch.compiler.disable
    def _hook(self, module: Any, args: Any, kwargs: Any) -> None:
        try:
            self._observe(module, args, kwargs)
        except Exception as error:  # noqa: BLE001 a broken meter may not stop training
            self._on_gap("a forward pass could not be read", error)

    def _observe(self, module: Any, args: Any, kwargs: Any) -> None:
        tokens = _first_tensor(args, kwargs)
        batch_size, query_len = int(tokens.shape[0]), int(tokens.shape[1])
        adapters = self._adapters_on(module)
        kind = self._kind(module, kwargs, adapters)
        positions = batch_size * query_len
        mask = kwargs.get("attention_mask")
        if kind == "train":
            self._count_real(kwargs, batch_size * query_len)
        sums = _packed_sums(kwargs, mask, positions)
        if sums is not None:
            known = self._packed.get((kind, adapters))
            self._packed[kind, adapters] = sums if known is None else known + sums
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
        cached = cached_len(kwargs.get("past_key_values"))
        keep = kwargs.get("logits_to_keep", 0)
        scored = batch_size * min(keep, query_len) if isinstance(keep, int) else 0
        shape = PassShape.dense(
            batch_size, query_len, cached_len=cached, logits=scored or -1
        )
        return shape, f"{batch_size}x{query_len}" + (f"+{cached}" if cached else "")

    def _kind(self, module: Any, kwargs: Any, adapters: bool) -> str:
        """Return what a pass is for, in the words of ``core.tally.PASSES``."""
        purpose = self._purpose()
        if torch.is_grad_enabled() and purpose == "train" and self.role == "trained":
            return "train"
        if purpose in ("evaluation", "rollout"):
            return purpose
        if purpose is None:
            return "other"
        if purpose == "setup":
            return "reference"
        if self.role == "reference" or not adapters:
            return "reference"
        if kwargs.get("use_cache") is True or kwargs.get("past_key_values") is not None:
            return "rollout"
        # without gradients and in training mode: old log-probabilities for the update
        return "reference" if module.training else "evaluation"

    def _adapters_on(self, module: Any) -> bool:
        """Whether the model's adapters, if any, are in use."""
        if self._adapter_layer is None:
            layers = sum(1 for _ in module.children())
            if self._adapters_sought == layers and not hasattr(module, "peft_config"):
                return True
            self._adapters_sought = layers
            self._adapter_layer = next(
                (m for m in module.modules() if hasattr(m, "_disable_adapters")), None
            )
            if self._adapter_layer is None:
                return True
        return not self._adapter_layer._disable_adapters

    def _count_real(self, kwargs: Mapping[str, Any], positions: int) -> None:
        """Count the training tokens of a pass that are not padding."""
        mask = kwargs.get("attention_mask")
        if not isinstance(mask, torch.Tensor) or mask.dim() != 2:
            self._unmasked_tokens += positions
        else:
            self._add_real(mask.detach().ne(0))

    def _add_real(self, real: torch.Tensor) -> None:
        """Add the true places of a mask, on its device."""
        number = real.sum()
        known = self._real_tokens
        self._real_tokens = number if known is None else known + number.to(known.device)
        if number.device.type == "cpu":
            self.read_device()


def _first_tensor(args: Any, kwargs: Any) -> torch.Tensor:
    """Return what the model reads: ids (B, S) or embeddings (B, S, h)."""
    for name in ("input_ids", "inputs_embeds", "decoder_input_ids", "input_features"):
        if isinstance(found := kwargs.get(name), torch.Tensor):
            return found
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor) and value.dim() >= 2:
            return value
    raise TypeError(f"no input of 2 dimensions among {sorted(kwargs)}")


def _packed_sums(kwargs: Any, mask: Any, positions: int) -> torch.Tensor | None:
    """Return the fields of a packed row's ``PassShape``, (6,) int64; None if unpacked.

    Of a sequence of L positions numbered from 0, Σ(2p + 1) = L² and
    Σ(p + 1) = L·(L + 1)/2: the sums over a packed row need no look at its boundaries.
    With boundaries given, what lies beyond the last one is padding, a sequence too.
    """
    bounds = kwargs.get("cu_seq_lens_q")
    if isinstance(bounds, torch.Tensor):
        lengths = bounds.detach().long().diff()
        spare = (positions - lengths.sum()).reshape(1)
        sizes = torch.cat([lengths, spare])
        pairs, causal = (sizes * sizes).sum(), (sizes * (sizes + 1) // 2).sum()
        return _sums((lengths > 0).sum(), positions, pairs, causal)
    places = kwargs.get("position_ids")
    if mask is not None or not isinstance(places, torch.Tensor) or places.dim() != 2:
        return None
    if places.shape[1] == 1 or kwargs.get("past_key_values") is not None:
        return None  # a decoding step: its positions go on where the cache ends
    places = places.detach().long()
    starts = (places == 0).sum()
    if places.device.type == "cpu" and int(starts) == places.shape[0]:
        return None
    rows = positions // places.numel()  # one row of positions may serve many
    return _sums(
        starts * rows,
        positions,
        (2 * places + 1).sum() * rows,
        (places + 1).sum() * rows,
    )


def _sums(
    sequences: torch.Tensor, positions: int, pairs: torch.Tensor, causal: torch.Tensor
) -> torch.Tensor:
    one = torch.ones_like(pairs)
    tokens = one * positions
    return torch.stack([one, sequences.long(), tokens, pairs, causal, tokens])


def cached_len(cache: Any) -> int:
    """Return how many positions a KV cache holds, without asking the device.

    Raises:
        TypeError: when only the device knows.
    """
    if cache is None:
        return 0
    if isinstance(cache, (tuple, list)):
        return int(cache[0][0].shape[-2]) if cache and cache[0] else 0
    length = cache.get_seq_length()
    if not isinstance(length, int):
        raise TypeError("the cache's length is on the device; rollout attention is low")
    return length
