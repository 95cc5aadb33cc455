"""Arithmetic of what models did: several processes added, one moment taken off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace

from flops_magic.evidence.record import ModelUse
from flops_magic.flops.histogram import FlopTotals, Histogram, HistogramRow
from flops_magic.flops.profile import FlopsProfile, PassCost, PassShape


@dataclass(frozen=True)
class Elsewhere:
    """What child processes did, as far as they wrote it.

    Attributes:
        uses: their models, each once.
        flops: what these cost.
        tokens: positions processed in training, padding included.
        uncounted: names of models that ran and have no profile.
        trained_model_id: name of the first one that trained; None for none.
        trained_parameters: its size before training; None if unknown.
        steps: optimizer steps; of ranks that step together, those of the first.
        steps_planned: optimizer steps that they planned; 0 where none said so.
    """

    uses: tuple[ModelUse, ...] = ()
    flops: FlopTotals = field(default_factory=FlopTotals)
    tokens: int = 0
    uncounted: list[str] = field(default_factory=list)
    trained_model_id: str | None = None
    trained_parameters: int | None = None
    steps: int = 0
    steps_planned: int = 0


def added(processes: Iterable[Iterable[ModelUse]]) -> tuple[ModelUse, ...]:
    """Return the uses of all processes, those of one model in several as one.

    Two uses are of one model where everything but the histogram agrees; the costs of a
    model that was counted live may each lack shapes that the other one met. Models of
    one process stay apart, alike as they may be.

    Args:
        processes: the uses of each process.
    """
    found: list[ModelUse] = []
    for uses in processes:
        free = list(range(len(found)))
        for use in uses:
            for place in free:
                if (joined := _joined(found[place], use)) is not None:
                    found[place] = joined
                    free.remove(place)
                    break
            else:
                found.append(use)
    return tuple(found)


def since(now: ModelUse, before: ModelUse | None) -> ModelUse:
    """Return what a model did after a moment.

    Args:
        now: what it did until now.
        before: what it had done at that moment; None for nothing.
    """
    if before is None:
        return now
    done = {_key(row): row.total for row in before.histogram}
    rows = [
        replace(row, total=_less(row.total, done.get(_key(row), PassShape())))
        for row in now.histogram
    ]
    tokens = now.tokens_non_padding
    if tokens is not None:
        tokens -= before.tokens_non_padding or 0
    ran = tuple(row for row in rows if row.total != PassShape())
    return replace(now, histogram=ran, tokens_non_padding=tokens)


def _joined(one: ModelUse, other: ModelUse) -> ModelUse | None:
    """Return two uses of one model as one; None for two models."""
    same = replace(other, histogram=one.histogram, profile=one.profile)
    same = replace(same, tokens_non_padding=one.tokens_non_padding)
    if same != one:
        return None
    if one.profile is None or other.profile is None:
        if one.profile is not other.profile:
            return None
        profile = None
    elif (profile := _joined_profile(one.profile, other.profile)) is None:
        return None
    counts = (one.tokens_non_padding, other.tokens_non_padding)
    known = [count for count in counts if count is not None]
    return replace(
        one,
        profile=profile,
        histogram=_rows((*one.histogram, *other.histogram)),
        tokens_non_padding=sum(known) if known else None,
    )


def _joined_profile(one: FlopsProfile, other: FlopsProfile) -> FlopsProfile | None:
    if replace(other, costs=one.costs, unknown_ops=one.unknown_ops) != one:
        return None
    if not _agree(one.costs, other.costs):
        return None
    unknown = tuple(sorted({*one.unknown_ops, *other.unknown_ops}))
    return replace(one, costs={**one.costs, **other.costs}, unknown_ops=unknown)


def _agree(one: Mapping[str, PassCost], other: Mapping[str, PassCost]) -> bool:
    """Whether two profiles say the same; a cost by shape may be missing in one."""
    if any(one[name] != other[name] for name in one.keys() & other.keys()):
        return False
    return all(" @ " in name for name in one.keys() ^ other.keys())


def _rows(rows: Iterable[HistogramRow]) -> tuple[HistogramRow, ...]:
    merged = Histogram()
    for row in rows:
        merged.add(
            row.kind,
            row.total,
            label=row.shape,
            adapters=row.adapters,
            merges=" ~" not in row.shape,  # counted live, with a cost of its own
        )
    return merged.rows()


def _key(row: HistogramRow) -> tuple[str, bool, str]:
    return row.kind, row.adapters, row.shape


def _less(one: PassShape, other: PassShape) -> PassShape:
    counts = (getattr(one, f.name) - getattr(other, f.name) for f in fields(one))
    return PassShape(*counts)
