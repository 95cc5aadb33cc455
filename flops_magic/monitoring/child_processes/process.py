"""One process of a run: what it says of itself before it has anything to do with torch.

Python reads this file at the start of every child process, so it imports next to
nothing: a child that does not train pays a millisecond or two. A process reports by a
file of its own in the run's folder, renewed whole each time:

* a started interpreter at its start and at its exit;
* a process of ``multiprocessing`` likewise, whichever way it was started;
* a bare ``os.fork`` once it trains, or exits: most of them become another program.

What a process counts is added by ``follow``, which is loaded after torch.
"""

from __future__ import annotations

import atexit
import os
import sys
import time

TYPE_CHECKING = False  # importing typing's own would cost every start a millisecond
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FOLDERS = "FLOPS_MAGIC_RUN"  # the folders of the runs that this process belongs to
PARENT = "FLOPS_MAGIC_PARENT"  # the pid of the nearest process that reports
_FORKING = ("multiprocessing.util", "multiprocess.util")


class ReportingProcess:
    """This process, and after a fork the child: the object reports for who holds it.

    Attributes:
        folders: where it reports; nowhere once they are gone.
        pid: this process.
        parent: pid of the nearest process above that reports.
        details: returns a JSON object to add, such as what was counted; it is told
            whether the process ends. None before torch is there.
        forked: called in the child after a fork.
        worker: whether it only loads data for another process.
        problem: why what it did could not be measured; empty if it could.
    """

    def __init__(self, folders: list[str], parent: int, *, reports: bool) -> None:
        """Join the runs.

        Args:
            folders: the folder of each run.
            parent: pid of the nearest process above that reports.
            reports: False in the process that keeps the record: only its forks do.
        """
        self.folders = folders
        self.parent = parent
        self.details: Callable[[bool], str] | None = None
        self.forked: list[Callable[[], None]] = []
        self.worker = False
        self.problem = ""
        self._known = True  # whether children may name it as the one above
        self._reports = reports
        self._ended = False
        self._awaits: set[str] = set()
        self._waited_before_s = _waited_s()
        self._name_file()
        if hasattr(os, "register_at_fork"):  # Windows has no fork
            os.register_at_fork(after_in_child=self._after_fork)
        atexit.register(self.end)

    def _name_file(self) -> None:
        self.pid = os.getpid()
        self.started_s = time.time()
        # a pid may be used again, and exec keeps it: the time tells them apart
        self._file = f"{self.pid}-{time.time_ns()}.json"

    def appear(self) -> None:
        """Report from here on."""
        self._reports = self._known = True
        os.environ[PARENT] = str(self.pid)
        self.write()

    def end(self) -> None:
        """Report for the last time, that the process came to its end."""
        if self.folders and not self._ended and (self._reports or not self._known):
            self._reports = self._ended = True
            self.write(ended=True)

    def write(self, *, ended: bool = False) -> None:
        """Renew this process's file; a folder that is gone is reported to no more."""
        if not self._reports or not self.folders:
            return
        more = self.details(ended) if self.details is not None else "{}"
        used = os.times()
        text = (
            f'{{"pid": {self.pid}, "parent": {self.parent}, '
            f'"started_s": {self.started_s!r}, "written_s": {time.time()!r}, '
            f'"cpu_s": {used.user + used.system!r}, '
            f'"waited_cpu_s": {self.waited_cpu_s()!r}, '
            f'"torch": {_json("torch" in sys.modules)}, "ended": {_json(ended)}, '
            f'"worker": {_json(self.worker)}, "problem": "{_plain(self.problem)}", '
            f'"details": {more}}}'
        )
        self.folders = [folder for folder in self.folders if self._put(folder, text)]

    def waited_cpu_s(self) -> float:
        """Return the CPU seconds of the children that ended since this one began."""
        return _waited_s() - self._waited_before_s

    @property
    def reports(self) -> bool:
        """Whether this process reports, as children and forks that train do."""
        return self._reports

    def leave(self) -> None:
        """Report no more."""
        self.folders = []

    def _put(self, folder: str, text: str) -> bool:
        path = os.path.join(folder, self._file)
        try:
            number = os.open(
                f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600
            )
            with os.fdopen(number, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.replace(f"{path}.new", path)
        except OSError:
            return os.path.isdir(folder)  # a full disk may have room again
        return True

    # -- forks --------------------------------------------------------------------

    def _after_fork(self) -> None:
        """Become the child; stay silent until it shows that it is no other program."""
        if not self.folders:
            return
        if self._known:
            self.parent = self.pid
        self._reports = self._known = self._ended = False
        self._waited_before_s = 0.0
        self._name_file()
        self.await_multiprocessing()
        for act in self.forked:
            act()

    def await_multiprocessing(self) -> None:
        """Hear of the beginning of a process of ``multiprocessing``, however started.

        Such a process ends by ``os._exit``, which skips ``atexit``, and clears the
        finalizers that it inherits: it has to register anew once it runs.
        """
        for name in _FORKING:
            util = sys.modules.get(name)
            if util is not None and name not in self._awaits:
                self._awaits.add(name)
                util.register_after_fork(self, lambda self, util=util: self._run(util))

    def _run(self, util: Any) -> None:
        """Report as a process of ``multiprocessing`` that begins."""
        if not self.folders:
            return
        current = sys.modules[util.__name__.replace("util", "process")]
        # the target tells a data loader's worker; _target: Python 3.11 to 3.14
        target = getattr(current.current_process(), "_target", None)
        module = getattr(target, "__module__", None) or ""
        self.worker = self.worker or module.startswith("torch.utils.data.")
        self.appear()
        util.Finalize(None, self.end, exitpriority=-1000)


class TorchFinder:
    """Calls back once torch has been imported; imports nothing by itself."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find torch as the other finders do, and hear of the end of its import."""
        if name != "torch":
            return None
        finders: list[Any] = list(sys.meta_path)
        for finder in finders:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                self._hear(getattr(spec, "loader", None))
                return spec
        return None

    def _hear(self, loader: Any) -> None:
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            return

        def exec_module(module: Any) -> None:
            del loader.exec_module
            execute(module)
            finders: list[Any] = sys.meta_path
            if self in finders:
                finders.remove(self)
            self._then()

        loader.exec_module = exec_module


def begin() -> None:
    """Report from the start of this interpreter to its exit."""
    folders = [f for f in os.environ[FOLDERS].split(os.pathsep) if os.path.isdir(f)]
    if folders:
        parent = int(os.environ.get(PARENT, "") or os.getppid())
        process = ReportingProcess(folders, parent, reports=True)
        process.appear()
        sys.meta_path.insert(0, TorchFinder(lambda: _follow(process)))


def _follow(process: ReportingProcess) -> None:
    """Measure what this process does with torch."""
    try:
        if not _importable():
            _load_package()
        from flops_magic.monitoring.child_processes.follow import follow
    except (ImportError, SyntaxError, AttributeError) as error:
        process.problem = f"flops_magic cannot be loaded in it: {type(error).__name__}"
        return
    follow(process)


def _importable() -> bool:
    from importlib.util import find_spec

    return find_spec("flops_magic") is not None


def _load_package() -> None:
    """Load this package from where this file lies, for another environment's Python."""
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.abspath(__file__)
    for _ in range(3):
        folder = os.path.dirname(folder)
    spec = spec_from_file_location(
        "flops_magic",
        os.path.join(folder, "__init__.py"),
        submodule_search_locations=[folder],
    )
    if spec is None or spec.loader is None:
        raise ImportError("flops_magic")
    module = module_from_spec(spec)
    sys.modules["flops_magic"] = module
    spec.loader.exec_module(module)


def _waited_s() -> float:
    used = os.times()
    return used.children_user + used.children_system


def _json(value: bool) -> str:
    return "true" if value else "false"


def _plain(text: str) -> str:
    """Return the text without what JSON would have to escape."""
    return "".join(c if c.isprintable() and c not in '"\\' else " " for c in text)
