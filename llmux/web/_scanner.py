# -*- test-case-name: llmux.test.test_web_scan -*-
"""
Plans for requests with large bodies.  If nobody else would be served for too
long while one is looked at, a program of its own does it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from math import inf
from tempfile import TemporaryFile
from typing import IO, Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.web._errors import BadBody
from llmux.web._looks import Look
from llmux.web._pieces import viewed
from llmux.web._plan import Plan, Steps
from llmux.web._scan import BODY, MADE, seen, written

__all__ = ()

#: Bodies up to this size are looked at at once, whatever for, and are not
#: counted.
LEAST = 128 * 1024

#: How many milliseconds looks may take in one turn of the reactor, so that
#: with all else it takes well below 50.
TURN = 25.0

#: So many programs are tried for one look, if they are killed.
TRIES = 2

#: After how many seconds a program is killed, and how many more for each MiB:
#: far longer than any takes.  Others may wait for its place.
PATIENCE = 10.0
MORE = 0.1

_MEBIBYTE = 1 << 20

#: How many programs look at bodies at once: they take a processor each.
PROGRAMS = 2

# In a mode in which neither the environment nor the working directory changes
# what is imported: that is where we import from.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from llmux.web._scan import main; main()"
)


@frozen
class _Failed(Exception):
    """
    A program has not said what it has seen.

    @ivar wasKilled: whether it would have if nobody had ended it.
    """

    why: str
    wasKilled: bool


class _Program(ProcessProtocol):
    """
    Tells a program of a look, and takes what it has seen.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._out = self._problem = b""
        self.done: Deferred[bytes] = Deferred(self._cancelled)

    def connectionMade(self) -> None:
        """
        It has started.
        """
        self.transport: Any
        self.transport.write(written(self._look))
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """
        It has seen something.
        """
        self._out += data

    def errReceived(self, data: bytes) -> None:
        """
        It has failed.
        """
        self._problem = (self._problem + data)[-1000:]

    def processEnded(self, reason: Failure) -> None:
        """
        It has ended, in whatever way.
        """
        done = self.done
        if done.called:
            return
        if reason.check(ProcessDone):
            done.callback(self._out)
        else:
            said = self._problem.decode("utf-8", "backslashreplace")
            wasKilled = getattr(reason.value, "signal", None) is not None
            done.errback(_Failed(f"{reason.value} {said}", wasKilled))

    def expire(self, seconds: float) -> None:
        """
        It takes too long.
        """
        self._kill()
        self.done.errback(_Failed(f"it had not ended after {seconds:g} s", True))

    def _cancelled(self, done: Deferred[bytes]) -> None:
        self._kill()
        done.errback(CancelledError())

    def _kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")


class Scanner:
    """
    Makes plans.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        """
        @param reactor: one that cannot start programs has none started.
        """
        self._reactor = reactor
        self._hasPrograms = os.name == "posix" and hasattr(reactor, "spawnProcess")
        self._places = DeferredSemaphore(PROGRAMS)

    def plan(self, steps: Steps) -> Deferred[Plan]:
        """
        As L{llmux.web._plan.made}.

        @return: may have fired.  When it is cancelled, the program that looks
            is killed.
        """
        return Deferred.fromCoroutine(self._plan(steps))

    def look(self, look: Look, body: IO[bytes]) -> Deferred[Any]:
        """
        As L{Look.at}.

        @return: may have fired.  It may be cancelled, too.
        """
        isShort = self._costOf(look, body, TURN) <= TURN
        return Deferred.fromCoroutine(self._found(look, body, isShort))

    async def _plan(self, steps: Steps) -> Plan:
        left = TURN
        try:
            look, body = next(steps)
            while True:
                try:
                    cost = self._costOf(look, body, left)
                    if left < cost <= TURN:
                        await deferLater(self._reactor, 0)
                        left = TURN
                    left -= cost
                    found = await self._found(look, body, cost <= TURN)
                except BadBody as error:
                    look, body = steps.throw(error)
                else:
                    look, body = steps.send(found)
        except StopIteration as end:
            plan: Plan = end.value
            return plan

    def _costOf(self, look: Look, body: IO[bytes], left: float) -> float:
        """
        How many milliseconds a look takes here: at most, or more than there is
        room for.
        """
        worst = look.worst * look.length / _MEBIBYTE
        if not self._hasPrograms:
            return worst
        if look.length > look.most:
            return inf
        if worst <= left:
            return worst
        with viewed(body, look.length) as view:
            return look.cost(view)

    async def _found(self, look: Look, body: IO[bytes], isShort: bool) -> Any:
        if isShort or not self._hasPrograms:
            return look.at(body)
        await self._places.acquire()
        try:
            for _ in range(TRIES):
                try:
                    return await self._seen(look, body)
                except OSError as error:
                    failed = _Failed(str(error), wasKilled=False)
                except _Failed as error:
                    failed = error
                if not failed.wasKilled:
                    break
                self.log.warn(
                    "A program that looked at a large request body was killed: "
                    "{problem}",
                    event="scan_killed",
                    problem=failed.why,
                )
        finally:
            self._places.release()
        if failed.wasKilled:
            # Perhaps because of what it looked at, which is not for us, then.
            raise RuntimeError(f"nobody could look at the body: {failed.why}")
        self.log.warn(
            "A large request body is looked at while everybody waits, since no "
            "program could do it: {problem}",
            event="scan_not_started",
            problem=failed.why,
        )
        return look.at(body)

    async def _seen(self, look: Look, body: IO[bytes]) -> Any:
        """
        Have a program look.

        @raise BadBody: it says so.
        @raise OSError: it cannot be started.
        @raise _Failed: it has failed.
        """
        made = TemporaryFile() if look.makes else None  # noqa: SIM115
        given = {} if made is None else {MADE: made.fileno()}
        program = _Program(look)
        with _onDisk(body) as file:
            self._reactor.spawnProcess(
                program,
                sys.executable,
                [
                    *(sys.executable, "-I", "-c", _PROGRAM),
                    *(path or os.getcwd() for path in sys.path),
                ],
                env=None,
                childFDs={0: "w", 1: "r", 2: "r", BODY: file.fileno(), **given},
            )
        patience = PATIENCE + MORE * look.length / _MEBIBYTE
        timer = self._reactor.callLater(patience, program.expire, patience)
        try:
            answer = await program.done
        finally:
            if timer.active():
                timer.cancel()
        return seen(answer, made)


@contextmanager
def _onDisk(body: IO[bytes]) -> Iterator[IO[bytes]]:
    """
    A file with a body, which may be in memory.

    @raise OSError: there is no place for it.
    """
    if not isinstance(body, BytesIO):
        body.flush()
        yield body
        return
    with TemporaryFile() as file:
        file.write(body.getbuffer())
        file.flush()
        yield file
