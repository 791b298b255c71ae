"""What a tree of processes has used, from /proc: CPU in nanoseconds by the scheduler's own count, resident memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """CPU that some processes have used since they started."""

    ticks: int  # To 10 ms, but with the children that have ended.
    threads_ns: dict[str, int]  # Exact, of the threads that live.

    def since_s(self, before: Cpu) -> float:
        """Seconds from `before` to now: exact if every thread of then still lives, to a tick otherwise."""
        if before.threads_ns.keys() <= self.threads_ns.keys():
            return (sum(self.threads_ns.values()) - sum(before.threads_ns.values())) / 1e9
        return (self.ticks - before.ticks) / TICKS_PER_S


def tree(pids: Iterable[int]) -> list[int]:
    """These processes and everything below them, each once."""
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            for task in _tasks(pid):
                waiting += map(int, _read(task / "children").split())
    return found


def read_cpu(pids: Iterable[int]) -> Cpu:
    """CPU of whole trees, user and system time together."""
    ticks = 0
    threads_ns: dict[str, int] = {}
    for pid in tree(pids):
        # After the command's name in brackets: utime, stime and both of the ended children are fields 14 to 17.
        ticks += sum(map(int, _read(PROC / str(pid) / "stat").rpartition(")")[2].split()[11:15]))
        for task in _tasks(pid):
            if counts := _read(task / "schedstat").split():
                threads_ns[task.name] = int(counts[0])
    return Cpu(ticks, threads_ns)


def read_memory_kib(pids: Iterable[int], *, peak: bool = False) -> int:
    """Resident KiB of whole trees, now or at the most ever; a page that processes share counts in each."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = [line for pid in tree(pids) for line in _read(PROC / str(pid) / "status").splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith(name))


def _tasks(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(path: Path) -> str:
    """The text of a file that may vanish with its process."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
