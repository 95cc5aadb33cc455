"""Training compute of known base models, with the source of each figure."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from pathlib import Path

from flops_magic.errors import UnknownModelError
from flops_magic.flops.units import parse_decimal
from flops_magic.near_names import near
from flops_magic.registry.datafile import read_text
from flops_magic.registry.model_names import MIRRORS, spellings


class Caveat(StrEnum):
    """A doubt about a row's figure; the values are what records hold."""

    LOWER_BOUND = "LOWER BOUND"
    BORDERLINE = "BORDERLINE"
    DISAGREEMENT = "Disagreement"
    LOW_CONFIDENCE = "low confidence"


# what each caveat means for a verdict that relies on the figure; records hold these
# sentences, so they are frozen with wording "1"
CAVEATS: dict[str, str] = {
    Caveat.LOWER_BOUND: (
        "the registry's figure is a lower bound, which puts the line lower"
    ),
    Caveat.BORDERLINE: ("the original is close to what systemic risk is presumed from"),
    Caveat.DISAGREEMENT: "sources disagree on the original's compute",
    Caveat.LOW_CONFIDENCE: "the registry's figure is of low confidence",
}
_METHODS = {
    "published": "published by the developer",
    "6ND": "estimated as 6·P·D",
    "cumulative_6ND": "estimated as 6·P·D, stage by stage",
    "gpu_hours": "estimated from GPU hours",
    "inherits": "that of the model it was made from",
    "third_party": "estimated by a third party",
    "unknown": "not known",
}
# Adapters first: their folder may hold a config.json that names themselves. Both keys
# are what peft 0.21 and transformers 5.23 write into the files.
_CONFIGS = (
    ("adapter_config.json", "base_model_name_or_path"),
    ("config.json", "_name_or_path"),
)


@dataclass(frozen=True)
class BaseModel:
    """A row of the registry.

    Attributes:
        model_id: Hub id.
        aliases: other ids of the same weights, or of its provider's later stages.
        family: such as ``Llama 3.1``.
        developer: who trained it.
        params_total: parameters; None if unknown.
        params_active: parameters that one token uses; None if unknown.
        tokens: tokens processed in training; None if unknown.
        flops: training compute in FLOP; None if unknown.
        published: whether the developer states the figure.
        method: how the figure was made, such as ``6ND``.
        confidence: ``high``, ``medium`` or ``low``.
        systemic_risk: True, False, or None if unknown; the presumption by compute.
        derived_from: id of the model that it was made from; empty if none.
        other_provider: whether another provider trained what it was made from.
        caveats: doubts about its figure.
        notes: remarks for people; nothing is decided by their words.
        sources: where it was read.
        as_of: when.
    """

    model_id: str
    aliases: tuple[str, ...]
    family: str
    developer: str
    params_total: int | None
    params_active: int | None
    tokens: int | None
    flops: int | None
    published: bool
    method: str
    confidence: str
    systemic_risk: bool | None
    derived_from: str
    other_provider: bool
    caveats: tuple[Caveat, ...]
    notes: str
    sources: tuple[str, ...]
    as_of: str

    @property
    def source_text(self) -> str:
        """What the figure rests on, in a few words."""
        how = "published by the developer" if self.published else _METHODS[self.method]
        sure = f"{self.confidence} confidence"
        return f"registry {self.as_of}: {self.model_id}, {how}, {sure}"


@dataclass(frozen=True)
class Match:
    """A model found, under which id, and by which rule."""

    model: BaseModel
    matched_id: str
    rule: str


@cache
def registry() -> tuple[BaseModel, ...]:
    """Return every row."""
    rows = csv.DictReader(
        io.StringIO(read_text("flops_magic.registry", "base_models.csv"))
    )
    return tuple(_row(row) for row in rows)


def find(name: str) -> Match | None:
    """Return the base model of a name; None where the registry has none.

    Exact ids and aliases come first, then their spelling in other case, then the bare
    name without its owner, then names with what mirrors and quantisations append
    taken off, then a tuned variant of the same provider's model. A folder is looked
    up by what its ``config.json`` or ``adapter_config.json`` names.
    """
    asked = name.strip()
    if folder := _model_folder(asked):
        if (named := _named_in(folder)) is None or (match := find(named[0])) is None:
            return None
        return Match(match.model, match.matched_id, named[1])
    # the closest spelling first, so that a name's own row wins over its base model's
    for candidate, rule in spellings(asked):
        for table, how in ((_by_id(), ""), (_by_bare_name(), "without its owner")):
            if found := table.get(candidate.lower()):
                model, matched = found
                exact = rule == "as given" and not how and matched == asked
                steps = [s for s in (rule if rule != "as given" else "", how) if s]
                return Match(
                    model,
                    matched,
                    "exact" if exact else ", ".join(steps) or "other case",
                )
    return None


