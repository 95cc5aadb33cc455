"""The shape of a pass, read from a model's arguments without asking the device."""

from __future__ import annotations

from typing import Any

import torch


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
