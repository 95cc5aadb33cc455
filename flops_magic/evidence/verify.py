"""Checks whether evidence holds, from the file alone.

The numbers of the checks match ``docs/record.md``. All problems of a file are gathered
before one is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from flops_magic.ai_act.decision import Decision
from flops_magic.ai_act.decision_table import recompute
from flops_magic.errors import (
    DecisionError,
    FlopsMagicError,
    MalformedRecordError,
    MisplacedRecordError,
    NoRecordError,
    TotalsError,
    VerificationError,
)
from flops_magic.evidence.codec import to_tree
from flops_magic.evidence.notebook import (
    Output,
    body_sha256,
    extract,
    is_notebook,
    metadata_records,
    outputs_of,
    read_tree,
    tracked_body,
)
from flops_magic.evidence.record import AuditRecord, LegacyFigure, Outcome
from flops_magic.evidence.seal import Sealed
from flops_magic.flops.formulas import lora_pd
from flops_magic.flops.histogram import PASSES, FlopTotals
from flops_magic.flops.units import grouped


@dataclass
class Report:
    """What a verification found.

    Attributes:
        path: the file.
        records: those that opened, in order of their runs.
        problems: in the order of the checks; empty when the evidence holds.
        remarks: what a reader should know of evidence that holds.
    """

    path: Path
    records: list[tuple[Sealed, AuditRecord]] = field(default_factory=list)
    problems: list[VerificationError] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def verify(path: str | Path) -> AuditRecord:
    """Return the last record of a file whose evidence holds.

    Args:
        path: a notebook, a ``flops_meter.json``, a journal or an extracted record.

    Raises:
        VerificationError: of the class of the first problem; its message names all.
    """
    report = check(path)
    if report.problems:
        first = report.problems[0]
        # The class of the first problem, so that a caller can tell a broken file from a
        # changed one.
        raise type(first)("\n".join(map(str, report.problems))) from first
    return report.records[-1][1]


def check(path: str | Path) -> Report:
    """Return a verification's records, problems and remarks."""
    report = Report(Path(path))
    try:
        # 1 the file can be read
        tree = read_tree(path)
        if is_notebook(tree):
            _check_notebook(tree, report)
        else:
            # 2 it carries a record
            for sealed in extract(path):
                _open(sealed.to_dict(), "", report)
    except VerificationError as error:
        report.problems.append(error)
        return report
    for _, record in report.records:
        try:
            report.problems += _inner_problems(record)
            report.remarks += _remarks(record)
        # A hostile record may hold values that no check foresaw; it fails as evidence,
        # and the other records of the file are still checked.
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as e:
            problem = f"record {record.run.id[:8]}: {type(e).__name__}: {e}"
            report.problems.append(MalformedRecordError(problem))
    report.problems.sort(key=_order)
    return report


def _check_notebook(tree: dict[str, Any], report: Report) -> None:
    outputs = list(outputs_of(tree))
    listed = metadata_records(tree)
    # 2 it carries a record
    if not outputs and not listed:
        raise NoRecordError(
            f"{str(report.path)!r} carries no record of flops_magic; run its "
            "%%flops_track cells and save, or add one with 'flops-magic embed'"
        )
    # By run: outputs and metadata must tell the same of each run.
    in_metadata = {}
    for number, item in enumerate(listed, start=1):
        opened = _open(item, f"metadata record {number}: ", report)
        if opened:
            in_metadata[opened[1].run.id] = opened[0].sha256
    for output in outputs:
        opened = _open(output.tree, f"cell {output.cell}: ", report)
        if opened:
            report.problems += _output_problems(output, *opened, in_metadata, listed)


def _open(tree: Any, where: str, report: Report) -> tuple[Sealed, AuditRecord] | None:
    """Open one sealed record; note it once, and why it does not open."""
    try:
        sealed = Sealed.from_dict(tree)
        # 3 its text is the text that was sealed
        # 4 it follows its schema, and is the one text of what it holds
        record = sealed.open()
    except VerificationError as error:
        report.problems.append(type(error)(f"{where}{error}"))
        return None
    # The same record in output and metadata is one record.
    if all(sealed.sha256 != known.sha256 for known, _ in report.records):
        report.records.append((sealed, record))
        report.records.sort(key=lambda pair: pair[1].run.started_at)
    return sealed, record


def _inner_problems(record: AuditRecord) -> Iterator[VerificationError]:
    """Check a record against itself."""
    name = f"record {record.run.id[:8]}: "
    yield from _schema_problems(record, name)
    # 5 totals follow from histogram and profile
    try:
        computed = record.computed_flops()
    except FlopsMagicError as error:
        yield TotalsError(f"{name}{error}")
        return
    for f in fields(computed):
        recorded, ours = getattr(record.flops, f.name), getattr(computed, f.name)
        # Each category by itself: two errors could cancel in the sums.
        if recorded != ours:
            yield TotalsError(
                f"{name}flops.{f.name} is {grouped(recorded)}, but histogram × profile "
                f"gives {grouped(ours)}"
            )
    if record.legacy is not None:
        yield from _legacy_problems(record.legacy, name)
    # 6 verdicts and their sentences follow from their facts
    if record.decision is not None:
        yield from _decision_problems(record.decision, record.flops, name)
        yield from _completeness_problems(record, record.decision, name)


