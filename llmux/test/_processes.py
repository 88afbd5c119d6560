# -*- test-case-name: llmux.test.test_acceptance_switching -*-
"""
Real processes for acceptance tests, and the certainty that none of them is
left when a test is over.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from attrs import define, field

import llmux

T = TypeVar("T")

#: Seconds until a test that waits for something gives up.  Far more than is
#: ever needed, as the machine may be busy with other things.
PATIENCE = 30.0

#: Seconds between two looks.
POLL = 0.02

#: Where the C{llmux} package is found: a checkout, or where it is installed.
ROOT = Path(llmux.__file__).resolve().parent.parent

#: The examples of the checkout.
EXAMPLES = ROOT / "examples"

#: By this variable, which is inherited, what a test started is recognized.
MARK = "LLMUX_TEST_RUN"


def eventually(look: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """
    Look until there is something to see.

    @param look: what returns a true value in the end.  Meanwhile it may raise
        C{AssertionError} or C{OSError}.

    @param what: what is waited for, for the message.

    @param patience: seconds.

    @return: what C{look} returned.
    """
    deadline = time.monotonic() + patience
    while True:
        last: object = None
        try:
            seen = look()
        except (AssertionError, OSError) as error:
            last = error
        else:
            if seen:
                return seen
            last = seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} s: {what}; last: {last!r}")
        time.sleep(POLL)


def freePort() -> int:
    """
    A port of the loopback interface on which nobody listens.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def isListening(port: int) -> bool:
    """
    Whether somebody listens on a port of the loopback interface.
    """
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def needsExamples() -> str | None:
    """
    Why tests of the examples have to be skipped, if they have to.
    """
    if EXAMPLES.is_dir():
        return None
    return "the examples are in the source distribution, not in an installation"


def needsPrograms(*names: str) -> str | None:
    """
    Why tests that need other programs have to be skipped, if they have to.
    """
    missing = [name for name in names if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


@define(eq=False)
class Running:
    """
    A process, which writes to a file.

    @ivar folder: where it was started.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    _log: Path

    @property
    def pid(self) -> int:
        """
        Its number.
        """
        return self.process.pid

    def output(self) -> str:
        """
        All that it has printed.
        """
        return self._log.read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        """
        Send it, and nobody else, a signal.
        """
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """
        @return: its exit status, once it has ended; negative if a signal
            ended it.
        """
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still running after {patience:g} s; it printed:\n{self.output()}"
            ) from None

    def openFiles(self) -> set[int]:
        """
        The descriptors that it has open.
        """
        return {int(name) for name in os.listdir(f"/proc/{self.pid}/fd")}

    def isRunning(self) -> bool:
        """
        Whether it has not ended.
        """
        return self.process.poll() is None


@define(eq=False)
class Processes:
    """
    The processes of one test, with all that those start.

    @ivar folder: a folder of their own.
    """

    folder: Path = field(
        factory=lambda: Path(tempfile.mkdtemp(prefix="llmux-")).resolve()
    )
    _mark: str = field(factory=lambda: uuid4().hex, init=False)
    _started: list[Running] = field(factory=list, init=False)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """
        The environment that they get: ours, without what would make them
        behave otherwise than elsewhere.
        """
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LLMUX_", "LISTEN_", "OPENAI_", "ANTHROPIC_"))
            and not name.lower().endswith("_proxy")
        }
        own[MARK] = self._mark
        own["PYTHON"] = sys.executable
        own["PYTHONUNBUFFERED"] = "1"
        # First in PATH: the programs that came with this Python.
        own["PATH"] = f"{Path(sys.executable).parent}:{own.get('PATH', '')}"
        own["PYTHONPATH"] = str(ROOT)
        return {**own, **(more or {})}

    def start(
        self,
        *argv: str | Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        keep: Sequence[int] = (),
    ) -> Running:
        """
        Start a process.

        @param keep: file descriptors for it to inherit.
        """
        log = self.folder / f"output-{len(self._started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv,
                cwd=folder or self.folder,
                env=self.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=keep,
            )
        running = Running(process, folder or self.folder, log)
        self._started.append(running)
        return running

    def run(
        self,
        *argv: str | Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """
        Run a program to its end.

        @return: its exit status and what it printed.
        """
        running = self.start(*argv, folder=folder, environment=environment)
        return running.wait(), running.output()

    def alive(self) -> dict[int, str]:
        """
        The processes that are left of all that were started, and of all that
        those have started, by their numbers: their command lines.
        """
        found = {}
        for running in self._started:
            running.process.poll()
        mark = f"{MARK}={self._mark}".encode()
        for place in Path("/proc").glob("[0-9]*"):
            # Processes come and go, and not all are ours to look into.
            with suppress(OSError):
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    line = (place / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(place.name)] = line.decode("utf-8", "replace").strip()
        return found

    def end(self) -> None:
        """
        End them all, and remove the folder.
        """

        def none() -> bool:
            for running in self._started:
                if running.process.poll() is None:
                    running.process.kill()
            for pid in self.alive():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not self.alive()

        try:
            eventually(none, "all processes of the test have ended")
        finally:
            for running in self._started:
                running.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)