def lookup(name: str) -> Match:
    """Return the base model that a name means, as ``find`` does.

    Raises:
        UnknownModelError: with near names. Looking for these takes milliseconds, so
            ``find`` serves where a model may well be unknown.
    """
    if (match := find(name)) is not None:
        return match
    asked = name.strip()
    if folder := _model_folder(asked):
        if (named := _named_in(folder)) is None:
            raise UnknownModelError(
                f"the folder {str(folder)!r} does not name its base model; pass "
                "--base-model ID"
            )
        asked = named[0]
    known = (matched for _, matched in _by_id().values())
    raise UnknownModelError(
        f"no base model {asked!r} in the registry{near(asked, known)}; pass "
        "--original-flops with its training compute or --original-tokens to estimate "
        "it, or search with 'flops-magic models --search'"
    )


def chain(model: BaseModel) -> tuple[str, ...]:
    """Return what a model was made from, step by step, as far as the registry knows."""
    steps: list[str] = []
    # A mistake in the table must not make this a circle.
    while model.derived_from and model.derived_from not in steps:
        steps.append(model.derived_from)
        known = _by_id().get(model.derived_from.lower())
        if known is None:
            break
        model = known[0]
    return tuple(steps)


def search(text: str) -> list[BaseModel]:
    """Return the rows whose id, alias, family or developer holds every word."""
    words = text.lower().split()
    return [
        model
        for model in registry()
        if all(
            word
            in " ".join(
                (model.model_id, *model.aliases, model.family, model.developer)
            ).lower()
            for word in words
        )
    ]


@cache
def _by_id() -> dict[str, tuple[BaseModel, str]]:
    table: dict[str, tuple[BaseModel, str]] = {}
    for model in registry():
        for name in (model.model_id, *model.aliases):
            table.setdefault(name.lower(), (model, name))
    return table


@cache
def _by_bare_name() -> dict[str, tuple[BaseModel, str]]:
    """Return models by name without owner, where that names one model only."""
    owners: dict[str, set[str]] = {}
    table: dict[str, tuple[BaseModel, str]] = {}
    for model in registry():
        for name in (model.model_id, *model.aliases):
            bare = name.rsplit("/", 1)[-1].lower()
            owners.setdefault(bare, set()).add(model.model_id)
            table.setdefault(bare, (model, name))
    # "base" or "7b" of several providers would find any of them.
    unique = {bare: table[bare] for bare, ids in owners.items() if len(ids) == 1}
    return unique | {
        f"{owner}/{bare}": found for bare, found in unique.items() for owner in MIRRORS
    }


def _model_folder(name: str) -> Path | None:
    """Return the folder that a name means; None where it is not a folder's.

    A folder without a model, such as an empty output folder ``gpt2``, does not hide
    the model of that name.
    """
    try:
        folder = Path(name).expanduser()
        if not name or not folder.is_dir():
            return None
        holds = any((folder / file).is_file() for file, _ in _CONFIGS)
    except (OSError, RuntimeError, ValueError):  # not a path
        return None
    return folder if holds or name.lower() not in _by_id() else None


def _named_in(folder: Path) -> tuple[str, str] | None:
    """Return the id that a folder's configuration names, and where it says so."""
    # an adapter's file first: it names the base, and config.json may be a copy
    for file, key in _CONFIGS:
        path = folder / file
        if not path.is_file():
            continue
        try:
            named = json.loads(path.read_text(encoding="utf-8")).get(key)
        except (OSError, ValueError, AttributeError):  # JSON that is a list, say
            continue
        # a folder that names a folder would be followed without end
        if isinstance(named, str) and named and not Path(named).is_dir():
            return named, f"{key} in {file}"
    return None


def _row(row: dict[str, str]) -> BaseModel:
    risk = {"yes": True, "no": False}  # "unknown" becomes None
    # The developer's own figure goes before an estimate of it.
    published = _flops(row["flop_published"])
    caveats = tuple(Caveat(one) for one in row["caveats"].split(";") if one)
    if row["confidence"] == "low":
        caveats += (Caveat.LOW_CONFIDENCE,)
    return BaseModel(
        model_id=row["model_id"],
        aliases=tuple(a for a in row["aliases"].split(";") if a),
        family=row["family"],
        developer=row["developer"],
        params_total=_maybe_int(row["params_total"]),
        params_active=_maybe_int(row["params_active"]),
        tokens=_maybe_int(row["tokens"]),
        flops=published or _flops(row["flop_estimated"]),
        published=published is not None,
        method=row["method"],
        confidence=row["confidence"],
        systemic_risk=risk.get(row["systemic_risk"]),
        derived_from=row["derived_from"],
        other_provider=row["other_provider"] == "yes",
        caveats=caveats,
        notes=row["notes"],
        sources=tuple(s for s in (row["source_1"], row["source_2"]) if s),
        as_of=row["as_of"],
    )


def _maybe_int(text: str) -> int | None:
    return int(parse_decimal(text)) if text else None


def _flops(text: str) -> int | None:
    """Return FLOPs exactly as their decimal text says, without a float between."""
    if not text:
        return None
    value: Fraction = parse_decimal(text)
    return int(value)
