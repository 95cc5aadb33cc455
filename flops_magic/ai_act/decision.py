"""A decision and the facts it rests on, as they stand in a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

VERDICTS = ("below", "near", "over", "not_engaged")


@dataclass(frozen=True)
class Facts:
    """All that a decision rests on; the same facts always give the same decision.

    Attributes:
        flops_direct: compute of the modification that directly updates parameters.
        flops_cumulative: that, and what else contributed to capabilities.
        original_flops: training compute of the original; None if nobody can know it.
        original_source: who says so.
        base_model: id of the original; empty if unnamed.
        systemic_risk: whether the original is classified so; None if unknown.
        original_is_gpai: whether the original is a GPAI model; None to go by 10^23.
        same_provider: whether the original's own provider, or its agent, trains.
        union_market: whether the result is placed on the Union market.
        rules_version: version of the thresholds.
        known_on: the day of the decision, ISO 8601; a notification counts from it.
        matched: the id in the registry that was found, and by which rule.
        systemic_risk_source: who says what ``systemic_risk`` says.
        registry_flops: the registry's figure, where another one is used.
        derived_from: what another provider made the original from.
        caveats: the registry's, on its figure.
    """

    flops_direct: int
    flops_cumulative: int
    original_flops: int | None
    original_source: str
    base_model: str = ""
    systemic_risk: bool | None = None
    original_is_gpai: bool | None = None
    same_provider: bool = False
    union_market: bool = True
    rules_version: str = ""
    known_on: str = ""
    matched: str = ""
    systemic_risk_source: str = ""
    registry_flops: int | None = None
    derived_from: str = ""
    caveats: str = ""


@dataclass(frozen=True)
class Decision:
    """What the Guidelines' criterion says of a modification.

    Attributes:
        rule: row of the decision table that applies, ``row-0`` to ``row-6``.
        rows_met: rows whose threshold is exceeded, ``row-7`` (Article 51(2)) among
            them; ``row-8`` alone where none is.
        verdict: ``below``, ``near`` (the 30 % margin straddles the line), ``over``
            (strictly greater), ``not_engaged``.
        compared: FLOPs held against the threshold.
        compared_notion: ``direct``, ``cumulative`` or ``original and modification``.
        threshold: FLOP; None where no threshold applies.
        line: FLOPs of the modification at which the threshold is reached.
        line_text: the line in a few words.
        paragraph: point of the Guidelines, numbered as adopted (C(2025) 7719).
        paragraph_july: the same point as the text of July 2025 prints it.
        explanation: two sentences for people who are no engineers.
        consequence: what would follow from it; empty where nothing is said.
        flags: what counsel should look at.
        facts: what it rests on.
        wording: the version of the sentences, one of ``ai_act.wordings.WORDINGS``; a
            record without the key has the first.
    """

    # properties that a record states beside the fields, for readers who do not compute
    RECORDED: ClassVar = ("ratio", "share_of_line")

    rule: str
    rows_met: tuple[str, ...]
    verdict: str
    compared: int
    compared_notion: str
    threshold: Fraction | None
    line: Fraction | None
    line_text: str
    paragraph: str
    paragraph_july: str
    explanation: str
    consequence: str
    flags: tuple[str, ...]
    facts: Facts
    wording: str = field(default="1", metadata={"omit_default": True})

    @property
    def ratio(self) -> Fraction | None:
        """Compared FLOPs as a share of the threshold."""
        return Fraction(self.compared) / self.threshold if self.threshold else None

    @property
    def own_flops(self) -> int:
        """The modification's own FLOPs, direct or cumulative as they are compared."""
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
