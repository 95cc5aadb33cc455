"""A papermill engine that leaves the records in the output notebook's metadata."""

from __future__ import annotations

from typing import Any

from papermill.engines import NBClientEngine

from flops_magic.evidence.notebook import lift


class FlopsMagicEngine(NBClientEngine):
    """``papermill --engine flops_magic``: its own engine, and a lift at the end."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, *args: Any, **kwargs: Any) -> Any:
        """Execute the notebook; failed cells leave their records too."""
        try:
            return super().execute_managed_notebook(nb_man, *args, **kwargs)
        # papermill writes the notebook after this returns or raises.
        finally:
            lift(nb_man.nb)
