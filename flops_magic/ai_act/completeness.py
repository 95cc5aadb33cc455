"""When a verdict may be given: only of a run that was seen whole.

A count that misses something is a lower bound. A lower bound above the line settles the
matter; one below the line settles nothing. So ``over`` may be said of any run, and
``below`` and ``near`` only where training was seen and every witness agrees with the
count. Everything else is ``undecided``, with the reason and what would settle it.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_TRAINING = "no training was seen"


@dataclass(frozen=True)
class Completeness:
    """How much of a run was seen.

    Attributes:
        training_seen: whether a backward pass of a counted model ran.
        unseen: what the count may miss, a line each; empty where every witness agrees.
    """

    training_seen: bool = True
    unseen: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether a verdict below the line may be given."""
        return self.training_seen and not self.unseen

    @property
    def reason(self) -> str:
        """Why there is no verdict below the line; empty where there may be one."""
        if self.unseen:
            more = len(self.unseen) - 1
            others = f", and {more} more (see the gaps)" if more else ""
            return f"the count is a lower bound: {self.unseen[0]}{others}"
        return "" if self.training_seen else NO_TRAINING

    @property
    def remedy(self) -> str:
        """What would settle the matter; empty where it is settled."""
        if self.unseen:
            return "Mend what the gaps name, and run again."
        if not self.training_seen:
            return "Train inside of the tracked cell or script."
        return ""

    def verdict(self, by_the_count: str) -> str:
        """Return the verdict that may be given.

        Args:
            by_the_count: what the decision table says of the FLOPs that were counted.
        """
        if by_the_count in ("below", "near") and not self.whole:
            return "undecided"
        return by_the_count
