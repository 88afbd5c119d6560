"""
What processes have used, read from C{/proc}.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def fieldsOf(stat: str) -> list[str]:
    """
    The fields of a C{/proc/PID/stat} from the third on: the second, the name,
    may contain anything.
    """
    return stat.rpartition(")")[2].split()


def _stat(pid: int) -> list[str] | None:
    try:
        return fieldsOf(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(roots: Iterable[int]) -> set[int]:
    """
    Processes and all that descend from them.
    """
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(int(entry))) is not None:
            parents[int(entry)] = int(stat[1])
    found = set(roots)
    size = 0
    while size != len(found):
        size = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found


def _ownSeconds(pid: int) -> float:
    """
    Processor time of one process, all threads, to the nanosecond: the times
    in C{stat} are in ticks of 10 ms, which is coarse for a short measurement.

    @raise OSError: if there is no such process.
    """
    # What clock_getcpuclockid(3) computes; Python does not offer it.
    return time.clock_gettime((~pid << 3) | 2)


def cpuSeconds(roots: Collection[int]) -> float:
    """
    Processor time, user and system, that processes and their children have
    used; also of those children that have ended.
    """
    total = 0.0
    for pid in family(roots):
        stat = _stat(pid)
        if stat is not None:
            with suppress(OSError):
                # cutime and cstime: the children that have ended.
                total += _ownSeconds(pid) + sum(map(int, stat[13:15])) * TICK
    return total


def residentBytes(roots: Collection[int]) -> int:
    """
    Resident memory of processes and their children, summed up.
    """
    total = 0
    for pid in family(roots):
        stat = _stat(pid)
        if stat is not None:
            total += int(stat[21]) * PAGE
    return total
