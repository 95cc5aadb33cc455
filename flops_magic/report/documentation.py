"""The compute, time and energy items of the Model Documentation Form, by audience.

Each audience gets its own precision: two significant figures for the AI Office, an
order of magnitude and ranges for national authorities, and only the model's size for
downstream providers. Rounded text is shown and never compared. The form says which
items the records do not hold, and leaves them to the provider.

Source: Code of Practice for general-purpose AI, Transparency chapter, Model
Documentation Form; Annex XI and XII of the AI Act.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from flops_magic.evidence.record import ModelUse
from flops_magic.flops.units import order_of_magnitude, significant_figures
from flops_magic.report import form_precision as precision
from flops_magic.report.lineage import Lineage
from flops_magic.report.methodology import Methodology, methodology, notion_of
from flops_magic.report.resources import Resources, resources

AUDIENCES = ("ai-office", "national-authority", "downstream")
TITLES = {
    "ai-office": "AI Office",
    "national-authority": "National competent authority",
    "downstream": "Downstream providers",
}
TO_FILL_IN = "Not in the records: to be filled in by the provider"
NOTHING_FOR_DOWNSTREAM = (
    "The form has no item of compute, training time or energy for downstream "
    "providers, and Annex XII asks for none."
)


@dataclass(frozen=True)
class Item:
    """One field of the form.

    Attributes:
        section: of the form.
        name: of the field.
        answer: to be written into it, paragraph by paragraph.
        notes: beside it, for whoever fills the form in.
        filled: False where the records do not hold the answer.
    """

    section: str
    name: str
    answer: tuple[str, ...]
    notes: tuple[str, ...] = ()
    filled: bool = True


@dataclass(frozen=True)
class Documentation:
    """What the records say, as the form asks for it.

    Attributes:
        lineage: the runs, and the decision on their sum.
        used: time, devices, energy and tokens.
        method: how the compute was measured.
    """

    lineage: Lineage
    used: Resources
    method: Methodology

    @classmethod
    def of(cls, lineage: Lineage) -> Documentation:
        """Draw the documentation up from some runs."""
        used = resources(lineage)
        return cls(lineage, used, methodology(lineage, used))

    @property
    def notion(self) -> str:
        """Which notion of training compute is reported."""
        return notion_of(self.lineage)

    @property
    def flops(self) -> int:
        """The reported compute, unrounded."""
        flops = self.lineage.flops
        return flops.cumulative if self.notion == "cumulative" else flops.direct

    @property
    def counted(self) -> bool:
        """Whether there is a figure: a lower bound of zero tells nothing."""
        return self.flops > 0 or self.lineage.complete

    def figure(self, rounded: Callable[[int], str]) -> str:
        """Return the reported compute as text, a lower bound as one; N/A without."""
        if not self.counted:
            return "N/A"
        return f"{self.at_least}{rounded(self.flops)}"

    @property
    def at_least(self) -> str:
        """The words before a lower bound; empty where everything was counted."""
        return "" if self.lineage.complete else "at least "

    @cached_property
    def trained(self) -> tuple[ModelUse, ...]:
        """Every model that the last run trained; that is what is released."""
        return tuple(
            use
            for use in self.lineage.members[-1].record.models
            if use.role == "trained"
        )

    @cached_property
    def trained_from(self) -> tuple[str, ...]:
        """What the runs loaded, with its revision, in order of the runs."""
        return tuple(
            dict.fromkeys(
                f"{use.id}, revision {use.revision or 'not recorded'}"
                for use in self._trained_in_runs
            )
        )

    @cached_property
    def _trained_in_runs(self) -> tuple[ModelUse, ...]:
        return tuple(
            use
            for member in self.lineage.members
            for use in member.record.models
            if use.role == "trained"
        )

    @property
    def parameters(self) -> int | None:
        """Parameters of the trained model; None if they are not one number."""
        sizes = [use.profile.parameters_total for use in self.trained if use.profile]
        # Two trained models (an actor and a critic) are two sizes, and the records do
        # not say which of them is released.
        return sizes[0] if len(sizes) == 1 == len(self.trained) else None

    @property
    def base_model(self) -> str:
        """The original that the decision names; empty if it names none."""
        decision = self.lineage.decision
        return decision.facts.base_model if decision else ""

    @cached_property
    def dependencies(self) -> tuple[str, ...]:
        """Models that this one is a modification of: id, and revision."""
        base = self.base_model
        # Training often loads a checkpoint of the original under another name; then
        # both are named, and the reader sees which is which.
        if not base or base in {use.id for use in self._trained_in_runs}:
            return self.trained_from
        held = f"{base} (the original that the compute is held against)"
        return held, *(f"{one} (what training loaded)" for one in self.trained_from)


def two_figures(value: int) -> str:
    """Return a compute with two significant figures and its unit."""
    return f"{significant_figures(value, 2)} floating point operations"


def magnitude(value: int) -> str:
    """Return the order of magnitude of a compute and its unit."""
    return f"{order_of_magnitude(value)} floating point operations"


def size_text(documentation: Documentation, *, exact: bool) -> str:
    """Return the model's size as one audience reads it; N/A if it is unknown."""
    parameters = documentation.parameters
    if not parameters:
        return "N/A"
    if exact:
        return f"{significant_figures(parameters, 2)} parameters"
    return f"{precision.size_range(parameters)} parameters"
