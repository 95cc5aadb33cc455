"""What a user says of the original model, and the decision that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TypedDict

from flops_magic.ai_act.decision import Decision
from flops_magic.ai_act.decision_table import decide, status
from flops_magic.errors import InputError, UnknownModelError, UnknownOriginalError
from flops_magic.flops.histogram import FlopTotals
from flops_magic.flops.units import parse_count
from flops_magic.near_names import near
from flops_magic.registry.base_models import lookup


class Question(TypedDict, total=False):
    """What every door takes of the original model, by name.

    Keys:
        base_model: its id, or an alias, in the registry; the trained model's own name
            by default.
        original_flops: its training compute in FLOP, such as 3.3e24; wins over the
            registry. ``unknown`` asks for the substitute threshold, which applies only
            where nobody can know or estimate the value.
        original_tokens: tokens that it was trained on, to estimate 6·P·D.
        original_parameters: P, those active for a token; the registry's or the trained
            model's by default.
        original_source: where ``original_flops`` or ``original_tokens`` were read.
        systemic_risk: whether it is classified as one with systemic risk: ``yes``,
            ``no`` or ``unknown`` (True, False); by default the registry's presumption.
        original_is_gpai: whether it is a general-purpose AI model, in the same words;
            by default 10^23 FLOP decides.
        same_provider: True where the original's own provider trains.
        union_market: False where nothing is placed on the Union market.
    """

    base_model: str | None
    original_flops: int | str | None
    original_tokens: int | str | None
    original_parameters: int | str | None
    original_source: str | None
    systemic_risk: bool | str | None
    original_is_gpai: bool | str | None
    same_provider: bool
    union_market: bool


@dataclass(frozen=True)
class Original:
    """The original model, as far as the user names it; see ``Question``.

    Attributes:
        base_model: an id or alias in the registry; None to go by the trained model.
        flops: its training compute in FLOP; None to go by the registry.
        inestimable: True where nobody can know or estimate it (substitute threshold).
        systemic_risk: its status, if the user says one.
        is_gpai: whether it is a GPAI model; None to go by 10^23 FLOP.
        source: where ``flops`` or ``tokens`` were read.
        tokens: D of its training; None without.
        parameters: P of its training; None to go by the registry or the trained model.
        same_provider: whether its own provider trains.
        union_market: whether the result is placed on the Union market.
    """

    base_model: str | None = None
    flops: int | None = None
    inestimable: bool = False
    systemic_risk: bool | str | None = None
    is_gpai: bool | str | None = None
    source: str | None = None
    tokens: int | None = None
    parameters: int | None = None
    same_provider: bool = False
    union_market: bool = True

    @classmethod
    def of(cls, **question: object) -> Original:
        """Read what a user typed; the keys are those of ``Question``.

        Raises:
            UnknownModelError: when ``base_model`` is not in the registry, and nothing
                else says what it cost.
            QuantityError: when a count is none.
            InputError: for an unknown key, or a status that is none.
        """
        _known_keys(question)
        asked: Question = question  # type: ignore[assignment]
        flops, tokens = asked.get("original_flops"), asked.get("original_tokens")
        parameters = asked.get("original_parameters")
        inestimable = flops == "unknown"
        same_provider = asked.get("same_provider", False)
        union_market = asked.get("union_market", True)
        for name in ("systemic_risk", "original_is_gpai"):
            status(name, asked.get(name))  # type: ignore[arg-type]
        found = cls(
            base_model=asked.get("base_model"),
            flops=None if flops is None or inestimable else _count(flops),
            inestimable=inestimable,
            systemic_risk=asked.get("systemic_risk"),
            is_gpai=asked.get("original_is_gpai"),
            source=asked.get("original_source"),
            tokens=None if tokens is None else _count(tokens),
            parameters=None if parameters is None else _count(parameters),
            same_provider=same_provider,
            union_market=union_market,
        )
        found._check()
        return found

    def _check(self) -> None:
        """Say now what would be said when the run is over."""
        placeholder = self.parameters or 1
        try:
            self.judge(FlopTotals(), trained_parameters=placeholder)
        except UnknownOriginalError:
            # the trained model's own name, or its size, may still tell
            if self.base_model is not None and self.flops is None and not self.tokens:
                raise

    def judge(
        self,
        flops: FlopTotals,
        trained_id: str | None = None,
        trained_parameters: int | None = None,
        on: date | None = None,
    ) -> Decision:
        """Return the decision on a run.

        Args:
            flops: what the run cost.
            trained_id: the trained model's own name, used when nothing else is known.
            trained_parameters: its parameters, adapters left out.
            on: the day of the decision; today by default.

        Raises:
            UnknownOriginalError: when nothing says what the original cost.
            InputError: when the inputs contradict each other.
        """
        base_model = self.base_model or _registered(trained_id)
        told = self.flops or self.tokens or self.inestimable
        told = told or self.same_provider or not self.union_market
        if base_model is None and not told:
            named = (
                f"{trained_id!r} is not in the registry" if trained_id else "no model"
            )
            raise UnknownOriginalError(
                f"the original model's training compute is unknown ({named}); pass "
                "--base-model ID, --original-flops N, --original-tokens N, or "
                "--original unknown if nobody can estimate it"
            )
        return decide(
            flops.direct,
            flops_cumulative=flops.cumulative,
            base_model=base_model,
            original_flops=self.flops,
            systemic_risk=self.systemic_risk,
            original_is_gpai=self.is_gpai,
            same_provider=self.same_provider,
            union_market=self.union_market,
            original_inestimable=self.inestimable,
            original_source=self.source,
            original_tokens=self.tokens,
            original_parameters=self.parameters,
            trained_parameters=trained_parameters,
            on=on,
        )


def _registered(trained_id: str | None) -> str | None:
    if trained_id is None:
        return None
    try:
        return lookup(trained_id).model.model_id
    except UnknownModelError:
        return None


def _count(value: int | str) -> int:
    return parse_count(value, minimum=1)


def _known_keys(question: dict[str, object]) -> None:
    known = list(Question.__annotations__)
    for key in question:
        if key not in known:
            raise InputError(
                f"no option {key!r}{near(key, known)}; there are {', '.join(known)}"
            )
