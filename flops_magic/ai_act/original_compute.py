"""What is known of the original model: its training compute, and who says so.

A figure that the user gives wins, and is kept with its source; then an estimate as
6·P·D from tokens that the user gives; then the registry. The substitute threshold is
no answer here: it has to be asked for, and is refused where one of these knows.
"""

from __future__ import annotations

from dataclasses import replace

from flops_magic.ai_act.decision import Facts
from flops_magic.ai_act.thresholds import law, presumed_high_impact
from flops_magic.errors import InputError, UnknownModelError, UnknownOriginalError
from flops_magic.flops.formulas import six_pd
from flops_magic.flops.units import grouped, parse_count
from flops_magic.registry.base_models import BaseModel, Match, lookup


def with_original(
    facts: Facts,
    *,
    flops: int | str | None,
    source: str | None,
    tokens: int | str | None,
    parameters: int | str | None,
    trained_parameters: int | None,
    inestimable: bool,
    ask_registry_for_risk: bool,
) -> Facts:
    """Return the facts with what is known of the original.

    Args:
        facts: what is known besides; ``base_model`` as it was typed.
        flops: the original's training compute, if the user knows it.
        source: where the user has ``flops`` or ``tokens`` from.
        tokens: D of its training, to estimate 6·P·D.
        parameters: P, if neither registry nor trained model tell.
        trained_parameters: parameters of the model that is trained, adapters not.
        inestimable: whether the substitute threshold is asked for.
        ask_registry_for_risk: whether the registry's presumption counts.

    Raises:
        UnknownModelError: when the base model is not in the registry, and nothing else
            says what it cost.
        UnknownOriginalError: when nothing says what it cost.
        InputError: when the inputs contradict each other.
    """
    _consistent(flops, source, tokens, parameters, inestimable)
    needed = not inestimable and not facts.same_provider and facts.union_market
    match = _registered(facts.base_model, needed and flops is None and tokens is None)
    row = match.model if match else None
    if match is not None:
        facts = _with_row(facts, match, ask_registry_for_risk)
    if flops is not None:
        value: int | None = parse_count(flops, minimum=1)
        text = f"given by the user{f': {source}' if source else ''}"
    elif tokens is not None:
        value, text = _by_six_pd(tokens, source, parameters, row, trained_parameters)
    else:
        value = row.flops if row else None
        text = row.source_text if row and value is not None else ""
    given = flops is not None or tokens is not None
    if given and value is not None:
        facts = _beside_the_registry(facts, value, row)
    if inestimable:
        if value is not None:
            raise InputError(
                f"the substitute threshold is refused: the original's compute is "
                f"{value} FLOP ({text}); it applies only where the value can neither "
                "be known nor estimated (point 61)"
            )
        text = "declared unknown and not estimable"
    elif value is None and needed:
        raise UnknownOriginalError(_nothing_says(facts, row))
    if facts.original_is_gpai is False and facts.systemic_risk:
        raise InputError(
            "a model with systemic risk is a general-purpose AI model; pass either "
            "systemic_risk=False or original_is_gpai=True"
        )
    return replace(facts, original_flops=value, original_source=text)


def _consistent(
    flops: int | str | None,
    source: str | None,
    tokens: int | str | None,
    parameters: int | str | None,
    inestimable: bool,
) -> None:
    if flops is not None and tokens is not None:
        raise InputError(
            "original_flops and original_tokens both say what the original cost; pass "
            "the one that you know better"
        )
    if parameters is not None and tokens is None:
        raise InputError(
            "original_parameters goes with original_tokens, to estimate 6·P·D; pass "
            "both (--original-tokens 9T)"
        )
    if source is not None and flops is None and tokens is None:
        raise InputError(
            "original_source says where a figure is from; pass original_flops or "
            "original_tokens too"
        )
    if inestimable and (flops is not None or tokens is not None):
        raise InputError(
            "the substitute threshold is refused: original_flops or original_tokens "
            "makes the original's compute known (point 61)"
        )


def _registered(base_model: str, needed: bool) -> Match | None:
    """Return the registry's row, which must exist only where its figure is needed."""
    try:
        return lookup(base_model) if base_model else None
    except UnknownModelError:
        if needed:
            raise
        return None


def _with_row(facts: Facts, match: Match, ask_for_risk: bool) -> Facts:
    row = match.model
    facts = replace(
        facts,
        base_model=row.model_id,
        matched=f"{match.matched_id!r}, {match.rule}",
        derived_from=row.derived_from if row.other_provider else "",
        caveats="; ".join(row.caveats),
    )
    if facts.systemic_risk is None and ask_for_risk and row.systemic_risk is not None:
        return replace(
            facts,
            systemic_risk=row.systemic_risk,
            systemic_risk_source="registry: presumption by compute",
        )
    return facts


def _beside_the_registry(facts: Facts, value: int, row: BaseModel | None) -> Facts:
    """Keep the registry's own figure beside the one that was given."""
    numbers = law(facts.rules_version)
    by_registry = facts.systemic_risk_source.startswith("registry")
    if by_registry and presumed_high_impact(value, numbers):
        # the presumption rests on the registry's own figure
        facts = replace(facts, systemic_risk=None, systemic_risk_source="")
    return replace(facts, registry_flops=row.flops if row else None)


def _by_six_pd(
    tokens: int | str,
    source: str | None,
    parameters: int | str | None,
    row: BaseModel | None,
    trained_parameters: int | None,
) -> tuple[int, str]:
    """Return 6·P·D, and what it rests on."""
    if parameters is not None:
        size, whose = parse_count(parameters, minimum=1), "given by the user"
    elif row is not None and row.params_active is not None:
        size, whose = row.params_active, f"registry: {row.model_id}"
    elif trained_parameters is not None:
        size, whose = trained_parameters, "of the trained model"
    else:
        raise UnknownOriginalError(
            "original_tokens gives D of 6·P·D, and nothing says P; pass "
            "original_parameters (--original-parameters 8B), those active for a token"
        )
    seen = parse_count(tokens, minimum=1)
    said = f"given by the user{f': {source}' if source else ''}"
    return six_pd(size, seen), (
        f"estimated as 6·P·D (point 129): P = {grouped(size)} ({whose}), "
        f"D = {grouped(seen)} ({said})"
    )


def _nothing_says(facts: Facts, row: BaseModel | None) -> str:
    who = f"the registry knows {row.model_id!r} but not" if row else "nothing says"
    return (
        f"{who} what the original's training cost; pass original_flops "
        "(--original-flops), the tokens it was trained on to estimate 6·P·D "
        "(--original-tokens), or declare it unknown and not estimable "
        "(--original unknown)"
    )
