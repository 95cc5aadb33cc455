"""A profile from the number of parameters alone, where no model can be walked.

A token costs 2·P forward and 4·P backward (2·P where the weights are frozen). To that
the formulas add what P does not show, each by a bound, so that it is not too low:

* Attention costs 4·layers·width forward for a query-key pair. With P ≈ 12·layers·width²
  and layers that grow with the width, that goes with P^(2/3). The largest figure of the
  models whose shapes the package ships is 0.646·P^(2/3), DeepSeek-V2's; the median is
  0.15. Backward is twice forward.
* Adapters of rank r on a matrix of a by b have r·(a + b) parameters. Their sum goes
  with r·P^(2/3); the largest figure of a dense model is 1.35, Whisper large's. A
  mixture has an adapter on each expert: 11.6·r·P^(2/3) for Qwen3-Next-80B, P of all.

``tools/check_architectures.py --formulas`` measures these figures again.
"""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from math import ceil

from flops_magic.errors import InputError
from flops_magic.flops.formulas import lora_pd, six_pd
from flops_magic.flops.profile import FlopsProfile, PassCost
from flops_magic.registry.base_models import BaseModel, lookup

FORMULAS = {
    "full": "formula 6·P·D and a bound on attention: no configuration",
    "lora": "formula 4·P·D and bounds on adapters and attention: no configuration",
    "qlora": "formula 4·P·D and bounds on adapters and attention: no configuration",
}
ATTENTION = Fraction(13, 20)
ADAPTERS = Fraction(7, 5)
ADAPTERS_OF_MIXTURE = Fraction(12)
# 10.3 times 6·P·D: ALBERT, which uses its layers twelve times over
TIMES_HIGHER = 12
# 0.34 times 6·P·D: mT5 small, most of which are embeddings; 0.54 for one of one length
TIMES_LOWER = 4


def formula_profile(
    model: str,
    method: str,
    *,
    lora_rank: int = 16,
    target_len: int | None = None,
    gradient_checkpointing: bool = False,
) -> FlopsProfile:
    """Return a profile by formula, from the registry's number of parameters.

    Args:
        model: a name in the registry of base models.
        method: one of ``FORMULAS``.
        lora_rank: r of the adapters, on all linear layers.
        target_len: positions of an encoder-decoder's target; None for other models.
        gradient_checkpointing: whether the forward pass is computed again.

    Raises:
        UnknownModelError: when the model is not in the registry.
        InputError: when the method or the number of parameters has no such formula.
    """
    row = lookup(model).model
    active, total = row.params_active, row.params_total
    if method not in FORMULAS:
        raise InputError(f"{method} has no formula; it needs the configuration")
    if active is None or total is None:
        raise InputError(
            f"the registry has no number of parameters for {row.model_id}, so there is "
            "no formula for it either"
        )
    if lora_rank < 1:
        raise InputError(f"lora_rank={lora_rank!r} is not a rank; pass 1 or more")
    adapters = 0
    if method != "full":
        bound = ADAPTERS if active == total else ADAPTERS_OF_MIXTURE
        adapters = ceil(bound * lora_rank * _two_thirds_power(total))
    forward = 2 * (active + adapters)
    both = six_pd(active, 1) if adapters == 0 else lora_pd(active, 0, 1) + 6 * adapters
    pair = ceil(ATTENTION * _two_thirds_power(active))
    costs = {
        "forward": _cost(forward, pair, target_len),
        "backward": _cost(both - forward, 2 * pair, target_len),
    }
    # every layer checkpointed repeats all of forward; hours would be too few without
    if gradient_checkpointing:
        costs["recompute"] = costs["forward"]
    return FlopsProfile(
        model_class=row.model_id,
        method=method,
        parameters_total=total + adapters,
        parameters_active=active + adapters,
        parameters_trainable=adapters or total,
        costs=costs,
        notes=(_note(row, active, pair),),
    )


def formula_bounds(profile: FlopsProfile) -> tuple[FlopsProfile, FlopsProfile]:
    """Return the least and the most that a model of this formula may cost.

    At least: a quarter of its products with weights, and no attention. At most: twelve
    times the formula, for all experts of a mixture, since some models compute all of
    them for every token (Llama 4 in transformers). The exact costs of all models whose
    shapes the package ships are between the two, at 512 to 131,072 positions.
    """
    experts = ceil(Fraction(profile.parameters_total, profile.parameters_active))
    least = {
        name: PassCost(
            per_token=cost.per_token // TIMES_LOWER,
            per_logit=cost.per_logit // TIMES_LOWER,
            per_source_token=cost.per_source_token // TIMES_LOWER,
        )
        for name, cost in profile.costs.items()
    }
    most = {
        name: PassCost(
            *(getattr(cost, f.name) * TIMES_HIGHER * experts for f in fields(cost))
        )
        for name, cost in profile.costs.items()
    }
    return replace(profile, costs=least), replace(profile, costs=most)


def _note(row: BaseModel, active: int, pair: int) -> str:
    return (
        f"P = {active:,} (registry, as of {row.as_of}); attention at most {pair:,} "
        "FLOP a pair forward, the largest for its size among known models"
    )


def _cost(token: int, pair: int, target_len: int | None) -> PassCost:
    """Return a cost, with two lengths where there is a target.

    Of an encoder-decoder each position passes one of the two halves: P a position is
    too high, and not knowing the halves, nothing less is safe.
    """
    if target_len is None:
        return PassCost(per_token=token, per_pair=pair)
    return PassCost(
        per_source_token=token,
        per_logit=token,
        per_pair=pair,
        per_target_pair=pair,
        per_cross_pair=pair,
    )


def _two_thirds_power(number: int) -> int:
    """Return the least whole n with n³ ≥ number², without a float."""
    # bisection on integers: a float's cube root may be one too low
    square, high = number * number, 1
    while high**3 < square:
        high *= 2
    low = high // 2
    while low < high:
        middle = (low + high) // 2
        if middle**3 < square:
            low = middle + 1
        else:
            high = middle
    return high
