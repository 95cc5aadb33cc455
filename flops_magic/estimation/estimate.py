"""What an estimate holds, method by method, and how it shows itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flops_magic.errors import InputError
from flops_magic.flops.histogram import FlopTotals

if TYPE_CHECKING:
    from flops_magic.ai_act.decision import Decision


@dataclass(frozen=True)
class MethodEstimate:
    """What one method will cost.

    Attributes:
        method: one of ``METHODS``.
        flops: FLOPs by category.
        parameters_total: logical parameters, adapters included.
        parameters_trainable: those that train; by a formula, a bound on them.
        basis: ``operation count`` of the model's configuration, or the formula used.
        decision: the verdict if training runs so; None without a known original, and
            where a formula is too rough to tell.
        undecided: why there is no decision.
        notes: what the count rests on, and what it leaves out.
        hours: accelerator hours at the stated utilisation; None if not asked.
        energy_kwh: at the accelerator's full board power; None if not asked.
    """

    method: str
    flops: FlopTotals
    parameters_total: int
    parameters_trainable: int
    basis: str
    decision: Decision | None
    undecided: str
    notes: tuple[str, ...] = ()
    hours: float | None = None
    energy_kwh: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What fine-tuning will cost, by method; shows itself as a table.

    Attributes:
        model: what was asked for.
        tokens: positions to be processed, epochs included.
        seq_len: positions a sequence, at most.
        rows: one for each method.
        skipped: methods that cannot be estimated, and why.
        notes: where the tokens come from, and how sure they are.
    """

    model: str
    tokens: int
    seq_len: int
    rows: tuple[MethodEstimate, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, method: str) -> MethodEstimate:
        """Return the estimate of one method.

        Raises:
            InputError: when that method was not estimated.
        """
        for row in self.rows:
            if row.method == method:
                return row
        raise InputError(
            f"no estimate for {method!r}; there are {[row.method for row in self.rows]}"
        )

    def __str__(self) -> str:
        # imported where it is shown: an estimate in a script needs no table
        from flops_magic.display.estimate_table import estimate_text

        return estimate_text(self)

    __repr__ = __str__

    def plot(self) -> Any:
        """Return a matplotlib ``Figure``: FLOPs on a log scale, with the line."""
        # matplotlib is heavy, and only a plot needs it
        from flops_magic.display.estimate_plot import estimate_figure

        return estimate_figure(self)

    def _repr_html_(self) -> str:
        """Return the table that notebooks show."""
        from flops_magic.display.estimate_table import estimate_html

        return estimate_html(self)
