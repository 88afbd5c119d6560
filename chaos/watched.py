"""
llmux, watched from within: C{python -m chaos.watched FILE TWIST-OPTIONS...}.

Each second a line of JSON is added to the file: memory, descriptors, timers,
threads, child processes, the longest that the reactor was busy with one
thing, and how much of that was collecting garbage.  That is counted in
processor time of its thread, which does not pass while other programs have the
processor.

At the first SIGUSR1 memory begins to be traced; at the second, what has grown
since is written down, by line.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

#: Seconds between two looks of the watchdog.
TICK = 0.002


class Watch:
    """
    What is watched.
    """

    def __init__(self, reactor: Any, path: str) -> None:
        self._reactor = reactor
        self._path = Path(path)
        self._busy = self._collecting = self._collected = 0.0
        self._began = 0.0
        self._before: tracemalloc.Snapshot | None = None
        self._cpu = time.thread_time()

    def start(self) -> None:
        """
        Watch.
        """
        self._cpu = time.thread_time()
        gc.callbacks.append(self._collects)
        self._tick()
        self._reactor.callLater(1.0, self._tell)
        signal.signal(signal.SIGUSR1, self._signalled)

    def _tick(self) -> None:
        # All that was done since the last tick was done in one turn or two.
        now = time.thread_time()
        if now - self._cpu > self._busy:
            self._busy, self._collecting = now - self._cpu, self._collected
        self._collected = 0.0
        self._cpu = now
        self._reactor.callLater(TICK, self._tick)

    def _collects(self, phase: str, about: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        now = time.thread_time()
        if phase == "start":
            self._began = now
        else:
            self._collected += now - self._began

    def _signalled(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._trace)

    def _trace(self) -> None:
        gc.collect()
        if self._before is None:
            tracemalloc.start(1)
            self._before = tracemalloc.take_snapshot()
            return
        grown = tracemalloc.take_snapshot().compare_to(self._before, "lineno")
        own = (tracemalloc.__file__, __file__)
        lines = [
            {
                "line": str(stat.traceback),
                "bytes": stat.size_diff,
                "count": stat.count_diff,
            }
            for stat in grown
            if stat.traceback[0].filename not in own
        ]
        self._write({"grown": lines[:25]})
        self._cpu = time.thread_time()

    def _tell(self) -> None:
        from twisted.internet.process import reapProcessHandlers

        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        self._write(
            {
                "time": time.monotonic(),
                "rss": pages * resource.getpagesize(),
                "descriptors": len(os.listdir("/proc/self/fd")),
                "timers": len(self._reactor.getDelayedCalls()),
                "threads": threading.active_count(),
                "children": len(reapProcessHandlers),
                "busy": self._busy,
                "collecting": self._collecting,
            }
        )
        self._busy = self._collecting = 0.0
        # What looking costs is not llmux's.
        self._cpu, self._collected = time.thread_time(), 0.0
        self._reactor.callLater(1.0, self._tell)

    def _write(self, line: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def main() -> None:
    """
    Be C{twist}.
    """
    from twisted.application.twist._twist import Twist
    from twisted.internet import reactor

    system: Any = reactor
    system.callWhenRunning(Watch(reactor, sys.argv[1]).start)
    Twist.main(["twist", *sys.argv[2:]])


if __name__ == "__main__":
    main()
