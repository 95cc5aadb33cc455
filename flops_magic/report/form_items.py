"""The fields of the Model Documentation Form that a record can answer.

Each function answers one field for one audience. Descriptions of the fields and their
precision: Model Documentation Form, sections "General", "Model properties", "Data",
"Computational resources (during training)" and "Energy consumption".
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from flops_magic.flops.units import significant_figures
from flops_magic.report import form_precision as precision
from flops_magic.report.documentation import (
    AUDIENCES,
    NOTHING_FOR_DOWNSTREAM,
    TO_FILL_IN,
    Documentation,
    Item,
    magnitude,
    size_text,
    two_figures,
)

_GENERAL = "General information"
_PROPERTIES = "Model properties"
_DATA = "Data used for training, testing and validation"
_COMPUTE = "Computational resources (during training)"
_ENERGY = "Energy consumption (during training and inference)"
ENERGY_METHOD = (
    "Read from the devices' own sensors ({by}), from the start of tracking to its end, "
    "for the accelerator boards that the training process could see. Processors, "
    "memory, network, cooling and power conversion are not included. A board's counter "
    "also holds what others ran on it meanwhile."
)


def forms(made: Documentation, audience: str = "all") -> dict[str, tuple[Item, ...]]:
    """Return the form of one audience, or of each, by audience."""
    wanted = AUDIENCES if audience == "all" else (audience,)
    return {name: items(made, name) for name in wanted}


def items(made: Documentation, audience: str) -> tuple[Item, ...]:
    """Return the fields of one audience's form, in the form's order."""
    # Annex XII and the form ask nothing of compute for them. Their model size is a
    # range, since the exact one is for the AI Office.
    if audience == "downstream":
        return (
            _name(),
            _dependencies(made),
            _size(made, exact=False),
            Item(_COMPUTE, "Compute, training time, energy", (NOTHING_FOR_DOWNSTREAM,)),
        )
    exact = audience == "ai-office"
    return (
        _name(),
        _dependencies(made),
        _size(made, exact=exact),
        _data_points(made, exact=exact),
        # National authorities see ranges: figures of one audience may not leak into
        # another's form.
        _training_time(made) if exact else _training_range(made),
        _compute(made, exact=exact),
        Item(_COMPUTE, "Measurement methodology", made.method.sentences()),
        _energy(made),
        _energy_method(made),
        Item(
            _ENERGY,
            "Benchmarked amount of computation used for inference, and its methodology",
            (f"{TO_FILL_IN} (training is measured, inference is not).",),
            filled=False,
        ),
    )


def _name() -> Item:
    return Item(
        _GENERAL,
        "Model name",
        (f"{TO_FILL_IN}: the modified model's own name and its versions.",),
        filled=False,
    )


def _dependencies(made: Documentation) -> Item:
    notes = []
    decision = made.lineage.decision
    if decision and decision.facts.derived_from:
        notes.append(f"{made.base_model} was made from {decision.facts.derived_from}.")
    # Row 6 of the decision table: the original falls outside Chapter V, so the form's
    # item on modified models does not apply.
    if decision and decision.rule == "row-6":
        notes.append(
            "By its compute or by declaration, the original is not a general-purpose "
            "AI model; if so, the form asks for N/A here."
        )
    if not made.dependencies:
        lacking = "the models that this one is a modification of"
        return Item(
            _GENERAL, "Model dependencies", (f"{TO_FILL_IN}: {lacking}.",), filled=False
        )
    return Item(_GENERAL, "Model dependencies", made.dependencies, tuple(notes))


def _size(made: Documentation, *, exact: bool) -> Item:
    name = f"Total model size ({'exact' if exact else 'range'})"
    answer = size_text(made, exact=exact)
    methods = {use.profile.method for use in made.trained if use.profile}
    notes = []
    # A reader would otherwise compare the figure with the original's and wonder.
    if methods & {"lora", "qlora"}:
        notes.append("Adapters are included.")
    if not exact:
        notes.append("A range holds its upper end; the form does not say.")
    if answer == "N/A":
        trained = ", ".join(use.id for use in made.trained) or "no model"
        answer = f"{TO_FILL_IN}: the parameters of one released model ({trained})."
        return Item(_PROPERTIES, name, (answer,), filled=False)
    return Item(_PROPERTIES, name, (answer,), tuple(notes))


def _data_points(made: Documentation, *, exact: bool) -> Item:
    used = made.used
    known = used.positions if used.tokens is None else used.tokens
    padding = "padding included" if used.tokens is None else "without padding"
    name = "Number of data points"
    rest = f"Testing, validation: {TO_FILL_IN[0].lower()}{TO_FILL_IN[1:]}."
    notes = ["Tokens that training processed: one that was seen in each of two epochs,"]
    notes[0] += " or in two runs, counts twice. The record cannot tell them apart."
    if not known:
        answer = f"Training: {TO_FILL_IN[0].lower()}{TO_FILL_IN[1:]}."
        return Item(_DATA, name, (answer, rest), filled=False)
    # Two figures for the AI Office, one for national authorities, as the form says.
    figures = significant_figures(known, 2 if exact else 1)
    outcomes = [member.record.run.outcome for member in made.lineage.members]
    # A journal ends some seconds before its run did.
    bound = "at least " if "recovered" in outcomes else ""
    answer = f"Training: {bound}{figures} tokens ({padding})."
    return Item(_DATA, name, (answer, rest), tuple(notes))


def _period(made: Documentation) -> str:
    members = made.lineage.members
    start = members[0].record.run.started_at[:10]
    end = max(member.record.run.ended_at for member in members)[:10]
    when = f"on {start}" if start == end else f"between {start} and {end}"
    runs = "the tracked run" if len(members) == 1 else f"{len(members)} tracked runs"
    text = (
        f"{runs[0].upper()}{runs[1:]} {when} (UTC), from the start of tracking to its "
        "end: loading, evaluation and checkpoints in it are included, pauses between "
        "runs are not."
    )
    if made.used.overlapping:
        text += " The runs overlap in time; the hours that they share count once."
    return text


def _training_time(made: Documentation) -> Item:
    used = made.used
    wall = significant_figures(precision.days(used.wall_clock_s), 2)
    hardware = [
        f"{significant_figures(precision.days(device_s), 2)} {name} days"
        for name, device_s in used.device_s.items()
    ]
    missing = "; ".join(used.devices_missing)
    bound = "at least " if missing else ""
    text = f"{bound}{' and '.join(hardware)}" if hardware else f"N/A ({missing})"
    return Item(
        _COMPUTE,
        "Training time",
        (
            f"Period: {_period(made)}",
            f"Wall clock: {wall} days.",
            f"Hardware: {text}.",
        ),
        (f"Not all devices are known: {missing}.",) if hardware and missing else (),
    )


def _training_range(made: Documentation) -> Item:
    return Item(
        _COMPUTE,
        "Training time",
        (f"{precision.time_range(made.used.wall_clock_s).capitalize()}.",),
        (f"A month is taken as {precision.MONTH_DAYS} days; the form does not say.",),
    )


def _compute(made: Documentation, *, exact: bool) -> Item:
    name = "Amount of computation used for training"
    # "0" would be read as a measurement, and nothing was measured.
    if not made.counted:
        gaps = "; ".join(made.method.gaps) or made.lineage.undecided
        lacking = f"{TO_FILL_IN}: no pass could be counted ({gaps})."
        return Item(_COMPUTE, name, (lacking,), filled=False)
    write = two_figures if exact else magnitude
    notes = [
        "Of the modification alone, as "
        + {
            "direct": "compute directly contributing to parameter updates.",
            "cumulative": "cumulative training compute.",
        }[made.notion]
    ]
    if not exact:
        notes.append("The power of ten below the value; the form does not say which.")
    flops = made.lineage.flops
    # The Guidelines define both notions; where they differ a reader needs both.
    if flops.direct != flops.cumulative:
        other = flops.direct if made.notion == "cumulative" else flops.cumulative
        word = "Direct" if made.notion == "cumulative" else "Cumulative"
        notes.append(f"{word}: {made.at_least}{write(other)}.")
    if not made.lineage.complete:
        notes.append("A lower bound: not everything that ran could be counted.")
    figure = made.figure(write)
    answer = f"{figure[0].upper()}{figure[1:]}."
    return Item(_COMPUTE, name, (answer,), tuple(notes))


def energy_mwh(made: Documentation) -> str:
    """Return the energy as the form asks for it: 1.0x10^2, or N/A."""
    if made.used.energy_j is None:
        return "N/A"
    return significant_figures(precision.megawatt_hours(made.used.energy_j), 2)


def _energy(made: Documentation) -> Item:
    text = energy_mwh(made)
    answer = text if text == "N/A" else f"{text} MWh."
    return Item(_ENERGY, "Amount of energy used for training", (answer,))


def _energy_method(made: Documentation) -> Item:
    return Item(_ENERGY, "Measurement methodology", tuple(energy_method(made)))


def energy_method(made: Documentation) -> Iterator[str]:
    """Yield how energy was measured, or the type of information that is lacking."""
    used = made.used
    if used.energy_j is not None:
        yield ENERGY_METHOD.format(by=", ".join(used.energy_by))
        return
    lacking = "; ".join(used.energy_missing) or "no device was metered"
    yield (
        "Lacking: the energy that the computing hardware drew, as its provider or its "
        f"sensors would report it ({lacking})."
    )
    if used.energy_known_j > Fraction(0):
        known = significant_figures(precision.megawatt_hours(used.energy_known_j), 2)
        yield f"Known in part: {known} MWh, by {', '.join(used.energy_by)}."
