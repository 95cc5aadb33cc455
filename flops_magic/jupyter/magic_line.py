"""A magic's line: parsed as a command line, and answered in one line if it is wrong."""

from __future__ import annotations

import re
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser, parse_argstring

from flops_magic.errors import InputError
from flops_magic.near_names import near


def parse_line(magic: Any, line: str) -> Any:
    """Parse a magic's line; a typo is answered with near names.

    Quotes that hold a value together are taken off, as a shell does.

    Raises:
        InputError: for what the magic does not take.
    """
    try:
        args = parse_argstring(magic, line)
    except UsageError as error:
        message = str(error)
        typo = re.search(r"unrecognized arguments: (--[\w-]+)", message)
        if typo:
            offer = near(typo[1], _options(magic.parser))
            message = f"unknown option {typo[1]}{offer}"
        raise InputError(f"{message}; 'name?' lists the options") from None
    for name, value in vars(args).items():
        setattr(args, name, unquoted(value))
    return args


def unquoted(value: Any) -> Any:
    """Return text without the quotes around it; lists of text alike."""
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] in "'\"":
        return value[1:-1]
    return value


def _options(parser: MagicArgumentParser) -> list[str]:
    return [
        s for action in parser._actions for s in action.option_strings if s[:2] == "--"
    ]
