"""
What processes have used, read from C{/proc}.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
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


def cpuSeconds(roots: Collection[int]) -> float:
    """
    Processor time, user and system, that processes and their children have
    used; also of those children that have ended.
    """
    total = 0
    for pid in family(roots):
        stat = _stat(pid)
        if stat is not None:
            # utime, stime, cutime, cstime.
            total += sum(map(int, stat[11:15]))
    return total * TICK


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
