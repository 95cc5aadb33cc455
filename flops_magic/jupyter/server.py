"""A Jupyter Server extension: on save it lifts records from outputs into metadata."""

from __future__ import annotations

from typing import Any

from flops_magic.evidence.notebook import lift


def lift_on_save(
    model: dict[str, Any], path: str, contents_manager: Any, **more: Any
) -> None:
    """Lift the records of a notebook that is about to be saved.

    Args:
        model: the contents model; only a notebook's is touched.
        path: where it is saved.
        contents_manager: the server's; its log gets what goes wrong.
        more: what later servers pass.
    """
    try:
        content = model.get("content")
        if model.get("type") == "notebook" and isinstance(content, dict):
            lift(content)
    except Exception as error:  # noqa: BLE001 a save must go on, whatever is in it
        contents_manager.log.warning(
            "flops_magic: records of %s stay in their outputs: %s", path, error
        )


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Register the hook; called by Jupyter Server."""
    serverapp.contents_manager.register_pre_save_hook(lift_on_save)
