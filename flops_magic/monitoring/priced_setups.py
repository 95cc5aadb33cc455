"""Profiles of set-ups that were walked before in this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flops_magic.flops.profile import FlopsProfile, PassCost
from flops_magic.monitoring.passes.hybrid_counter import (
    may_need_both,
    towers_reach_text,
)
from flops_magic.monitoring.setup_watch import Setup
from flops_magic.profiling.profiler import profile_model, profile_reached

_MOST = 64  # profiles that are kept, a few kilobytes each


@dataclass(frozen=True)
class Price:
    """What passes of a set-up cost.

    Attributes:
        profile: coefficients.
        text_costs: what the text of a pass with media costs, whose towers may train;
            None for a model whose passes the profile describes whole.
    """

    profile: FlopsProfile
    text_costs: Mapping[str, PassCost] | None


class PricedSetups:
    """Walks each set-up once; flipping back, or a second run, reuses the profile."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[type, Setup], Price] = OrderedDict()

    def price(self, setup: Setup, model: Any, base: Any) -> Price:
        """Return what passes of a model cost that is set up like this now.

        Raises:
            Exception: whatever the walk raises.
        """
        key = type(base), setup
        if key not in self._known:
            self._known[key] = walked(model, base)
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return self._known[key]


PRICED = PricedSetups()


def walked(model: Any, base: Any) -> Price:
    """Walk a model dry, once more where its towers reach through frozen text."""
    profile = profile_model(model)
    if not may_need_both(base):
        return Price(profile, None)
    if not towers_reach_text(model, base):
        return Price(profile, profile.costs)
    return Price(profile, profile_reached(model).costs)
