"""What the passes of one model add up to, whoever counts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flops_magic.flops.histogram import Histogram
from flops_magic.flops.profile import PassCost
from flops_magic.monitoring.passes.pass_reader import RealTokens


@dataclass
class PassTotals:
    """The passes so far, and the costs of those that were counted live.

    Attributes:
        histogram: what ran.
        real_tokens: training tokens that are not padding.
        costs: what a pass cost that was counted live, by name and label.
        unknown: operations with matrix-sized inputs and no formula.
        lost: passes that could not be counted.
        passes_reached: how often a backward pass went through a forward pass.
        awaiting: those since the last backward pass that one may go through.
        assumed: those since then that a compiled graph hides, taken to be trained on.
        profiled_costs: what a profile counts of passes that it counts a part of; None
            while there is none.
    """

    histogram: Histogram = field(default_factory=Histogram)
    real_tokens: RealTokens = field(default_factory=RealTokens)
    costs: dict[str, PassCost] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    lost: int = 0
    passes_reached: int = 0
    awaiting: int = 0
    assumed: int = 0
    profiled_costs: Mapping[str, PassCost] | None = None
