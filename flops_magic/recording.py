"""The record of a run, as far as it has come: what the meter saw, judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flops_magic.core.decision import Decision
from flops_magic.core.record import AuditRecord, Run
from flops_magic.core.statements import UNCERTAINTY, assumptions_of, legacy_figure
from flops_magic.core.tally import FlopTotals
from flops_magic.measure.environment import sagemaker_job, versions

if TYPE_CHECKING:
    from flops_magic.measure.meter import TrainerMeter

Judge = Callable[[FlopTotals], tuple[Decision | None, str]]


def record_of(
    run: Run,
    meter: TrainerMeter,
    *,
    judge: Judge,
    declared: Mapping[str, int],
    hardware: Mapping[str, Any],
) -> AuditRecord:
    """Return the record of a run.

    Args:
        run: when and how it went.
        meter: what it saw.
        judge: returns the decision on FLOPs, or why there is none.
        declared: FLOPs that the user declares, by reason.
        hardware: what the devices did.
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
        data=dict(meter.facts) | sagemaker_job(),
        hardware=hardware,
        assumptions=assumptions_of(models),
        uncertainty=UNCERTAINTY,
        gaps=tuple(meter.gaps),
        versions=versions(),
    )
    decision, reason = judge(flops)
    if decision and not record.complete and decision.verdict != "over":
        decision = None
        reason = (
            f"the operations of {', '.join(meter.uncounted())} could not be counted, "
            "so the total is a lower bound; see the gaps"
        )
    verdict = decision.to_dict() if decision else None
    return replace(record, decision=verdict, undecided=reason)
