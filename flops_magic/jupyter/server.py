"""A Jupyter Server extension: on save it lifts records from outputs into metadata."""

from __future__ import annotations

from typing import Any

from flops_magic.evidence.notebook import lift
from flops_magic.gaps import guard


def lift_on_save(
    model: dict[str, Any], path: str, contents_manager: Any, **more: Any
) -> None:
    """Lift the records of a notebook that is about to be saved; raises nothing.

    An error here would keep the user's notebook from being saved.

    Args:
        model: the contents model; only a notebook's is touched.
        path: where it is saved.
        contents_manager: the server's; its log gets what goes wrong.
        more: what later servers pass.
    """

    def log(where: str, what: BaseException | str) -> None:
        contents_manager.log.warning("flops_magic: %s: %s", where, what)

    with guard(log, f"records of {path} stay in their outputs"):
        content = model.get("content")
        if model.get("type") == "notebook" and isinstance(content, dict):
            lift(content)


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Register the hook.

    Jupyter Server 2 calls an extension's module by this name; were the name to change,
    records would stay in the outputs, where ``flops-magic embed`` finds them.
    """
    serverapp.contents_manager.register_pre_save_hook(lift_on_save)
