"""
Processes that end when the benchmark does, however it ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field


class Trouble(Exception):
    """
    The benchmark cannot go on; the text says why and what would help.
    """


@define
class Children:
    """
    What was started, to be stopped in reverse.

    @ivar folder: where their output and configurations go.
    """

    folder: Path
    _running: list[tuple[str, subprocess.Popen[bytes]]] = field(factory=list)

    def start(self, name: str, argv: Sequence[str]) -> int:
        """
        @return: the process's id, which is also that of its group, so that a
            Ctrl-C in the terminal reaches only the benchmark itself.
        """
        with self.output(name).open("wb") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((name, process))
        return process.pid

    def output(self, name: str) -> Path:
        """
        The file with what a process printed.
        """
        return self.folder / f"{name}.log"

    def waitFor(
        self, name: str, ready: Callable[[], bool], seconds: float = 20.0
    ) -> None:
        """
        @raise Trouble: if it ended, or is not ready in time; with the last
            lines that it printed.
        """
        end = time.monotonic() + seconds
        [process] = [process for known, process in self._running if known == name]
        while not ready():
            over = process.poll() is not None
            if over or time.monotonic() > end:
                what = f"ended with {process.returncode}" if over else "is not ready"
                tail = self.output(name).read_text("utf-8", "replace")[-2000:]
                raise Trouble(f"{name} {what}. It printed:\n{tail}")
            time.sleep(0.02)

    def stop(self) -> None:
        """
        End all of them.
        """
        while self._running:
            _, process = self._running.pop()
            # The group, so that nothing that they started is left.
            for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
                try:
                    os.killpg(process.pid, number)
                    process.wait(patience)
                except ProcessLookupError:
                    break
                except subprocess.TimeoutExpired:
                    continue
            process.wait()


def freePort() -> int:
    """
    A port that nobody uses at the moment.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """
    Whether somebody takes connections there.
    """
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
