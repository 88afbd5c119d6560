# -*- test-case-name: llmux.test.test_hooks_process -*-
"""
One run of one hook, from the start of its shell until it and, if it had to be
ended, all that it started are gone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

__all__ = ["GRACE", "KILL_GRACE", "HookProcess", "ProcessGroups"]

#: Seconds between SIGTERM and SIGKILL.
GRACE = 5.0

#: Seconds after SIGKILL until a process that is still there (stuck in a
#: driver, or of another user) is given up.
KILL_GRACE = 10.0

#: Seconds between looks at whether a group that is being ended is gone.
POLL = 0.02

#: Turns of the reactor, at most, in which what the shell has printed is read
#: after it exited.  A turn reads 8 kB, and a pipe holds 64 kB.
TURNS = 16


class Stream(Protocol):
    """
    What takes what a process prints.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Take what was read.
        """

    def flush(self) -> None:
        """
        There will be no more, or not soon.
        """


class ProcessGroups:
    """
    What the system offers to deal with whole process groups.
    """

    def signal(self, group: int, number: int) -> None:
        """
        Send a signal to all members of a group; 0 only asks for them.

        @raise ProcessLookupError: if it has no members.
        @raise PermissionError: if all its members belong to somebody else.
        """
        os.killpg(group, number)

    def reap(self, group: int) -> None:
        """
        Take note of the death of members of a group that have become our own
        children.  They do if llmux is the first process of a container, and
        would seem to be alive for ever.
        """
        with suppress(ChildProcessError):
            while os.waitpid(-group, os.WNOHANG)[0]:
                pass


class HookProcess(ProcessProtocol):
    """
    The protocol of a hook's shell, which leads a process group of its own.

    About the signals: the number of a process may be used again once it is
    reaped, and that of a group once its last member is reaped.  So the group
    is signalled only

      - while its leader has not been reaped, or
      - after that, if the hook is being ended, for as long as looks at short
        intervals have found the group never without members.  Between two
        looks the system would have to run through all numbers there are for
        a signal to hit a stranger.

    A hook that exits by itself leaves its children alone: they may be the
    model's server.

    @ivar finished: fires when the hook is over: with the empty string if it
        did well, or with a few words that say why not.
    @ivar pid: the number of the shell and of its group, once it runs.
    @ivar isOpen: whether something holds one of its pipes open.
    """

    pid: int | None = None
    isOpen = False

    def __init__(
        self,
        clock: IReactorTime,
        groups: ProcessGroups,
        timeout: float,
        streams: Mapping[int, Stream],
        onClosed: Callable[[HookProcess], None],
    ) -> None:
        """
        @param timeout: seconds the hook may take.
        @param streams: what takes the output, by file descriptor.
        @param onClosed: called when the shell is gone and its pipes are
            closed, which may be long after the hook is over.
        """
        self.finished: Deferred[str] = Deferred()
        self._clock = clock
        self._groups = groups
        self._timeout = timeout
        self._streams = streams
        self._onClosed = onClosed
        self._timer: IDelayedCall | None = None
        self._look: IDelayedCall | None = None
        self._exited = False
        self._why = ""
        self._ending = ""
        self._received = False

    # The process.

    def connectionMade(self) -> None:
        """
        The shell runs.
        """
        self.pid = self._process.pid
        self.isOpen = True
        self._after(
            self._timeout, lambda: self.end(f"timed out after {self._timeout:g} s")
        )

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        The hook, or what it left running, printed something.
        """
        self._received = True
        self._streams[childFD].dataReceived(data)

    def childConnectionLost(self, childFD: int) -> None:
        """
        Nobody is left who could print to this stream.
        """
        self._streams[childFD].flush()

    def processExited(self, reason: Failure) -> None:
        """
        The shell is gone.  What it started may not be.
        """
        self._exited = True
        if self._ending:
            self._watchGroup()
            return
        self._rest()
        self._why = _words(reason)
        # What it printed at the end is still in the pipes.
        self._drain(TURNS, quiet=0)

    def processEnded(self, reason: Failure) -> None:
        """
        The shell is gone, and its pipes are closed.
        """
        self.isOpen = False
        if not self._ending:
            self._settle()
        self._onClosed(self)

    # What others may ask for.

    def end(self, why: str) -> None:
        """
        End the hook: SIGTERM to its group, and SIGKILL to what is left of it
        after L{GRACE}.  Does nothing if it is over or being ended.

        @param why: why, in a few words.
        """
        if self._exited or self._ending:
            return
        self._ending = why
        self._after(GRACE, self.kill)
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """
        End the hook at once: SIGKILL to its group.
        """
        if self.finished.called or (self._exited and not self._ending):
            return
        self._ending = self._ending or "killed"
        self._after(KILL_GRACE, self._giveUp)
        self._signal(signal.SIGKILL)

    def closePipes(self) -> None:
        """
        Listen no longer to what the hook left running.  If that prints once
        more, it gets SIGPIPE.
        """
        self._process.loseConnection()

    # How it comes to an end.

    @property
    def _process(self) -> Any:
        # IProcessTransport says nothing of pid.
        return self.transport

    def _after(self, seconds: float, call: Callable[[], object]) -> None:
        self._rest()
        self._timer = self._clock.callLater(seconds, call)

    def _rest(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _signal(self, number: int) -> bool:
        """
        @return: whether there is anything left of the group.
        """
        assert self.pid is not None
        try:
            self._groups.signal(self.pid, number)
        except ProcessLookupError:
            if self._exited:
                return False
            # It is so young that it has not made its group yet.
            self._process.signalProcess(number)
        except PermissionError:
            # All that is left runs as somebody else, for example as root.
            pass
        return True

    def _watchGroup(self) -> None:
        assert self.pid is not None
        self._groups.reap(self.pid)
        if self._signal(0):
            self._look = self._clock.callLater(POLL, self._watchGroup)
        else:
            self._why = self._ending
            self._settle()

    def _giveUp(self) -> None:
        self._why = (
            f"{self._ending}, and it could not be killed: see what process group "
            f"{self.pid} is waiting for, or as whom it runs"
        )
        self._settle()

    def _drain(self, turns: int, quiet: int) -> None:
        quiet = 0 if self._received else quiet + 1
        self._received = False
        # In the first turn the reactor may have learnt of the exit before it
        # looked at the pipes.
        if turns == 0 or quiet > 2:
            self._settle()
        else:
            self._look = self._clock.callLater(0, self._drain, turns - 1, quiet)

    def _settle(self) -> None:
        if self.finished.called:
            return
        self._rest()
        if self._look is not None and self._look.active():
            self._look.cancel()
        for stream in self._streams.values():
            stream.flush()
        self.finished.callback(self._why)


def _words(reason: Failure) -> str:
    """
    Say how a process ended, or nothing if it ended well.
    """
    error = reason.value
    if isinstance(error, ProcessDone):
        return ""
    if not isinstance(error, ProcessTerminated):
        return reason.getErrorMessage()
    if error.signal is None:
        return f"exit status {error.exitCode}"
    try:
        return f"ended by {signal.Signals(error.signal).name}"
    except ValueError:
        return f"ended by signal {error.signal}"
