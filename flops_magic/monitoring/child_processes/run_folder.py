"""The folder of a run, and the environment by which its child processes find it.

The folder is private to the user (mode 0700) and goes away with the run. The
environment holds its path, and the folder with ``sitecustomize.py`` on ``PYTHONPATH``;
nothing else of the run.

Ranks that torchrun started beside one another, each of them tracked, share one folder.
They find it by what the launcher gave all of them; a rank on another machine cannot.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import stat
import tempfile
from pathlib import Path

from flops_magic.monitoring.child_processes.process import FOLDERS, PARENT

STARTUP = str(Path(__file__).parent / "startup")
_LAUNCHED_BY = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_RUNS = itertools.count()  # the ranks of a launch number their runs alike


class RunFolder:
    """A run's folder while the run lasts.

    Attributes:
        path: the folder.
        siblings: ranks that report in it beside this one, this one included; 1 alone.
        rank: this process's number among them.
    """

    def __init__(self) -> None:
        """Make the folder.

        Raises:
            OSError: when it cannot be made.
            ValueError: when it is somebody else's.
        """
        number = next(_RUNS)
        self.siblings = siblings()
        self.rank = int(os.environ["RANK"]) if self.siblings > 1 else 0
        if self.siblings > 1:
            self.path = Path(tempfile.gettempdir()) / f"flops_magic-{_launch(number)}"
            self.path.mkdir(mode=0o700, exist_ok=True)
            check_private(self.path)
        else:
            self.path = Path(tempfile.mkdtemp(prefix="flops_magic-"))
        self._set: dict[str, tuple[str | None, str]] = {}

    def enter_environment(self) -> None:
        """Let the processes that are started from here on find the folder."""
        self._put(FOLDERS, _joined(os.environ.get(FOLDERS), str(self.path)))
        self._put("PYTHONPATH", _joined(STARTUP, os.environ.get("PYTHONPATH")))
        self._put(PARENT, str(os.getpid()))

    def leave_environment(self) -> None:
        """Take back what was put, and leave what the user put since."""
        for name, (before, ours) in self._set.items():
            now = os.environ.get(name)
            if now == ours:
                if before is None:
                    del os.environ[name]
                else:
                    os.environ[name] = before
            elif now is not None and name != PARENT:
                mine = STARTUP if name == "PYTHONPATH" else str(self.path)
                parts = now.split(os.pathsep)
                if mine in parts:
                    parts.remove(mine)
                    os.environ[name] = os.pathsep.join(parts)
        self._set.clear()

    def remove(self) -> None:
        """Remove the folder; the first rank does so for all."""
        if self.rank == 0:
            shutil.rmtree(self.path, ignore_errors=True)

    def _put(self, name: str, value: str) -> None:
        self._set[name] = (os.environ.get(name), value)
        os.environ[name] = value


def siblings() -> int:
    """Return how many ranks of one torchrun run here, all of them on this machine.

    1 without torchrun, and where it has ranks on other machines as well.
    """
    env = os.environ
    size = env.get("WORLD_SIZE", "1")
    here = "TORCHELASTIC_RUN_ID" in env and env.get("LOCAL_WORLD_SIZE") == size
    return int(size) if here and size.isdecimal() and "RANK" in env else 1


def launched_together() -> bool:
    """Whether a launcher started this process as one of several that are tracked."""
    env = os.environ
    alone = env.get("WORLD_SIZE", "") == "1"
    return not alone and any(name in env for name in _LAUNCHED_BY)


def _launch(number: int) -> str:
    """Return a digest of what the ranks of one launch, and only they, have alike."""
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR")
    parts = [os.environ.get(name, "") for name in (*names, "MASTER_PORT")]
    agent = os.getppid()
    parts += [str(number), str(agent), _started(agent), str(Path.home())]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:24]


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty without /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def check_private(folder: Path) -> None:
    """Refuse a folder that somebody else could have put there.

    Raises:
        ValueError: when others can write in it.
    """
    found = folder.lstat()
    ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    if not stat.S_ISDIR(found.st_mode) or not ours or found.st_mode & 0o077:
        raise ValueError(f"the run's folder {folder.name} is not private to this user")


def _joined(*paths: str | None) -> str:
    return os.pathsep.join(path for path in paths if path)
