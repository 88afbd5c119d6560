"""
Tests for L{llmux.hooks._process}, without processes: see
L{llmux.test.test_hooks_shell} for those.
"""

from __future__ import annotations

import os
import signal
from subprocess import DEVNULL, Popen

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from llmux.hooks import HookOutput
from llmux.hooks._process import (
    GRACE,
    KILL_GRACE,
    POLL,
    TURNS,
    HookProcess,
    ProcessGroups,
)

PID = 4711


class TurningClock(Clock):
    """
    A clock that can run its calls as a reactor does: one that is made in a
    turn, with no delay, runs in the next.
    """

    def turn(self) -> None:
        """
        Run the calls that are due now, and not those that they make.
        """
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class FakeGroups(ProcessGroups):
    """
    A system with one process group.

    @ivar sent: the signals that reached it, but for 0.
    @ivar alive: whether it has members.
    @ivar foreign: whether they are somebody else's.
    @ivar zombies: whether all its members are dead children of ours.
    """

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.alive = True
        self.foreign = False
        self.zombies = False

    def signal(self, group: int, number: int) -> None:
        """
        Note the signal.
        """
        assert group == PID
        if not self.alive:
            raise ProcessLookupError
        if self.foreign:
            raise PermissionError
        if number:
            self.sent.append(number)

    def reap(self, group: int) -> None:
        """
        Have the dead buried.
        """
        if self.zombies:
            self.alive = False


class FakeTransport:
    """
    A process transport.
    """

    pid: int | None = PID

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.closed = False

    def signalProcess(self, number: int) -> None:
        """
        Note a signal to the leader alone.
        """
        self.sent.append(number)

    def loseConnection(self) -> None:
        """
        Note that the pipes were closed.
        """
        self.closed = True


