"""What fine-tuning will cost, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Unpack

from flops_magic.ai_act.decision_table import judge
from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.ai_act.original_options import OriginalOptions
from flops_magic.errors import (
    FlopsMagicError,
    InputError,
    MissingPackageError,
    UnknownModelError,
)
from flops_magic.estimation.formula_profile import FORMULAS, formula_profile
from flops_magic.estimation.run_shape import planned_shape
from flops_magic.estimation.training_plan import plan_of
from flops_magic.flops.histogram import FlopTotals, HistogramRow, row_flops
from flops_magic.flops.profile import (
    METHODS,
    FlopsProfile,
    parameters_without_adapters,
)
from flops_magic.flops.units import parse_count
from flops_magic.profiling.media import Media, parse_media
from flops_magic.registry.accelerators import expected_rate

if TYPE_CHECKING:
    from flops_magic.ai_act.decision import Decision

_COUNTED = "operation count"


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
        notes: what the count rests on, and what it leaves out.
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
    notes: tuple[str, ...] = ()
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
        from flops_magic.display.estimate_table import estimate_text

        return estimate_text(self)

    __repr__ = __str__

    def plot(self) -> Any:
        """Return a matplotlib ``Figure``: FLOPs on a log scale, with the line."""
        from flops_magic.display.estimate_plot import estimate_figure

        return estimate_figure(self)

    def _repr_html_(self) -> str:
        """Return the table that notebooks show."""
        from flops_magic.display.estimate_table import estimate_html

        return estimate_html(self)


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
        model: a model, its config, a folder, a Hub id in the local cache; a Trainer;
            a recipe YAML; or an id in the registry, for which the formulas 6·P·D and
            4·P·D are used.
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
    media = parse_media(images, image_size, audio_s)
    target = None if target_len is None else parse_count(target_len, minimum=1)
    of_original = OriginalModel.of(**original)
    trainable = trainable or plan.trainable
    checkpointing = plan.gradient_checkpointing
    if gradient_checkpointing is not None:
        checkpointing = gradient_checkpointing
    rows: list[MethodEstimate] = []
    skipped, last = [], None
    with_lora: tuple[FlopsProfile, str] | None = None
    for method in chosen:
        if method == "spectrum" and not trainable:
            skipped.append("spectrum: pass trainable=[…], the parameters that train")
            continue
        try:
            if method == "qlora" and with_lora is not None:
                # packed weights have the same products: nothing is walked again
                profile, basis = replace(with_lora[0], method=method), with_lora[1]
            else:
                profile, basis = _profile(
                    plan.model,
                    method,
                    lora_rank or plan.lora_rank or 16,
                    lora_targets or plan.lora_targets or "all-linear",
                    trainable,
                    bool(checkpointing),
                    media,
                )
        except FlopsMagicError as error:
            last = error
            skipped.append(f"{method}: {error}")
            continue
        added = not hasattr(plan.model, "peft_config")  # else the adapters are its own
        if added and method == profile.method == "lora" and basis == _COUNTED:
            with_lora = profile, basis
        if profile.method in {row.method for row in rows}:
            continue  # a live model with adapters has one method, its own
        whole = shape if target is None else shape.with_target(target)
        profile.shape(1, 1, target)  # a missing target is asked for by name
        flops = row_flops(HistogramRow("train", True, "planned", whole), profile)
        rows.append(_row(flops, profile, basis, of_original, name, device))
    if not rows:
        raise last or InputError("; ".join(skipped))
    tokens_in_all = shape.tokens + shape.sequences * (target or 0)
    return Estimate(name, tokens_in_all, length, tuple(rows), tuple(skipped), notes)


def _default_methods(trainable: Sequence[str] | None) -> tuple[str, ...]:
    return METHODS if trainable else METHODS[:3]


def _profile(
    model: Any,
    method: str,
    lora_rank: int,
    lora_targets: str | Sequence[str],
    trainable: Sequence[str] | None,
    gradient_checkpointing: bool,
    media: Media,
) -> tuple[FlopsProfile, str]:
    """Return a profile and what it rests on."""
    options: dict[str, Any] = {
        "method": method,
        "lora_rank": lora_rank,
        "lora_targets": lora_targets,
        "trainable": trainable,
        "gradient_checkpointing": gradient_checkpointing,
    }
    try:
        if media:
            from flops_magic.profiling.multimodal import profile_with_media

            return profile_with_media(model, media, **options), _COUNTED
        from flops_magic.profiling.profiler import profile_model

        profile = profile_model(model, **options)
    except (InputError, ModuleNotFoundError) as error:
        if not isinstance(model, str) or media:
            if isinstance(error, InputError):
                raise
            raise MissingPackageError(
                f"counting a model's operations needs {error.name}; run pip install "
                "'flops-magic[train]'"
            ) from error
        try:
            return formula_profile(model, method), FORMULAS[method]
        except UnknownModelError as miss:
            raise miss from error
    return profile, _COUNTED


def _row(
    flops: FlopTotals,
    profile: FlopsProfile,
    basis: str,
    original: OriginalModel,
    name: str,
    device: tuple[int, float, int | None] | None,
) -> MethodEstimate:
    decision, undecided = None, ""
    try:
        size = parameters_without_adapters(profile)
        decision = judge(original, flops, name, size)
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
        profile.notes,
        hours,
        energy,
    )


def _own_name(model: Any) -> str:
    config = getattr(model, "config", model)
    return getattr(config, "_name_or_path", "") or type(model).__name__
