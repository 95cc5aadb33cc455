"""The package's own data files."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any


def read_text(name: str) -> str:
    """Return the text of a file in ``core/data``."""
    return (
        files("flops_magic.core")
        .joinpath("data")
        .joinpath(name)
        .read_text(encoding="utf-8")
    )


def read_toml(name: str) -> dict[str, Any]:
    """Return a TOML file in ``core/data``."""
    return tomllib.loads(read_text(name))
