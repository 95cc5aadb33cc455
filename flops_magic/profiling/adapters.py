"""What trains of a fake model: adapters put on it, and parameters frozen."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flops_magic.errors import InputError, MissingPackageError
from flops_magic.profiling.model_setup import LiveSetup

# peft puts no adapters on these modules of them (peft.tuners.tuners_utils)
# tried with peft 0.21: for these kernels take the weight itself, past its adapter
_WITHOUT_OUT_PROJ = ("falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h")


def with_live_adapters(model: Any, live: LiveSetup) -> Any:
    """Return a fake model with the adapters that a live model carries."""
    from peft import get_peft_model

    (first, config), *rest = [
        (name, copy.deepcopy(config)) for name, config in live.adapters.items()
    ]
    wrapped = get_peft_model(
        model, config, adapter_name=first, autocast_adapter_dtype=False
    )
    for name, other in rest:
        wrapped.add_adapter(name, other)
    if len(live.active_adapters) > 1:
        wrapped.base_model.set_adapter(list(live.active_adapters))
    elif live.active_adapters:
        wrapped.set_adapter(live.active_adapters[0])
    return wrapped


def with_lora(model: Any, rank: int, targets: str | Sequence[str]) -> Any:
    """Return a fake model with LoRA adapters.

    Raises:
        MissingPackageError: without peft.
        InputError: for a rank below 1, or targets that the model lacks.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingPackageError(
            "LoRA needs peft; run pip install 'flops-magic[trl]'"
        ) from error
    if rank < 1:
        raise InputError(f"lora_rank={rank!r} is no rank; pass 1 or more")
    task = _peft_task(model)
    chosen = targets if isinstance(targets, str) else list(targets)
    setup = LoraConfig(r=rank, target_modules=chosen, task_type=task)
    if chosen == "all-linear" and model.config.model_type in _WITHOUT_OUT_PROJ:
        setup.exclude_modules = {"out_proj"}
    try:
        return get_peft_model(model, setup, autocast_adapter_dtype=False)
    except ValueError as error:
        if "incompatible" in str(error):
            raise InputError(
                f"peft puts no adapters on 'out_proj' or 'conv1d' of "
                f"{type(model).__name__}; leave them out of {targets!r}"
            ) from error
        raise InputError(
            f"no module of {type(model).__name__} is named {targets!r}; pass "
            "'all-linear' or names such as ['q_proj', 'v_proj']"
        ) from error


def _peft_task(model: Any) -> str | None:
    """Return the peft task whose wrapper can call a model; None for the plain one.

    The wrappers of tasks that generate ask for the model's own ``generate``, which
    encoders lack, and hand on ids, which speech models do not read.
    """
    generates = hasattr(model, "prepare_inputs_for_generation")
    if not generates or model.main_input_name != "input_ids":
        return None
    two = getattr(model.config, "is_encoder_decoder", False)
    return "SEQ_2_SEQ_LM" if two else "CAUSAL_LM"


def adapter_notes(model: Any) -> tuple[str, ...]:
    """Say where all-linear adapters are not on all linear layers."""
    setups = getattr(model, "peft_config", {}).values()
    spared = any(
        "out_proj" in (getattr(one, "exclude_modules", None) or ()) for one in setups
    )
    note = "peft puts no adapters on out_proj of this model; the other linears have one"
    return (note,) if spared else ()


def freeze_all_but(model: Any, trainable: Sequence[str] | None) -> None:
    """Freeze the parameters whose names match none of the patterns.

    Raises:
        InputError: without a pattern, and for one that matches nothing.
    """
    if not trainable:
        raise InputError(
            "spectrum trains some parameters only; pass their names or patterns as "
            "trainable=[…], or the YAML that Spectrum wrote"
        )
    patterns = _patterns(trainable)
    found = set()
    for name, parameter in model.named_parameters():
        hits = [pattern for pattern in patterns if pattern.search(name)]
        parameter.requires_grad_(bool(hits))
        found.update(hits)
    if missing := [p.pattern for p in patterns if p not in found]:
        raise InputError(f"no parameter of {type(model).__name__} matches {missing}")


def _patterns(trainable: Sequence[str]) -> list[re.Pattern[str]]:
    """Return patterns, also those in a YAML file that Spectrum wrote."""
    found: list[str] = []
    for one in trainable:
        if not one.endswith((".yaml", ".yml")):
            found.append(one)
            continue
        try:
            import yaml

            tree = yaml.safe_load(Path(one).read_text(encoding="utf-8"))
            found += [str(line) for line in tree["unfrozen_parameters"]]
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            raise InputError(
                f"cannot read {one!r} as a file that Spectrum wrote "
                f"({type(error).__name__}); it needs a list under 'unfrozen_parameters'"
            ) from error
    try:
        return [re.compile(pattern) for pattern in found]
    except re.error as error:
        raise InputError(f"cannot read pattern {error.pattern!r}: {error}") from error
