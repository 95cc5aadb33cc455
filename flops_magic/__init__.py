"""Training compute of a fine-tuning run: measured, judged, sealed in the notebook.

Public names are served lazily, so that ``import flops_magic`` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flops_magic.ai_act.decision_table import decide
    from flops_magic.attach import attach_to_trainers
    from flops_magic.callback import FlopsMeterCallback
    from flops_magic.estimation.estimator import estimate
    from flops_magic.evidence.notebook import embed, extract, load_record
    from flops_magic.evidence.verify import verify
    from flops_magic.profiling.profiler import profile_model

__version__ = "0.1.0"

_HOMES = {
    "FlopsMeterCallback": "flops_magic.callback",
    "attach_to_trainers": "flops_magic.attach",
    "decide": "flops_magic.ai_act.decision_table",
    "embed": "flops_magic.evidence.notebook",
    "estimate": "flops_magic.estimation.estimator",
    "extract": "flops_magic.evidence.notebook",
    "load_record": "flops_magic.evidence.notebook",
    "profile_model": "flops_magic.profiling.profiler",
    "verify": "flops_magic.evidence.verify",
}

__all__ = [
    "FlopsMeterCallback",
    "attach_to_trainers",
    "decide",
    "embed",
    "estimate",
    "extract",
    "load_record",
    "profile_model",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'flops_magic' has no attribute {name!r}")
    try:
        home = import_module(_HOMES[name])
    except ModuleNotFoundError as error:
        # A module of our own that is missing is a defect, and must not read as an
        # extra.
        if error.name not in ("torch", "transformers", "accelerate", "peft"):
            raise
        from flops_magic.errors import MissingPackageError

        raise MissingPackageError(
            f"{name} needs {error.name}; run pip install 'flops-magic[train]'"
        ) from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def load_ipython_extension(shell: Any) -> None:
    """Register the magics: ``%load_ext flops_magic``."""
    from flops_magic.jupyter.magics import register

    register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Remove the magics and every patch: ``%unload_ext flops_magic``."""
    from flops_magic.jupyter.magics import unregister

    unregister(shell)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Name the module that Jupyter Server loads."""
    return [{"module": "flops_magic.jupyter.server"}]
