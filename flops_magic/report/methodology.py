"""How the compute was measured, in words without a count.

The form for national authorities asks for an order of magnitude only, and for the
methodology in full, so these sentences may give shares and never counts.

Source: Guidelines, points 115 to 130; Model Documentation Form, measurement
methodology.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from flops_magic.evidence.record import AuditRecord
from flops_magic.flops.units import percent_text
from flops_magic.report.lineage import Lineage, unknown_operations
from flops_magic.report.resources import Resources, hardware_gaps

_DIRECT = ("forward", "backward")
# category: what it is, and where it goes
# Point 119 leaves diagnostics and memory savings out; points 115 to 118 add what makes
# data or targets for the update. "other" is shown in every table, so that nothing which
# ran disappears.
CATEGORIES = {
    "forward": ("forward passes whose gradients were taken", "direct"),
    "backward": ("their backward passes", "direct"),
    "reference": ("passes of reference and teacher models", "cumulative"),
    "rollout": ("generation for the update (rollouts)", "cumulative"),
    "declared": ("what the provider declares", "cumulative"),
    "recompute": ("activations computed again to save memory (point 119)", "neither"),
    "evaluation": ("evaluation that is purely diagnostic (point 119)", "neither"),
    "other": ("passes of unknown purpose", "neither"),
}
_DRY = (
    "The operations of a pass were taken from the trained model itself, built without "
    "weights and walked forward and backward"
)
_LIVE = "The operations of a pass were counted while the first of its shape ran"


@dataclass(frozen=True)
class Methodology:
    """How a figure came about.

    Attributes:
        method: by which of the Guidelines' methods, and how; whole sentences.
        notion: which of the two notions of training compute is reported.
        included: categories that the figure holds.
        excluded: categories that it leaves out, those that did not run among them.
        assumptions: what the count rests on.
        uncertainty: what is not counted, and how much it may be.
        gaps: what could not be observed.
        unknown_operations: without a formula, so not counted.
        rules_versions: of the thresholds.
        versions: of the software, ``package version``.
    """

    method: tuple[str, ...]
    notion: str
    included: tuple[str, ...]
    excluded: tuple[str, ...]
    assumptions: tuple[str, ...]
    uncertainty: tuple[str, ...]
    gaps: tuple[str, ...]
    unknown_operations: tuple[str, ...]
    rules_versions: tuple[str, ...]
    versions: tuple[str, ...]

    def sentences(self) -> tuple[str, ...]:
        """Return all of it as sentences, for a field of a form."""
        lacks = [f"Not observed: {gap}." for gap in self.gaps]
        unknown = ", ".join(self.unknown_operations)
        rules = ", ".join(self.rules_versions) or "none applied"
        return (
            *self.method,
            self.notion,
            f"Counted: {'; '.join(self.included)}.",
            f"Not counted: {'; '.join(self.excluded)}.",
            *self.assumptions,
            *self.uncertainty,
            *([f"Operations without a formula: {unknown}."] if unknown else []),
            *lacks,
            f"Version of the counting rules: {rules}.",
            f"Software: {', '.join(self.versions) or 'not recorded'}.",
        )


def notion_of(lineage: Lineage) -> str:
    """Return which figure of the runs is reported: ``direct`` or ``cumulative``.

    That which was compared; without a decision the larger one.
    """
    decision = lineage.decision
    if decision is None or decision.compared_notion == "cumulative":
        return "cumulative"
    return "direct"


def methodology(lineage: Lineage, used: Resources) -> Methodology:
    """Return how the compute of some runs was measured."""
    records = [member.record for member in lineage.members]
    notion = notion_of(lineage)
    counted = ("direct",) if notion == "direct" else ("direct", "cumulative")
    included, excluded = [], []
    for name, (text, where) in CATEGORIES.items():
        ran = getattr(lineage.flops, name) > 0
        if where in counted and (ran or name in _DIRECT):
            included.append(text)
        elif where not in counted:
            excluded.append(text)
    declared = sorted({reason for record in records for reason in record.declared})
    assumptions = _unique(line for one in records for line in one.assumptions)
    decisions = [m.decision for m in lineage.members if m.decision]
    rules = [d.facts.rules_version for d in decisions if d.facts.rules_version]
    return Methodology(
        method=tuple(_method(records)),
        notion=_notion(notion, lineage),
        included=tuple(included),
        excluded=tuple(excluded),
        assumptions=(
            *assumptions,
            *_padding(used),
            *(
                [f"Declared by the provider: {', '.join(declared)}."]
                if declared
                else []
            ),
        ),
        uncertainty=_unique(line for one in records for line in one.uncertainty),
        gaps=_gaps(lineage),
        unknown_operations=_unique(n for r in records for n in unknown_operations(r)),
        rules_versions=_unique(sorted(rules)),
        versions=_versions(records),
    )


def _method(records: list[AuditRecord]) -> Iterable[str]:
    profiles = [use.profile for r in records for use in r.models if use.profile]
    yield (
        "Based on the architecture (Guidelines, points 127 to 130), by counting "
        "operations: a hook on the model counted every pass by its shape, and each "
        "shape was multiplied by the integer cost of a pass."
    )
    # A live counter names its costs by shape ("forward @ 2x128"), a walk by kind.
    live = [one for one in profiles if any(" @ " in name for name in one.costs)]
    if len(live) < len(profiles):
        yield f"{_DRY}."
    if live:
        names = _unique(one.model_class for one in live)
        yield f"{_LIVE}: {', '.join(names)}."
    lacking = [use.id for r in records for use in r.models if use.profile is None]
    if lacking:
        yield (
            f"The operations of {', '.join(_unique(lacking))} could not be counted; "
            "the figure is a lower bound."
        )
    yield "All operations count the same, whatever their number format (point 122)."


def _notion(notion: str, lineage: Lineage) -> str:
    words = {
        "direct": "the compute directly contributing to parameter updates",
        "cumulative": "the cumulative training compute",
    }[notion]
    why = ""
    if lineage.decision is None:
        why = "; without a verdict the larger of the two notions is taken"
    return (
        f"The figure is {words} (point 115) of the modification alone; the compute of "
        f"the original model is not in it{why}."
    )


def _padding(used: Resources) -> Iterable[str]:
    # More tokens than positions means a mask of another layout; no share then.
    if used.tokens is None or not used.positions or used.tokens > used.positions:
        return
    share = Fraction(used.positions - used.tokens, used.positions)
    yield f"Padding was {percent_text(share)} of the training positions."


def _gaps(lineage: Lineage) -> tuple[str, ...]:
    several = len(lineage.members) > 1
    return _unique(
        f"run {member.name}: {gap}" if several else gap
        for member in lineage.members
        for gap in (*member.record.gaps, *hardware_gaps(member))
    )


def _versions(records: list[AuditRecord]) -> tuple[str, ...]:
    found: dict[str, list[str]] = {}
    for record in records:
        for name, version in sorted(record.versions.items()):
            # Runs of one lineage may have been made with different versions; all are
            # named.
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return tuple(f"{name} {' and '.join(known)}" for name, known in found.items())


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
