"""The audit record: the measurements of one tracked run, and the decision on them.

The types here are the schema: ``evidence.codec`` writes and reads them by their hints.
One record has one text, so that a digest of the text is a digest of the record. A field
that is added is written as ``later(default)``; then run ``tools/record_schema.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from flops_magic.ai_act.completeness import Completeness
from flops_magic.ai_act.decision import Decision
from flops_magic.errors import MalformedRecordError
from flops_magic.evidence.codec import from_tree, later, to_tree
from flops_magic.evidence.hardware import Hardware
from flops_magic.flops.histogram import FlopTotals, HistogramRow, histogram_flops
from flops_magic.flops.profile import FlopsProfile

# A published version is never edited. A field that is added has a default and is left
# out of older texts; anything else is a new version.
SCHEMA: Literal["flops_magic.audit_record.v1"] = "flops_magic.audit_record.v1"


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    STOPPED = "stopped"  # by the meter, before the line
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    RECOVERED = "recovered"  # from the journal of a process that died


@dataclass(frozen=True)
class Run:
    """When and how a run went.

    Attributes:
        id: unique to the run.
        started_at: UTC, ISO 8601.
        ended_at: UTC, ISO 8601.
        elapsed_s: seconds by a clock that never goes back.
        outcome: how it ended.
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
    elapsed_s: Decimal
    outcome: Outcome
    steps: int = 0
    steps_planned: int | None = None
    source_sha256: str | None = None
    parent_sha256: str | None = None
    stopped: str | None = None
    crossing_foreseen_at: str | None = None


