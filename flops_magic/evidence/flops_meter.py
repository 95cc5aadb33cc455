"""``flops_meter.json``: a record under the names of the AWS meter."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from flops_magic.evidence.codec import to_tree
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import Sealed
from flops_magic.flops.units import order_of_magnitude, two_significant_figures


def flops_meter(record: AuditRecord, sealed: Sealed) -> dict[str, Any]:
    """Return ``flops_meter.json``: the AWS meter's names, with exact values.

    Counts are decimal text. ``threshold_value`` is the line itself, not the original's
    compute; ``pct_of_pretrain`` is the share of the original's compute in per cent;
    ``exceeds_30pct`` keeps its name for readers of it, and holds what the Guidelines
    ask: more than a third. An unknown value is None.

    Args:
        record: the record.
        sealed: the same, sealed; it goes under ``audit``.
    """
    # The AWS meter knows one model; of several, the first is named.
    trained = [u for u in record.models if u.role == "trained" and u.profile]
    profile = trained[0].profile if trained else None
    rows = [r for use in record.models for r in use.histogram if r.kind == "train"]
    devices = record.hardware.devices if record.hardware else ()
    return {
        "Flops_architecture": str(record.flops.direct),
        "Flops_cumulative": str(record.flops.cumulative),
        "Flops_executed": str(record.flops.executed),
        # readers of the AWS meter expect the key; a record holds no such estimate
        "Flops_hardware": None,
        "Flops_two_significant_figures": two_significant_figures(record.flops.direct),
        "Flops_order_of_magnitude": order_of_magnitude(record.flops.direct),
        "N_total": None if profile is None else str(profile.parameters_total),
        "N_trainable": None if profile is None else str(profile.parameters_trainable),
        "tokens_processed": str(sum(row.total.tokens for row in rows)),
        **_judged(record),
        "model_name": trained[0].id if trained else None,
        "num_epochs": record.data.num_train_epochs,
        "training_duration_seconds": to_tree(record.run.elapsed_s),
        "gpu_name": devices[0].name if devices else None,
        "gpu_count": str(len(devices)),
        "instance_type": record.data.instance_type,
        "training_job_name": record.data.training_job_name,
        # expected by the same readers; a recipe is not recorded
        "recipe_config": None,
        "outcome": to_tree(record.run.outcome),
        "gaps": list(record.gaps),
        "audit": sealed.to_dict(),
    }


def _judged(record: AuditRecord) -> dict[str, Any]:
    """Return the keys that follow from the decision; None where there is none."""
    decision = record.decision
    if decision is None:
        unknown = (
            "Flops_original",
            "threshold_type",
            "threshold_value",
            "pct_of_pretrain",
            "exceeds_30pct",
            "exceeds_one_third",
            "verdict",
            "base_model",
        )
        return dict.fromkeys(unknown) | {"explanation": record.undecided}
    over = decision.verdict == "over"
    return {
        "Flops_original": to_tree(decision.facts.original_flops),
        "threshold_type": decision.rule,
        "threshold_value": to_tree(decision.threshold),
        "pct_of_pretrain": _percent(decision.share_of_original),
        "exceeds_30pct": over,
        "exceeds_one_third": over,
        "verdict": decision.verdict,
        "explanation": decision.explanation,
        "base_model": decision.facts.base_model or None,
    }


def _percent(share: Fraction | None) -> str | None:
    """Return a share in per cent as decimal text with ten significant figures."""
    # For people and dashboards only: the exact fraction is in the sealed record.
    return None if share is None else f"{float(share * 100):.10g}"
