"""A tracked cell's code: its statements, its last expression, its top-level await."""

from __future__ import annotations

import ast
import re
from typing import Any

# Private in IPython, tried with 9.18 and 8.37: whether a cell has a top-level await. It
# is what ``run_cell`` itself asks. If it goes, this import fails, and with it
# ``%load_ext``; ``ast`` with PyCF_ALLOW_TOP_LEVEL_AWAIT would have to decide.
from IPython.core.async_helpers import _should_be_async

_TRACKED = re.compile(r"^\s*%%flops_track\b(.*)$")


def compiled(shell: Any, cell: str) -> tuple[Any, Any]:
    """Return the cell's statements and, for display, its last expression."""
    # The user's own magics, ``!`` commands and registered transforms are in the cell.
    source = shell.transform_cell(cell)
    # A cached name lets tracebacks show the cell's lines.
    name = shell.compile.cache(source, shell.execution_count, raw_code=cell)
    tree = shell.transform_ast(ast.parse(source, name))
    # IPython's own rule: a semicolon at the end keeps the last value from showing.
    quiet = cell.rstrip().endswith(";")
    shows = bool(tree.body) and isinstance(tree.body[-1], ast.Expr) and not quiet
    last = tree.body[-1:] if shows else []
    first = tree.body[:-1] if last else tree.body
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(ast.Module(first, []), name, "exec", flags) if first else None
    # "single" mode prints through ``sys.displayhook``, which is IPython's own.
    shown = compile(ast.Interactive(last), name, "single", flags) if last else None
    return code, shown


def await_tracked(lines: list[str]) -> list[str]:
    """Turn a tracked cell with a top-level await into an awaited call."""
    first = lines[0] if lines else ""
    body = "".join(lines[1:])
    if not (match := _TRACKED.match(first)) or not _should_be_async(body):
        return lines
    # ``repr`` makes text that reads back as the same text, quotes and all.
    call = f"{match[1].strip()!r}, {body!r}"
    # IPython awaits a cell, never a magic, so the cell becomes one awaited call.
    magic = "get_ipython().find_cell_magic('flops_track').__self__"
    return [f"await {magic}.track_async({call})\n"]
