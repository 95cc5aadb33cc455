"""Models of which a profile describes some passes, and not all.

A profile of a vision-language or speech model describes its passes on text alone: a
pass that carries images or sound costs what its towers cost besides. A profile of an
encoder-decoder describes passes on source and target ids: in generation the encoder
has run before. What the profile describes is counted by it, however many lengths
there are; the rest is counted live, by signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch

from flops_magic.core.profile import PassShape
from flops_magic.measure.occurrences import OccurrenceObserver
from flops_magic.measure.passes import GapSink, PassObserver, Purpose

_NO_LABEL = -100  # transformers leaves these positions out of the loss
# tensors of numbers that say how a text is read, and are no input of their own
_ABOUT_TEXT = ("attention_mask", "inputs_embeds", "past_key_values", "position_ids")


def is_mixed(model: Any) -> bool:
    """Whether a profile may describe only some passes of a model."""
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        return True
    return bool(getattr(config, "sub_configs", None))


class MixedObserver(OccurrenceObserver):
    """Counts a pass by the profile where that describes it, and live elsewhere.

    Passes on text that share a backward pass with one that is counted live are counted
    live as well, if they come after it; if they come before, their backward pass is
    counted twice: never too low.

    Attributes:
        compiled: whether ``torch.compile`` hides what would be counted live.
        profiled: whether there is a profile; without one every pass is counted live.
    """

    def __init__(
        self, model: Any, *, role: str, purpose: Purpose, on_gap: GapSink
    ) -> None:
        """Watch ``model`` until ``close``; see ``PassObserver``."""
        self.compiled = False
        self.profiled = True
        self._two_lengths = bool(getattr(model.config, "is_encoder_decoder", False))
        super().__init__(model, role=role, purpose=purpose, on_gap=on_gap)
        self._of_the_encoder: list[Any] = []
        if self._two_lengths:
            # in generation the encoder is called outside of the model's own pass
            encoder = model.get_encoder()
            live = partial(OccurrenceObserver._hook, self)
            self._of_the_encoder = [
                encoder.register_forward_pre_hook(live, with_kwargs=True),
                encoder.register_forward_hook(self._leave, always_call=True),
            ]

    def close(self) -> None:
        """Stop watching; the module is as it was before."""
        super().close()
        for handle in self._of_the_encoder:
            handle.remove()

    @torch.compiler.disable
    def _hook(self, module: Any, args: Any, kwargs: Any) -> None:
        if self.profiled and not self.pending and self._described(args, kwargs):
            self._running.append((None, None, ExitStack()))
            PassObserver._hook(self, module, args, kwargs)
        elif self.compiled:
            self._running.append((None, None, ExitStack()))
            self.lost += 1
            self._on_gap(
                f"{type(module).__name__}",
                RuntimeError(
                    "a pass that its profile does not describe ran under "
                    "torch.compile, which hides its operations"
                ),
            )
        else:
            super()._hook(module, args, kwargs)

    def _described(self, args: Any, kwargs: Mapping[str, Any]) -> bool:
        if self._two_lengths:
            ids = kwargs.get("input_ids")
            return (
                isinstance(ids, torch.Tensor)
                and not args
                and kwargs.get("encoder_outputs") is None
                and kwargs.get("past_key_values") is None
                and target_len(kwargs) is not None
            )
        return not any(map(_is_media, (*args, *_values(kwargs))))

    def _count_real(self, kwargs: Mapping[str, Any], positions: int) -> None:
        super()._count_real(kwargs, positions)
        if not self._two_lengths or not self._described((), kwargs):
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
        target = target_len(kwargs) if self._two_lengths else None
        if target is None:
            return shape, label
        return shape.with_target(target), f"{label}→{target}"


def target_len(kwargs: Mapping[str, Any]) -> int | None:
    """Return the positions of a decoder's row; None where nothing tells."""
    for name in ("decoder_input_ids", "decoder_inputs_embeds", "labels"):
        if isinstance(found := kwargs.get(name), torch.Tensor) and found.dim() >= 2:
            return int(found.shape[1])
    return None


def _values(kwargs: Mapping[str, Any]) -> Iterator[Any]:
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
