"""What fine-tuning will cost, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Unpack

from flops_magic.core.accelerators import expected_rate
from flops_magic.core.base_models import lookup
from flops_magic.core.formulas import lora_pd, six_pd
from flops_magic.core.judge import Original, Question, parameters_without_adapters
from flops_magic.core.profile import FlopsProfile
from flops_magic.core.tally import FlopTotals, HistogramRow, row_flops
from flops_magic.errors import FlopsMagicError, InputError, UnknownModelError
from flops_magic.measure.plans import plan_of
from flops_magic.planned import planned_shape

if TYPE_CHECKING:
    from flops_magic.core.decision import Decision

METHODS = ("full", "lora", "qlora", "spectrum")


@dataclass(frozen=True)
class MethodEstimate:
    """What one method will cost.

    Attributes:
        method: one of ``METHODS``.
        flops: FLOPs by category.
        parameters_total: logical parameters, adapters included.
        parameters_trainable: those that train.
        basis: ``operation count`` of the model's configuration, or the formula used.
        decision: the verdict if training runs so; None without a known original.
        undecided: why there is no decision.
        hours: accelerator hours at the stated utilisation; None if not asked.
        energy_kwh: at the accelerator's full board power; None if not asked.
    """

    method: str
    flops: FlopTotals
    parameters_total: int
    parameters_trainable: int
    basis: str
    decision: Decision | None
    undecided: str
    hours: float | None = None
    energy_kwh: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What fine-tuning will cost, by method; shows itself as a table.

    Attributes:
        model: what was asked for.
        tokens: positions to be processed, epochs included.
        seq_len: positions a sequence, at most.
        rows: one for each method.
        skipped: methods that cannot be estimated, and why.
        notes: where the tokens come from, and how sure they are.
    """

    model: str
    tokens: int
    seq_len: int
    rows: tuple[MethodEstimate, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, method: str) -> MethodEstimate:
        """Return the estimate of one method.

        Raises:
            InputError: when that method was not estimated.
        """
        for row in self.rows:
            if row.method == method:
                return row
        raise InputError(
            f"no estimate for {method!r}; there are {[row.method for row in self.rows]}"
        )

    def __str__(self) -> str:
        from flops_magic.show.estimate import estimate_text

        return estimate_text(self)

    __repr__ = __str__

    def plot(self) -> Any:
        """Return a matplotlib ``Figure``: FLOPs on a log scale, with the line."""
        from flops_magic.show.plot import estimate_figure

        return estimate_figure(self)

    def _repr_html_(self) -> str:
        """Return the table that notebooks show."""
        from flops_magic.show.estimate import estimate_html

        return estimate_html(self)


def estimate(
    model: Any,
    *,
    tokens: int | str | None = None,
    seq_len: int | str | None = None,
    epochs: int | str | Fraction | None = None,
    batch_size: int | None = None,
    methods: Sequence[str] | None = None,
    lora_rank: int | None = None,
    lora_targets: str | Sequence[str] | None = None,
    trainable: Sequence[str] | None = None,
    gradient_checkpointing: bool | None = None,
    dataset: Any = None,
    tokenizer: Any = None,
    text_field: str | None = None,
    packing: bool | None = None,
    accelerator: str | None = None,
    mfu: float | None = None,
    **original: Unpack[Question],
) -> Estimate:
    """Return what fine-tuning a model will cost, method by method.

    What is passed wins over what a Trainer or a recipe says.

    Args:
        model: a model, its config, a folder, a Hub id in the local cache; a Trainer;
            a recipe YAML; or an id in the registry, for which the formulas 6·P·D and
            4·P·D are used.
        tokens: D of one epoch, padding included: ``25M``, ``3e9`` or an int.
        seq_len: positions a sequence; attention grows with it.
        epochs: how often the tokens are seen; 1 by default.
        batch_size: sequences a forward call; 1 by default. Rows of a data set are
            padded to the longest of their call.
        methods: which of ``full``, ``lora``, ``qlora``, ``spectrum``; by default the
            first three, ``spectrum`` with ``trainable``, or what the recipe says.
        lora_rank: r of the adapters; 16 by default.
        lora_targets: names of the adapted modules; ``all-linear`` by default.
        trainable: for ``spectrum``, patterns of the parameters that train.
        gradient_checkpointing: whether activations are recomputed (shown apart).
        dataset: rows to count instead of ``tokens``: a data set, a list, or a
            ``.jsonl`` or ``.txt`` file.
        tokenizer: counts ``dataset``; the model's own by default, if it has a name.
        text_field: the field of ``dataset`` that holds the text.
        packing: whether rows are joined to full sequences of ``seq_len``.
        accelerator: name of a device in the table, for hours and energy.
        mfu: utilisation to expect, 0 to 1; asked for with ``accelerator``.
        original: what is known of the original model, such as ``base_model`` and
            ``original_flops``; ``flops_magic.core.judge.Question`` has them all.

    Raises:
        InputError: for what cannot be read or is missing, naming what would do.
        CountingError: when no method can be counted.
    """
    plan = plan_of(model)
    device = expected_rate(accelerator, mfu)
    chosen = methods or plan.methods or _default_methods(trainable)
    if unknown := [m for m in chosen if m not in METHODS]:
        raise InputError(f"no method {unknown}; there are {', '.join(METHODS)}")
    shape, length, notes = planned_shape(
        plan,
        tokens=tokens,
        seq_len=seq_len,
        epochs=epochs,
        batch_size=batch_size,
        dataset=dataset,
        tokenizer=tokenizer,
        text_field=text_field,
        packing=packing,
    )
    name = plan.model if isinstance(plan.model, str) else _own_name(plan.model)
    of_original = Original.of(**original)
    trainable = trainable or plan.trainable
    checkpointing = plan.gradient_checkpointing
    if gradient_checkpointing is not None:
        checkpointing = gradient_checkpointing
    rows: list[MethodEstimate] = []
    skipped, last = [], None
    for method in chosen:
        if method == "spectrum" and not trainable:
            skipped.append("spectrum: pass trainable=[…], the parameters that train")
            continue
        try:
            profile, basis = _profile(
                plan.model,
                method,
                lora_rank or plan.lora_rank or 16,
                lora_targets or plan.lora_targets or "all-linear",
                trainable,
                bool(checkpointing),
            )
        except FlopsMagicError as error:
            last = error
            skipped.append(f"{method}: {error}")
            continue
        if profile.method in {row.method for row in rows}:
            continue  # a live model with adapters has one method, its own
        flops = row_flops(HistogramRow("train", True, "planned", shape), profile)
        rows.append(_row(flops, profile, basis, of_original, name, device))
    if not rows:
        raise last or InputError("; ".join(skipped))
    return Estimate(name, shape.tokens, length, tuple(rows), tuple(skipped), notes)


