"""Provenance: versions, model revision, configuration digest, SageMaker job.

Only what is named here is read: no environment dump, no paths of the user, no tokens.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = (
    "flops-magic",
    "torch",
    "transformers",
    "accelerate",
    "trl",
    "peft",
    "bitsandbytes",
    "liger-kernel",
    "ipython",
    "nvidia-ml-py",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape the count."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def model_id(model: Any) -> str:
    """Return the model's own name; of a folder, its last part."""
    config = getattr(model, "config", None)
    # Private in transformers, tried with 4.57.6 and 5.23: where the weights were loaded
    # from. Without it, the model's public name_or_path serves.
    name = getattr(config, "_name_or_path", "") or getattr(model, "name_or_path", "")
    return public_name(str(name)) if name else type(model).__name__


def public_name(name: str) -> str:
    """Return a Hub id as it is, and the last part of a folder's path.

    A path may hold the name of a person or of a customer.
    """
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) and not name.startswith("."):
        return name
    return name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1] or name


def model_revision(model: Any) -> str | None:
    """Return the commit of the weights in the Hub; None if unknown."""
    # Private in transformers, tried with 4.57.6 and 5.23: the Hub's commit. Without it,
    # the record says that the revision is unknown.
    commit = getattr(getattr(model, "config", None), "_commit_hash", None)
    return commit if isinstance(commit, str) else None


def config_sha256(model: Any) -> str | None:
    """Return the sha256 of the configuration's JSON; None without one."""
    config = getattr(model, "config", None)
    to_json = getattr(config, "to_json_string", None)
    return hashlib.sha256(to_json().encode()).hexdigest() if to_json else None


def sagemaker_job() -> dict[str, Any]:
    """Return the job that SageMaker says it runs; empty elsewhere.

    Returns:
        Fields of ``evidence.record.TrainingData``.
    """
    names = {
        "training_job_name": "TRAINING_JOB_NAME",
        "instance_type": "SM_CURRENT_INSTANCE_TYPE",
    }
    return {key: os.environ[name] for key, name in names.items() if name in os.environ}
