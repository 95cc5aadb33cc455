"""Programs that a process starts through ``subprocess``: which of them may train."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

# They compile kernels for torch.compile, Triton and DeepSpeed, or ask the machine what
# it is; they may use minutes of CPU time and train nothing.
_TOOLS = frozenset(
    {"as", "c++", "cc", "cc1plus", "cicc", "cl", "clang", "clang++", "cuobjdump"}
    | {"fatbinary", "file", "g++", "gcc", "git", "hipcc", "icpx", "ld", "ldconfig"}
    | {"ldd", "lld", "lscpu", "ninja", "nvcc", "nvdisasm", "nvidia-smi", "objdump"}
    | {"ptxas", "rocm-smi", "rocminfo", "uname", "which"}
)
_MOST = 1000


class CommandWatch:
    """Notes the programs that ``subprocess.Popen`` starts, until it is closed.

    Attributes:
        commands: name by pid, compilers and the like left out.
        tools: whether there were compilers and the like.
    """

    def __init__(self) -> None:
        self.commands: dict[int, str] = {}
        self.tools = False
        plain = subprocess.Popen.__init__
        self._plain: Callable[..., None] = plain

        def init(popen: Any, args: Any, *more: Any, **options: Any) -> None:
            plain(popen, args, *more, **options)
            self._note(popen.pid, args, bool(options.get("shell")))

        self._ours = init
        subprocess.Popen.__init__ = init  # type: ignore[method-assign, assignment]

    def _note(self, pid: int, args: Any, shell: bool) -> None:
        name = "sh" if shell else program_name(args)
        if name in _TOOLS:
            self.tools = True
        elif len(self.commands) < _MOST:
            self.commands[pid] = name

    def forget(self) -> None:
        """Begin anew, after a fork."""
        self.commands, self.tools = {}, False

    def close(self) -> None:
        """Put ``subprocess`` back, unless somebody wrapped it again since."""
        if subprocess.Popen.__init__ is self._ours:
            subprocess.Popen.__init__ = self._plain  # type: ignore[method-assign]


def program_name(args: Any) -> str:
    """Return the name of the program that a command line starts.

    A compiler's triple and version are left out: ``x86_64-linux-gnu-g++-13`` is
    ``g++``.
    """
    first: Any = args
    if isinstance(args, (list, tuple)):
        first = args[0] if args else ""
    text = os.fsdecode(first) if isinstance(first, (str, bytes, os.PathLike)) else "?"
    name = Path(text).name.removesuffix(".exe")
    bare = re.sub(r"-\d[\d.]*$", "", name)
    return next((t for t in _TOOLS if bare == t or bare.endswith(f"-{t}")), name)


def is_tool(name: str) -> bool:
    """Whether a program of this name compiles, or asks what the machine is."""
    return program_name(name) in _TOOLS
