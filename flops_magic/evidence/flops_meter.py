"""``flops_meter.json``: a record under the names of the AWS meter."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import Sealed
from flops_magic.flops.units import order_of_magnitude, two_significant_figures


def flops_meter(record: AuditRecord, sealed: Sealed) -> dict[str, Any]:
    """Return ``flops_meter.json``: the AWS meter's names, with exact values.

    Counts are decimal text. ``threshold_value`` is the line itself, not the original's
    compute; ``pct_of_pretrain`` is the share of the original's compute in per cent;
    ``exceeds_30pct`` keeps its name for readers of it, and holds what the Guidelines
    ask: more than a third. What is not known is None.

    Args:
        record: the record.
        sealed: the same, sealed; it goes under ``audit``.
    """
    decision = record.decision or {}
    facts = decision.get("facts", {})
    trained = [u for u in record.models if u.role == "trained" and u.profile]
    profile = trained[0].profile if trained else None
    rows = [r for use in record.models for r in use.histogram if r.kind == "train"]
    original = facts.get("original_flops")
    compared = decision.get("compared")
    over = None if not decision else decision["verdict"] == "over"
    devices = record.hardware.get("devices") or []
    return {
        "Flops_architecture": str(record.flops.direct),
        "Flops_cumulative": str(record.flops.cumulative),
        "Flops_executed": str(record.flops.executed),
        "Flops_hardware": record.hardware.get("flops_upper_bound"),
        "Flops_original": original,
        "Flops_two_significant_figures": two_significant_figures(record.flops.direct),
        "Flops_order_of_magnitude": order_of_magnitude(record.flops.direct),
        "N_total": None if profile is None else str(profile.parameters_total),
        "N_trainable": None if profile is None else str(profile.parameters_trainable),
        "tokens_processed": str(sum(row.total.tokens for row in rows)),
        "threshold_type": decision.get("rule"),
        "threshold_value": decision.get("threshold"),
        "pct_of_pretrain": _percent(compared, original),
        "exceeds_30pct": over,
        "exceeds_one_third": over,
        "verdict": decision.get("verdict"),
        "explanation": decision.get("explanation", record.undecided),
        "model_name": trained[0].id if trained else None,
        "base_model": facts.get("base_model") or None,
        "num_epochs": record.data.get("num_train_epochs"),
        "training_duration_seconds": record.run.elapsed_s,
        "gpu_name": devices[0].get("name") if devices else None,
        "gpu_count": str(len(devices)),
        "instance_type": record.data.get("instance_type"),
        "training_job_name": record.data.get("training_job_name"),
        "recipe_config": record.data.get("recipe_config"),
        "outcome": record.run.outcome,
        "gaps": list(record.gaps),
        "audit": sealed.to_dict(),
    }


def _percent(compared: str | None, original: str | None) -> str | None:
    """Return a share in per cent as decimal text with ten significant figures."""
    if compared is None or not original:
        return None
    return f"{float(Fraction(int(compared) * 100, int(original))):.10g}"
