"""What a pass is, read from a model's arguments without asking the device.

Only shapes and flags are read. What needs values (packed lengths, the number of real
tokens) is summed on the device, and read when the Trainer has waited for it anyway: at
its logs and at the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch

from flops_magic.flops.profile import PassShape
from flops_magic.monitoring.passes.pass_hooks import PassCall

Purpose = Callable[[], str | None]

_NO_LABEL = -100  # transformers leaves these positions out of the loss


class PassReader:
    """Reads the passes of one model: their kind, shape and real tokens.

    Attributes:
        role: ``trained``, ``reference`` or ``other``: what the model is to the run.
        adapters_on: returns whether the model's adapters, if any, are in use.
        two_lengths: whether a pass has a source and a target.
    """

    def __init__(
        self,
        *,
        role: str,
        purpose: Purpose,
        adapters_on: Callable[[], bool],
        two_lengths: bool = False,
    ) -> None:
        """Read passes of one model.

        Args:
            role: what the model is to the run.
            purpose: returns what the run is doing now: ``train``, ``evaluation``,
                ``rollout``, ``setup``; None outside of a Trainer.
            adapters_on: returns whether the model's adapters, if any, are in use.
            two_lengths: whether the model is an encoder-decoder.
        """
        self.role = role
        self.adapters_on = adapters_on
        self.two_lengths = two_lengths
        self._purpose = purpose

    def kind(self, call: PassCall, adapters: bool, *, trained: bool = True) -> str:
        """Return what a pass is for, in the words of ``flops.histogram.PASSES``.

        Args:
            call: the pass.
            adapters: whether its adapters are on.
            trained: whether gradients come back through it, if they can.
        """
        purpose, kwargs = self._purpose(), call.kwargs
        if trained and torch.is_grad_enabled() and purpose in ("train", "loop"):
            return "train"
        if purpose in ("evaluation", "rollout"):
            return purpose
        if purpose == "setup":
            return "reference"
        if purpose == "loop" and self.role == "trained":
            return "other"  # a Trainer's model, called outside of it
        if not adapters or self.role == "reference":
            return "reference"
        if self.role == "other" and purpose == "train":
            return "other"  # nobody says what it is to the Trainer
        if kwargs.get("use_cache") is True or kwargs.get("past_key_values") is not None:
            return "rollout"
        # without gradients and in training mode: old log-probabilities for the update
        if call.module.training:
            return "reference"
        return "evaluation" if self.role == "trained" else "other"

    def dense(
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
        label = f"{batch_size}x{query_len}" + (f"+{cached}" if cached else "")
        target = target_len(kwargs) if self.two_lengths else None
        if target is None:
            return shape, label
        return shape.with_target(target), f"{label}→{target}"


class RealTokens:
    """The training tokens that are not padding; threads may add at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = 0
        self._on_device: torch.Tensor | None = None

    def add_pass(
        self, kwargs: Mapping[str, Any], positions: int, *, two_lengths: bool = False
    ) -> None:
        """Add the real tokens of a training pass.

        Args:
            kwargs: the model's keyword arguments, its masks among them.
            positions: what counts as real where no mask tells; of an encoder-decoder,
                of its source.
            two_lengths: whether a target is read beside the source.
        """
        self.add(real_positions(kwargs, positions, two_lengths=two_lengths))

    def add(self, counts: tuple[int | torch.Tensor, ...]) -> None:
        """Add counts, those on the device without waiting for it."""
        for count in counts:
            if isinstance(count, int):
                self._add(count)
            else:
                self._add_on_device(count)

    def read(self) -> None:
        """Read what was summed on the device; waits for it."""
        with self._lock:
            summed, self._on_device = self._on_device, None
        if summed is not None:
            self._add(int(summed.item()))

    def total(self) -> int:
        """Return the tokens, as far as they were read."""
        return self._known

    def _add(self, tokens: int) -> None:
        with self._lock:
            self._known += tokens

    def _add_on_device(self, real: torch.Tensor) -> None:
        with self._lock:
            known = self._on_device
            self._on_device = real if known is None else known + real.to(known.device)
        if real.device.type == "cpu":
            self.read()


def real_positions(
    kwargs: Mapping[str, Any], positions: int, *, two_lengths: bool = False
) -> tuple[int | torch.Tensor, ...]:
    """Return the positions of a pass that are not padding, summed on the device.

    Args:
        kwargs: the model's keyword arguments, its masks among them.
        positions: what counts as real where no mask tells; of an encoder-decoder, of
            its source.
        two_lengths: whether a target is read beside the source.
    """
    mask = kwargs.get("attention_mask")
    source: int | torch.Tensor = positions
    if isinstance(mask, torch.Tensor) and mask.dim() == 2:
        source = mask.detach().ne(0).sum()
    if not two_lengths:
        return (source,)
    if (answered := kwargs.get("decoder_attention_mask")) is not None:
        return source, answered.detach().ne(0).sum()
    if isinstance(labels := kwargs.get("labels"), torch.Tensor):
        return source, labels.detach().ne(_NO_LABEL).sum()
    answer = kwargs.get("decoder_input_ids")
    return (source, answer.numel()) if answer is not None else (source,)


def target_len(kwargs: Mapping[str, Any]) -> int | None:
    """Return the positions of a decoder's row; None where nothing tells."""
    for name in ("decoder_input_ids", "decoder_inputs_embeds", "labels"):
        if isinstance(found := kwargs.get(name), torch.Tensor) and found.dim() >= 2:
            return int(found.shape[1])
    return None


def first_tensor(args: Any, kwargs: Any) -> torch.Tensor | None:
    """Return what the model reads: ids (B, S), embeddings (B, S, h), or nothing."""
    for name in ("input_ids", "inputs_embeds", "decoder_input_ids", "input_features"):
        if isinstance(found := kwargs.get(name), torch.Tensor):
            return found
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor) and value.dim() >= 2:
            return value
    return None


def packed_sums(kwargs: Any, mask: Any, positions: int) -> torch.Tensor | None:
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
    # On a GPU this question would wait for the device; the sums below come out the same
    # for rows that are not packed.
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


def cached_len(cache: Any, query_len: int = 0) -> int:
    """Return how many keys a KV cache adds to a pass, without asking the device.

    A cache of fixed length is multiplied in full, whatever it holds yet.

    Args:
        cache: the model's ``past_key_values``.
        query_len: positions of the pass, which such a cache has room for.

    Raises:
        TypeError: when only the device knows.
    """
    if cache is None:
        return 0
    if isinstance(cache, (tuple, list)):
        return int(cache[0][0].shape[-2]) if cache and cache[0] else 0
    if getattr(cache, "is_compileable", False):
        return max(_fixed_len(cache) - query_len, 0)
    length = cache.get_seq_length()
    if not isinstance(length, int):
        raise TypeError("the cache's length is on the device; the pass is not counted")
    return length


def _fixed_len(cache: Any) -> int:
    """Return the number of positions that a cache of fixed length has room for."""
    lengths = []
    for layer in getattr(cache, "layers", None) or (cache,):
        find = getattr(layer, "get_max_length", None) or layer.get_max_cache_shape
        lengths.append(int(find()))
    return max(lengths)
