"""Rows of the registry as text: one in full, or many, a line each."""

from __future__ import annotations

from flops_magic.ai_act.thresholds import law
from flops_magic.display.text import field_text
from flops_magic.errors import InputError
from flops_magic.flops.units import count_text, flop_text
from flops_magic.registry.base_models import BaseModel, Match, chain, search

_RISK = {True: "yes", False: "no", None: "unknown"}


def base_model_text(match: Match) -> str:
    """Return all that the registry knows of a model, and how it was found."""
    model = match.model
    fields = [
        ("found as", f"{match.matched_id} ({match.rule})"),
        ("compute", _compute(model)),
        ("rests on", model.source_text),
        ("size", _size(model)),
        ("systemic risk", f"{_RISK[model.systemic_risk]} (presumption by compute)"),
        ("developer", model.developer),
    ]
    if steps := chain(model):
        whose = "another provider's" if model.other_provider else "an earlier stage"
        fields.append(("made from", f"{', from '.join(steps)} ({whose})"))
    fields.append(("notes", model.notes))
    fields += [("source", source) for source in model.sources]
    return "\n".join([model.model_id, *(field_text(*field) for field in fields)])


def found_lines(words: str, most: int | None = None) -> str:
    """Search the base models, and return a line for each that was found.

    Args:
        words: of id, family or developer; nothing finds all.
        most: show so many; None for all.

    Raises:
        InputError: when none has all the words.
    """
    found = search(words)
    if not found:
        raise InputError(
            f"no base model has all the words of {words!r}; try fewer of them"
        )
    lines = [
        f"{model.model_id:<56} "
        f"{flop_text(model.flops) if model.flops else 'unknown':<18} {model.confidence}"
        for model in found[:most]
    ]
    if more := len(found[len(found) if most is None else most :]):
        lines.append(f"… and {more} more; add a word")
    return "\n".join(lines)


def _compute(model: BaseModel) -> str:
    if model.flops is None:
        return (
            "unknown; with the tokens that it was trained on, --original-tokens "
            "estimates it"
        )
    # The line of the common case, rows 2 and 4; the card of a run names its own row.
    third = flop_text(law().modification_share * model.flops)
    return f"{flop_text(model.flops)}; the line for a modification: {third}"


def _size(model: BaseModel) -> str:
    total, active = model.params_total, model.params_active
    parts = [f"{count_text(total)} parameters" if total else "parameters unknown"]
    if active and active != total:
        parts.append(f"{count_text(active)} active for a token")
    tokens = f"{count_text(model.tokens)} tokens" if model.tokens else "tokens unknown"
    return ", ".join([*parts, tokens])
