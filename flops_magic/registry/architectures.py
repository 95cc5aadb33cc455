"""Shapes of known base models, so that a pass can be counted without a download.

Each row of ``data/architectures.jsonl`` holds the fields that a model's ``config.json``
needs for its operations to be counted, the parameters that the model then has, and
where the fields were read. ``tools/check_architectures.py`` builds every row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from flops_magic.registry.base_models import find
from flops_magic.registry.datafile import read_text

FILE = "architectures.jsonl"


@dataclass(frozen=True)
class Architecture:
    """The shapes of one model.

    Attributes:
        model_id: Hub id, also that of its row in the registry of base models.
        aliases: other ids of models with the same shapes.
        model_type: transformers' name of the kind of model, such as ``llama``.
        config: fields of its configuration, shapes first of all.
        parameters: logical parameters of the model that these fields build.
        confidence: ``high``, ``medium`` or ``low``.
        note: why ``parameters`` differs from the published figure; empty if not.
        sources: where the fields were read.
        as_of: when.
    """

    model_id: str
    aliases: tuple[str, ...]
    model_type: str
    config: Mapping[str, Any]
    parameters: int
    confidence: str
    note: str
    sources: tuple[str, ...]
    as_of: str

    @property
    def source_text(self) -> str:
        """Where the shapes come from, in a few words."""
        return (
            f"shapes of {self.model_id} as published ({self.confidence} confidence, "
            f"as of {self.as_of})"
        )


@cache
def architectures() -> tuple[Architecture, ...]:
    """Return every row."""
    # read on demand: most runs have a live model, and need no shapes
    text = read_text("flops_magic.registry", FILE)
    return tuple(_row(json.loads(line)) for line in text.splitlines())


def find_architecture(name: str) -> Architecture | None:
    """Return the shapes of the model that a name means; None where none are shipped.

    A name is read as ``base_models.find`` reads it. A known alias whose shapes are
    not those of its base model, such as one with more tokens in its vocabulary, has no
    row here.

    Args:
        name: a Hub id, an alias, a mirror's or a quantisation's name; or a folder with
            an adapter, which names its base model.
    """
    match = find(name)
    if match is None:
        return None
    # by the alias that was matched, not by its base model: tuned models may have a
    # larger vocabulary, and vision models share their text model's row of compute
    return _by_id().get(match.matched_id.lower())


@cache
def _by_id() -> dict[str, Architecture]:
    return {
        name.lower(): row
        for row in architectures()
        for name in (row.model_id, *row.aliases)
    }


def _row(row: Mapping[str, Any]) -> Architecture:
    return Architecture(
        model_id=row["model_id"],
        aliases=tuple(row["aliases"]),
        model_type=row["model_type"],
        config=row["config"],
        parameters=row["parameters"],
        confidence=row["confidence"],
        note=row.get("note", ""),
        sources=tuple(row["sources"]),
        as_of=row["as_of"],
    )