class HookProcessTests(SynchronousTestCase):
    """
    L{HookProcess}
    """

    def setUp(self) -> None:
        self.clock = TurningClock()
        self.groups = FakeGroups()
        self.transport = FakeTransport()
        self.output = HookOutput(self.clock)
        self.closed: list[HookProcess] = []
        self.process = HookProcess(
            self.clock,
            self.groups,
            60.0,
            {
                1: self.output.stream("a", "wake", "stdout"),
                2: self.output.stream("a", "wake", "stderr"),
            },
            self.closed.append,
        )
        self.process.makeConnection(self.transport)

    def texts(self) -> list[str]:
        """
        What was printed, as far as it has been taken note of.
        """
        return [line.text for line in self.output.ring("a").lines()]

    def exit(self, status: int = 0, number: int | None = None) -> None:
        """
        Have the shell exit and be reaped.
        """
        failed = status or number
        reason = ProcessTerminated(status, number) if failed else ProcessDone(0)
        self.transport.pid = None
        self.process.processExited(Failure(reason))

    def close(self) -> None:
        """
        Have both pipes reach their end.
        """
        for descriptor in (1, 2):
            self.process.childConnectionLost(descriptor)
        self.process.processEnded(Failure(ProcessDone(0)))

    def turns(self, count: int = 3) -> None:
        """
        Let turns of the reactor pass, in no time.
        """
        for _ in range(count):
            self.clock.turn()

    def assertOver(self, why: str) -> None:
        """
        Assert that the hook is over, and that no timer is left.
        """
        self.assertEqual(self.successResultOf(self.process.finished), why)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_success(self) -> None:
        """
        A hook whose shell exits with status 0 did well, and its output is
        complete when that is said.
        """
        self.process.childDataReceived(1, b"ready")
        self.exit()
        self.close()
        self.assertOver("")
        self.assertEqual(self.texts(), ["ready"])
        self.assertEqual(self.closed, [self.process])
        self.assertEqual(self.groups.sent, [])

    def test_failure(self) -> None:
        """
        The reason of a failure names the exit status.
        """
        self.exit(3)
        self.close()
        self.assertOver("exit status 3")

    def test_signalled(self) -> None:
        """
        The reason of a failure names the signal.
        """
        self.exit(number=signal.SIGSEGV)
        self.close()
        self.assertOver("ended by SIGSEGV")

    def test_unknownSignal(self) -> None:
        """
        A signal without a name is a number.
        """
        self.exit(number=250)
        self.close()
        self.assertOver("ended by signal 250")

    def test_oddReason(self) -> None:
        """
        An end for a reason that is not known is a failure with its words.
        """
        self.process.processExited(Failure(ValueError("odd")))
        self.close()
        self.assertOver("odd")

    def test_daemon(self) -> None:
        """
        A child that holds the pipes open does not hold the hook, and goes on
        to be listened to.
        """
        self.exit()
        self.assertNoResult(self.process.finished)
        self.turns()
        self.assertOver("")
        self.assertTrue(self.process.isOpen)
        self.assertEqual(self.closed, [])
        self.process.childDataReceived(1, b"serving\n")
        self.assertEqual(self.texts(), ["serving"])
        self.close()
        self.assertFalse(self.process.isOpen)
        self.assertEqual(self.closed, [self.process])

    def test_lastWords(self) -> None:
        """
        While there is something in the pipes, the hook is not over.
        """
        self.exit(1)
        for number in range(5):
            self.turns(1)
            self.process.childDataReceived(2, b"%d\n" % number)
        self.turns(3)
        self.assertNoResult(self.process.finished)
        self.turns(1)
        self.assertOver("exit status 1")
        self.assertEqual(self.texts(), list("01234"))

    def test_daemonFloods(self) -> None:
        """
        A child that never stops printing does not hold the hook either.
        """
        self.exit()
        for _ in range(TURNS):
            self.assertNoResult(self.process.finished)
            self.process.childDataReceived(1, b"y\n")
            self.turns(1)
        self.assertOver("")

    def test_timeout(self) -> None:
        """
        A hook that takes too long is asked to end.  It is over when nothing
        is left of its group.
        """
        self.clock.advance(59.9)
        self.assertEqual(self.groups.sent, [])
        self.clock.advance(0.1)
        self.assertEqual(self.groups.sent, [signal.SIGTERM])
        self.assertNoResult(self.process.finished)
        self.groups.alive = False
        self.exit(number=signal.SIGTERM)
        self.assertOver("timed out after 60 s")
        self.close()
        self.assertEqual(self.closed, [self.process])

    def test_timeoutIgnored(self) -> None:
        """
        A hook that does not end when it is asked to is killed.
        """
        self.clock.advance(60)
        self.clock.advance(GRACE)
        self.assertEqual(self.groups.sent, [signal.SIGTERM, signal.SIGKILL])
        self.groups.alive = False
        self.exit(number=signal.SIGKILL)
        self.assertOver("timed out after 60 s")

    def test_exitsWellButLate(self) -> None:
        """
        A hook that was asked to end has failed, whatever its status is.
        """
        self.clock.advance(60)
        self.groups.alive = False
        self.exit()
        self.assertOver("timed out after 60 s")

    def test_childrenSurvive(self) -> None:
        """
        Children that survive the shell of a hook that is being ended are
        killed after the same grace, and the hook is over when they are gone.
        """
        self.process.end("stopped")
        self.exit(number=signal.SIGTERM)
        self.close()
        self.clock.pump([POLL] * 10)
        self.assertNoResult(self.process.finished)
        self.assertEqual(self.groups.sent, [signal.SIGTERM])
        self.clock.advance(GRACE)
        self.assertEqual(self.groups.sent, [signal.SIGTERM, signal.SIGKILL])
        self.groups.alive = False
        self.clock.advance(POLL)
        self.assertOver("stopped")

    def test_childrenEnd(self) -> None:
        """
        Children that take a moment to clean up get it.
        """
        self.process.end("stopped")
        self.exit(number=signal.SIGTERM)
        self.clock.advance(POLL)
        self.groups.alive = False
        self.clock.advance(POLL)
        self.assertOver("stopped")
        self.assertEqual(self.groups.sent, [signal.SIGTERM])

    def test_zombies(self) -> None:
        """
        Dead members of a group that have become children of llmux's are taken
        note of, and not waited for.
        """
        self.process.end("stopped")
        self.groups.zombies = True
        self.exit(number=signal.SIGTERM)
        self.assertOver("stopped")

    def test_cannotBeKilled(self) -> None:
        """
        What is left of a hook even after SIGKILL does not hold it for ever,
        and the reason says what to look at.
        """
        self.process.end("stopped")
        self.clock.advance(GRACE)
        self.clock.advance(KILL_GRACE)
        why = self.successResultOf(self.process.finished)
        self.assertIn("could not be killed", why)
        self.assertIn(str(PID), why)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        # When it goes after all, nobody is told twice.
        self.groups.alive = False
        self.exit(number=signal.SIGKILL)
        self.close()

    def test_foreign(self) -> None:
        """
        A group of which all members are somebody else's counts as alive.
        """
        self.groups.foreign = True
        self.process.end("stopped")
        self.exit(number=signal.SIGTERM)
        self.clock.advance(POLL)
        self.assertNoResult(self.process.finished)
        self.clock.advance(GRACE)
        self.clock.advance(KILL_GRACE)
        self.assertIn(
            "could not be killed", self.successResultOf(self.process.finished)
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_young(self) -> None:
        """
        A shell that has not made its group yet gets the signal alone.
        """
        self.groups.alive = False
        self.process.end("stopped")
        self.assertEqual(self.transport.sent, [signal.SIGTERM])

    def test_endTwice(self) -> None:
        """
        To end a hook that is being ended changes nothing.
        """
        self.process.end("stopped")
        self.clock.advance(1)
        self.process.end("again")
        self.assertEqual(self.groups.sent, [signal.SIGTERM])
        self.groups.alive = False
        self.exit(number=signal.SIGTERM)
        self.assertOver("stopped")

    def test_noSignalAfterExit(self) -> None:
        """
        Once a shell has exited by itself its number may be another's: it is
        never signalled again, and what it left running is left alone.
        """
        self.exit()
        self.process.end("stopped")
        self.process.kill()
        self.turns()
        self.process.end("stopped")
        self.process.kill()
        self.clock.advance(1000)
        self.assertEqual(self.groups.sent, [])
        self.assertOver("")

    def test_kill(self) -> None:
        """
        A hook can be killed without being asked first.
        """
        self.process.kill()
        self.assertEqual(self.groups.sent, [signal.SIGKILL])
        self.groups.alive = False
        self.exit(number=signal.SIGKILL)
        self.assertOver("killed")

    def test_killWhileEnding(self) -> None:
        """
        A hook that is being ended can be killed before its grace is over.
        """
        self.process.end("stopped")
        self.exit(number=signal.SIGTERM)
        self.process.kill()
        self.assertEqual(self.groups.sent, [signal.SIGTERM, signal.SIGKILL])
        self.groups.alive = False
        self.clock.advance(POLL)
        self.assertOver("stopped")

    def test_closePipes(self) -> None:
        """
        What a hook left running need not be listened to for ever.
        """
        self.exit()
        self.turns()
        self.process.closePipes()
        self.assertTrue(self.transport.closed)


class ProcessGroupsTests(SynchronousTestCase):
    """
    L{ProcessGroups}, with a real group
    """

    def test_group(self) -> None:
        """
        A group can be signalled and its dead taken note of, after which there
        is no such group.
        """
        child = Popen(["/bin/cat"], stdin=-1, stdout=DEVNULL, start_new_session=True)
        assert child.stdin is not None
        self.addCleanup(child.stdin.close)
        # Keeps the test of subprocess from taking it for a leak.
        self.addCleanup(setattr, child, "returncode", -signal.SIGKILL)
        groups = ProcessGroups()
        groups.signal(child.pid, 0)
        groups.reap(child.pid)
        groups.signal(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        groups.signal(child.pid, 0)
        groups.reap(child.pid)
        with self.assertRaises(ProcessLookupError):
            groups.signal(child.pid, 0)
        groups.reap(child.pid)
