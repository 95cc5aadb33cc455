"""The package's own data files."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any


def read_text(package: str, name: str) -> str:
    """Return the text of a file in the ``data`` folder of a package.

    Args:
        package: dotted name, such as ``flops_magic.registry``.
        name: of the file, such as ``base_models.csv``.
    """
    # through importlib: a wheel may be imported from a zip
    file = files(package).joinpath("data").joinpath(name)
    return file.read_text(encoding="utf-8")


def read_toml(package: str, name: str) -> dict[str, Any]:
    """Return a TOML file in the ``data`` folder of a package; see ``read_text``."""
    return tomllib.loads(read_text(package, name))
