"""Several runs that led to one model: which of them count, and the verdict on the sum.

A run counts once, however many files carry it. Whether several modifications by one
modifier add up is an open question of the Guidelines, so each run is judged, and the
sum too. The records show that runs led to one released model only where each names the
record that it continues.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from flops_magic.ai_act.decision import Decision, Facts
from flops_magic.ai_act.decision_table import decide_facts, recompute
from flops_magic.ai_act.thresholds import law
from flops_magic.errors import InputError
from flops_magic.evidence.record import AuditRecord
from flops_magic.flops.histogram import FlopTotals
from flops_magic.flops.units import grouped

OPEN_QUESTION = (
    "Whether several modifications by one modifier are judged one by one or by their "
    "sum is an open question of the Guidelines; both are shown."
)
STATEMENT = (
    "That these runs form one lineage is the statement of whoever made this report. "
    "Discarded runs, parallel branches among them, are to be left out ('flops-magic "
    "extract FILE --to FOLDER' gives a file for each run)."
)
# what the records say of the original has to agree, or the sum cannot be judged
_ORIGINAL = ("base_model", "original_flops")
_SITUATION = ("systemic_risk", "original_is_gpai", "same_provider", "union_market")


@dataclass(frozen=True)
class Member:
    """One run that counts.

    Attributes:
        sha256: digest of its sealed record.
        record: what it says.
        decision: computed from the record's facts; None where it has none.
        parent: the run that it continues, by id; empty if it names none, or one that
            is not in the report.
    """

    sha256: str
    record: AuditRecord
    decision: Decision | None
    parent: str = ""

    @property
    def name(self) -> str:
        """The first digits of the run's id."""
        return self.record.run.id[:8]

    @cached_property
    def complete(self) -> bool:
        """Whether the figure lacks nothing that ran; if not, it is a lower bound.

        A journal ends some seconds before its run did.
        """
        whole = self.record.run.outcome != "recovered"
        return whole and not self.record.completeness.unseen


@dataclass(frozen=True)
class Lineage:
    """The runs that led to one model, their sum, and the decision on it.

    Attributes:
        members: in order of their start; at least one.
        flops: their sum.
        decision: on the sum; None where a run has none.
        undecided: why there is none; empty where there is one.
        remarks: what a reader must know of this sum, whole sentences.
    """

    members: tuple[Member, ...]
    flops: FlopTotals
    decision: Decision | None
    undecided: str
    remarks: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the sum lacks nothing that ran; if not, it is a lower bound."""
        return all(member.complete for member in self.members)

    @property
    def foreseen_at(self) -> str:
        """When a run was first projected to cross the line; empty if none was."""
        times = (member.record.run.crossing_foreseen_at for member in self.members)
        return min((time for time in times if time), default="")


def unknown_operations(record: AuditRecord) -> tuple[str, ...]:
    """Return the operations of a record's models that have no formula."""
    profiles = [use.profile for use in record.models if use.profile]
    return tuple(sorted({name for one in profiles for name in one.unknown_ops}))


def lineage(records: Iterable[tuple[str, AuditRecord]]) -> Lineage:
    """Return the runs that count, and the decision on their sum.

    Args:
        records: each with the digest of its seal; verified, in any order.

    Raises:
        InputError: for no record, for two records of one run that contradict each
            other, and for records of different originals.
    """
    # The same record in two files (notebook and flops_meter.json) has one digest.
    unique = dict(records)
    if not unique:
        raise InputError("found no record to report on; name a file that holds one")
    kept, of_run, remarks = _once(unique)
    members = tuple(
        Member(
            sha256,
            record,
            recompute(record.decision) if record.decision else None,
            # A parent named by its journal's digest is found too: ``of_run`` keeps the
            # digests of records that were dropped for a later one of the same run.
            of_run.get(record.run.parent_sha256 or "", ""),
        )
        for sha256, record in sorted(
            kept.items(), key=lambda pair: (pair[1].run.started_at, pair[0])
        )
    )
    _one_original(members)
    decision, undecided = _judged(members)
    return Lineage(
        members,
        sum((member.record.flops for member in members), FlopTotals()),
        decision,
        undecided,
        (*remarks, *_remarks(members)),
    )


def _once(
    unique: dict[str, AuditRecord],
) -> tuple[dict[str, AuditRecord], dict[str, str], list[str]]:
    """Return one record for each run, the run of every digest, and remarks."""
    of_run = {sha256: record.run.id for sha256, record in unique.items()}
    kept: dict[str, AuditRecord] = {}
    remarks = []
    for run_id in dict.fromkeys(of_run.values()):
        found = [pair for pair in unique.items() if pair[1].run.id == run_id]
        journals = [pair for pair in found if pair[1].run.outcome == "recovered"]
        finished = [pair for pair in found if pair[1].run.outcome != "recovered"]
        # Summing both would count a run twice, and choosing one would be a guess.
        if len(finished) > 1:
            raise InputError(
                f"two different records of run {run_id[:8]}, sha256 "
                f"{finished[0][0][:12]} and {finished[1][0][:12]}; report on the one "
                "that is right"
            )
        # a later journal of a run holds all that an earlier one holds
        journals.sort(key=lambda pair: pair[1].flops.executed)
        sha256, record = (finished or journals)[-1]
        # A run cannot end with less than it had counted before: one of them is false.
        if journals and journals[-1][1].flops.executed > record.flops.executed:
            raise InputError(
                f"the journal of run {run_id[:8]} counts "
                f"{grouped(journals[-1][1].flops.executed)} FLOP, more than its "
                f"finished record {sha256[:12]}; report on the one that is right"
            )
        kept[sha256] = record
        if len(found) > 1:
            remarks.append(
                f"Run {run_id[:8]} was found {len(found)} times, journals of it among "
                "them; it counts once."
            )
    return kept, of_run, remarks