def _schema_problems(record: AuditRecord, name: str) -> Iterator[VerificationError]:
    kinds = {row.kind for use in record.models for row in use.histogram}
    if strange := sorted(kinds - set(PASSES)):
        yield MalformedRecordError(f"{name}no such passes: {strange}")
    try:
        started = datetime.fromisoformat(record.run.started_at)
        ended = datetime.fromisoformat(record.run.ended_at)
        backwards = ended < started
    except (TypeError, ValueError) as error:
        yield MalformedRecordError(f"{name}{error}")
        return
    if backwards:
        yield MalformedRecordError(f"{name}it ended before it started")


def _legacy_problems(legacy: LegacyFigure, name: str) -> Iterator[VerificationError]:
    ours = lora_pd(legacy.parameters_total, legacy.parameters_trainable, legacy.tokens)
    if legacy.flops != ours:
        yield TotalsError(f"{name}legacy.flops does not follow from its formula")


def _decision_problems(
    decision: Decision, flops: FlopTotals, name: str
) -> Iterator[VerificationError]:
    """Compare every field of a decision, sentences included, with its facts' own.

    Ratio and share follow from those fields; reading the record has checked that.
    """
    try:
        ours = recompute(decision)
    except (FlopsMagicError, ValueError) as error:
        yield DecisionError(f"{name}no verdict follows from its facts: {error}")
        return
    for f in fields(decision):
        # Compared as texts, which is what a reader of the record sees.
        given, right = (to_tree(getattr(one, f.name)) for one in (decision, ours))
        if given != right:
            yield DecisionError(
                f"{name}decision.{f.name} is {given!r}, but its facts give {right!r}"
            )
    for key in ("direct", "cumulative"):
        if getattr(decision.facts, f"flops_{key}") != getattr(flops, key):
            yield DecisionError(f"{name}the verdict rests on other {key} FLOPs")


def _completeness_problems(
    record: AuditRecord, decision: Decision, name: str
) -> Iterator[VerificationError]:
    """Hold a verdict below the line against what was seen of the run."""
    seen = record.completeness
    if seen.verdict(decision.verdict) != decision.verdict:
        yield DecisionError(
            f"{name}its verdict is {decision.verdict!r}, but {seen.reason}"
        )


def _output_problems(
    output: Output,
    sealed: Sealed,
    record: AuditRecord,
    in_metadata: dict[str, str],
    listed: list[Any],
) -> Iterator[VerificationError]:
    """Check a record against the cell and the metadata around it."""
    where = f"cell {output.cell}: "
    # 7 outputs and metadata hold the same records
    known = in_metadata.get(record.run.id)
    if listed and known is None:
        yield MisplacedRecordError(
            f"{where}its record {record.run.id[:8]} is not in the notebook's metadata; "
            "it was put here from another notebook, or metadata was removed"
        )
    elif known is not None and known != sealed.sha256:
        yield MisplacedRecordError(
            f"{where}its record {record.run.id[:8]} differs from the one in metadata"
        )
    # 8 each output belongs to the cell that it describes
    body = tracked_body(output.source)
    expected = record.run.source_sha256
    # The digest of the tracked code binds an output to its cell: a copied output would
    # otherwise speak for code that never ran.
    if expected is not None and (body is None or body_sha256(body) != expected):
        yield MisplacedRecordError(
            f"{where}the record {record.run.id[:8]} was made by other code than the "
            "cell holds; run the cell again, or restore its source"
        )
    # 9 cards show the record's figure
    # A card is what people read; the record's text is what the digest covers.
    figure = grouped(record.flops.direct)
    for twin in output.twins:
        if figure not in twin:
            yield TotalsError(
                f"{where}its card does not show the record's {figure} FLOP"
            )


def _remarks(record: AuditRecord) -> Iterator[str]:
    name = f"record {record.run.id[:8]}"
    if record.run.outcome != Outcome.COMPLETED:
        yield f"{name}: the run was {record.run.outcome}"
    if record.decision is None:
        yield f"{name}: no verdict: {record.undecided}"
    elif record.decision.compared == 0:
        yield f"{name}: no training was seen"
    for gap in record.gaps:
        yield f"{name}: gap: {gap}"


def _order(problem: VerificationError) -> int:
    order = (MalformedRecordError, TotalsError, DecisionError, MisplacedRecordError)
    return order.index(type(problem)) if type(problem) in order else -1
