"""A decision and the facts it rests on, as a record holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import ClassVar


class OriginalBasis(StrEnum):
    """What the figure of the original's training compute rests on."""

    GIVEN = "given"
    SIX_PD = "six_pd"
    REGISTRY_PUBLISHED = "registry_published"
    REGISTRY_ESTIMATED = "registry_estimated"
    INESTIMABLE = "inestimable"
    NOT_NEEDED = "not_needed"

    @property
    def of_registry(self) -> bool:
        """Whether the registry's own figure is used, with the doubts about it."""
        return self in (self.REGISTRY_PUBLISHED, self.REGISTRY_ESTIMATED)


@dataclass(frozen=True, kw_only=True)
class OriginalFacts:
    """What is known of the original model, whatever is trained from it.

    ``OriginalModel.resolve`` makes it once; each decision of a run then holds the
    modification's FLOPs against it.

    Attributes:
        base_model: id of the original; empty if unnamed.
        original_flops: its training compute; None if it is unknown.
        original_source: who says so, in words for people.
        original_basis: the same for the rules; None in records older than the field.
        systemic_risk: whether it is classified so; None if unknown.
        systemic_risk_source: who says what ``systemic_risk`` says.
        original_is_gpai: whether it is a GPAI model; None to go by 10^23.
        same_provider: whether its own provider, or that one's agent, trains.
        union_market: whether the result is placed on the Union market.
        matched: the id in the registry that was found, and by which rule.
        registry_flops: the registry's figure, where another one is used.
        derived_from: what another provider made the original from.
        caveats: the registry's, on its figure.
    """

    base_model: str = ""
    original_flops: int | None = None
    original_source: str = ""
    original_basis: OriginalBasis | None = field(
        default=None, metadata={"omit_default": True}
    )
    systemic_risk: bool | None = None
    systemic_risk_source: str = ""
    original_is_gpai: bool | None = None
    same_provider: bool = False
    union_market: bool = True
    matched: str = ""
    registry_flops: int | None = None
    derived_from: str = ""
    caveats: str = ""

    @property
    def basis(self) -> OriginalBasis:
        """What the figure rests on, in records of every version."""
        return self.original_basis or _basis_of_0_1_0(self.original_source)


@dataclass(frozen=True, kw_only=True)
class Facts(OriginalFacts):
    """All that a decision rests on; the same facts always give the same decision.

    Attributes:
        flops_direct: compute of the modification that directly updates parameters.
        flops_cumulative: that, and what else contributed to capabilities.
        rules_version: version of the thresholds.
        known_on: the day of the decision, ISO 8601; a notification counts from it.
    """

    flops_direct: int
    flops_cumulative: int
    rules_version: str = ""
    known_on: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A modification held against its line, in numbers.

    Attributes:
        rule: row of the decision table that applies, ``row-0`` to ``row-6``.
        verdict: ``below``, ``near`` (the 30 % margin straddles the line), ``over``
            (strictly greater), ``not_engaged``.
        compared: FLOPs held against the threshold.
        compared_notion: ``direct``, ``cumulative`` or ``original and modification``.
        threshold: FLOP; None where no threshold applies.
        line: FLOPs of the modification at which the threshold is reached.
        line_text: the line in a few words.
        facts: what it rests on.
    """

    rule: str
    verdict: str
    compared: int
    compared_notion: str
    threshold: Fraction | None
    line: Fraction | None
    line_text: str
    facts: Facts

    @property
    def ratio(self) -> Fraction | None:
        """Compared FLOPs as a share of the threshold."""
        # A fraction: three times a count of 10^24 is beyond what a float tells apart.
        return Fraction(self.compared) / self.threshold if self.threshold else None

    @property
    def own_flops(self) -> int:
        """The modification's own FLOPs, direct or cumulative as they are compared."""
        # In row 6 the original is part of ``compared``; the line is what is left for
        # the modification, so only its own FLOPs are held against it.
        cumulative = self.compared_notion == "cumulative"
        facts = self.facts
        return facts.flops_cumulative if cumulative else facts.flops_direct

    @property
    def share_of_line(self) -> Fraction | None:
        """The modification's own FLOPs as a share of the line."""
        return Fraction(self.own_flops) / self.line if self.line else None

    @property
    def share_of_original(self) -> Fraction | None:
        """Compared FLOPs as a share of the original's training compute."""
        original = self.facts.original_flops
        return Fraction(self.compared, original) if original else None


@dataclass(frozen=True, kw_only=True)
class Decision(Comparison):
    """What the Guidelines' criterion says of a modification: numbers and sentences.

    Attributes:
        rows_met: rows whose threshold is exceeded, ``row-7`` (Article 51(2)) among
            them; ``row-8`` alone where none is.
        paragraph: point of the Guidelines, numbered as adopted (C(2025) 7719).
        paragraph_july: the same point as the text of July 2025 prints it.
        explanation: two sentences for readers who are not engineers.
        consequence: what would follow from it; empty where nothing is said.
        flags: what counsel should look at.
        wording: the version of the sentences, one of ``ai_act.wordings.WORDINGS``; a
            record without the key has the first.
    """

    # properties that a record states beside the fields, for readers who do not compute
    RECORDED: ClassVar = ("ratio", "share_of_line")

    rows_met: tuple[str, ...]
    paragraph: str
    paragraph_july: str
    explanation: str
    consequence: str
    flags: tuple[str, ...]
    wording: str = field(default="1", metadata={"omit_default": True})


def _basis_of_0_1_0(source: str) -> OriginalBasis:
    """Return the basis that a record of version 0.1.0 holds as a sentence only.

    That version wrote these five forms and no other, so what follows from its records
    stays as it was. Nothing written since is read by its words.
    """
    if source.startswith("registry "):
        published = ", published by the developer, " in source
        return (
            OriginalBasis.REGISTRY_PUBLISHED
            if published
            else OriginalBasis.REGISTRY_ESTIMATED
        )
    if source.startswith("given by the user"):
        return OriginalBasis.GIVEN
    if source.startswith("estimated as 6·P·D"):
        return OriginalBasis.SIX_PD
    if source == "declared unknown and not estimable":
        return OriginalBasis.INESTIMABLE
    return OriginalBasis.NOT_NEEDED
