"""A tracked cell's code: its last expression apart, and its top-level await."""

from __future__ import annotations

import ast
import re
from typing import Any

from IPython.core.async_helpers import _should_be_async

_TRACKED = re.compile(r"^\s*%%flops_track\b(.*)$")


def compiled(shell: Any, cell: str) -> tuple[Any, Any]:
    """Return the cell's code, and its last expression apart, so that it displays."""
    source = shell.transform_cell(cell)
    name = shell.compile.cache(source, shell.execution_count, raw_code=cell)
    tree = shell.transform_ast(ast.parse(source, name))
    quiet = cell.rstrip().endswith(";")
    shows = bool(tree.body) and isinstance(tree.body[-1], ast.Expr) and not quiet
    last = tree.body[-1:] if shows else []
    first = tree.body[:-1] if last else tree.body
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(ast.Module(first, []), name, "exec", flags) if first else None
    shown = compile(ast.Interactive(last), name, "single", flags) if last else None
    return code, shown


def await_tracked(lines: list[str]) -> list[str]:
    """Turn a tracked cell with a top-level await into an awaited call."""
    first = lines[0] if lines else ""
    body = "".join(lines[1:])
    if not (match := _TRACKED.match(first)) or not _should_be_async(body):
        return lines
    call = f"{match[1].strip()!r}, {body!r}"
    magic = "get_ipython().find_cell_magic('flops_track').__self__"
    return [f"await {magic}.track_async({call})\n"]
