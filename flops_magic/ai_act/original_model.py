"""The original model: what a user says of it, and the facts that follow.

What was typed becomes one frozen ``OriginalModel``; that becomes ``OriginalFacts`` once
the trained model's own name and size are known, by one look into the registry. From
there on only FLOPs are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from flops_magic.ai_act.decision import OriginalBasis, OriginalFacts
from flops_magic.ai_act.original_compute import (
    OriginalCompute,
    by_six_pd,
    given,
    registered,
)
from flops_magic.ai_act.original_options import (
    OriginalOptions,
    Status,
    count,
    refuse_unknown,
    status,
)
from flops_magic.ai_act.thresholds import Law, presumed_high_impact
from flops_magic.errors import InputError, UnknownOriginalError
from flops_magic.registry.base_models import BaseModel, Match, find, lookup


@dataclass(frozen=True, kw_only=True)
class OriginalModel:
    """What the user says of the original model, read and free of contradictions.

    The names are those of ``OriginalOptions``, with what these may say of them.

    Attributes:
        base_model: an id or alias in the registry; None to go by the trained model.
        original_flops: its training compute in FLOP; None to go by the registry.
        original_tokens: D of its training; None without.
        original_parameters: P of its training; None to go by the registry or the
            trained model.
        original_source: where ``original_flops`` or ``original_tokens`` were read.
        original_inestimable: True where its compute can neither be known nor estimated.
        systemic_risk: its status; None to go by the registry and by 10^25 FLOP.
        original_is_gpai: whether it is a GPAI model; None to go by 10^23 FLOP.
        same_provider: whether its own provider trains.
        union_market: whether the result is placed on the Union market.

    Raises:
        InputError: when what is said contradicts itself.
    """

    base_model: str | None = None
    original_flops: int | None = None
    original_tokens: int | None = None
    original_parameters: int | None = None
    original_source: str | None = None
    original_inestimable: bool = False
    systemic_risk: Status = None
    original_is_gpai: bool | None = None
    same_provider: bool = False
    union_market: bool = True

    def __post_init__(self) -> None:
        # Contradictions are refused before training, while the user can mend them.
        told = self.original_flops is not None or self.original_tokens is not None
        if self.original_flops is not None and self.original_tokens is not None:
            raise InputError(
                "original_flops and original_tokens both say what the original cost; "
                "pass the one that you know better"
            )
        if self.original_parameters is not None and self.original_tokens is None:
            raise InputError(
                "original_parameters goes with original_tokens, to estimate 6·P·D; "
                "pass both (--original-tokens 9T)"
            )
        if self.original_source is not None and not told:
            raise InputError(
                "original_source says where a figure is from; pass original_flops or "
                "original_tokens too"
            )
        if self.original_inestimable and told:
            raise InputError(
                "the substitute threshold is refused: original_flops or "
                "original_tokens makes the original's compute known (point 61)"
            )
        self._no_contradiction(self.systemic_risk is True)

    @classmethod
    def of(cls, **options: object) -> OriginalModel:
        """Read what a user typed, and refuse now what no run could make good.

        Args:
            options: those of ``OriginalOptions``.

        Raises:
            UnknownModelError: when ``base_model`` is not in the registry, and nothing
                else says what it cost.
            UnknownOriginalError: when the registry knows it, but not what it cost.
            QuantityError: for a count that cannot be read.
            InputError: for an unknown key, an unknown word, or a contradiction.
        """
        refuse_unknown(options)
        # One word for users, two fields for the rules: a count stays a count.
        inestimable = options.get("original_flops") == "unknown"
        if inestimable:
            options = options | {"original_flops": None}
        typed: OriginalOptions = options  # type: ignore[assignment]
        said = cls.read(original_inestimable=inestimable, **typed)
        if said.base_model is not None:  # else the trained model's name may tell
            try:
                # A misspelt model is told now, with near names, and not after hours of
                # training.
                said.resolve()
            except UnknownOriginalError:
                if not said.asks_trained_size:  # else its size may
                    raise
        return said

    @classmethod
    def read(
        cls,
        *,
        base_model: str | None = None,
        original_flops: int | str | None = None,
        original_tokens: int | str | None = None,
        original_parameters: int | str | None = None,
        original_source: str | None = None,
        original_inestimable: bool = False,
        systemic_risk: bool | str | None = None,
        original_is_gpai: bool | str | None = None,
        same_provider: bool = False,
        union_market: bool = True,
    ) -> OriginalModel:
        """Read counts and words; the registry is not asked.

        Raises:
            QuantityError: for a count that cannot be read.
            InputError: for an unknown word, or a contradiction.
        """
        gpai = status("original_is_gpai", original_is_gpai)
        return cls(
            base_model=base_model or None,
            original_flops=count(original_flops),
            original_tokens=count(original_tokens),
            original_parameters=count(original_parameters),
            original_source=original_source,
            original_inestimable=original_inestimable,
            systemic_risk=status("systemic_risk", systemic_risk),
            original_is_gpai=None if gpai == "unknown" else gpai,
            same_provider=same_provider,
            union_market=union_market,
        )

    @property
    def asks_trained_name(self) -> bool:
        """Whether the trained model's own name is looked up."""
        return self.base_model is None

    @property
    def asks_trained_size(self) -> bool:
        """Whether the trained model's size may serve as P of 6·P·D."""
        return self.original_tokens is not None and self.original_parameters is None

    def resolve(
        self,
        trained_id: str | None = None,
        trained_parameters: int | None = None,
        *,
        numbers: Law | None = None,
    ) -> OriginalFacts:
        """Return what is known of the original, by one look into the registry.

        Args:
            trained_id: the trained model's own name; looked up without ``base_model``.
            trained_parameters: its parameters, adapters left out.
            numbers: the version of the rules; the one in force today by default.

        Raises:
            UnknownModelError: when ``base_model`` is not in the registry, and nothing
                else says what it cost.
            UnknownOriginalError: when nothing says what it cost.
            InputError: when the registry contradicts what the user says.
        """
        match = self._match(trained_id)
        row = match.model if match else None
        cost = self._compute(row, trained_parameters)
        if cost.flops is None and self._needs_compute:
            raise UnknownOriginalError(self._nothing_says(row, trained_id))
        risk, risk_source = self._risk(row, cost, numbers)
        self._no_contradiction(risk is True)
        return OriginalFacts(
            base_model=row.model_id if row else self.base_model or "",
            original_flops=cost.flops,
            original_source=cost.source,
            original_basis=cost.basis,
            systemic_risk=risk,
            systemic_risk_source=risk_source,
            original_is_gpai=self.original_is_gpai,
            same_provider=self.same_provider,
            union_market=self.union_market,
            matched=f"{match.matched_id!r}, {match.rule}" if match else "",
            registry_flops=row.flops if row and self._says_compute else None,
            derived_from=row.derived_from if row and row.other_provider else "",
            caveats="; ".join(row.caveats) if row else "",
        )

    @property
    def _needs_compute(self) -> bool:
        """Whether a row of the decision table asks for the original's compute."""
        return (
            not self.original_inestimable
            and not self.same_provider
            and self.union_market
        )

    @property
    def _says_compute(self) -> bool:
        return self.original_flops is not None or self.original_tokens is not None

    def _match(self, trained_id: str | None) -> Match | None:
        """Return the registry's row; it must exist only where its figure is needed."""
        if self.base_model is not None:
            # With a figure of the user's own, an id that the registry lacks is only a
            # name.
            if self._needs_compute and not self._says_compute:
                return lookup(self.base_model)
            return find(self.base_model)
        match = find(trained_id) if trained_id else None
        # records name the row's own id here, by which it was found since 0.1.0
        return Match(match.model, match.model.model_id, "exact") if match else None

    def _compute(
        self, row: BaseModel | None, trained_parameters: int | None
    ) -> OriginalCompute:
        """Return what the original cost, by the best that is known."""
        if self.original_flops is not None:
            return given(self.original_flops, self.original_source)
        if self.original_tokens is not None:
            return by_six_pd(
                self.original_tokens,
                self.original_source,
                parameters=self.original_parameters,
                row=row,
                trained_parameters=trained_parameters,
            )
        cost = registered(row)
        if not self.original_inestimable:
            return cost
        if cost.flops is not None:
            raise InputError(
                f"the substitute threshold is refused: the original's compute is "
                f"{cost.flops} FLOP ({cost.source}); it applies only where the value "
                "can neither be known nor estimated (point 61)"
            )
        return OriginalCompute(
            None, OriginalBasis.INESTIMABLE, "declared unknown and not estimable"
        )

    def _risk(
        self, row: BaseModel | None, cost: OriginalCompute, numbers: Law | None
    ) -> tuple[bool | None, str]:
        """Return whether the original carries systemic risk, and who says so."""
        if self.systemic_risk is not None:
            # "unknown" is an answer: the registry's presumption is then left aside, and
            # the decision table compares the larger figure.
            risk = None if self.systemic_risk == "unknown" else self.systemic_risk
            return risk, "given by the user"
        if row is None or row.systemic_risk is None:
            return None, ""
        if self._says_compute and presumed_high_impact(cost.flops or 0, numbers):
            # the registry presumes by its own figure, which is not used here
            return None, ""
        return row.systemic_risk, "registry: presumption by compute"

    def _no_contradiction(self, systemic_risk: bool) -> None:
        if systemic_risk and self.original_is_gpai is False:
            raise InputError(
                "a model with systemic risk is a general-purpose AI model; pass either "
                "systemic_risk=False or original_is_gpai=True"
            )

    def _nothing_says(self, row: BaseModel | None, trained_id: str | None) -> str:
        if row is None and trained_id is not None:
            return (
                "the original model's training compute is unknown "
                f"({trained_id!r} is not in the registry); pass --base-model ID, "
                "--original-flops N, --original-tokens N, or --original unknown if "
                "nobody can estimate it"
            )
        who = f"the registry knows {row.model_id!r} but not" if row else "nothing says"
        name = "" if row else "base_model (--base-model ID), "
        return (
            f"{who} what the original's training cost; pass {name}original_flops "
            "(--original-flops), the tokens it was trained on to estimate 6·P·D "
            "(--original-tokens), or declare it unknown and not estimable "
            "(--original unknown)"
        )
