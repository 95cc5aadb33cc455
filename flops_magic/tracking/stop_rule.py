"""When to stop training, so that a chosen share of the line is not passed."""

from __future__ import annotations

from fractions import Fraction

from flops_magic.ai_act.decision import Comparison
from flops_magic.errors import InputError, QuantityError
from flops_magic.flops.units import flop_text, parse_decimal, percent_text


def parse_share(value: object) -> Fraction:
    """Return a share of the line exactly: 0.9, "0.9" or "90%".

    Raises:
        InputError: unless it is a share above 0 and up to 1.
    """
    # Through text: ``Fraction(0.9)`` is not nine tenths.
    text = str(value).strip()
    number = text.removesuffix("%").strip()
    try:
        share = parse_decimal(number) / (100 if text.endswith("%") else 1)
    except QuantityError:
        share = Fraction(0)
    if isinstance(value, bool) or not 0 < share <= 1:
        raise InputError(
            f"cannot read stop_at={value!r} as a share of the line; pass 0.9 or 90% to "
            "stop before nine tenths of it"
        )
    return share


class StopAt:
    """Decides after every optimizer step whether there is room for one more.

    The next step is taken to cost what the largest one so far did: where batches are
    of one shape, the share is never passed; where a later batch is larger than any
    before, it may be passed by the difference.

    Attributes:
        share: of the line, above 0 and up to 1.
        reason: why training has to stop; empty while there is room.
    """

    def __init__(self, share: Fraction) -> None:
        self.share = share
        self.reason = ""
        self._before: int | None = None
        self._largest = 0

    def begin(self, now: Comparison) -> None:
        """Begin to look, before a training's first step.

        Raises:
            InputError: where there is no line, or no room for a step.
        """
        if not now.line:
            raise InputError(
                f"stop_at has nothing to stop at: {now.line_text}; leave it out"
            )
        self._before = now.own_flops
        if self._passes(now):
            raise InputError(
                f"stop_at={float(self.share):g}: {self._used(now)}, so there is "
                "no room for another step; nothing was trained"
            )

    def stepped(self, now: Comparison, step: int) -> bool:
        """Return whether training has to stop after this optimizer step."""
        if self._before is not None:
            # The largest step so far, not the mean: lengths vary from batch to batch.
            self._largest = max(self._largest, now.own_flops - self._before)
        self._before = now.own_flops
        if not self.reason and self._passes(now):
            self.reason = (
                f"stopped after step {step}: {self._used(now)}, and another "
                f"step of {flop_text(self._largest)} could pass the "
                f"{percent_text(self.share)} that were chosen"
            )
        return bool(self.reason)

    def _passes(self, now: Comparison) -> bool:
        if not now.line:
            return False
        # Strictly more: a run may end exactly on its share.
        return now.own_flops + self._largest > self.share * now.line

    def _used(self, now: Comparison) -> str:
        share = now.share_of_line
        used = percent_text(share) if share is not None else "all"
        return f"{used} of the line is used"
