"""
Tests for L{llmux.switching._residency}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automat import NoTransition
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from llmux.config import ModelConfig
from llmux.interfaces import (
    Hook,
    HookCall,
    HookFinished,
    IHookRunner,
    Reason,
    State,
    StateChanged,
)
from llmux.switching._residency import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Errand,
    Residency,
    pauseAfter,
)
from llmux.testing import FakeHooks

REQUEST = Errand(Reason.REQUEST, "other")

CONFIG = ModelConfig(name="m", port=8001, wake="w", sleep="s", alive="a")


class PauseTests(SynchronousTestCase):
    """
    L{pauseAfter}
    """

    def test_doubles(self) -> None:
        """
        Pauses double from the first to the longest, and stay there however
        often a model fails.
        """
        pauses = [pauseAfter(failures) for failures in range(1, 9)]
        self.assertEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(pauseAfter(1), FIRST_PAUSE)
        self.assertEqual(pauseAfter(10**9), LONGEST_PAUSE)


class ResidencyTestCase(SynchronousTestCase):
    """
    One model.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.hooks = FakeHooks(self.clock, slowAlive=True)
        self.changes: list[StateChanged] = []
        self.ended: list[HookFinished] = []
        self.told: Callable[[StateChanged], None] = lambda change: None
        self.model = self.make(self.hooks)

    def make(self, hooks: IHookRunner) -> Residency:
        """
        A model with some hooks.
        """

        def told(change: StateChanged) -> None:
            self.changes.append(change)
            self.told(change)

        return Residency(CONFIG, hooks, self.clock, told, self.ended.append)

    @property
    def path(self) -> list[State]:
        """
        The states that it has been in since this was asked for last.
        """
        states = [change.after for change in self.changes]
        self.changes.clear()
        return states

    @property
    def call(self) -> HookCall:
        """
        The newest hook.
        """
        return self.hooks.calls[-1]

    def succeeds(self, address: str | None = None) -> None:
        """
        The running hook succeeds.
        """
        self.hooks.finish("m", address)

    def fails(self) -> None:
        """
        The running hook fails.
        """
        self.hooks.fail("m")

    def bring(self, state: State) -> None:
        """
        Bring a model that has just been made into a state.
        """
        model = self.model

        def notAdopted() -> None:
            model.probe()
            self.fails()

        def notWoken() -> None:
            self.fails()
            self.succeeds()

        steps: dict[State, tuple[State, Callable[[], None]]] = {
            State.ASLEEP: (State.UNKNOWN, notAdopted),
            State.WAKING: (State.ASLEEP, lambda: model.wake(REQUEST)),
            State.AWAKE: (State.WAKING, self.succeeds),
            State.CHECKING: (State.AWAKE, model.check),
            State.DRAINING: (State.AWAKE, lambda: model.drain(REQUEST)),
            State.SLEEPING: (State.DRAINING, model.sleep),
            State.COOLING: (State.WAKING, notWoken),
            State.STUCK: (State.SLEEPING, self.fails),
        }
        if state in steps:
            before, step = steps[state]
            self.bring(before)
            step()
        self.assertIs(model.state, state)
        self.changes.clear()


