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
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from flops_magic.flops.profile import PassCost, PassShape
from flops_magic.monitoring.live_counter import (
    OccurrenceObserver,
    Pass,
)
from flops_magic.monitoring.pass_hooks import GapSink, PassObserver, Purpose, entrances
from flops_magic.monitoring.pass_reader import first_tensor
from flops_magic.monitoring.pass_signature import digest, signature_of

MEDIA_TEXT = "text with media"  # label of the text of passes that carry media
_TEXT = "text alone"
_NO_LABEL = -100  # transformers leaves these positions out of the loss
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


def is_mixed(model: Any) -> bool:
    """Whether a profile may describe only some passes of a model."""
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        return True
    return bool(getattr(config, "sub_configs", None))


class MixedObserver(OccurrenceObserver):
    """Counts by the profile what it describes, and the rest live.

    A pass on text that shares its backward pass with one that carries media is told
    apart from it, but for the first of them, if it comes before: its backward pass is
    then counted twice, never too low.

    Attributes:
        profiled: whether there is a profile; without one every pass is counted live.
        text_costs: what the text of a pass with media costs; None while unknown.
    """

    def __init__(
        self, model: Any, *, role: str, purpose: Purpose, on_gap: GapSink
    ) -> None:
        """Watch ``model`` until ``close``; see ``PassObserver``."""
        self.profiled = True
        self.text_costs: Mapping[str, PassCost] | None = None
        self.two_lengths = bool(getattr(model.config, "is_encoder_decoder", False))
        self._encoder = model.get_encoder() if self.two_lengths else None
        self._media_trained = False
        super().__init__(model, role=role, purpose=purpose, on_gap=on_gap)

    def _entrances(self, model: Any) -> list[Any]:
        # in generation the encoder is called outside of the model's own pass
        encoder = [self._encoder] if self._encoder is not None else []
        return [*entrances(model), *encoder]

    @torch.compiler.disable
    def _enter(self, module: Any, args: Any, kwargs: Any) -> None:
        if not self.watches(module):
            return  # a copy, which has the hook too
        described = not self._calls() and self._described(module, args, kwargs)
        if described and not self._beside_media(module, kwargs):
            self._calls().append((None, None, ExitStack()))
            PassObserver._enter(self, module, args, kwargs)
        elif self.outside and not self._calls():
            self._calls().append((None, None, ExitStack()))
            self.lost += 1
            self._on_gap(
                f"{type(module).__name__}",
                RuntimeError(
                    "a pass that its profile does not describe ran under "
                    "torch.compile, which hides its operations"
                ),
            )
        else:
            super()._enter(module, args, kwargs)

    @torch.compiler.disable
    def _leave(self, module: Any, output: Any) -> None:
        PassObserver._leave(self, module, output)
        super()._leave(module, output)

    def _described(self, module: Any, args: Any, kwargs: Mapping[str, Any]) -> bool:
        if not self.profiled or module is self._encoder:
            return False
        if self.two_lengths:
            ids = kwargs.get("input_ids")
            return (
                isinstance(ids, torch.Tensor)
                and not args
                and kwargs.get("encoder_outputs") is None
                and kwargs.get("past_key_values") is None
                and target_len(kwargs) is not None
            )
        return not any(map(_is_media, (*args, *_besides_text(kwargs))))

    def _beside_media(self, module: Any, kwargs: Mapping[str, Any]) -> bool:
        """Whether a pass on text may share its backward pass with one with media."""
        if not self._media_trained or self.text_costs is None or self.outside:
            return False
        return self._kind(module, kwargs, self._adapters_on()) == "train"

    def _read(self, module: Any, args: Any, kwargs: Any) -> Pass:
        tokens = first_tensor((), kwargs)
        split = self.profiled and not self.two_lengths and self.text_costs is not None
        if not split or tokens is None:
            return super()._read(module, args, kwargs)
        adapters = self._adapters_on()
        kind = self._kind(module, kwargs, adapters)
        text, label = self._dense(tokens, kwargs)
        if kind == "train":
            self._count_real(kwargs, text.tokens)
        if self._described(module, args, kwargs):
            return Pass(_TEXT, kind, adapters, label, PassShape(), flops=0, text=text)
        self._media_trained |= kind == "train"
        media = {k: v for k, v in kwargs.items() if k not in _ABOUT_TEXT}
        signature = repr(
            (
                torch.is_grad_enabled(),
                kind == "train",
                module.training,
                adapters,
                signature_of(args),
                signature_of(media),
            )
        )
        label = f"media ~{digest(signature)}"
        return Pass(signature, kind, adapters, label, PassShape(calls=1), text=text)

    def _known_flops(self, seen: Pass) -> int | None:
        return 0 if seen.signature == _TEXT else super()._known_flops(seen)

    def _beside_text(self, seen: Pass, name: str, flops: int) -> int:
        if not seen.text.calls or self.text_costs is None:
            return flops
        full = (
            name if name != "forward" or seen.adapters else f"{name}_without_adapters"
        )
        cost = self.text_costs.get(full, PassCost())
        return max(flops - cost.flops(seen.text), 0)

    @contextmanager
    def backward(self, *, counted: bool = True) -> Iterator[None]:
        """Count the backward pass inside the block; see ``OccurrenceObserver``."""
        if any(one.signature != _TEXT for one in self._pending):
            with super().backward(counted=counted):
                yield
            return
        passes, self._pending = self._pending, []
        try:
            yield
        except BaseException:
            self._pending = passes
            raise
        for one in passes:
            self._add(one, {})

    def _add(self, seen: Pass, costs: Mapping[str, int]) -> None:
        if seen.text.calls:
            label = seen.label if seen.signature == _TEXT else MEDIA_TEXT
            self.tally.add(seen.kind, seen.text, label=label, adapters=seen.adapters)
        if seen.signature != _TEXT:
            super()._add(seen, costs)

    def _count_real(self, kwargs: Mapping[str, Any], positions: int) -> None:
        super()._count_real(kwargs, positions)
        if not self.two_lengths or not self._described(None, (), kwargs):
            return
        if (mask := kwargs.get("decoder_attention_mask")) is not None:
            self._add_real(mask.detach().ne(0))
        elif isinstance(labels := kwargs.get("labels"), torch.Tensor):
            self._add_real(labels.detach().ne(_NO_LABEL))
        else:
            self._unmasked_tokens += kwargs["decoder_input_ids"].numel()

    def _dense(
        self, tokens: torch.Tensor, kwargs: Mapping[str, Any]
    ) -> tuple[PassShape, str]:
        shape, label = super()._dense(tokens, kwargs)
        target = target_len(kwargs) if self.two_lengths else None
        if target is None:
            return shape, label
        return shape.with_target(target), f"{label}→{target}"


def target_len(kwargs: Mapping[str, Any]) -> int | None:
    """Return the positions of a decoder's row; None where nothing tells."""
    for name in ("decoder_input_ids", "decoder_inputs_embeds", "labels"):
        if isinstance(found := kwargs.get(name), torch.Tensor) and found.dim() >= 2:
            return int(found.shape[1])
    return None


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
