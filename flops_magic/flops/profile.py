"""What one pass of one model costs, as integer coefficients.

A model made of matrix products costs, for one call,

    FLOPs = per_call
          + per_sequence · sequences
          + per_token    · tokens          (a linear layer: 2·a·b a row)
          + per_pair     · pairs           (QKᵀ and PV: 2·heads·(d_qk + d_v) a pair)
          + per_logit    · logits          (the head: 2·h·V a scored position)

with tokens = batch · q and pairs = batch · q · kv, or Σ L² over the sequences of a
packed row. ``per_call`` is real: an adapter on stacked expert weights multiplies B·A
once a call, whatever the tokens. An encoder-decoder has two lengths: its encoder costs
``per_source_token`` and ``per_pair``, its decoder ``per_logit`` a position,
``per_target_pair`` for its own pairs and ``per_cross_pair`` for those with the source;
its ``per_token`` is 0. Being linear, the cost of many passes is the cost of
their summed shapes, which is why a record can hold a histogram and be checked later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from operator import add, attrgetter

from flops_magic.errors import CountingError, InputError

# how a model is fine-tuned; of ``spectrum``, patterns name the parameters that train
METHODS = ("full", "lora", "qlora", "spectrum")


@dataclass(frozen=True)
class PassShape:
    """The size of one pass, or the summed size of many (all counts are exact).

    Attributes:
        calls: forward calls of the model.
        sequences: rows, or sequences of packed rows.
        tokens: positions computed, padding included; source and target together.
        pairs: query-key pairs computed, the full square.
        causal_pairs: the pairs that a causal mask leaves.
        logits: positions that the head scores; of an encoder-decoder, the decoder's.
        source_tokens: positions of the encoder; 0 without one.
        target_pairs: the decoder's query-key pairs; 0 without an encoder.
        cross_pairs: pairs of a decoder's and an encoder's position.
    """

    calls: int = 0
    sequences: int = 0
    tokens: int = 0
    pairs: int = 0
    causal_pairs: int = 0
    logits: int = 0
    source_tokens: int = 0
    target_pairs: int = 0
    cross_pairs: int = 0

    @classmethod
    def dense(
        cls, batch_size: int, query_len: int, *, cached_len: int = 0, logits: int = -1
    ) -> PassShape:
        """Return the shape of one call on (batch_size, query_len) tokens.

        Args:
            batch_size: rows, at least 1.
            query_len: positions a row, padding included, at least 1.
            cached_len: positions a row that a KV cache already holds.
            logits: positions that the head scores; -1 for all of them.

        Raises:
            InputError: for a size below 1.
        """
        for name, size in (("batch_size", batch_size), ("query_len", query_len)):
            if size < 1:
                raise InputError(f"{name}={size!r} is too small; pass 1 or more")
        tokens = batch_size * query_len
        pairs = tokens * (cached_len + query_len)
        # row i of the new block sees the cache and the i+1 first of its own tokens
        causal = tokens * cached_len + batch_size * query_len * (query_len + 1) // 2
        return cls(
            1, batch_size, tokens, pairs, causal, tokens if logits < 0 else logits
        )

    @classmethod
    def packed(cls, lengths: list[int], *, positions: int) -> PassShape:
        """Return the shape of one call on sequences packed end to end.

        Args:
            lengths: the length of each sequence.
            positions: all positions computed; what is beyond the sequences is padding.
        """
        spare = positions - sum(lengths)
        sizes = [*lengths, spare] if spare > 0 else list(lengths)
        return cls(
            1,
            len(lengths),
            positions,
            # Attention kernels for packed rows skip the pairs between sequences, so
            # each sequence pays for its own square; padding pays for one of its own.
            sum(n * n for n in sizes),
            sum(n * (n + 1) // 2 for n in sizes),
            positions,
        )

    def with_target(self, target_len: int) -> PassShape:
        """Return an encoder-decoder's shape: these rows are the source.

        Args:
            target_len: positions a row of the decoder, padding included, at least 1.

        Raises:
            InputError: for a length below 1.
        """
        if target_len < 1:
            raise InputError(
                f"target_len={target_len!r} is not a length; pass 1 or more"
            )
        target = self.sequences * target_len
        return replace(
            self,
            tokens=self.tokens + target,
            causal_pairs=self.pairs,  # an encoder sees both ways
            logits=target,
            source_tokens=self.tokens,
            target_pairs=target * target_len,
            cross_pairs=self.tokens * target_len,
        )

    def __neg__(self) -> PassShape:
        return PassShape(*(-getattr(self, f.name) for f in fields(self)))

    def __add__(self, other: PassShape) -> PassShape:
        return PassShape(*map(add, _sizes(self), _sizes(other)))


# read off once: every pass of a model is added to a sum
_sizes = attrgetter(*(f.name for f in fields(PassShape)))


@dataclass(frozen=True)
class PassCost:
    """Integer coefficients of one pass, in FLOPs (a multiply-add is two)."""

    per_call: int = 0
    per_sequence: int = 0
    per_token: int = 0
    per_pair: int = 0
    per_logit: int = 0
    per_source_token: int = 0
    per_target_pair: int = 0
    per_cross_pair: int = 0

    def flops(self, shape: PassShape) -> int:
        """Return the FLOPs of a shape, or of the sum of many shapes."""
        return (
            self.per_call * shape.calls
            + self.per_sequence * shape.sequences
            + self.per_token * shape.tokens
            + self.per_pair * shape.pairs
            + self.per_logit * shape.logits
            + self.per_source_token * shape.source_tokens
            + self.per_target_pair * shape.target_pairs
            + self.per_cross_pair * shape.cross_pairs
        )

    def masked_flops(self, shape: PassShape) -> int:
        """Return the FLOPs that a causal mask leaves of a shape."""
        # Only attention pairs are spared: a linear layer works on every position.
        spared = shape.pairs - shape.causal_pairs
        return self.flops(shape) - self.per_pair * spared


def cost_by_shape(name: str, shape: str) -> str:
    """Return the name of a cost that holds for one shape only."""
    return f"{name} @ {shape}"


@dataclass(frozen=True)
class FlopsProfile:
    """The cost of a model's passes, and what is known about its parameters.

    Attributes:
        model_class: class name, as in ``config.architectures``.
        method: ``full``, ``lora``, … as found in the model.
        parameters_total: logical parameters: adapters in, packed weights unpacked.
        parameters_active: those that one token uses (fewer than total in MoE).
        parameters_trainable: those that require a gradient.
        costs: coefficients by name of pass, ``forward``, ``backward``,
            ``recompute`` and ``forward_without_adapters``; ``forward @ 2x128 ~1f…``
            and the like for a model that was counted live.
        unknown_ops: operations with matrix-sized inputs and no formula; the counts
            lack them.
        notes: deviations and assumptions that the reader must know.
    """

    model_class: str
    method: str
    parameters_total: int
    parameters_active: int
    parameters_trainable: int
    costs: Mapping[str, PassCost] = field(default_factory=dict)
    unknown_ops: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def cost(self, name: str, shape: str = "") -> PassCost:
        """Return the coefficients of a pass.

        Args:
            name: of a pass, such as ``forward``, see ``costs``.
            shape: a label of the histogram; a model that was counted live has costs
                by shape.

        Raises:
            CountingError: when the profile holds no such pass.
        """
        # A cost of this very shape goes before the general one: it was measured.
        if (counted_live := self.costs.get(cost_by_shape(name, shape))) is not None:
            return counted_live
        if name not in self.costs:
            raise CountingError(
                f"the profile of {self.model_class} has no cost {name!r}; it has "
                f"{sorted(self.costs)}"
            )
        return self.costs[name]

    @property
    def two_lengths(self) -> bool:
        """Whether a pass has a source and a target, as an encoder-decoder's has."""
        return any(cost.per_source_token for cost in self.costs.values())

    def shape(
        self, batch_size: int, seq_len: int, target_len: int | None = None
    ) -> PassShape:
        """Return the shape of one call on a full batch.

        Args:
            batch_size: rows.
            seq_len: positions a row; of an encoder-decoder, of the source.
            target_len: positions a row of an encoder-decoder's target.

        Raises:
            InputError: for a size below 1, and where ``target_len`` is missing or one
                too many.
        """
        shape = PassShape.dense(batch_size, seq_len)
        if self.two_lengths:
            if target_len is None:
                raise InputError(
                    f"{self.model_class} has a source and a target; pass target_len "
                    "(--target-len 128) beside seq_len, the length of the source"
                )
            return shape.with_target(target_len)
        if target_len is not None:
            raise InputError(
                f"{self.model_class} has one length; pass seq_len and no target_len"
            )
        return shape

    def forward(
        self, batch_size: int, seq_len: int, target_len: int | None = None
    ) -> int:
        """Return the FLOPs of one forward pass; see ``shape`` for the sizes."""
        return self.cost("forward").flops(self.shape(batch_size, seq_len, target_len))

    def backward(
        self, batch_size: int, seq_len: int, target_len: int | None = None
    ) -> int:
        """Return the FLOPs of one backward pass, recomputation left out."""
        return self.cost("backward").flops(self.shape(batch_size, seq_len, target_len))

    def recompute(
        self, batch_size: int, seq_len: int, target_len: int | None = None
    ) -> int:
        """Return the FLOPs that gradient checkpointing repeats; 0 without it."""
        cost = self.costs.get("recompute", PassCost())
        return cost.flops(self.shape(batch_size, seq_len, target_len))

    def training(
        self, batch_size: int, seq_len: int, target_len: int | None = None
    ) -> int:
        """Return forward + backward: what contributes directly to an update."""
        sizes = batch_size, seq_len, target_len
        return self.forward(*sizes) + self.backward(*sizes)


def parameters_without_adapters(profile: FlopsProfile) -> int:
    """Return P of the model that is trained: active parameters, adapters left out.

    With adapters, what trains is what was added: the base is frozen.
    """
    active = profile.parameters_active
    # In a LoRA set-up the adapters are what trains, so trainable = adapters.
    if profile.method in ("lora", "qlora"):
        return active - profile.parameters_trainable
    return active
