"""What a user says of the original model, and the decision that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from flops_magic.core.base_models import lookup
from flops_magic.core.decision import Decision
from flops_magic.core.rules import decide
from flops_magic.core.tally import FlopTotals
from flops_magic.core.units import parse_count
from flops_magic.errors import UnknownModelError, UnknownOriginalError


@dataclass(frozen=True)
class Original:
    """The original model, as far as the user names it.

    Attributes:
        base_model: an id or alias in the registry; None to go by the trained model.
        flops: its training compute in FLOP; None to go by the registry.
        inestimable: True where nobody can know or estimate it (substitute threshold).
        systemic_risk: True or False where its status is known.
        is_gpai: True or False where it is known; None to go by 10^23 FLOP.
    """

    base_model: str | None = None
    flops: int | None = None
    inestimable: bool = False
    systemic_risk: bool | None = None
    is_gpai: bool | None = None

    @classmethod
    def of(
        cls,
        *,
        base_model: str | None = None,
        original_flops: int | str | None = None,
        systemic_risk: bool | None = None,
        original_is_gpai: bool | None = None,
    ) -> Original:
        """Read what a user typed; ``original_flops="unknown"`` asks for the substitute.

        Raises:
            UnknownModelError: when ``base_model`` is not in the registry, and nothing
                else says what it cost.
            QuantityError: when ``original_flops`` is no count.
        """
        inestimable = original_flops == "unknown"
        flops = None
        if original_flops is not None and not inestimable:
            flops = parse_count(original_flops, minimum=1)
        if base_model is not None and flops is None and not inestimable:
            lookup(base_model)
        return cls(base_model, flops, inestimable, systemic_risk, original_is_gpai)

    def judge(self, flops: FlopTotals, trained_id: str | None = None) -> Decision:
        """Return the decision on a run.

        Args:
            flops: what the run cost.
            trained_id: the trained model's own name, used when nothing else is known.

        Raises:
            UnknownOriginalError: when nothing says what the original cost.
            InputError: when the inputs contradict each other.
        """
        base_model = self.base_model or self._registered(trained_id)
        if base_model is None and self.flops is None and not self.inestimable:
            named = (
                f"{trained_id!r} is not in the registry" if trained_id else "no model"
            )
            raise UnknownOriginalError(
                f"the original model's training compute is unknown ({named}); pass "
                "--base-model ID, --original-flops N, or --original unknown if nobody "
                "can estimate it"
            )
        return decide(
            flops.direct,
            flops_cumulative=flops.cumulative,
            base_model=base_model,
            original_flops=self.flops,
            systemic_risk=self.systemic_risk,
            original_is_gpai=self.is_gpai,
            original_inestimable=self.inestimable,
        )

    def _registered(self, trained_id: str | None) -> str | None:
        if trained_id is None or self.flops is not None or self.inestimable:
            return None
        try:
            return lookup(trained_id).model.model_id
        except UnknownModelError:
            return None