class TransitionTests(ResidencyTestCase):
    """
    What follows what.
    """

    def test_adopted(self) -> None:
        """
        A model whose C{alive} succeeds at the start is awake from then on.
        """
        self.model.probe()
        self.assertIs(self.model.state, State.UNKNOWN)
        self.assertEqual(
            (self.call.hook, self.call.reason), (Hook.ALIVE, Reason.RECOVER)
        )
        self.clock.advance(1.0)
        self.succeeds()
        self.assertEqual(self.path, [State.AWAKE])
        self.assertEqual(self.model.wokenAt, 101.0)

    def test_notAdopted(self) -> None:
        """
        One whose C{alive} fails is asleep.
        """
        self.model.probe()
        self.fails()
        self.assertEqual(self.path, [State.ASLEEP])
        self.assertEqual(self.model.lastError, "")

    def test_wakes(self) -> None:
        """
        It wakes when C{wake} succeeds, and its hook is told why and for whom.
        """
        self.bring(State.ASLEEP)
        self.model.wake(REQUEST)
        self.assertEqual(
            self.call,
            HookCall(
                "m", Hook.WAKE, Reason.REQUEST, "other", 1, "http://127.0.0.1:8001"
            ),
        )
        self.assertTrue(self.model.hookRuns)
        self.clock.advance(3.0)
        self.succeeds()
        self.assertFalse(self.model.hookRuns)
        self.assertEqual(self.path, [State.WAKING, State.AWAKE])
        self.assertEqual((self.model.wokenAt, self.model.since), (103.0, 103.0))

    def test_drainsAndSleeps(self) -> None:
        """
        It drains, sleeps when it is told that nothing is in flight, and is
        asleep when C{sleep} has succeeded.
        """
        self.bring(State.AWAKE)
        self.model.drain(REQUEST)
        self.model.sleep()
        self.assertEqual(
            (self.call.hook, self.call.reason), (Hook.SLEEP, Reason.REQUEST)
        )
        self.succeeds()
        self.assertEqual(self.path, [State.DRAINING, State.SLEEPING, State.ASLEEP])

    def test_kept(self) -> None:
        """
        While it drains it can be put back in service; it was woken when it
        was woken.
        """
        self.bring(State.AWAKE)
        woken = self.model.wokenAt
        self.model.drain(REQUEST)
        self.clock.advance(5.0)
        self.model.keep()
        self.assertEqual(self.path, [State.DRAINING, State.AWAKE])
        self.assertEqual(self.model.wokenAt, woken)

    def test_wakeFails(self) -> None:
        """
        A failed wake is cleaned up after, and then the model is left alone
        for a while.
        """
        self.bring(State.ASLEEP)
        self.model.wake(REQUEST)
        self.fails()
        self.assertEqual(
            (self.call.hook, self.call.reason), (Hook.SLEEP, Reason.RECOVER)
        )
        self.assertEqual(self.call.peer, "")
        self.assertEqual(
            (self.model.failures, self.model.lastError), (1, "exit status 1")
        )
        self.succeeds()
        self.assertEqual(self.path, [State.WAKING, State.SLEEPING, State.COOLING])
        self.assertEqual(self.model.retryAt, 101.0)
        self.assertEqual(self.model.lastError, "exit status 1")
        self.clock.advance(1.0)
        self.assertEqual(self.path, [State.ASLEEP])
        self.assertIsNone(self.model.retryAt)
        self.model.wake(REQUEST)
        self.assertEqual(self.call.attempt, 2)

    def test_backOff(self) -> None:
        """
        Each failure in a row doubles the pause; a wake that is a success
        begins anew.
        """
        self.bring(State.ASLEEP)
        for failures in range(1, 9):
            self.model.wake(REQUEST)
            self.assertEqual(self.call.attempt, failures)
            self.fails()
            self.succeeds()
            pause = pauseAfter(failures)
            self.clock.advance(pause - 0.001)
            self.assertIs(self.model.state, State.COOLING)
            self.clock.advance(0.002)
            self.assertIs(self.model.state, State.ASLEEP)
        self.model.wake(REQUEST)
        self.succeeds()
        self.model.answered()
        self.assertEqual(self.model.failures, 0)
        self.model.drain(REQUEST)
        self.model.sleep()
        self.succeeds()
        self.model.wake(REQUEST)
        self.assertEqual(self.call.attempt, 1)

    def test_abandoned(self) -> None:
        """
        A wake that is broken off is cleaned up after, without a pause.
        """
        self.bring(State.WAKING)
        self.model.abandon()
        self.assertEqual(self.hooks.stopped, ["m"])
        self.assertEqual(
            (self.call.hook, self.call.reason), (Hook.SLEEP, Reason.RECOVER)
        )
        self.succeeds()
        self.assertEqual(self.path, [State.SLEEPING, State.ASLEEP])

    def test_abandonedAfterFailure(self) -> None:
        """
        A wake that is broken off neither counts as a failure, nor does it
        wipe out those before it.
        """
        self.bring(State.COOLING)
        self.clock.advance(1.0)
        self.model.wake(REQUEST)
        self.model.abandon()
        self.succeeds()
        self.assertIs(self.model.state, State.ASLEEP)
        self.assertEqual(self.model.failures, 1)

    def test_abandonedDeaf(self) -> None:
        """
        Its C{sleep} runs only when the C{wake} is gone, however that ends.
        """
        for end in ("finish", "fail"):
            self.setUp()
            self.hooks.deaf.add("m")
            self.bring(State.WAKING)
            self.model.abandon()
            self.assertEqual(self.call.hook, Hook.WAKE)
            getattr(self.hooks, end)("m")
            self.assertEqual(self.call.hook, Hook.SLEEP)
            self.succeeds()
            self.assertEqual(self.path, [State.SLEEPING, State.ASLEEP])

    def test_sleepFails(self) -> None:
        """
        A model that cannot be put to sleep is stuck, and is tried again after
        a pause, which doubles.
        """
        self.bring(State.SLEEPING)
        for failures in (1, 2, 3):
            self.fails()
            self.assertEqual(self.path, [State.STUCK])
            self.assertEqual(self.model.sleepFailures, failures)
            self.clock.advance(pauseAfter(failures))
            self.assertEqual(self.path, [State.SLEEPING])
            self.assertEqual(self.call.attempt, failures + 1)
            self.assertEqual(self.call.reason, Reason.RECOVER)
        self.succeeds()
        self.assertEqual(self.path, [State.ASLEEP])
        self.assertEqual(self.model.sleepFailures, 0)

    def test_cleanUpFails(self) -> None:
        """
        If the clean-up after a failed wake fails, it is tried again, and the
        pause for the wake comes after.
        """
        self.bring(State.WAKING)
        self.fails()
        self.fails()
        self.clock.advance(1.0)
        self.succeeds()
        self.assertEqual(
            self.path, [State.SLEEPING, State.STUCK, State.SLEEPING, State.COOLING]
        )

    def test_cleared(self) -> None:
        """
        An operator can say that a stuck model holds nothing.
        """
        self.bring(State.STUCK)
        self.model.clear()
        self.assertEqual(self.path, [State.ASLEEP])
        self.assertIsNone(self.model.retryAt)
        self.assertEqual(self.model.sleepFailures, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_alive(self) -> None:
        """
        A model that is asked and answers goes on as before.
        """
        self.bring(State.AWAKE)
        woken = self.model.wokenAt
        self.clock.advance(5.0)
        self.model.check()
        self.assertEqual(
            (self.call.hook, self.call.reason), (Hook.ALIVE, Reason.RECOVER)
        )
        self.succeeds()
        self.assertEqual(self.path, [State.CHECKING, State.AWAKE])
        self.assertEqual(self.model.wokenAt, woken)

    def test_dead(self) -> None:
        """
        One that does not answer goes to sleep, and cannot be kept from it;
        having served, it may be woken again at once.
        """
        self.bring(State.AWAKE)
        self.model.answered()
        self.model.check()
        self.fails()
        self.model.keep()
        self.model.sleep()
        self.assertEqual(
            (self.call.hook, self.call.reason), (Hook.SLEEP, Reason.RECOVER)
        )
        self.succeeds()
        self.assertEqual(
            self.path,
            [State.CHECKING, State.DRAINING, State.SLEEPING, State.ASLEEP],
        )
        self.assertEqual(self.model.lastError, "")

    def test_doubtful(self) -> None:
        """
        One that dies before it has answered anything is left alone like one
        that could not be woken, and longer each time.
        """
        self.bring(State.ASLEEP)
        for failures in (1, 2, 3):
            self.model.wake(REQUEST)
            self.succeeds()
            self.assertEqual(self.model.failures, 0)
            self.model.check()
            self.fails()
            self.model.sleep()
            self.succeeds()
            self.assertIs(self.model.state, State.COOLING)
            self.assertEqual(self.model.failures, failures)
            self.clock.advance(pauseAfter(failures))

    def test_doubtfulKeepsFailures(self) -> None:
        """
        A wake that comes to nothing does not wipe out the failures before it.
        """
        self.bring(State.WAKING)
        self.fails()
        self.succeeds()
        self.clock.advance(1.0)
        self.model.wake(REQUEST)
        self.succeeds()
        self.model.check()
        self.fails()
        self.assertEqual(self.model.failures, 2)

    def test_patience(self) -> None:
        """
        Where patience is asked for, it is dead only when it has not answered
        that often in a row.
        """
        self.bring(State.AWAKE)
        for doubts, answers in ((1, False), (0, True), (1, False)):
            self.model.check(2)
            self.succeeds() if answers else self.fails()
            self.assertIs(self.model.state, State.AWAKE)
            self.assertEqual(self.model.doubts, doubts)
        self.model.check(2)
        self.fails()
        self.assertIs(self.model.state, State.DRAINING)

    def test_address(self) -> None:
        """
        A model is where its hook says until it sleeps, and its C{sleep} is
        told so.
        """
        self.bring(State.WAKING)
        self.succeeds("http://node7:1")
        self.assertEqual(self.model.address, "http://node7:1")
        self.model.drain(REQUEST)
        self.model.sleep()
        self.assertEqual(self.call.address, "http://node7:1")
        self.succeeds()
        self.assertEqual(self.model.address, "http://127.0.0.1:8001")

    def test_addressCooling(self) -> None:
        """
        So it is for one that is left alone after it died.
        """
        self.bring(State.WAKING)
        self.succeeds("http://node7:1")
        self.model.check()
        self.fails()
        self.model.sleep()
        self.succeeds()
        self.assertIs(self.model.state, State.COOLING)
        self.assertEqual(self.model.address, "http://127.0.0.1:8001")

    def test_nothingElse(self) -> None:
        """
        Whatever else it is told, is a mistake of whoever says so, and changes
        nothing.
        """
        allowed = {
            "probe": {State.UNKNOWN},
            "wake": {State.ASLEEP},
            "abandon": {State.WAKING},
            "drain": {State.AWAKE},
            "keep": {State.DRAINING},
            "sleep": {State.DRAINING},
            "check": {State.AWAKE},
            "clear": {State.STUCK},
        }
        for state in State:
            for name, states in allowed.items():
                if state in states:
                    continue
                self.setUp()
                self.bring(state)
                arguments = [REQUEST] if name in ("wake", "drain") else []
                with self.assertRaises(NoTransition):
                    getattr(self.model, name)(*arguments)
                self.assertIs(self.model.state, state, name)
                self.assertEqual(self.changes, [])


class EventTests(ResidencyTestCase):
    """
    What is told.
    """

    def test_durations(self) -> None:
        """
        Each change says how long the state before it lasted.
        """
        self.bring(State.ASLEEP)
        self.clock.advance(2.0)
        self.model.wake(REQUEST)
        self.clock.advance(3.0)
        self.succeeds()
        self.assertEqual(
            self.changes,
            [
                StateChanged("m", State.ASLEEP, State.WAKING, 2.0),
                StateChanged("m", State.WAKING, State.AWAKE, 3.0),
            ],
        )

    def test_hooks(self) -> None:
        """
        The end of each hook is told, with how long it took and why it failed.
        """
        self.bring(State.ASLEEP)
        self.ended.clear()
        self.model.wake(REQUEST)
        self.clock.advance(3.0)
        self.fails()
        self.succeeds()
        self.assertEqual(
            self.ended,
            [
                HookFinished("m", Hook.WAKE, Reason.REQUEST, 1, 3.0, "exit status 1"),
                HookFinished("m", Hook.SLEEP, Reason.RECOVER, 1, 0.0, ""),
            ],
        )

    def test_reentrant(self) -> None:
        """
        Whoever is told of a change may move the model at once; the changes
        are told in the order in which they happen, each when the model is at
        rest in a state of its own.
        """
        seen: list[tuple[State, State]] = []

        def told(change: StateChanged) -> None:
            seen.append((change.after, self.model.state))
            if change.after is State.AWAKE:
                self.model.drain(REQUEST)
            elif change.after is State.DRAINING:
                self.model.sleep()

        self.bring(State.WAKING)
        self.told = told
        self.succeeds()
        self.assertEqual(
            seen,
            [
                (State.AWAKE, State.AWAKE),
                (State.DRAINING, State.DRAINING),
                (State.SLEEPING, State.SLEEPING),
            ],
        )

    def test_reentrantHooks(self) -> None:
        """
        A hook that ends before it has been begun, as it were, changes nothing
        in that: no state is left out.
        """
        self.bring(State.AWAKE)
        self.hooks.slowAlive = False
        self.model.check()
        self.assertEqual(self.path, [State.CHECKING, State.AWAKE])

    def test_raises(self) -> None:
        """
        If whoever is told raises, that does not stop the next change from
        being told.
        """

        def told(change: StateChanged) -> None:
            if change.after is State.WAKING:
                raise ZeroDivisionError

        self.bring(State.ASLEEP)
        self.told = told
        self.assertRaises(ZeroDivisionError, self.model.wake, REQUEST)
        self.succeeds()
        self.assertEqual(self.path, [State.WAKING, State.AWAKE])

    def test_raisesAfterHook(self) -> None:
        """
        If it raises when a hook has ended, that is logged.
        """

        def told(change: StateChanged) -> None:
            raise ZeroDivisionError

        self.bring(State.WAKING)
        self.told = told
        self.succeeds()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIs(self.model.state, State.AWAKE)


class HookTests(ResidencyTestCase):
    """
    Hooks that cannot be run.
    """

    def test_raises(self) -> None:
        """
        A runner that raises is logged, and counts as a hook that failed.
        """

        @implementer(IHookRunner)
        class Broken:
            def run(self, call: HookCall) -> Any:
                raise OSError("no more processes")

            def stop(self, model: str) -> None:
                raise AssertionError("nothing runs")

        self.model = self.make(Broken())
        self.model.probe()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertIs(self.model.state, State.ASLEEP)
        self.assertEqual(self.ended[-1].error, "the hook could not be run")


class HaltTests(ResidencyTestCase):
    """
    llmux is stopping.
    """

    def test_pauses(self) -> None:
        """
        Pauses that have begun are forgotten: nothing is tried again.
        """
        for state in (State.COOLING, State.STUCK):
            self.setUp()
            self.bring(state)
            self.model.halt()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertIsNone(self.model.retryAt)
            self.clock.advance(100.0)
            self.assertIs(self.model.state, state)

    def test_noNewPause(self) -> None:
        """
        None begins: a sleep that fails is not tried again.
        """
        self.bring(State.SLEEPING)
        self.model.halt()
        self.fails()
        self.assertIs(self.model.state, State.STUCK)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cleanUp(self) -> None:
        """
        A failed wake is cleaned up after, and that is that.
        """
        self.bring(State.WAKING)
        self.model.halt()
        self.fails()
        self.succeeds()
        self.assertEqual(self.path, [State.SLEEPING, State.ASLEEP])
