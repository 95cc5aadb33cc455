"""The record of a run so far: the meter's counts, and the decision on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flops_magic.ai_act.decision import Decision
from flops_magic.evidence.hardware import Hardware
from flops_magic.evidence.record import (
    AuditRecord,
    LegacyFigure,
    ModelUse,
    Run,
    TrainingData,
)
from flops_magic.flops.formulas import lora_pd
from flops_magic.flops.histogram import FlopTotals
from flops_magic.monitoring.provenance import sagemaker_job, versions

if TYPE_CHECKING:
    from flops_magic.monitoring.meter import TrainerMeter

Judge = Callable[[FlopTotals], tuple[Decision | None, str]]
ASSUMPTIONS = (
    "Matrix products, convolutions, attention products and scans are counted.",
    "A multiply-add is two operations.",
    "Attention counts the full square; what a causal mask leaves of it stands beside.",
    "Padding is computed and counted; tokens without padding stand beside.",
    "A forward pass with gradients in training is counted with its backward pass.",
)
UNCERTAINTY = ("Not counted: element-wise work, about 0.1 to 1 per cent.",)


def record_of(
    run: Run,
    meter: TrainerMeter,
    *,
    judge: Judge,
    declared: Mapping[str, int],
    hardware: Hardware | None,
    unseen: Sequence[str] = (),
) -> AuditRecord:
    """Return the record of a run.

    Args:
        run: when and how it went.
        meter: what it saw.
        judge: returns the decision on FLOPs, or why there is none.
        declared: FLOPs that the user declares, by reason.
        hardware: what the devices did; None while the run lasts.
        unseen: gaps in what child processes reported.
    """
    models = meter.models()
    flops = sum(
        (use.flops() for use in models), FlopTotals(declared=sum(declared.values()))
    )
    record = AuditRecord(
        run=run,
        models=models,
        flops=flops,
        declared=declared,
        legacy=legacy_figure(models),
        data=TrainingData(**meter.facts, **sagemaker_job()),
        hardware=hardware,
        assumptions=assumptions_of(models, meter.trained_models()),
        uncertainty=UNCERTAINTY,
        gaps=(*meter.gaps, *unseen),
        versions=versions(),
        unseen=(*meter.unseen(), *unseen),
    )
    decision, reason = judge(flops)
    seen = record.completeness
    if decision and seen.verdict(decision.verdict) != decision.verdict:
        decision, reason = None, f"{seen.reason}. {seen.remedy}"
    return replace(record, decision=decision, undecided=reason)


def legacy_figure(models: tuple[ModelUse, ...]) -> LegacyFigure | None:
    """Return (4·N_total + 2·N_trainable)·D of the one trained model, for comparison."""
    trained = [use for use in models if use.role == "trained"]
    # The formula has one P and one T; the sum over several models has none.
    if len(trained) != 1 or (profile := trained[0].profile) is None:
        return None
    rows = [row for row in trained[0].histogram if row.kind == "train"]
    tokens = sum(row.total.tokens for row in rows)
    total, trainable = profile.parameters_total, profile.parameters_trainable
    return LegacyFigure(total, trainable, tokens, lora_pd(total, trainable, tokens))


def assumptions_of(
    models: tuple[ModelUse, ...], trained_models: int = 1
) -> tuple[str, ...]:
    """Return what a count of these models rests on.

    Args:
        models: what ran; a model that was set up anew on the way is in it once for
            each set-up.
        trained_models: how many models were trained.
    """
    trained = [use for use in models if use.role == "trained"]
    lines = []
    if trained_models > 1:
        lines.append(
            f"{trained_models} models were trained; their compute is added up and held "
            "against one original."
        )
    if len(trained) > trained_models:
        lines.append(
            "What trains changed during the run; each pass is priced by what trained "
            f"when it ran, in {len(trained)} segments with a profile each."
        )
    unknown = sorted(
        {op for use in models if use.profile for op in use.profile.unknown_ops}
    )
    if unknown:
        lines.append(
            f"Operations without a formula, not counted: {', '.join(unknown)}."
        )
    notes = {note for use in models if use.profile for note in use.profile.notes}
    return (*ASSUMPTIONS, *lines, *sorted(notes))
