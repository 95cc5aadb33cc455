"""A report as JSON: the form's fields by audience, and exact integers beside them.

Counts are decimal text, as in records. No official schema exists; this one is
``flops_magic.report.v1``. The tree for a single audience holds that audience's form and
nothing else of the figures.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flops_magic.ai_act.decision import Decision, Facts, OriginalBasis
from flops_magic.evidence.codec import to_tree
from flops_magic.flops.units import (
    order_of_magnitude,
    significant_figures,
    two_significant_figures,
)
from flops_magic.report import form_precision as precision
from flops_magic.report.documentation import (
    Documentation,
    magnitude,
    size_text,
    two_figures,
)
from flops_magic.report.form_items import energy_method, energy_mwh, forms
from flops_magic.report.lineage import Member
from flops_magic.report.notification import notification

SCHEMA = "flops_magic.report.v1"


def report_tree(made: Documentation, audience: str = "all") -> dict[str, Any]:
    """Return a report as text, booleans, None, lists and objects."""
    tree: dict[str, Any] = {
        "schema": SCHEMA,
        "audience": audience,
        "forms": {
            name: [asdict(item) for item in fields]
            for name, fields in forms(made, audience).items()
        },
        "records": [_member(one, exact=audience == "all") for one in _members(made)],
    }
    # Exact figures are for the provider alone: one audience's JSON is what may be sent
    # to it.
    return tree if audience != "all" else tree | _internal(made)


def _members(made: Documentation) -> tuple[Member, ...]:
    return made.lineage.members


def _internal(made: Documentation) -> dict[str, Any]:
    lineage, used, method = made.lineage, made.used, made.method
    due = notification(made)
    decision = lineage.decision
    trained = [m for m in lineage.members[-1].record.models if m.role == "trained"]
    return {
        "lineage": {
            "remarks": list(lineage.remarks),
            "complete": lineage.complete,
            "undecided": lineage.undecided,
        },
        "model_dependencies": list(made.dependencies),
        "total_model_size": {
            "aio": size_text(made, exact=True),
            "range": size_text(made, exact=False),
        },
        "amount_of_computation": {
            "aio": made.figure(two_figures),
            "nca": made.figure(magnitude),
            "notion": made.notion,
            "lower_bound": not lineage.complete,
        },
        "measurement_methodology": {
            "method": "architecture",
            "formula": "histogram of passes × integer cost of a pass",
            "counting_rules_version": list(method.rules_versions),
            "description": list(method.method),
            "included": list(method.included),
            "excluded": list(method.excluded),
            "assumptions": list(method.assumptions),
            "uncertainty": list(method.uncertainty),
            "unknown_operations": list(method.unknown_operations),
            "gaps": list(method.gaps),
            "versions": list(method.versions),
        },
        "training_time": {
            "wall_clock_days": significant_figures(
                precision.days(used.wall_clock_s), 2
            ),
            "hardware_days": {
                name: significant_figures(precision.days(device_s), 2)
                for name, device_s in used.device_s.items()
            },
            "hardware_missing": list(used.devices_missing),
            "nca_range": precision.time_range(used.wall_clock_s),
        },
        "energy": {
            "training_mwh": energy_mwh(made),
            "missing_information": list(used.energy_missing),
            "methodology": list(energy_method(made)),
        },
        "number_of_data_points": _data_points(made),
        "decision": None if decision is None else to_tree(decision),
        "threshold": None if decision is None else _threshold(decision),
        "notification": None if due is None else asdict(due),
        "unrounded": {
            "direct": str(lineage.flops.direct),
            "cumulative": str(lineage.flops.cumulative),
            "executed": str(lineage.flops.executed),
            "categories": {
                name: str(value) for name, value in asdict(lineage.flops).items()
            },
            "parameters": [
                str(use.profile.parameters_total) for use in trained if use.profile
            ],
            "tokens_computed": str(used.positions),
            "tokens_without_padding": _maybe(used.tokens),
            "wall_clock_s": str(used.wall_clock_s),
            "device_s": {name: str(value) for name, value in used.device_s.items()},
            "energy_j": _maybe(used.energy_j),
        },
    }


def _data_points(made: Documentation) -> dict[str, Any]:
    used = made.used
    known = used.positions if used.tokens is None else used.tokens
    padding = "padding included" if used.tokens is None else "without padding"
    train = {
        "unit": f"tokens processed, {padding}",
        "aio": significant_figures(known, 2),
        "nca": significant_figures(known, 1),
    }
    return {"train": train if known else None, "test": None, "validation": None}


def _threshold(decision: Decision) -> dict[str, Any]:
    facts, line = decision.facts, decision.threshold
    return {
        "rule_id": decision.rule,
        "original": {
            "value": _maybe(facts.original_flops),
            "source": facts.original_source,
            "status": _status(facts),
        },
        "exact": _maybe(line),
        "readable": None if line is None else two_significant_figures(line),
        "order_of_magnitude": None if line is None else order_of_magnitude(line),
        "ratio": _maybe(decision.ratio),
        "compared": str(decision.compared),
        "compared_notion": decision.compared_notion,
        "comparison": ">",
    }


def _status(facts: Facts) -> str:
    """Return whether the original's compute is known, estimated or unknown."""
    if facts.original_flops is None:
        return "unknown"
    # What the developer published or the user states is known; the registry's other
    # figures and 6·P·D are estimates.
    known = (OriginalBasis.GIVEN, OriginalBasis.REGISTRY_PUBLISHED)
    return "known" if facts.basis in known else "estimated"


def _member(member: Member, *, exact: bool) -> dict[str, Any]:
    run = member.record.run
    tree: dict[str, Any] = {"run": run.id, "sha256": member.sha256}
    if not exact:
        return tree
    decision = member.decision
    return tree | {
        "outcome": run.outcome,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "parent_sha256": run.parent_sha256,
        "continues": member.parent or None,
        "direct": str(member.record.flops.direct),
        "cumulative": str(member.record.flops.cumulative),
        "executed": str(member.record.flops.executed),
        "verdict": decision.verdict if decision else None,
        "undecided": member.record.undecided,
    }


def _maybe(value: object) -> str | None:
    return None if value is None else str(value)
