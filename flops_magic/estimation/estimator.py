"""What fine-tuning will cost, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Unpack

from flops_magic.ai_act.decision_table import judge
from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.ai_act.original_options import OriginalOptions
from flops_magic.errors import FlopsMagicError, InputError
from flops_magic.estimation.estimate import Estimate, MethodEstimate
from flops_magic.estimation.formula_profile import formula_bounds
from flops_magic.estimation.pricing import PricedModel, Pricing
from flops_magic.estimation.run_shape import planned_shape
from flops_magic.estimation.training_plan import plan_of
from flops_magic.flops.histogram import FlopTotals, HistogramRow, row_flops
from flops_magic.flops.profile import (
    METHODS,
    FlopsProfile,
    PassShape,
    parameters_without_adapters,
)
from flops_magic.flops.units import flop_text, parse_count
from flops_magic.profiling.media import parse_media
from flops_magic.registry.accelerators import expected_rate


def estimate(
    model: Any,
    *,
    tokens: int | str | None = None,
    seq_len: int | str | None = None,
    target_len: int | str | None = None,
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
    images: int | None = None,
    image_size: str | None = None,
    audio_s: float | None = None,
    accelerator: str | None = None,
    mfu: float | None = None,
    **original: Unpack[OriginalOptions],
) -> Estimate:
    """Return what fine-tuning a model will cost, method by method.

    What is passed wins over what a Trainer or a recipe says.

    Args:
        model: a model, its config, or a folder with one; a Trainer; a recipe YAML; or a
            Hub id. The configuration of an id comes from the local cache, the shapes
            that the package ships, or the Hub. Without one, the formulas 6·P·D and
            4·P·D are used if the registry knows P, with bounds on attention and
            adapters, and a verdict only if it holds all over what the formula leaves
            open.
        tokens: D of one epoch, padding included: ``25M``, ``3e9`` or an int.
        seq_len: positions a sequence; attention grows with it. Of an encoder-decoder,
            positions of the source; ``tokens`` and ``dataset`` are the source's too.
        target_len: positions a sequence of an encoder-decoder's target.
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
        images: images a sequence carries, as a vision-language model's tower sees
            them (tiles, where its processor cuts them). The positions that they take
            are part of ``seq_len``.
        image_size: their size in pixels, ``896x896``; the tower's own by default.
        audio_s: seconds of sound a sequence carries.
        accelerator: name of a device in the table, for hours and energy.
        mfu: utilisation to expect, 0 to 1; asked for with ``accelerator``.
        original: what is known of the original model, such as ``base_model`` and
            ``original_flops``; all of it:
            ``flops_magic.ai_act.original_options.OriginalOptions``.

    Raises:
        InputError: for what cannot be read or is missing, naming what would do.
        CountingError: when no method can be counted.
    """
    plan = plan_of(model)
    device = expected_rate(accelerator, mfu)
    chosen = _checked(methods or plan.methods or _default_methods(trainable))
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
    target = None if target_len is None else parse_count(target_len, minimum=1)
    of_original = OriginalModel.of(**original)
    trainable = trainable or plan.trainable
    checkpointing = plan.gradient_checkpointing
    if gradient_checkpointing is not None:
        checkpointing = gradient_checkpointing
    pricing = Pricing(
        plan.model,
        lora_rank=plan.lora_rank or 16 if lora_rank is None else lora_rank,
        lora_targets=lora_targets or plan.lora_targets or "all-linear",
        trainable=trainable,
        gradient_checkpointing=bool(checkpointing),
        media=parse_media(images, image_size, audio_s),
        target_len=target,
    )
    whole = shape if target is None else shape.with_target(target)
    rows: list[MethodEstimate] = []
    skipped, last = [], None
    for method in chosen:
        if method == "spectrum" and not trainable:
            skipped.append("spectrum: pass trainable=[…], the parameters that train")
            continue
        try:
            priced = pricing.price(method)
        except FlopsMagicError as error:
            last = error
            # one method may lack its package or formula, and the others still count
            skipped.append(f"{method}: {error}")
            continue
        profile = priced.profile
        # a live model with adapters has one method, its own, whatever was asked
        if profile.method in {row.method for row in rows}:
            continue
        # raises for a target that is missing, or one too many, and names the option
        profile.shape(1, 1, target)
        rows.append(_row(priced, whole, of_original, name, device))
    if not rows:
        raise last or InputError("; ".join(skipped))
    tokens_in_all = shape.tokens + shape.sequences * (target or 0)
    return Estimate(name, tokens_in_all, length, tuple(rows), tuple(skipped), notes)


def _default_methods(trainable: Sequence[str] | None) -> tuple[str, ...]:
    return METHODS if trainable else METHODS[:3]


def _checked(methods: Sequence[str]) -> Sequence[str]:
    if unknown := [m for m in methods if m not in METHODS]:
        raise InputError(f"no method {unknown}; there are {', '.join(METHODS)}")
    return methods


def _row(
    priced: PricedModel,
    shape: PassShape,
    original: OriginalModel,
    name: str,
    device: tuple[int, float, int | None] | None,
) -> MethodEstimate:
    profile = priced.profile
    flops = _run_flops(profile, shape)
    decision, undecided = None, ""
    size = parameters_without_adapters(profile)
    try:
        decision = judge(original, flops, name, size)
        if priced.by_formula:
            # a formula may be far off: the verdict has to be that of its bounds too
            bounds = [_run_flops(one, shape) for one in formula_bounds(profile)]
            verdicts = {judge(original, one, name, size).verdict for one in bounds}
            if verdicts != {decision.verdict}:
                decision, undecided = None, _too_rough(*bounds)
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
        priced.basis,
        decision,
        undecided,
        (*priced.notes, *profile.notes),
        hours,
        energy,
    )


def _run_flops(profile: FlopsProfile, shape: PassShape) -> FlopTotals:
    return row_flops(HistogramRow("train", True, "planned", shape), profile)


def _too_rough(least: FlopTotals, most: FlopTotals) -> str:
    return (
        f"the formula leaves room from {flop_text(least.direct)} to "
        f"{flop_text(most.direct)}, and the line is in between; the exact count needs "
        "the model's configuration: pass a folder with its config.json"
    )


def _own_name(model: Any) -> str:
    config = getattr(model, "config", model)
    return getattr(config, "_name_or_path", "") or type(model).__name__
