"""What is missing in the shares of a run's processes: each finding is a gap.

*CPU time.* A process that reports nothing shows in the CPU time that its parent got
back when it ended. More than ``CPU_ALLOWED_S`` of it is a gap: importing torch alone
takes about one second of CPU time, ``ls`` or ``git status`` hundredths. For what a
reporting process may use after its last word, ``CPU_ALLOWED_EACH_S`` are added, and
``CPU_ALLOWED_TORCH_S`` with torch: taking torch and transformers down took 1.3 s on two
slow cores; a process that takes longer is seen at it once a second. Compilers
(``commands``) may use any time, where nothing else went unreported.

*Ends.* A process that was killed while it trained is a gap: its file lacks what it did
since it last wrote. One that was at rest, or never took a step, changed no model that
is missing here: pools end their workers by a signal.

*Life.* A process that still runs is a gap if it has trained and may go on, or if it has
torch and may begin; workers of data loaders and compilers are none.

*Ranks.* Of those that train together, each has to report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from flops_magic.monitoring.child_processes.commands import is_tool
from flops_magic.monitoring.child_processes.living import Living
from flops_magic.monitoring.child_processes.share import Share

CPU_ALLOWED_S = 0.8
CPU_ALLOWED_EACH_S = 0.4
CPU_ALLOWED_TORCH_S = 2.0

Note = Callable[[str, str], None]


def name_of(share: Share) -> str:
    """Return a process's name for people."""
    rank = "" if share.rank is None else f" (rank {share.rank})"
    return f"process {share.pid}{rank}"


def note_ends(
    shares: Iterable[Share], running: Mapping[int, Living], note: Note
) -> None:
    """Note what could not be measured, was cut off, or still runs.

    Args:
        shares: what the processes said last.
        running: those that did not end and run now, by pid.
        note: takes a gap.
    """
    for share in shares:
        name = name_of(share)
        if share.problem and share.torch:
            note(name, f"it could not be measured: {share.problem}")
        for gap in share.record.gaps if share.record else ():
            note(name, gap)
        if share.ended:
            continue
        if share.pid not in running:
            if share.trained and not share.at_rest:
                note(name, "it was killed while it trained; its last steps are missing")
        elif share.trained:
            note(name, "it still runs; what it does from here on is not counted")
        elif share.torch and not share.worker:
            note(name, "it still runs and has torch; what it will do is not counted")


def note_ranks(shares: Iterable[Share], note: Note) -> None:
    """Note the ranks of a process group that did not report."""
    groups: dict[tuple[str, int], set[int]] = defaultdict(set)
    for share in shares:
        if share.rank is not None and share.world_size > 1:
            groups[share.group, share.world_size].add(share.rank)
    for (_, size), ranks in groups.items():
        missing = sorted(set(range(size)) - ranks)
        if missing:
            named = ", ".join(str(rank) for rank in missing[:8])
            note(
                f"a group of {size} processes",
                f"rank {named} reported nothing; track the run on every machine, or "
                "start its processes inside the tracked block",
            )


def note_unreported(
    parents: Iterable[Share],
    shares: Iterable[Share],
    cpu_seen_s: Mapping[int, float],
    note: Note,
) -> None:
    """Note the CPU time of ended children that did not report.

    Args:
        parents: the processes whose children are looked at, the tracked one included.
        shares: all that reported.
        cpu_seen_s: CPU seconds of each process when it was last seen alive, by pid.
        note: takes a gap.
    """
    shares = list(shares)
    reporting = {share.pid for share in shares}
    for parent in parents:
        children = [s for s in shares if s.parent == parent.pid and s is not parent]
        reported_s = sum(
            max(child.cpu_s, cpu_seen_s.get(child.pid, 0.0)) + child.waited_cpu_s
            for child in children
        )
        allowed_s = CPU_ALLOWED_S + sum(
            CPU_ALLOWED_TORCH_S if child.torch else CPU_ALLOWED_EACH_S
            for child in children
        )
        spare_s = parent.waited_cpu_s - reported_s
        if spare_s <= allowed_s:
            continue
        silent = {n for pid, n in parent.commands.items() if pid not in reporting}
        if parent.tools and not silent:
            continue
        named = f" ({', '.join(sorted(silent)[:5])})" if silent else ""
        note(
            "a child process",
            f"{spare_s:.1f} s of CPU time were used by children that reported "
            f"nothing{named}; start Python with its site and the block's variables (no "
            "-I, -E, -S, and no PYTHONPATH that lacks what the block put in it)",
        )


def note_silent(
    found: Iterable[Living], reporting: set[int], since_s: float, note: Note
) -> None:
    """Note living children that were started in the run and report nothing."""
    for process in found:
        new = process.started_s >= since_s and process.pid not in reporting
        if new and process.cpu_s > CPU_ALLOWED_S and not is_tool(process.name):
            note(
                f"child process {process.name}",
                f"it still runs, used {process.cpu_s:.1f} s of CPU time and reported "
                "nothing",
            )
