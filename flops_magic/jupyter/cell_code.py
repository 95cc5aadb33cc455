"""A tracked cell's code: compiled as IPython would, and its top-level await found."""

from __future__ import annotations

import ast
import inspect
import re
from types import CodeType
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

_TRACKED = re.compile(r"^\s*%%flops_track\b(.*)$")
_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def compiled(shell: Any, cell: str) -> list[CodeType]:
    """Return the cell's code; its last expression apart, so that it displays.

    Raises:
        SyntaxError: as the cell would without the magic.
    """
    source = shell.transform_cell(cell)
    # public names of the shell (IPython 8.37 and 9.18): the name lets tracebacks show
    # the cell's lines, and the AST transforms are those that the user registered
    name = shell.compile.cache(source, shell.execution_count, raw_code=cell)
    tree = shell.transform_ast(ast.parse(source, name))
    # IPython's own rule: a semicolon at the end keeps the last value from showing
    quiet = cell.rstrip().endswith(";")
    shows = bool(tree.body) and isinstance(tree.body[-1], ast.Expr) and not quiet
    last = tree.body[-1:] if shows else []
    first = tree.body[:-1] if last else tree.body
    parts = []
    if first:
        parts.append(compile(ast.Module(first, []), name, "exec", _AWAIT))
    if last:
        # "single" hands the value to the display hook, as the prompt does
        parts.append(compile(ast.Interactive(last), name, "single", _AWAIT))
    return parts


def awaits(code: CodeType) -> bool:
    """Return whether running the code gives a coroutine, which has to be awaited."""
    return bool(code.co_flags & inspect.CO_COROUTINE)


def await_tracked(lines: list[str]) -> list[str]:
    """Turn a tracked cell with a top-level await into an awaited call.

    A magic is an ordinary function and cannot await in the kernel's running loop, so
    the cell has to become a call that IPython itself awaits.
    """
    first = lines[0] if lines else ""
    body = "".join(lines[1:])
    if not (match := _TRACKED.match(first)) or not _body_awaits(body):
        return lines
    # ``repr`` makes text that reads back as the same text, quotes and all
    call = f"{match[1].strip()!r}, {body!r}"
    magic = "get_ipython().find_cell_magic('flops_track').__self__"
    return [f"await {magic}.track_async({call})\n"]


def _body_awaits(body: str) -> bool:
    try:
        # magics and !commands become calls first: the body alone may not be Python
        source = TransformerManager().transform_cell(body)
        return awaits(compile(source, "<cell>", "exec", _AWAIT))
    except (SyntaxError, ValueError):
        return False  # the magic compiles it again, and shows what is wrong
