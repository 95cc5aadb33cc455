"""What the original's training cost: the figure, what it rests on, who says so.

A figure that the user gives wins, and is kept with its source; then an estimate as
6·P·D from tokens that the user gives; then the registry. The substitute threshold has
to be asked for, and is refused where one of these knows (point 61).
"""

from __future__ import annotations

from typing import NamedTuple

from flops_magic.ai_act.decision import OriginalBasis
from flops_magic.errors import UnknownOriginalError
from flops_magic.flops.formulas import six_pd
from flops_magic.flops.units import grouped
from flops_magic.registry.base_models import BaseModel


class OriginalCompute(NamedTuple):
    """The original's training compute.

    Attributes:
        flops: in FLOP; None if it is unknown.
        basis: what it rests on.
        source: who says so, in words for people.
    """

    flops: int | None
    basis: OriginalBasis
    source: str


def given(flops: int, source: str | None) -> OriginalCompute:
    """Return a figure that the user gives."""
    return OriginalCompute(flops, OriginalBasis.GIVEN, _by_user(source))


def registered(row: BaseModel | None) -> OriginalCompute:
    """Return the registry's figure, if it has one."""
    if row is None or row.flops is None:
        return OriginalCompute(None, OriginalBasis.NOT_NEEDED, "")
    basis = (
        OriginalBasis.REGISTRY_PUBLISHED
        if row.published or row.method == "published"
        else OriginalBasis.REGISTRY_ESTIMATED
    )
    return OriginalCompute(row.flops, basis, row.source_text)


def by_six_pd(
    tokens: int,
    source: str | None,
    *,
    parameters: int | None,
    row: BaseModel | None,
    trained_parameters: int | None,
) -> OriginalCompute:
    """Return 6·P·D, and what it rests on.

    Args:
        tokens: D, those that the original was trained on.
        source: where the user read them.
        parameters: P, if the user gives it; it wins.
        row: the registry's; its P, active for a token, comes second.
        trained_parameters: P of the trained model, without adapters; comes last.

    Raises:
        UnknownOriginalError: when none of these says P.

    Source: Guidelines C(2025) 7719, point 129.
    """
    if parameters is not None:
        size, whose = parameters, "given by the user"
    # Active parameters: 6·P·D of a mixture counts the experts that a token uses.
    elif row is not None and row.params_active is not None:
        size, whose = row.params_active, f"registry: {row.model_id}"
    elif trained_parameters is not None:
        size, whose = trained_parameters, "of the trained model"
    else:
        raise UnknownOriginalError(
            "original_tokens gives D of 6·P·D, and nothing says P; pass "
            "original_parameters (--original-parameters 8B), those active for a token"
        )
    return OriginalCompute(
        six_pd(size, tokens),
        OriginalBasis.SIX_PD,
        f"estimated as 6·P·D (point 129): P = {grouped(size)} ({whose}), "
        f"D = {grouped(tokens)} ({_by_user(source)})",
    )


def _by_user(source: str | None) -> str:
    return f"given by the user{f': {source}' if source else ''}"
