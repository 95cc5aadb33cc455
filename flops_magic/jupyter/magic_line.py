"""A magic's line: parsed as a command line, and answered in one line if it is wrong."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError
from IPython.utils.process import arg_split

from flops_magic.errors import InputError
from flops_magic.near_names import near

_HELP = "'name?' lists the options"


def parse_line(magic: Any, line: str) -> Any:
    """Parse a magic's line; a typo is answered with near names.

    Quotes that hold a value together are taken off, as a shell does.

    Raises:
        InputError: for what the magic does not take.
    """
    try:
        args, extra = magic.parser.parse_known_args(arg_split(line))
    except UsageError as error:
        raise InputError(f"{error}; {_HELP}") from None
    except ValueError as error:
        # a quote that does not close
        raise InputError(f"{error} in {line!r}; {_HELP}") from None
    if extra:
        # argparse's own list (Python 3.11 to 3.14); it has no public one. Without it
        # a typo would be answered by an AttributeError.
        known = [flag for a in magic.parser._actions for flag in a.option_strings]
        kind = "option" if extra[0].startswith("-") else "argument"
        offer = near(extra[0].partition("=")[0], known)
        raise InputError(f"unknown {kind} {extra[0]}{offer}; {_HELP}")
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
