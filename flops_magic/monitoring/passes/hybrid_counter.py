"""Models of which a profile describes some passes, or a part of each.

A profile of a vision-language or speech model describes its passes on text. A pass
that carries images or sound is split: its text is counted by the profile, at whatever
length; what its towers cost beside is counted live, the first of each kind of media,
as the difference between what ran and what the profile says of the text.

A profile of an encoder-decoder describes passes on source and target ids. In generation
the encoder runs before and on its own: those passes are counted live, by signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from flops_magic.flops.profile import PassShape
from flops_magic.gaps import GapSink
from flops_magic.monitoring.passes.live_counter import (
    LiveCounter,
    LivePass,
    signature_of_pass,
)
from flops_magic.monitoring.passes.pass_counter import Elsewhere, nothing_elsewhere
from flops_magic.monitoring.passes.pass_hooks import EndOfPass, PassCall
from flops_magic.monitoring.passes.pass_reader import (
    PassReader,
    first_tensor,
    target_len,
)
from flops_magic.monitoring.passes.pass_signature import digest
from flops_magic.monitoring.passes.pass_totals import PassTotals
from flops_magic.monitoring.passes.profile_counter import ProfileCounter

MEDIA_TEXT = "text with media"  # label of the text of passes that carry media
# what says of a text what it is and how it is read
_ABOUT_TEXT = frozenset(
    {
        *("input_ids", "inputs_embeds", "attention_mask", "position_ids", "labels"),
        *("past_key_values", "cache_position", "use_cache", "token_type_ids"),
        *("mm_token_type_ids", "logits_to_keep", "num_logits_to_keep", "return_dict"),
        *("num_items_in_batch", "shift_labels", "output_attentions", "rope_deltas"),
        *("output_hidden_states", "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q"),
        *("max_length_k", "seq_idx"),
    }
)


class HybridCounter:
    """Counts by the profile what it describes, and the rest live.

    A pass on text that shares its backward pass with one that carries media is told
    apart from it, but for the first of them, if it comes before: its backward pass is
    then counted twice, never too low.
    """

    def __init__(
        self,
        reader: PassReader,
        totals: PassTotals,
        on_gap: GapSink,
        *,
        encoder: Any = None,
    ) -> None:
        """Add passes to ``totals``.

        Args:
            reader: says what a pass is for.
            totals: where passes and their costs are added.
            on_gap: told what could not be observed.
            encoder: the encoder of an encoder-decoder, which generation calls alone.
        """
        self._reader = reader
        self._totals = totals
        self._on_gap = on_gap
        self._encoder = encoder
        self._profile = ProfileCounter(reader, totals)
        self._live = LiveCounter(reader, totals, on_gap)
        self._media_trained = False

    @property
    def waiting(self) -> bool:
        """Whether forward passes wait for their backward pass."""
        return self._live.waiting

    def begin(self, call: PassCall) -> EndOfPass | None:
        """Count a pass that enters: by the profile, live, or a part by each."""
        described = self._described(call)
        if described and not self._shares_backward(call):
            return self._profile.begin(call)
        if call.compiled:
            self._lose(call.module)
            return _lost
        tokens = first_tensor((), call.kwargs)
        unsplit = self._totals.profiled_costs is None or self._reader.two_lengths
        if unsplit or tokens is None:
            return self._live.begin(call)
        # Private in torch, tried with 2.13: the number of the running backward pass, -1
        # outside. Without it, recomputation would count as new forward passes.
        if torch._C._current_graph_task_id() != -1:
            return self._live.begin(call)  # recomputation
        return self._live.begin_pass(call, self._split(call, tokens, described))

    def backward(
        self, *, counted: bool = True, elsewhere: Elsewhere = nothing_elsewhere
    ) -> AbstractContextManager[None]:
        """Count the backward pass inside the block; see ``LiveCounter``."""
        return self._live.backward(counted=counted, elsewhere=elsewhere)

    def read_device(self) -> None:
        """Read what was summed on the device; waits for it."""
        self._profile.read_device()

    def settle(self) -> None:
        """Say which passes had no backward pass; waits for the device."""
        self._profile.read_device()
        self._live.settle()

    def _described(self, call: PassCall) -> bool:
        """Whether the profile describes the whole pass."""
        kwargs = call.kwargs
        if call.module is self._encoder:
            return False
        if not self._reader.two_lengths:
            return not any(map(_is_media, (*call.args, *_besides_text(kwargs))))
        return (
            isinstance(kwargs.get("input_ids"), torch.Tensor)
            and not call.args
            and kwargs.get("encoder_outputs") is None
            and kwargs.get("past_key_values") is None
            and target_len(kwargs) is not None
        )

    def _shares_backward(self, call: PassCall) -> bool:
        """Whether a pass on text may share its backward pass with one with media."""
        if not self._media_trained or call.compiled:
            return False
        return self._reader.kind(call, self._reader.adapters_on()) == "train"

    def _split(self, call: PassCall, tokens: torch.Tensor, described: bool) -> LivePass:
        """Return a pass of which the profile counts the text, and nothing else."""
        adapters = self._reader.adapters_on()
        kind = self._reader.kind(call, adapters)
        text, label = self._reader.dense(tokens, call.kwargs)
        if kind == "train":
            self._totals.real_tokens.add_pass(call.kwargs, text.tokens)
        if described:
            return LivePass(
                "text alone",
                kind,
                adapters,
                label,
                PassShape(),
                profiled=text,
                profiled_label=label,
                live=False,
            )
        # Only then can a pass on text share its backward pass with one that has media.
        self._media_trained |= kind == "train"
        media = {k: v for k, v in call.kwargs.items() if k not in _ABOUT_TEXT}
        signature = signature_of_pass(call, kind, adapters, media)
        return LivePass(
            signature,
            kind,
            adapters,
            f"media ~{digest(signature)}",
            PassShape(calls=1),
            profiled=text,
            profiled_label=MEDIA_TEXT,
        )

    def _lose(self, module: Any) -> None:
        self._totals.lost += 1
        self._on_gap(
            f"{type(module).__name__}",
            "a pass that its profile does not describe ran under torch.compile, which "
            "hides its operations",
        )


def may_need_both(model: Any) -> bool:
    """Whether a profile may describe only some passes of a model."""
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        return True
    # Composite configurations of transformers (4.57.6 and 5.23): towers and text.
    return bool(getattr(config, "sub_configs", None))


def towers_reach_text(model: Any, base: Any) -> bool:
    """Whether something outside of the text trains that feeds it with gradients.

    Backward passes then go through the whole text, also where its first layers and its
    embeddings are frozen.
    """
    embeddings = base.get_input_embeddings()
    if all(p.requires_grad for p in embeddings.parameters()):
        return False  # they do so anyway
    text = base.get_decoder() if hasattr(base, "get_decoder") else None
    head = base.get_output_embeddings()
    inside = {id(p) for part in (text, head) if part for p in part.parameters()}
    return any(p.requires_grad and id(p) not in inside for p in model.parameters())


def _lost(_: object) -> None:
    """A pass that cannot be counted has no end to wait for."""


def _besides_text(kwargs: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what is passed besides the text, lists opened."""
    for name, value in kwargs.items():
        if name in _ABOUT_TEXT:
            continue
        if isinstance(value, (list, tuple)):
            yield from value
        else:
            yield value


def _is_media(value: Any) -> bool:
    """Whether a value is a tensor of numbers, as images, sound and states are."""
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.dim() >= 2
    )
