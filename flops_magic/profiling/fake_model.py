"""A model built with fake tensors: the shapes of the real one, and none of its memory.

A live model is built again from its configuration and adapter set-up, with its
trainable flags copied, so that packed 4-bit weights, ZeRO-3 shards and empty
parameters have their logical shapes; names and shapes are then compared with the live
model's, and a difference is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import transformers

# Private module of torch, tried with 2.13; without it no model can be walked dry, and
# runs are counted live.
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint
from transformers import masking_utils

from flops_magic.errors import UnsupportedModelError
from flops_magic.flops.profile import PassShape
from flops_magic.profiling.moe import idle_expert_parameters
from flops_magic.profiling.probes import (
    Probe,
    feasible,
    in_steps,
    long_probe,
    longest_row,
)
from flops_magic.profiling.repeated_layers import Repeat, find_repeats, keep_layers

# transformers 4 renamed it; model code on the Hub may still have the old name.
_KEEP_SWITCHES = ("logits_to_keep", "num_logits_to_keep")
# 4-D masks are taken as they are, so nothing data-dependent is asked of them; but some
# models want rows of ones (ALiBi, DeBERTa), and some multiply a mask into their states
MASKS = ("square", "rows", "none")


@dataclass
class FakeModel:
    """A fake model, ready to be walked.

    Attributes:
        model: the fake model, adapters included.
        mode: the fake tensor mode that it lives in.
        method: ``full``, ``lora``, ``qlora`` or ``spectrum``.
        checkpointing: keyword arguments of ``torch.utils.checkpoint.checkpoint``; None
            without gradient checkpointing.
        checkpointed: names of the modules that checkpoint; None for all that can.
        input_grads: whether the embeddings' output is made to require a gradient.
        repeats: groups of layers that cost the same.
        notes: what a reader of the profile must know.
        merged: whether the adapters are merged, so that they cost nothing.
        live: whether it copies a live model, whose run can be counted live instead.
        step: positions that the rows of probes are a multiple of; 1 for any number.
        masks: kind of attention mask that walks pass, one of ``MASKS``.
        two_lengths: whether source and target have lengths of their own; the third
            number of a probe is then the target's length.
        hears: whether each row is a window of sound, and its positions the target's.
    """

    model: Any
    mode: FakeTensorMode
    method: str
    checkpointing: dict[str, Any] | None = None
    checkpointed: frozenset[str] | None = None
    input_grads: bool = False
    repeats: tuple[Repeat, ...] = ()
    notes: tuple[str, ...] = ()
    merged: bool = False
    live: bool = False
    step: int = 1
    masks: str = "square"
    two_lengths: bool = field(init=False)
    hears: bool = field(init=False)
    parameters_total: int = field(init=False)
    parameters_active: int = field(init=False)
    parameters_trainable: int = field(init=False)

    def __post_init__(self) -> None:
        two_stacks = bool(getattr(self.base.config, "is_encoder_decoder", False))
        # a speech model's encoder hears a window of one length, whatever the target
        self.hears = two_stacks and self.base.main_input_name == "input_features"
        self.two_lengths = two_stacks and not self.hears
        # A dict over parameters counts tied weights once.
        sizes = {p: p.numel() for p in self.model.parameters()}
        self.parameters_total = sum(sizes.values())
        self.parameters_trainable = sum(n for p, n in sizes.items() if p.requires_grad)
        self.parameters_active = self.parameters_total - idle_expert_parameters(
            self.base
        )

    @property
    def base(self) -> Any:
        """The transformers model inside its adapters."""
        # ``peft_config`` marks peft's wrapper, tried with peft 0.21. transformers' own
        # adapters set it nowhere, and are part of the base model.
        model = self.model
        return model.get_base_model() if hasattr(model, "peft_config") else model

    @property
    def model_class(self) -> str:
        """Class name of the transformers model."""
        return type(self.base).__name__

    @property
    def has_adapters(self) -> bool:
        """Whether the model carries adapters."""
        return hasattr(self.model, "peft_config")

    def adapters_disabled(self) -> Any:
        """Return a context in which the adapters are off."""
        return self.model.disable_adapter() if self.has_adapters else nullcontext()

    def layers_kept(
        self, keep: int, *, except_for: Repeat | None = None, keep_there: int = 0
    ) -> Any:
        """Return a context in which each repeat holds only its first layers."""
        return keep_layers(
            [
                (repeat, keep_there if repeat is except_for else keep)
                for repeat in self.repeats
            ]
        )

    def feasible(self, probes: Sequence[Probe]) -> list[Probe]:
        """Return the probes that the model's positions and switches allow."""
        keeps = self._keep_switch() is not None
        found = feasible(
            probes, longest_row(self.base), two_lengths=self.two_lengths, keeps=keeps
        )
        return in_steps(found, self.step) if self.step > 1 else found

    def long_probe(self) -> Probe:
        """Return a probe beyond every chunk, block and window of the model."""
        found = long_probe(self.base, two_lengths=self.two_lengths)
        return in_steps([found], self.step)[0] if self.step > 1 else found

    def probe_shape(self, batch_size: int, seq_len: int, logits: int) -> PassShape:
        """Return the shape of a probe."""
        if self.two_lengths:
            return PassShape.dense(batch_size, seq_len).with_target(logits)
        # transformers keeps that many positions of each row, PassShape of the batch.
        scored = -1 if logits < 0 else logits * batch_size
        return PassShape.dense(batch_size, seq_len, logits=scored)

    def run(
        self, batch_size: int, seq_len: int, logits: int, *, checkpointing: bool
    ) -> Any:
        """Run the fake model forward and return its logits, (B, S or logits, V)."""
        # Which token it is changes no cost: a look-up is not a product.
        ids = torch.zeros(batch_size, seq_len, dtype=torch.long)  # (B, S)
        dtype = next(p.dtype for p in self.base.parameters() if p.is_floating_point())
        mask: torch.Tensor | None = None
        if self.masks == "rows" or _expands_masks(self.base.config):
            mask = torch.ones(batch_size, seq_len, dtype=torch.long)  # (B, S)
        elif self.masks == "square":
            mask = torch.zeros(batch_size, 1, seq_len, seq_len, dtype=dtype)
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        accepted = inspect.signature(self.base.forward).parameters
        if "position_ids" in accepted and mask is not None:
            # Given, since models that compute positions from a mask read its values.
            inputs["position_ids"] = torch.arange(seq_len)[None].expand(batch_size, -1)
        if "use_cache" in accepted:
            # A cache changes no product of a training pass, and some caches read
            # values.
            inputs["use_cache"] = False
        if self.hears:
            config = self.base.config
            frames = 2 * config.max_source_positions
            inputs = {
                "input_features": torch.zeros(
                    batch_size, config.num_mel_bins, frames, dtype=dtype
                ),
                "decoder_input_ids": ids,
                "use_cache": False,
            }
        elif self.two_lengths:
            inputs["decoder_input_ids"] = torch.zeros(
                batch_size, logits, dtype=torch.long
            )  # (B, T)
        elif logits > 0 and (switch := self._keep_switch()):
            inputs[switch] = logits
        # Checkpointing and dropout are on only in training, as in the run.
        self.model.train()
        for module in self.base.modules():
            if hasattr(module, "layerdrop"):
                # whether a layer is left out would be drawn; all of them are counted
                module.training = False
        with self.checkpointed_layers(checkpointing), self._input_grads():
            return self.model(**inputs).logits

    def reach_inputs(self) -> None:
        """Make backward passes reach the embeddings, frozen layers or not."""
        if not self.input_grads:
            self.input_grads = True
            self.repeats = find_repeats(self.base, True)

    def clear_gradients(self) -> None:
        """Drop the fake gradients of a walk."""
        for parameter in self.model.parameters():
            # Accumulating into an old gradient is another operation than setting a new
            # one.
            parameter.grad = None

    def _keep_switch(self) -> str | None:
        accepted = inspect.signature(self.base.forward).parameters
        return next((name for name in _KEEP_SWITCHES if name in accepted), None)

    @contextmanager
    def checkpointed_layers(self, on: bool) -> Iterator[None]:
        """Switch gradient checkpointing on, or off, inside the block.

        Raises:
            UnsupportedModelError: when no module can checkpoint.
        """
        able = [
            module
            for name, module in self.base.named_modules()
            if hasattr(module, "gradient_checkpointing")
            and (self.checkpointed is None or name in self.checkpointed)
        ]
        if on and not able:
            raise UnsupportedModelError(
                f"{self.model_class} has no module that can checkpoint its gradients"
            )
        # fake tensors have no random state to preserve
        options = {**(self.checkpointing or {}), "preserve_rng_state": False}
        for module in able:
            module.gradient_checkpointing = on
            # Private in transformers, set by ``gradient_checkpointing_enable`` in
            # 4.57.6 and 5.23, which also turns on hooks that fake models must not have.
            # If it is renamed, the walk raises, since modules call it by this name.
            module._gradient_checkpointing_func = partial(checkpoint, **options)
        try:
            yield
        finally:
            for module in able:
                module.gradient_checkpointing = False

    @contextmanager
    def _input_grads(self) -> Iterator[None]:
        if not self.input_grads:
            yield
            return
        # What ``enable_input_require_grads`` does, for the length of one walk.
        embeddings = self.base.get_input_embeddings()
        hook = embeddings.register_forward_hook(
            lambda _module, _inputs, output: output.requires_grad_(True)
        )
        try:
            yield
        finally:
            hook.remove()


def _expands_masks(config: Any) -> bool:
    """Whether a model refuses a 4-D mask: the encoders of transformers 4 do."""
    # In transformers 5.23 and absent from 4.57.6. It is public there; the attribute is
    # only looked for, so that no version has to be compared.
    old = not hasattr(masking_utils, "create_bidirectional_mask")
    return old and type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING
