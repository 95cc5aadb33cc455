"""The audit record: what was measured and judged in one tracked run.

Every number in the JSON is a decimal string, so that no reader, JavaScript included,
can round it. Keys are sorted and unknown keys are refused: one record has one text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from flops_magic.errors import MalformedRecordError
from flops_magic.flops.histogram import FlopTotals, HistogramRow, histogram_flops
from flops_magic.flops.profile import FlopsProfile, PassCost, PassShape

SCHEMA = "flops_magic.audit_record.v1"
OUTCOMES = ("completed", "stopped", "interrupted", "failed", "recovered")


@dataclass(frozen=True)
class Run:
    """When and how a run went.

    Attributes:
        id: unique to the run.
        started_at: UTC, ISO 8601.
        ended_at: UTC, ISO 8601.
        elapsed_s: seconds, as decimal text.
        outcome: one of ``OUTCOMES``.
        steps: optimizer steps done.
        steps_planned: optimizer steps planned; None if unknown.
        source_sha256: digest of the tracked cell or script; None outside of one.
        parent_sha256: digest of the record this run continues; None for none.
        stopped: why the meter stopped the run before its planned end; None if it did
            not.
        crossing_foreseen_at: UTC, ISO 8601, when the run was first projected to cross
            the line; None if it never was.
    """

    id: str
    started_at: str
    ended_at: str
    elapsed_s: str
    outcome: str
    steps: int = 0
    steps_planned: int | None = None
    source_sha256: str | None = None
    parent_sha256: str | None = None
    stopped: str | None = None
    crossing_foreseen_at: str | None = None


@dataclass(frozen=True)
class ModelUse:
    """One model that ran: what it is, what it costs, and how often it ran.

    Attributes:
        id: Hub id or folder, as the model names itself.
        role: ``trained``, ``reference`` or ``other``.
        revision: commit of the weights; None if unknown.
        config_sha256: digest of the configuration; None if there is none.
        profile: coefficients; None if the model's operations cannot be counted.
        histogram: what ran.
        tokens_non_padding: training tokens that are not padding; None if unknown.
    """

    id: str
    role: str
    revision: str | None
    config_sha256: str | None
    profile: FlopsProfile | None
    histogram: tuple[HistogramRow, ...]
    tokens_non_padding: int | None = None

    def flops(self) -> FlopTotals:
        """Return histogram × profile; nothing for a model without a profile."""
        if self.profile is None:
            return FlopTotals()
        return histogram_flops(self.histogram, self.profile)


@dataclass(frozen=True)
class AuditRecord:
    """One tracked run, complete enough to be judged again from this text alone.

    Attributes:
        run: when and how.
        models: what ran.
        flops: totals by category, equal to the sum over ``models`` plus declared.
        decision: ``Decision.to_dict()``, inputs included; None when undecidable.
        undecided: why there is no decision; empty when there is one.
        declared: FLOPs that the user declares, by reason.
        legacy: (4·N_total + 2·N_trainable)·D and its inputs, for comparison only.
        data: fingerprint of the training data.
        hardware: devices and hardware-based estimate, or why there is none.
        assumptions: what the count rests on.
        uncertainty: what is not counted, and how much it may be.
        gaps: what could not be observed, each with where and why.
        versions: of Python and the packages involved.
    """

    run: Run
    models: tuple[ModelUse, ...]
    flops: FlopTotals
    decision: Mapping[str, Any] | None = None
    undecided: str = ""
    declared: Mapping[str, int] = field(default_factory=dict)
    legacy: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    uncertainty: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every model that ran could be counted."""
        return all(use.profile is not None for use in self.models if use.histogram)

    def computed_flops(self) -> FlopTotals:
        """Return the totals that follow from the histograms and profiles."""
        declared = FlopTotals(declared=sum(self.declared.values()))
        return sum((use.flops() for use in self.models), declared)

    def to_json(self) -> str:
        """Return the record's one text."""
        tree = {
            "schema": SCHEMA,
            "run": _flat(self.run),
            "models": [_model_tree(use) for use in self.models],
            "flops": _flat(self.flops)
            | {
                "direct": str(self.flops.direct),
                "cumulative": str(self.flops.cumulative),
                "executed": str(self.flops.executed),
            },
            "decision": self.decision,
            "undecided": self.undecided,
            "declared": self.declared,
            "legacy": self.legacy,
            "data": self.data,
            "hardware": self.hardware,
            "assumptions": self.assumptions,
            "uncertainty": self.uncertainty,
            "gaps": self.gaps,
            "versions": self.versions,
        }
        return json.dumps(
            _no_numbers(tree),
            sort_keys=True,
            ensure_ascii=False,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> AuditRecord:
        """Read a record's text.

        Raises:
            MalformedRecordError: naming the first key that breaks the schema.
        """
        try:
            tree = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MalformedRecordError(f"the record is no JSON: {error}") from error
        if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
            got = tree.get("schema") if isinstance(tree, dict) else type(tree).__name__
            raise MalformedRecordError(
                f"the record's schema is {got!r}; this version reads {SCHEMA!r}"
            )
        try:
            return _record(tree)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedRecordError(
                f"the record breaks {SCHEMA}: {type(error).__name__}: {error}"
            ) from error


def _flat(item: Any) -> dict[str, Any]:
    return {f.name: getattr(item, f.name) for f in fields(item)}


def _no_numbers(tree: Any) -> Any:
    """Return the tree with every int as decimal text; floats are refused."""
    if tree is None or isinstance(tree, (str, bool)):
        return tree
    if isinstance(tree, int):
        return str(tree)
    if isinstance(tree, Mapping):
        return {str(key): _no_numbers(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_no_numbers(value) for value in tree]
    raise MalformedRecordError(
        f"a record holds text and integers only, got {type(tree).__name__} {tree!r}"
    )


def _model_tree(use: ModelUse) -> dict[str, Any]:
    profile = use.profile
    return _flat(use) | {
        "profile": profile
        and _flat(profile)
        | {"costs": {name: _flat(cost) for name, cost in profile.costs.items()}},
        "histogram": [
            _flat(row) | {"total": _flat(row.total)} for row in use.histogram
        ],
    }


def _record(tree: dict[str, Any]) -> AuditRecord:
    known = {f.name for f in fields(AuditRecord)} | {"schema"}
    _only(tree, known, "record")
    flops = dict(tree["flops"])
    sums = {
        name: _int(flops.pop(name)) for name in ("direct", "cumulative", "executed")
    }
    totals = FlopTotals(**{name: _int(value) for name, value in flops.items()})
    for name, value in sums.items():
        if getattr(totals, name) != value:
            raise ValueError(f"flops.{name} is not the sum of its categories")
    run = dict(tree["run"])
    for name in ("id", "started_at", "ended_at", "elapsed_s"):
        _text(run[name])
    float(run["elapsed_s"])
    run["steps"] = _int(run["steps"])
    run["steps_planned"] = _maybe_int(run["steps_planned"])
    if run["outcome"] not in OUTCOMES:
        raise ValueError(f"outcome {run['outcome']!r} is none of {OUTCOMES}")
    for name in ("stopped", "crossing_foreseen_at"):
        if run.get(name) is not None:
            _text(run[name])
    if (run["outcome"] == "stopped") != (run.get("stopped") is not None):
        raise ValueError("a run is stopped where, and only where, it says why")
    return AuditRecord(
        run=Run(**run),
        models=tuple(_model(model) for model in tree["models"]),
        flops=totals,
        decision=None if tree["decision"] is None else dict(tree["decision"]),
        undecided=_text(tree["undecided"]),
        declared={name: _int(value) for name, value in tree["declared"].items()},
        legacy=dict(tree["legacy"]),
        data=dict(tree["data"]),
        hardware=dict(tree["hardware"]),
        assumptions=tuple(_text(line) for line in tree["assumptions"]),
        uncertainty=tuple(_text(line) for line in tree["uncertainty"]),
        gaps=tuple(_text(line) for line in tree["gaps"]),
        versions={name: _text(value) for name, value in tree["versions"].items()},
    )


def _model(tree: dict[str, Any]) -> ModelUse:
    return ModelUse(
        **tree
        | {
            "id": _text(tree["id"]),
            "profile": None if tree["profile"] is None else _profile(tree["profile"]),
            "histogram": tuple(_row(row) for row in tree["histogram"]),
            "tokens_non_padding": _maybe_int(tree["tokens_non_padding"]),
        }
    )


def _profile(tree: dict[str, Any]) -> FlopsProfile:
    counts = ("parameters_total", "parameters_active", "parameters_trainable")
    return FlopsProfile(
        **tree
        | {name: _int(tree[name]) for name in counts}
        | {
            "costs": {
                name: PassCost(**{key: _int(value) for key, value in cost.items()})
                for name, cost in tree["costs"].items()
            },
            "unknown_ops": tuple(_text(name) for name in tree["unknown_ops"]),
            "notes": tuple(_text(note) for note in tree["notes"]),
        }
    )


def _row(tree: dict[str, Any]) -> HistogramRow:
    if not isinstance(tree["adapters"], bool):
        raise TypeError(f"adapters is {tree['adapters']!r}, not true or false")
    total = {name: _int(value) for name, value in tree["total"].items()}
    kind, shape = _text(tree["kind"]), _text(tree["shape"])
    changed = {"total": PassShape(**total), "kind": kind, "shape": shape}
    return HistogramRow(**tree | changed)


def _only(tree: Mapping[str, Any], known: set[str], where: str) -> None:
    if extra := sorted(set(tree) - known):
        raise ValueError(f"unknown keys {extra} in the {where}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _int(value: Any) -> int:
    """Return the integer of its one decimal text: no sign but minus, no zeros."""
    number = int(_text(value))
    if str(number) != value or number < 0:
        raise ValueError(f"{value!r} is no count in plain decimal digits")
    return number


def _maybe_int(value: Any) -> int | None:
    return None if value is None else _int(value)
