"""Where the configuration of a named model comes from.

In this order: a folder or the local cache, which hold the model's own file; the shapes
that the package ships, which need no network; the Hub. What none of them has is left to
the bare formulas, with the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flops_magic.errors import InputError
from flops_magic.estimation.hub_config import fetch_config
from flops_magic.registry.architectures import find_architecture


@dataclass(frozen=True)
class ModelConfig:
    """A transformers configuration, and what a reader must know of its source.

    Attributes:
        config: the ``PretrainedConfig``.
        notes: where it comes from, if not from a file on this machine.
    """

    config: Any
    notes: tuple[str, ...] = ()


def find_config(
    name: str, *, endpoint: str | None = None, deadline_s: float | None = None
) -> ModelConfig:
    """Return the configuration of a model by its name.

    Args:
        name: a folder with a ``config.json``, a Hub id, or an alias in the registry.
        endpoint: address of the Hub; that of ``HF_ENDPOINT`` by default.
        deadline_s: seconds until the Hub counts as out of reach; 8 by default.

    Raises:
        InputError: in one line, why there is no configuration and what to do.
        ModuleNotFoundError: when transformers is missing.
    """
    local = _on_this_machine(name)
    if local is not None:
        return ModelConfig(local)
    if _is_folder(name) and find_architecture(name) is None:
        raise InputError(
            f"the folder {name!r} has no config.json, and no adapter_config.json that "
            "names a known base model; pass a folder that has one"
        )
    reasons = []
    try:
        if (shipped := _shipped(name)) is not None:
            return shipped
    except InputError as error:
        reasons.append(str(error))
    try:
        options = {} if deadline_s is None else {"deadline_s": deadline_s}
        fetch_config(name, endpoint=endpoint, **options)
        # the file is in the local cache now, and is read from there under its name
        fetched = _on_this_machine(name)
        if fetched is not None:
            return ModelConfig(fetched, ("config.json from the Hub",))
        reasons.append("the Hub's config.json is not in the cache that was read")
    except InputError as error:
        reasons.append(str(error))
    raise InputError(
        f"no configuration of {name!r} on this machine; {'; '.join(reasons)}; or pass "
        "a folder with its config.json"
    )


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False


def _on_this_machine(name: str) -> Any:
    """Return the configuration in a folder or the local cache; None without one.

    Raises:
        InputError: when there is a configuration, and transformers cannot read it.
    """
    import transformers

    folder = Path(name).expanduser() if _is_folder(name) else None
    if folder is not None and not (folder / "config.json").is_file():
        return None  # transformers would look for an adapter's base model on the Hub
    try:
        # asked for a model with code of its own, transformers 4.57 and 5 prompt on
        # stdin unless trust_remote_code says no
        return transformers.AutoConfig.from_pretrained(
            str(folder or name), local_files_only=True, trust_remote_code=False
        )
    except (
        *(OSError, ValueError, KeyError, AttributeError, TypeError),
        *(ImportError, ArithmeticError, RuntimeError),  # of odd files and of timm
    ) as error:
        if folder is None and not _in_cache(name):
            return None
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"the config.json of {name!r} cannot be read by transformers "
            f"{transformers.__version__}: {reason}"
        ) from error


def _in_cache(name: str) -> bool:
    """Whether the local cache holds the ``config.json`` of a Hub id."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:  # no Hub id, so nothing of it is cached
        return False


def _shipped(name: str) -> ModelConfig | None:
    """Return the configuration with the shapes that the package ships, if any.

    Raises:
        InputError: when this transformers is too old for the kind of model.
    """
    import transformers

    found = find_architecture(name)
    if found is None:
        return None
    try:
        config = transformers.AutoConfig.for_model(found.model_type, **found.config)
    except (ValueError, KeyError) as error:
        raise InputError(
            f"transformers {transformers.__version__} has no model type "
            f"{found.model_type!r}; a newer one may"
        ) from error
    config._name_or_path = name
    return ModelConfig(config, (found.source_text,))