def _one_original(members: tuple[Member, ...]) -> None:
    """Refuse records that do not speak of one original in one situation."""
    decided = [member for member in members if member.decision]
    for first, other in pairwise(decided):
        one, two = _facts(first), _facts(other)
        for name in (*_ORIGINAL, *_SITUATION):
            a, b = getattr(one, name), getattr(two, name)
            if a == b:
                continue
            what = "are of different originals" if name in _ORIGINAL else "disagree"
            raise InputError(
                f"runs {first.name} and {other.name} {what}: {name} is {a!r} in one "
                f"and {b!r} in the other; make a report for each"
            )


def _facts(member: Member) -> Facts:
    if member.decision is None:
        raise InputError(f"run {member.name} has no decision")
    return member.decision.facts


def _judged(members: tuple[Member, ...]) -> tuple[Decision | None, str]:
    """Return the decision on the sum, or why there is none."""
    without = [member for member in members if member.decision is None]
    if without:
        reasons = "; ".join(f"run {m.name}: {m.record.undecided}" for m in without)
        return None, reasons if len(members) > 1 else without[0].record.undecided
    facts = _facts(members[-1])
    versions = {_facts(member).rules_version for member in members}
    # One sum is judged by one law: the version in force latest among the runs'.
    newest = max(versions, key=lambda version: law(version or None).in_force_from)
    facts = replace(facts, rules_version=newest)
    direct = cumulative = 0
    judged: Decision | None = None
    # Run by run in order of their ends, so that the day on which the sum crossed the
    # line is known.
    for member in sorted(members, key=lambda one: one.record.run.ended_at):
        direct += member.record.flops.direct
        cumulative += member.record.flops.cumulative
        # a notification counts from the day on which the sum was first over
        over = judged is not None and judged.verdict == "over"
        known_on = judged.facts.known_on if judged and over else _facts(member).known_on
        judged = decide_facts(
            replace(
                facts,
                flops_direct=direct,
                flops_cumulative=cumulative,
                known_on=known_on,
            )
        )
    # A lower bound over the line is over it; a lower bound below it says nothing.
    decided = judged is not None and judged.verdict != "over"
    lacking = [m.name for m in members if m.record.completeness.unseen]
    if decided and lacking:
        return None, (
            f"the models of run {', '.join(lacking)} could not all be counted, so the "
            "total is a lower bound"
        )
    return judged, ""


def _remarks(members: tuple[Member, ...]) -> Iterator[str]:
    if len(members) > 1:
        if all(b.parent == a.record.run.id for a, b in pairwise(members)):
            yield "Each run but the first names the record that it continues."
        else:
            yield STATEMENT
        yield OPEN_QUESTION
    for member in members:
        run = member.record.run
        if run.outcome in ("failed", "interrupted", "recovered"):
            yield (
                f"Run {member.name} was {run.outcome}. What it computed counts, which "
                "is the cautious reading; leave it out if its weights were discarded."
            )
        if run.stopped:
            yield f"Run {member.name}: training was {run.stopped}."
        if member.complete and not member.record.flops.executed:
            yield f"No training was seen in run {member.name}."
        if run.outcome == "recovered":
            yield (
                f"The record of run {member.name} is its journal, which ends some "
                "seconds before the run did: its figures are lower bounds."
            )
        if run.parent_sha256 and not member.parent:
            yield (
                f"Run {member.name} continues a record that is not in this report "
                f"(sha256 {run.parent_sha256[:12]}…); the sum lacks it."
            )
        resumed = member.record.data.resumed_at_step
        if resumed and not member.parent:
            yield (
                f"Run {member.name} resumed at step {resumed}; what ran before is in "
                "the sum only where its record is."
            )
        if member.decision is None and len(members) == 1:
            continue
        if member.decision is None:
            yield f"Run {member.name} has no verdict: {member.record.undecided}."
    parents = [member.parent for member in members if member.parent]
    # Two children of one run: their weights cannot both be in the released model.
    for parent in sorted({one for one in parents if parents.count(one) > 1}):
        yield (
            f"More than one run continues run {parent[:8]}: these are parallel "
            "branches, and one model has only one of them in it."
        )
    yield from _over_alone(members)


def _over_alone(members: tuple[Member, ...]) -> Iterator[str]:
    """Name the runs that meet the criterion by themselves."""
    over = [m.name for m in members if m.decision and m.decision.verdict == "over"]
    if len(members) > 1 and over:
        yield f"By itself, run {', '.join(over)} meets the indicative criterion."