@dataclass(frozen=True)
class ModelUse:
    """One model that ran: its name, its cost a pass, and its histogram of passes.

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
        # An unpriced model adds nothing here; ``complete`` says that the sum is a
        # bound.
        if self.profile is None:
            return FlopTotals()
        return histogram_flops(self.histogram, self.profile)


@dataclass(frozen=True)
class LegacyFigure:
    """The figure of other meters, for comparison only.

    Attributes:
        parameters_total: N of the trained model, under the key that other meters use.
        parameters_trainable: T of it.
        tokens: D, positions trained on, padding included.
        flops: (4·N + 2·T)·D.
        formula: the same, in the symbols of the keys.
    """

    parameters_total: int = field(metadata={"key": "N_total"})
    parameters_trainable: int = field(metadata={"key": "N_trainable"})
    tokens: int
    flops: int
    formula: str = "(4·N_total + 2·N_trainable)·D"


@dataclass(frozen=True)
class TrainingData:
    """The Trainer's settings, its dataset and its SageMaker job; None is unknown.

    Attributes:
        num_train_epochs: decimal text, as the Trainer's settings have it.
        max_steps: optimizer steps that the Trainer plans.
        resumed_at_step: optimizer steps done before the run; 0 for a fresh start.
        per_device_train_batch_size: rows.
        gradient_accumulation_steps: passes for each optimizer step.
        world_size: processes that train together.
        dataset_fingerprint: as the ``datasets`` package computes it.
        dataset_rows: rows of the training set.
        training_job_name: SageMaker's.
        instance_type: SageMaker's, such as ``ml.p5.48xlarge``.
    """

    num_train_epochs: str | None = later()
    max_steps: int | None = later()
    resumed_at_step: int | None = later()
    per_device_train_batch_size: int | None = later()
    gradient_accumulation_steps: int | None = later()
    world_size: int | None = later()
    # 0.1.0 wrote the word "unknown" where these were not known
    dataset_fingerprint: str | None = later()
    dataset_rows: int | Literal["unknown"] | None = later()
    training_job_name: str | None = later()
    instance_type: str | None = later()


@dataclass(frozen=True)
class AuditRecord:
    """One tracked run, complete enough to be judged again from this text alone.

    Attributes:
        run: when and how.
        models: what ran.
        flops: totals by category, equal to the sum over ``models`` plus declared.
        decision: the verdict and the facts it rests on; None when undecidable.
        undecided: why there is no decision; empty when there is one.
        declared: FLOPs that the user declares, by reason.
        legacy: another meter's figure; None without exactly one trained model.
        data: settings of the training, and its dataset.
        hardware: the devices; None while the run lasts, so in a journal.
        assumptions: what the count rests on.
        uncertainty: what is not counted, and how much it may be.
        gaps: what could not be observed, each with where and why.
        versions: of Python and the packages involved, by name.
        unseen: those gaps that concern the count: with one, it is a lower bound, and no
            verdict below the line is given.
        schema: the schema that the record was written by.
    """

    run: Run
    models: tuple[ModelUse, ...]
    flops: FlopTotals
    decision: Decision | None = None
    undecided: str = ""
    declared: Mapping[str, int] = field(default_factory=dict)
    legacy: LegacyFigure | None = field(
        default=None, metadata={"none_is_empty_object": True}
    )
    data: TrainingData = TrainingData()
    hardware: Hardware | None = field(
        default=None, metadata={"none_is_empty_object": True}
    )
    assumptions: tuple[str, ...] = ()
    uncertainty: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[str, ...] = later(())
    schema: Literal["flops_magic.audit_record.v1"] = SCHEMA

    @property
    def completeness(self) -> Completeness:
        """How much of the run was seen; a verdict below the line needs all of it."""
        ran = [use for use in self.models if use.histogram]
        uncounted = sorted({use.id for use in ran if use.profile is None})
        profiles = (use.profile for use in ran if use.profile is not None)
        unknown = sorted({op for profile in profiles for op in profile.unknown_ops})
        kinds = {row.kind for use in ran for row in use.histogram}
        return Completeness(
            training_seen=bool(kinds & {"train", "backward"}),
            unseen=(
                *self.unseen,
                *(f"{name}: its operations could not be counted" for name in uncounted),
                *(f"{name}: the operation has no formula" for name in unknown),
            ),
        )

    def computed_flops(self) -> FlopTotals:
        """Return the totals that follow from the histograms and profiles."""
        declared = FlopTotals(declared=sum(self.declared.values()))
        return sum((use.flops() for use in self.models), declared)

    def to_json(self) -> str:
        """Return the record's one text: sorted keys, no spaces, no JSON numbers."""
        return json.dumps(
            # One record, one text: order, spaces and escapes are all settled here.
            to_tree(self),
            sort_keys=True,
            ensure_ascii=False,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> AuditRecord:
        """Read a record's text.

        Raises:
            MalformedRecordError: naming the first key that breaks the schema, or the
                place where the text is not the one text of what it holds.
        """
        try:
            tree = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MalformedRecordError(f"the record is not JSON: {error}") from error
        if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
            got = tree.get("schema") if isinstance(tree, dict) else type(tree).__name__
            raise MalformedRecordError(
                f"the record's schema is {got!r}; this version reads {SCHEMA!r}"
            )
        try:
            made = from_tree(cls, tree)
            ours = made.to_json()
        except (ValueError, ArithmeticError) as error:
            # sums of counts that Python makes no text of: more than 4300 digits
            raise MalformedRecordError(
                f"the record breaks {SCHEMA}: {type(error).__name__}: {error}"
            ) from error
        # The schema of single fields cannot say that two of them belong together.
        if (made.run.outcome == Outcome.STOPPED) != (made.run.stopped is not None):
            raise MalformedRecordError(
                "record.run.stopped gives the reason exactly where the outcome is "
                "'stopped'"
            )
        # Catches what a JSON reader forgives: keys given twice, spaces, other order.
        if ours != text:
            raise MalformedRecordError(
                "the record's text is not the one text of what it holds (sorted keys, "
                f"no spaces, no key twice); they differ at {_difference(ours, text)}"
            )
        return made


def _difference(ours: str, text: str) -> str:
    """Return the first place where two texts differ, with the given text there."""
    pairs = enumerate(zip(ours, text, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(ours), len(text)))
    return f"character {place}: {text[max(place - 20, 0) : place + 20]!r}"