def _default_methods(trainable: Sequence[str] | None) -> tuple[str, ...]:
    return METHODS if trainable else METHODS[:3]


def _profile(
    model: Any,
    method: str,
    lora_rank: int,
    lora_targets: str | Sequence[str],
    trainable: Sequence[str] | None,
    gradient_checkpointing: bool,
) -> tuple[FlopsProfile, str]:
    """Return a profile and what it rests on."""
    try:
        from flops_magic.measure.opcount import profile_model

        profile = profile_model(
            model,
            method=method,
            lora_rank=lora_rank,
            lora_targets=lora_targets,
            trainable=trainable,
            gradient_checkpointing=gradient_checkpointing,
        )
    except (InputError, ModuleNotFoundError) as error:
        if not isinstance(model, str):
            raise
        try:
            return _formula_profile(model, method), _FORMULAS[method]
        except UnknownModelError as miss:
            raise miss from error
    return profile, "operation count"


_FORMULAS = {
    "full": "formula 6·P·D: no configuration here, attention left out",
    "lora": "formula 4·P·D: no configuration here, attention and adapters left out",
    "qlora": "formula 4·P·D: no configuration here, attention and adapters left out",
}


def _formula_profile(model: str, method: str) -> FlopsProfile:
    """Return 2·P a token forward, and 4·P or 2·P backward, from the registry's P."""
    from flops_magic.core.profile import PassCost

    row = lookup(model).model
    if method not in _FORMULAS or row.params_active is None or row.params_total is None:
        raise InputError(
            f"{method} of {model!r} needs its configuration, and it is not on this "
            "machine; pass a folder with a config.json, or download the model first"
        )
    active = row.params_active
    forward = 2 * active
    whole = six_pd(active, 1) if method == "full" else lora_pd(active, 0, 1)
    return FlopsProfile(
        model_class=row.model_id,
        method=method,
        parameters_total=row.params_total,
        parameters_active=active,
        parameters_trainable=row.params_total if method == "full" else 0,
        costs={
            "forward": PassCost(per_token=forward),
            "backward": PassCost(per_token=whole - forward),
        },
    )


def _row(
    flops: FlopTotals,
    profile: FlopsProfile,
    basis: str,
    original: Original,
    name: str,
    device: tuple[int, float, int | None] | None,
) -> MethodEstimate:
    decision, undecided = None, ""
    try:
        size = parameters_without_adapters(profile)
        decision = original.judge(flops, name, size)
    except FlopsMagicError as error:
        undecided = str(error)
    hours = energy = None
    if device is not None:
        peak, utilisation, watts = device
        # exact until the last division: counts beyond 2^53 are no floats
        hours = float(Fraction(flops.executed, peak) / Fraction(utilisation) / 3600)
        energy = hours * watts / 1000 if watts else None
    return MethodEstimate(
        profile.method,
        flops,
        profile.parameters_total,
        profile.parameters_trainable,
        basis,
        decision,
        undecided,
        hours,
        energy,
    )


def _own_name(model: Any) -> str:
    config = getattr(model, "config", model)
    return getattr(config, "_name_or_path", "") or type(model).__name__
