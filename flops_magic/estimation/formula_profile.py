"""A profile from the registry's number of parameters, where no model can be walked."""

from __future__ import annotations

from flops_magic.errors import InputError
from flops_magic.flops.formulas import lora_pd, six_pd
from flops_magic.flops.profile import FlopsProfile, PassCost
from flops_magic.registry.base_models import lookup

FORMULAS = {
    "full": "formula 6·P·D: no configuration here, attention left out",
    "lora": "formula 4·P·D: no configuration here, attention and adapters left out",
    "qlora": "formula 4·P·D: no configuration here, attention and adapters left out",
}


def formula_profile(model: str, method: str) -> FlopsProfile:
    """Return 2·P a token forward, and 4·P or 2·P backward, from the registry's P.

    Raises:
        UnknownModelError: when the model is not in the registry.
        InputError: when the method or the number of parameters has no such formula.
    """
    row = lookup(model).model
    if method not in FORMULAS or row.params_active is None or row.params_total is None:
        raise InputError(
            f"{method} of {model!r} needs its configuration, and it is not on this "
            "machine; pass a folder with a config.json, or download the model first"
        )
    active = row.params_active
    forward = 2 * active
    whole = six_pd(active, 1) if method == "full" else lora_pd(active, 0, 1)
    return FlopsProfile(
        model_class=row.model_id,
        method=method,
        parameters_total=row.params_total,
        parameters_active=active,
        parameters_trainable=row.params_total if method == "full" else 0,
        costs={
            "forward": PassCost(per_token=forward),
            "backward": PassCost(per_token=whole - forward),
        },
    )
