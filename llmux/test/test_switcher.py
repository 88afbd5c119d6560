"""
Tests for L{llmux.switching.switcher}.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from llmux.config import PolicyConfig
from llmux.errors import (
    Conflict,
    NeverFits,
    QueueFull,
    ShuttingDown,
    SleepFailed,
    UnknownModel,
    WaitedTooLong,
    WakeFailed,
)
from llmux.interfaces import (
    Admit,
    BoundMissed,
    Decision,
    DecisionRefused,
    Hook,
    ISwitchPolicy,
    Reason,
    RequestDone,
    RequestDropped,
    Snapshot,
    State,
    Stay,
    Switch,
    SwitchEnded,
    Waiting,
)
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching._place import AGEING
from llmux.switching._queues import TOLD
from llmux.switching._switches import DEAD_GRACE
from llmux.switching.inflight import Token
from llmux.switching.switcher import Switcher
from llmux.testing import FakeHooks, Recorder, makeConfig


class SwitcherTestCase(SynchronousTestCase):
    """
    A switcher between two models, its hooks and its clock.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.hooks = FakeHooks(self.clock)
        self.recorder = Recorder()
        self.build()

    def build(self, *names: str, awake: tuple[str, ...] = (), **settings: Any) -> None:
        """
        Start a switcher.
        """
        settings.setdefault("alive_interval_secs", 0)
        settings.setdefault("policy", self.policy(max_wait_secs=None))
        self.hooks.awake = set(awake)
        self.switcher = Switcher(
            makeConfig(*(names or ("a", "b")), **settings),
            self.hooks,
            FirstComeFirstServed(),
            self.clock,
            [self.recorder],
        )
        self.successResultOf(self.switcher.start())

    def policy(self, **settings: Any) -> PolicyConfig:
        """
        Settings of the policy that shares one machine in order of arrival.
        """
        return PolicyConfig(name="fifo", **settings)

    def state(self, model: str) -> State:
        """
        What a model is doing.
        """
        return self.switcher.snapshot().models[model].state

    def awake(self, model: str) -> Token:
        """
        Wake a model and hold it.
        """
        ready = self.switcher.acquire(model)
        if model in self.hooks.running:
            self.hooks.finish(model)
        return self.successResultOf(ready)


class SwitchingTests(SwitcherTestCase):
    """
    One request after another.
    """

    def test_wakes(self) -> None:
        """
        A model that is asleep is woken for the first request, which then
        gets a token with the address of its server.
        """
        ready = self.switcher.acquire("a")
        self.assertNoResult(ready)
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.hooks.finish("a")
        token = self.successResultOf(ready)
        self.assertEqual((token.model, token.address), ("a", "http://127.0.0.1:8001"))
        self.assertIs(self.state("a"), State.AWAKE)

    def test_awakeAtOnce(self) -> None:
        """
        A model that is awake is granted in the same turn.
        """
        self.awake("a")
        self.successResultOf(self.switcher.acquire("a"))
        self.assertEqual(self.switcher.snapshot().models["a"].inFlight, 2)

    def test_unknown(self) -> None:
        """
        A model that is not configured is an error.
        """
        self.failureResultOf(self.switcher.acquire("nobody"), UnknownModel)

    def test_drainsThenSleepsThenWakes(self) -> None:
        """
        A switch waits for what is in flight, then puts the old model to
        sleep, then wakes the new one, telling each hook of the other.
        """
        first, second = self.awake("a"), self.awake("a")
        ready = self.switcher.acquire("b")
        self.assertIs(self.state("a"), State.DRAINING)
        first.release()
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        second.release()
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])
        self.hooks.finish("a")
        self.assertEqual(self.hooks.ran[2:], [("b", "wake")])
        self.assertNoResult(ready)
        self.hooks.finish("b")
        self.successResultOf(ready)
        self.assertEqual(
            [(call.model, call.peer) for call in self.hooks.calls[3:]],
            [("a", "b"), ("b", "a")],
        )

    def test_newcomersWaitForDrain(self) -> None:
        """
        While a model is draining, new requests for it wait, and are served
        when it is awake again.
        """
        token = self.awake("a")
        other = self.switcher.acquire("b")
        late = self.switcher.acquire("a")
        self.assertNoResult(late)
        token.release()
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(other).release()
        self.hooks.finish("b")
        self.hooks.finish("a")
        self.successResultOf(late)

    def test_releaseTwice(self) -> None:
        """
        A token that is given back twice counts once.
        """
        token, other = self.awake("a"), self.awake("a")
        token.release()
        token.release()
        self.switcher.acquire("b")
        self.assertIs(self.state("a"), State.DRAINING)
        other.release()
        self.assertIs(self.state("a"), State.SLEEPING)

    def test_cutInsteadOfDrain(self) -> None:
        """
        With C{drain_before_switch: false}, what is in flight is cut, and
        whoever holds it is told.
        """
        self.build(policy=self.policy(drain_before_switch=False))
        token = self.awake("a")
        why: list[str] = []
        token.whenCut(why.append)
        self.switcher.acquire("b")
        self.assertEqual(len(why), 1)
        self.assertFalse(token.held)
        self.assertEqual(self.hooks.ran[-1], ("a", "sleep"))

    def test_drainTimeout(self) -> None:
        """
        A drain that takes longer than C{drain_timeout_secs} is cut.
        """
        self.build(policy=self.policy(drain_timeout_secs=10))
        token = self.awake("a")
        why: list[str] = []
        token.whenCut(why.append)
        self.switcher.acquire("b")
        self.clock.advance(9.9)
        self.assertEqual(why, [])
        self.clock.advance(0.1)
        self.assertEqual(len(why), 1)
        self.assertEqual(self.hooks.ran[-1], ("a", "sleep"))
        self.assertTrue(self.recorder.of(RequestDone)[-1].cut)

    def test_minActive(self) -> None:
        """
        With C{min_active_secs} a model that has just woken is not switched
        away from but goes on serving, and no request has to arrive for that
        time to end.
        """
        self.build(policy=self.policy(min_active_secs=5))
        self.awake("a").release()
        self.switcher.acquire("b")
        self.clock.advance(4.9)
        self.successResultOf(self.switcher.acquire("a")).release()
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.clock.advance(0.1)
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("a", "sleep")])

    def test_addressFromHook(self) -> None:
        """
        A model is where its wake hook says, until it sleeps.
        """
        ready = self.switcher.acquire("a")
        self.hooks.finish("a", address="http://node7:18001")
        token = self.successResultOf(ready)
        self.assertEqual(token.address, "http://node7:18001")
        token.release()
        other = self.switcher.acquire("b")
        self.assertEqual(self.hooks.calls[-1].address, "http://node7:18001")
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(other).release()
        self.switcher.acquire("a")
        self.hooks.finish("b")
        self.assertEqual(self.hooks.calls[-1].address, "http://127.0.0.1:8001")

    def test_grantsAllWhoWait(self) -> None:
        """
        Everybody who waited is served in the turn in which the model wakes.
        """
        waiting = [self.switcher.acquire("a") for _ in range(5)]
        self.hooks.finish("a")
        for ready in waiting:
            self.successResultOf(ready)

    def test_noWakeWithoutService(self) -> None:
        """
        With C{max_in_flight}, all who waited when the model woke are served
        before it may be put to sleep, in the order in which they came.
        """
        self.build(models={"a": {"max_in_flight": 1}, "b": {}})
        waiting = [self.switcher.acquire("a") for _ in range(3)]
        self.hooks.finish("a")
        self.switcher.acquire("b")
        late = self.switcher.acquire("a")
        for ready in waiting:
            self.assertIs(self.state("a"), State.DRAINING)
            self.successResultOf(ready).release()
        self.assertNoResult(late)
        self.assertEqual(self.hooks.ran[-1], ("a", "sleep"))


class WaitingTests(SwitcherTestCase):
    """
    Those who wait.
    """

    def test_cancelLeavesQueue(self) -> None:
        """
        A client that hangs up while it waits no longer asks for its model.
        """
        token = self.awake("a")
        ready = self.switcher.acquire("b")
        ready.cancel()
        self.failureResultOf(ready, CancelledError)
        self.assertIs(self.state("a"), State.AWAKE)
        token.release()
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.recorder.of(RequestDropped)[-1].why, "left")

    def test_cancelledDrainServesOn(self) -> None:
        """
        When nobody wants the other model any more, one that is draining goes
        on serving those who came meanwhile.
        """
        self.awake("a")
        ready = self.switcher.acquire("b")
        late = self.switcher.acquire("a")
        self.assertNoResult(late)
        ready.addErrback(lambda _: None)
        ready.cancel()
        self.successResultOf(late)
        self.assertEqual(self.recorder.of(SwitchEnded)[-1].result, "cancelled")

    def test_cancelWhileSleepHookRuns(self) -> None:
        """
        One who leaves while the other model is being put to sleep causes no
        wake.
        """
        self.awake("a").release()
        ready = self.switcher.acquire("b")
        ready.addErrback(lambda _: None)
        ready.cancel()
        self.hooks.finish("a")
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("a", "sleep")])
        self.assertIs(self.state("a"), State.ASLEEP)

    def test_timeout(self) -> None:
        """
        One who waits longer than C{request_timeout_secs} is told so, and no
        longer asks for the model.
        """
        self.build(policy=self.policy(request_timeout_secs=30))
        self.awake("a")
        ready = self.switcher.acquire("b")
        self.clock.advance(30)
        self.failureResultOf(ready, WaitedTooLong)
        self.assertIs(self.state("a"), State.AWAKE)

    def test_queueFull(self) -> None:
        """
        More than C{max_queue} are refused, and told when to come again.
        """
        self.build(models={"a": {"max_queue": 2}})
        self.switcher.acquire("a")
        self.switcher.acquire("a")
        full = self.failureResultOf(self.switcher.acquire("a"), QueueFull)
        self.assertGreater(full.value.retryAfter, 0)

    def test_priority(self) -> None:
        """
        Of those who wait for one model, higher priorities are served first.
        """
        self.build(models={"a": {"max_in_flight": 1}})
        token = self.awake("a")
        low = self.switcher.acquire("a")
        high = self.switcher.acquire("a", priority=1)
        token.release()
        self.assertNoResult(low)
        self.successResultOf(high).release()
        self.successResultOf(low)

    def test_priorityObeysBound(self) -> None:
        """
        One who has waited for C{max_wait_secs} is served before any priority.
        """
        self.build(
            models={"a": {"max_in_flight": 1}}, policy=self.policy(max_wait_secs=60)
        )
        token = self.awake("a")
        low = self.switcher.acquire("a")
        high = self.switcher.acquire("a", priority=1)
        self.clock.advance(60)
        token.release()
        self.assertNoResult(high)
        self.successResultOf(low)

    def test_priorityAges(self) -> None:
        """
        One who waits gains on those with a higher priority, so that a steady
        stream of these does not keep them waiting for ever, without any
        bound.
        """
        self.build(models={"a": {"max_in_flight": 1}})
        token = self.awake("a")
        low = self.switcher.acquire("a")
        for _ in range(3):
            self.clock.advance(AGEING)
            high = self.switcher.acquire("a", priority=2.5)
            token.release()
            if low.called:
                break
            token = self.successResultOf(high)
        self.assertNoResult(high)
        self.assertEqual(self.clock.seconds(), 3 * AGEING)
        self.successResultOf(low)

    def test_priorityAmongMany(self) -> None:
        """
        Who has left is not waited for, whatever their priority, and who comes
        again later keeps their turn.
        """
        self.build(models={"a": {"max_in_flight": 1}})
        token = self.awake("a")
        order: list[int] = []

        def served(token: Token, number: int) -> Token:
            order.append(number)
            return token

        ready = []
        for number in range(200):
            one = self.switcher.acquire("a", priority=number % 3)
            one.addCallbacks(served, lambda _: None, callbackArgs=(number,))
            ready.append(one)
        for number in range(100):
            ready[number].cancel()
        for _ in range(100):
            token.release()
            token = self.successResultOf(ready[order[-1]])
        self.assertEqual(
            order, sorted(range(100, 200), key=lambda one: (-(one % 3), one))
        )

    def test_placeAmongWaiting(self) -> None:
        """
        One who has to wait again stands behind those who came earlier and
        whom a higher priority had passed, so that their bound holds.
        """
        self.build(
            models={"a": {"max_in_flight": 1}}, policy=self.policy(max_wait_secs=60)
        )
        token = self.awake("a")
        low = self.switcher.acquire("a")
        self.clock.advance(30)
        high = self.switcher.acquire("a", priority=5)
        token.release()
        self.hooks.slowAlive = True
        again = self.switcher.reacquire(self.successResultOf(high))
        self.clock.advance(30)
        self.hooks.finish("a")
        self.assertNoResult(again)
        self.successResultOf(low)

    def test_boundBeforeNewcomers(self) -> None:
        """
        When a model was not to be had while somebody's time ran out, nobody
        who came later is let in before that one has had their switch.
        """
        self.build(
            models={"a": {"max_in_flight": 1}, "b": {}},
            policy=self.policy(max_wait_secs=60, min_active_secs=1000),
        )
        token = self.awake("a")
        self.switcher.acquire("b")
        self.clock.advance(59)
        late = self.switcher.acquire("a")
        self.hooks.slowAlive = True
        again = self.switcher.reacquire(token)
        self.clock.advance(2)
        self.hooks.finish("a")
        # It waited when the model woke, and is owed its turn.
        self.successResultOf(again).release()
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])
        self.assertNoResult(late)

    def test_boundMissed(self) -> None:
        """
        Who has waited for C{max_wait_secs} and still has to wait for the
        switches of others is told of: once for each model, until it is woken.
        """
        self.build("a", "b", "c", policy=self.policy(max_wait_secs=60))
        held = self.awake("a")
        between = self.switcher.acquire("b")
        self.clock.advance(1)
        last = self.switcher.acquire("c")
        self.clock.advance(59)
        self.assertEqual(self.recorder.of(BoundMissed), [])
        self.clock.advance(1)
        missed = BoundMissed("c", 60.0, 60.0)
        self.assertEqual(self.recorder.of(BoundMissed), [missed])
        self.switcher.acquire("c")
        self.clock.advance(5)
        self.assertEqual(self.recorder.of(BoundMissed), [missed])
        held.release()
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(between).release()
        self.hooks.finish("b")
        self.hooks.finish("c")
        token = self.successResultOf(last)
        self.switcher.acquire("a")
        self.switcher.acquire("b")
        self.clock.advance(60)
        self.assertEqual(self.recorder.of(BoundMissed)[1:], [evolve(missed, model="b")])
        token.release()

    def test_boundWhileAsked(self) -> None:
        """
        Nor is anybody let in who came while the model was asked whether it is
        alive.
        """
        self.build(policy=self.policy(max_wait_secs=60, min_active_secs=1000))
        self.awake("a")
        self.switcher.acquire("b")
        self.clock.advance(59)
        self.hooks.slowAlive = True
        self.switcher.suspect("a")
        late = self.switcher.acquire("a")
        self.clock.advance(2)
        self.hooks.finish("a")
        self.assertNoResult(late)
        self.assertIs(self.state("a"), State.DRAINING)

    def test_bound(self) -> None:
        """
        When a request has been passed over for C{max_wait_secs}, its model is
        woken whatever the policy says, though no request arrives then.
        """
        self.build(policy=self.policy(max_wait_secs=60, min_active_secs=1000))
        self.awake("a").release()
        self.switcher.acquire("b")
        self.clock.advance(59.9)
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.clock.advance(0.2)
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])

    def test_boundOfModel(self) -> None:
        """
        A model may have a bound of its own, which holds for its requests and
        for no others.
        """
        self.build(
            models={"b": {"max_wait_secs": 10}, "c": {}},
            policy=self.policy(max_wait_secs=60, min_active_secs=1000),
        )
        self.awake("a").release()
        self.switcher.acquire("c")
        short = self.switcher.acquire("b")
        self.clock.advance(9.9)
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.clock.advance(0.2)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(short).release()
        self.clock.advance(49.8)
        self.assertIs(self.state("b"), State.AWAKE)
        self.clock.advance(0.2)
        self.assertEqual(self.hooks.ran[-1], ("b", "sleep"))

    def test_wakeForNobody(self) -> None:
        """
        A wake that nobody waits for any more is finished, and kept.
        """
        ready = self.switcher.acquire("a")
        ready.addErrback(lambda _: None)
        ready.cancel()
        self.hooks.finish("a")
        self.assertIs(self.state("a"), State.AWAKE)

    def test_wakeInTheWay(self) -> None:
        """
        It is broken off and cleaned up after when others wait for the place.
        """
        ready = self.switcher.acquire("a")
        ready.addErrback(lambda _: None)
        ready.cancel()
        other = self.switcher.acquire("b")
        self.assertEqual(self.hooks.stopped, ["a"])
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("a", "sleep")])
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(other)

    def test_wakeFinished(self) -> None:
        """
        If that is configured, it is finished even then.
        """
        self.build(policy=self.policy(max_wait_secs=None, cancelled_wake="finish"))
        ready = self.switcher.acquire("a")
        ready.addErrback(lambda _: None)
        ready.cancel()
        other = self.switcher.acquire("b")
        self.assertEqual(self.hooks.stopped, [])
        for name in ("a", "a", "b"):
            self.hooks.finish(name)
        self.successResultOf(other)

    def test_wakeEnded(self) -> None:
        """
        If that is configured, it is ended at once, and cleaned up after.
        """
        self.build(policy=self.policy(max_wait_secs=None, cancelled_wake="end"))
        first, second = self.switcher.acquire("a"), self.switcher.acquire("a")
        for ready in (first, second):
            ready.addErrback(lambda _: None)
            self.assertEqual(self.hooks.stopped, [])
            ready.cancel()
        self.assertEqual(self.hooks.stopped, ["a"])
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("a", "sleep")])
        self.hooks.finish("a")
        self.assertIs(self.state("a"), State.ASLEEP)
        self.assertEqual(
            [e.result for e in self.recorder.of(SwitchEnded)], ["cancelled"]
        )


class FailureTests(SwitcherTestCase):
    """
    Hooks that fail and models that die.
    """

    def test_wakeFails(self) -> None:
        """
        Those who wait for a model that cannot be woken are told, it is
        cleaned up after, and left alone for twice as long each time.
        """
        pauses = []
        for _ in range(8):
            ready = self.switcher.acquire("a")
            self.hooks.fail("a")
            self.failureResultOf(ready, WakeFailed)
            self.assertEqual(self.hooks.ran[-1], ("a", "sleep"))
            self.hooks.finish("a")
            refused = self.failureResultOf(self.switcher.acquire("a"), WakeFailed)
            pauses.append(refused.value.retryAfter)
            self.clock.advance(pauses[-1])
            self.assertIs(self.state("a"), State.ASLEEP)
        self.assertEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60])
        wakes = [call for call in self.hooks.calls if call.hook is Hook.WAKE]
        self.assertEqual([call.attempt for call in wakes], [1, 2, 3, 4, 5, 6, 7, 8])

    def test_othersGoOn(self) -> None:
        """
        While one model is left alone after a failure, another can be woken.
        """
        ready = self.switcher.acquire("a")
        other = self.switcher.acquire("b")
        self.hooks.fail("a")
        self.failureResultOf(ready, WakeFailed)
        self.assertNoResult(other)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(other)

    def test_sleepFails(self) -> None:
        """
        While a model cannot be put to sleep, nothing is woken in its place;
        it is tried again, and then those who waited are served.
        """
        self.awake("a").release()
        ready = self.switcher.acquire("b")
        self.hooks.fail("a")
        self.assertIs(self.state("a"), State.STUCK)
        self.clock.advance(0.9)
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("a", "sleep")])
        self.clock.advance(0.1)
        self.assertEqual(self.hooks.calls[-1].attempt, 2)
        self.assertNoResult(ready)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(ready)

    def test_sleepFailsAgainAndAgain(self) -> None:
        """
        Those who need the room of a model that cannot be put to sleep at all
        are not left to wait for ever.
        """
        self.awake("a").release()
        ready = self.switcher.acquire("b")
        for pause in (1, 2, 4):
            self.hooks.fail("a")
            self.failureResultOf(self.switcher.acquire("a"), WakeFailed)
            self.clock.advance(pause)
        self.failureResultOf(ready, WakeFailed)

    def test_refusedAndAlive(self) -> None:
        """
        When a connection was refused but the model is alive, the request may
        try again.
        """
        token = self.awake("a")
        again = self.successResultOf(self.switcher.reacquire(token))
        self.assertFalse(token.held)
        self.assertEqual(again.number, token.number)
        self.assertEqual(self.hooks.calls[-1].hook, Hook.ALIVE)

    def test_refusedAndDead(self) -> None:
        """
        When it is dead, it is cleaned up after and woken again for the
        request, which keeps its place before those who came later.
        """
        token = self.awake("a")
        token.answered()
        self.hooks.awake.clear()
        again = self.switcher.reacquire(token)
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])
        late = self.switcher.acquire("a")
        self.hooks.finish("a")
        self.assertEqual(self.hooks.ran[2:], [("a", "wake")])
        self.hooks.finish("a")
        self.successResultOf(again)
        self.successResultOf(late)

    def test_deadBeforeItAnswered(self) -> None:
        """
        One that dies before it has answered anything is left alone for a
        while, like one that could not be woken.
        """
        token = self.awake("a")
        self.hooks.awake.clear()
        again = self.switcher.reacquire(token)
        self.hooks.finish("a")
        self.failureResultOf(again, WakeFailed)
        self.assertIs(self.state("a"), State.COOLING)

    def test_deadWithOthersInFlight(self) -> None:
        """
        What else is in flight to a dead model may notice by itself for a
        while, and is cut then.
        """
        token, other = self.awake("a"), self.awake("a")
        self.hooks.awake.clear()
        self.switcher.reacquire(token).addErrback(lambda _: None)
        self.assertIs(self.state("a"), State.DRAINING)
        self.clock.advance(DEAD_GRACE)
        self.assertFalse(other.held)
        self.assertEqual(self.hooks.ran[-1], ("a", "sleep"))

    def test_deadStaysDead(self) -> None:
        """
        A dead model takes nothing new, even if the one who found out leaves.
        """
        token, _ = self.awake("a"), self.awake("a")
        self.hooks.awake.clear()
        again = self.switcher.reacquire(token)
        again.addErrback(lambda _: None)
        again.cancel()
        self.assertNoResult(self.switcher.acquire("a"))
        self.clock.advance(DEAD_GRACE)
        self.assertIs(self.state("a"), State.SLEEPING)

    def test_asksOnce(self) -> None:
        """
        Many refused connections at once make for one question.
        """
        self.hooks.slowAlive = True
        tokens = [self.awake("a") for _ in range(3)]
        again = [self.switcher.reacquire(token) for token in tokens]
        alive = [call for call in self.hooks.calls if call.hook is Hook.ALIVE]
        self.assertEqual(len(alive), 3)  # two at the start
        self.hooks.finish("a")
        for ready in again:
            self.successResultOf(ready)


class StartTests(SwitcherTestCase):
    """
    What is awake already.
    """

    def test_adopts(self) -> None:
        """
        A model that is awake is used as it is.
        """
        self.build(awake=("b",))
        self.successResultOf(self.switcher.acquire("b"))
        self.assertEqual(self.hooks.ran, [])

    def test_nothingIsWokenBeforeAllIsKnown(self) -> None:
        """
        Nothing is woken in a place of which it is not known yet whether
        another model holds it.
        """
        self.hooks.slowAlive = True
        switcher = Switcher(
            makeConfig("a", "b"), self.hooks, FirstComeFirstServed(), self.clock
        )
        switcher.start()
        ready = switcher.acquire("a")
        self.hooks.fail("a")
        self.assertEqual(self.hooks.ran, [])
        self.hooks.finish("b")
        self.assertEqual(self.hooks.ran, [("b", "sleep")])
        self.hooks.finish("b")
        self.hooks.finish("a")
        self.successResultOf(ready)

    def test_twoAwakeInOnePlace(self) -> None:
        """
        Of two models that are found awake in one place, one is put to sleep
        before anything is sent to it.
        """
        self.build(awake=("a", "b"))
        self.assertEqual(self.hooks.ran, [("b", "sleep")])
        self.assertNoResult(self.switcher.acquire("b"))

    def test_preload(self) -> None:
        """
        A model with C{preload} is woken at the start.
        """
        self.build(models={"a": {}, "b": {"preload": True}})
        self.assertEqual(self.hooks.ran, [("b", "wake")])
        self.assertIs(self.hooks.calls[-1].reason, Reason.PRELOAD)

    def test_preloadFails(self) -> None:
        """
        One that cannot be preloaded is told to the log.
        """
        self.build(models={"a": {"preload": True}})
        self.hooks.fail("a")
        self.hooks.finish("a")
        self.assertIs(self.state("a"), State.COOLING)


class IdleTests(SwitcherTestCase):
    """
    Models that nobody asks for.
    """

    def test_notIdle(self) -> None:
        """
        A model that serves somebody is not idle, however long ago it was.
        """
        self.build(models={"a": {"ttl_secs": 60}})
        self.awake("a").release()
        self.clock.advance(30)
        token = self.awake("a")
        self.clock.advance(300)
        self.assertIs(self.state("a"), State.AWAKE)
        token.release()
        self.clock.advance(59)
        self.assertIs(self.state("a"), State.AWAKE)
        self.clock.advance(1)
        self.assertIs(self.state("a"), State.SLEEPING)

    def test_idleToTheBit(self) -> None:
        """
        A model whose time has come but for what floating point rounds off is
        put to sleep; the rest is not waited for, which may be too little for
        the time to change.
        """
        self.build(models={"a": {"ttl_secs": 60}})
        self.clock.advance(41 * 0.1)
        self.awake("a").release()
        since = self.clock.seconds()
        self.assertLess(since + 60.0 - since, 60.0)
        self.clock.advance(60)
        self.assertIs(self.state("a"), State.SLEEPING)

    def test_ttl(self) -> None:
        """
        A model with C{ttl_secs} sleeps that long after the end of its last
        request.
        """
        self.build(models={"a": {"ttl_secs": 60}})
        token = self.awake("a")
        self.clock.advance(100)
        token.release()
        self.clock.advance(59)
        self.assertIs(self.state("a"), State.AWAKE)
        self.clock.advance(1)
        self.assertIs(self.state("a"), State.SLEEPING)
        self.assertIs(self.hooks.calls[-1].reason, Reason.TTL)

    def test_requestWins(self) -> None:
        """
        A request begins the time anew.
        """
        self.build(models={"a": {"ttl_secs": 60}})
        self.awake("a").release()
        self.clock.advance(59)
        self.awake("a").release()
        self.clock.advance(59)
        self.assertIs(self.state("a"), State.AWAKE)

    def test_drainEndsWithSleep(self) -> None:
        """
        What limits a drain has nothing to say about what is served after the
        model has slept and been woken again.
        """
        self.build(
            models={"a": {"ttl_secs": 60}}, policy=self.policy(drain_timeout_secs=10)
        )
        self.awake("a").release()
        self.clock.advance(60)
        self.hooks.finish("a")
        token = self.awake("a")
        self.clock.advance(11)
        self.assertTrue(token.held)

    def test_adopted(self) -> None:
        """
        It counts for models that were awake before llmux started, too.
        """
        self.build(models={"a": {"ttl_secs": 60}}, awake=("a",))
        self.clock.advance(60)
        self.assertIs(self.state("a"), State.SLEEPING)


class OperatorTests(SwitcherTestCase):
    """
    What an operator asks for.
    """

    def test_wake(self) -> None:
        """
        A model is woken without a request, and serves.
        """
        woken = self.switcher.wake("a")
        self.assertIs(self.hooks.calls[-1].reason, Reason.OPERATOR)
        self.hooks.finish("a")
        self.successResultOf(woken)
        self.assertEqual(self.switcher.snapshot().models["a"].inFlight, 0)

    def test_sleep(self) -> None:
        """
        A model is put to sleep, and the next request wakes it again.
        """
        self.awake("a").release()
        slept = self.switcher.sleep("a")
        again = self.switcher.acquire("a")
        self.assertNoResult(slept)
        self.hooks.finish("a")
        self.successResultOf(slept)
        self.hooks.finish("a")
        self.successResultOf(again)

    def test_sleepBusy(self) -> None:
        """
        One that serves is left alone, unless it may finish first.
        """
        token = self.awake("a")
        self.failureResultOf(self.switcher.sleep("a"), Conflict)
        self.assertIs(self.state("a"), State.AWAKE)
        slept = self.switcher.sleep("a", drain=True)
        token.release()
        self.hooks.finish("a")
        self.successResultOf(slept)

    def test_sleepPinned(self) -> None:
        """
        So is one that is pinned.
        """
        self.build(models={"a": {"pin": True}}, awake=("a",))
        self.failureResultOf(self.switcher.sleep("a"), Conflict)

    def test_sleepAsleep(self) -> None:
        """
        One that sleeps is no trouble; one that is being woken is not stopped;
        an unknown one is an error.
        """
        self.successResultOf(self.switcher.sleep("a"))
        self.switcher.acquire("a")
        self.failureResultOf(self.switcher.sleep("a"), Conflict)
        self.failureResultOf(self.switcher.sleep("nobody"), UnknownModel)

    def test_clear(self) -> None:
        """
        One that could not be put to sleep is free on an operator's word.
        """
        self.awake("a").release()
        slept = self.switcher.sleep("a")
        ready = self.switcher.acquire("b")
        self.hooks.fail("a")
        self.failureResultOf(slept, SleepFailed)
        self.failureResultOf(self.switcher.sleep("a"), SleepFailed)
        self.switcher.clear("a")
        self.hooks.finish("b")
        self.successResultOf(ready)
        self.assertRaises(Conflict, self.switcher.clear, "a")
        self.assertRaises(UnknownModel, self.switcher.clear, "nobody")


class LivenessTests(SwitcherTestCase):
    """
    Models that die, or hang, while nobody looks.
    """

    def setUp(self) -> None:
        super().setUp()
        self.build(alive_interval_secs=30)

    def asked(self) -> int:
        """
        How often a model was asked since the start.
        """
        return sum(call.hook is Hook.ALIVE for call in self.hooks.calls) - 2

    def test_idle(self) -> None:
        """
        A model that serves nothing is asked now and then, and goes on.
        """
        self.awake("a").release()
        before = self.asked()
        self.clock.pump([1.0] * 95)
        self.assertEqual(self.asked() - before, 3)
        self.assertIs(self.state("a"), State.AWAKE)

    def test_busy(self) -> None:
        """
        One that answers is not.
        """
        self.awake("a").answered()
        self.successResultOf(self.switcher.acquire("a"))
        before = self.asked()
        self.clock.pump([1.0] * 95)
        self.assertEqual(self.asked(), before)

    def test_hung(self) -> None:
        """
        One that serves and has not begun to answer anything for so long is
        asked; if it is hung, what it serves is ended, and whoever waits has it
        woken anew.
        """
        token = self.awake("a")
        cut: list[str] = []
        token.whenCut(cut.append)
        self.clock.pump([1.0] * 20)
        late = self.successResultOf(self.switcher.acquire("a"))
        before = self.asked()
        self.clock.pump([1.0] * 11)
        self.assertEqual(self.asked() - before, 1)
        self.assertIs(self.state("a"), State.AWAKE)
        self.hooks.awake.clear()
        self.clock.pump([1.0] * 35)
        waiting = self.switcher.acquire("a")
        self.assertIs(self.state("a"), State.DRAINING)
        self.clock.advance(DEAD_GRACE)
        self.assertEqual(cut, ["the model was found dead"])
        self.assertFalse(late.held)
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])
        self.hooks.finish("a")
        self.hooks.finish("a")
        self.successResultOf(waiting)

    def test_answersAgain(self) -> None:
        """
        One that begins to answer meanwhile is not asked again.
        """
        token = self.awake("a")
        self.clock.pump([1.0] * 31)
        before = self.asked()
        token.answered()
        self.clock.pump([1.0] * 95)
        self.assertEqual(self.asked(), before)

    def test_dead(self) -> None:
        """
        One that twice does not say that it is alive is put to sleep, and its
        next request wakes it.
        """
        token = self.awake("a")
        token.answered()
        token.release()
        self.hooks.awake.clear()
        self.clock.pump([1.0] * 31)
        self.assertIs(self.state("a"), State.AWAKE)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.hooks.ran[-1], ("a", "sleep"))
        self.hooks.finish("a")
        ready = self.switcher.acquire("a")
        self.hooks.finish("a")
        self.successResultOf(ready)

    def test_onceIsNotEnough(self) -> None:
        """
        One that recovers in between goes on.
        """
        self.awake("a").release()
        self.hooks.awake.clear()
        self.clock.pump([1.0] * 31)
        self.hooks.awake.add("a")
        self.clock.pump([1.0] * 40)
        self.hooks.awake.clear()
        self.clock.pump([1.0] * 27)
        self.assertIs(self.state("a"), State.AWAKE)

    def test_suspect(self) -> None:
        """
        One that does not answer is asked at once.
        """
        self.awake("a")
        before = self.asked()
        self.switcher.suspect("a")
        self.assertEqual(self.asked(), before + 1)
        self.switcher.suspect("b")
        self.assertEqual(self.asked(), before + 1)

    def test_never(self) -> None:
        """
        With C{alive_interval_secs: 0} nobody is asked.
        """
        self.build(alive_interval_secs=0)
        self.awake("a").release()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ResourceTests(SwitcherTestCase):
    """
    Several models awake at once.
    """

    def setUp(self) -> None:
        super().setUp()
        self.build(
            resources={"gpu0": 24, "gpu1": 24},
            models={
                "small": {"needs": {"gpu0": 10}},
                "tiny": {"needs": {"gpu0": 4}},
                "large": {"needs": {"gpu0": 20}},
                "other": {"needs": {"gpu1": 24}},
                "pinned": {"needs": {"gpu0": 8}, "pin": True},
                "all": {},
            },
        )

    def test_together(self) -> None:
        """
        Models that fit together are awake together, and are woken at once.
        """
        self.switcher.acquire("small")
        self.switcher.acquire("tiny")
        self.switcher.acquire("other")
        self.assertEqual(
            self.hooks.ran, [("small", "wake"), ("tiny", "wake"), ("other", "wake")]
        )

    def test_noMoreThanNeeded(self) -> None:
        """
        Only what must sleep is put to sleep.
        """
        self.awake("small").release()
        self.awake("tiny").release()
        self.awake("other").release()
        self.switcher.acquire("large")
        self.assertEqual(self.hooks.ran[3:], [("small", "sleep")])

    def test_everything(self) -> None:
        """
        A model without C{needs} needs everything.
        """
        self.awake("small").release()
        self.awake("other").release()
        self.switcher.acquire("all")
        self.assertEqual(
            sorted(self.hooks.ran[2:]), [("other", "sleep"), ("small", "sleep")]
        )
        self.hooks.finish("small")
        self.assertEqual(len(self.hooks.ran), 4)
        self.hooks.finish("other")
        self.assertEqual(self.hooks.ran[4:], [("all", "wake")])

    def test_pinned(self) -> None:
        """
        A pinned model stays, and what can never fit beside it is refused.
        """
        waiting = self.switcher.acquire("large")
        self.hooks.finish("large")
        self.successResultOf(waiting).release()
        self.switcher.acquire("pinned")
        late = self.switcher.acquire("large")
        self.hooks.finish("large")
        self.hooks.finish("pinned")
        self.failureResultOf(late, NeverFits)
        self.failureResultOf(self.switcher.acquire("all"), NeverFits)

    def test_disjointHooks(self) -> None:
        """
        A model whose hook hangs does not hold up one with a place of its own.
        """
        self.switcher.acquire("large")
        ready = self.switcher.acquire("other")
        self.hooks.finish("other")
        self.successResultOf(ready)


class StopTests(SwitcherTestCase):
    """
    The end.
    """

    def test_idle(self) -> None:
        """
        With nothing to do it stops at once and leaves what is awake.
        """
        self.awake("a").release()
        self.successResultOf(self.switcher.stop())
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.failureResultOf(self.switcher.acquire("a"), ShuttingDown)
        self.assertIsNone(self.switcher.grant("a"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.switcher.stop())

    def test_waitsForStreams(self) -> None:
        """
        What is in flight may end; who waits is refused.
        """
        token = self.awake("a")
        waiting = self.switcher.acquire("b")
        stopped = self.switcher.stop()
        self.failureResultOf(waiting, ShuttingDown)
        self.assertNoResult(stopped)
        token.release()
        self.successResultOf(stopped)
        self.assertEqual(self.hooks.ran, [("a", "wake")])

    def test_many(self) -> None:
        """
        If many wait, no more than some of them are refused in one turn of the
        reactor, each once; it has stopped when all have been.
        """
        token = self.awake("a")
        waiting = [self.switcher.acquire("b") for _ in range(3 * TOLD)]
        stopped = self.switcher.stop()
        token.release()
        self.assertEqual(sum(one.called for one in waiting), TOLD)
        # Who leaves meanwhile, need not be told.
        waiting[-1].cancel()
        self.failureResultOf(waiting[-1], CancelledError)
        self.assertNoResult(stopped)
        self.clock.advance(0)
        self.successResultOf(stopped)
        for one in waiting[:-1]:
            self.failureResultOf(one, ShuttingDown)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounded(self) -> None:
        """
        For no longer than C{drain_timeout_secs}.
        """
        self.build(policy=self.policy(drain_timeout_secs=10))
        token = self.awake("a")
        stopped = self.switcher.stop()
        self.clock.advance(10)
        self.successResultOf(stopped)
        self.assertFalse(token.held)

    def test_cutMany(self) -> None:
        """
        If there is much in flight, no more than some of it is cut in one turn
        of the reactor, and it has stopped when all of it is.
        """
        tokens = [self.awake("a") for _ in range(2 * TOLD + 1)]
        stopped = self.switcher.stop(sleepAwake=True)
        self.switcher.hurry()
        self.assertEqual(sum(token.wasCut for token in tokens), TOLD)
        self.assertNoResult(stopped)
        self.clock.advance(0)
        self.assertEqual(sum(token.wasCut for token in tokens), len(tokens))
        self.successResultOf(stopped)

    def test_cutMeanwhile(self) -> None:
        """
        What ends by itself meanwhile is not cut, and a model that drains for
        too long is put to sleep when nothing is in flight any more.
        """
        self.build(policy=self.policy(drain_timeout_secs=10))
        tokens = [self.awake("a") for _ in range(2 * TOLD + 1)]
        cut: list[str] = []
        for token in tokens:
            token.whenCut(cut.append)
        waiting = self.switcher.acquire("b")
        tokens[0].release()
        self.clock.advance(10)
        self.assertEqual(len(cut), len(tokens) - 1)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(waiting)

    def test_hurry(self) -> None:
        """
        Or until it has to be quick.
        """
        token = self.awake("a")
        stopped = self.switcher.stop()
        self.switcher.hurry()
        self.successResultOf(stopped)
        self.assertFalse(token.held)

    def test_breaksWakeOff(self) -> None:
        """
        A wake is broken off and cleaned up after.
        """
        waiting = self.switcher.acquire("a")
        stopped = self.switcher.stop()
        self.failureResultOf(waiting, ShuttingDown)
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("a", "sleep")])
        self.assertNoResult(stopped)
        self.hooks.finish("a")
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waitsForSleep(self) -> None:
        """
        A sleep is waited for, and not tried again if it fails.
        """
        self.awake("a").release()
        self.switcher.acquire("b").addErrback(lambda _: None)
        stopped = self.switcher.stop()
        self.assertNoResult(stopped)
        self.hooks.fail("a")
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sleepAwake(self) -> None:
        """
        If asked to, it puts to sleep what is awake, after its requests.
        """
        token = self.awake("a")
        stopped = self.switcher.stop(sleepAwake=True)
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        token.release()
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])
        self.assertIs(self.hooks.calls[-1].reason, Reason.EXIT)
        self.hooks.finish("a")
        self.successResultOf(stopped)

    def test_probing(self) -> None:
        """
        It does not wait for models to say whether they are alive.
        """
        self.hooks.slowAlive = True
        switcher = Switcher(
            makeConfig("a"), self.hooks, FirstComeFirstServed(), self.clock
        )
        switcher.start()
        self.successResultOf(switcher.stop())
        self.assertEqual(self.hooks.running, {})

    def test_refusedWhileStopping(self) -> None:
        """
        Nothing is woken again while stopping.
        """
        token = self.awake("a")
        stopped = self.switcher.stop()
        self.failureResultOf(self.switcher.reacquire(token), ShuttingDown)
        self.successResultOf(stopped)


@implementer(ISwitchPolicy)
class Stubborn:
    """
    A policy that always gives the same answer.
    """

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def decide(self, snapshot: Snapshot) -> Decision:
        """
        See L{ISwitchPolicy.decide}.
        """
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: Decision = self.answer
        return answer


class UnsafePolicyTests(SynchronousTestCase):
    """
    A policy can be unwise but never unsafe.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.hooks = FakeHooks(self.clock, awake={"a"})
        self.recorder = Recorder()
        self.policy = Stubborn(Stay())
        self.switcher = Switcher(
            makeConfig(
                "a",
                "b",
                "c",
                policy=PolicyConfig(
                    name="fifo", max_wait_secs=None, min_active_secs=10
                ),
                models={"c": {"pin": True}},
            ),
            self.hooks,
            self.policy,
            self.clock,
            [self.recorder],
        )
        self.successResultOf(self.switcher.start())

    def refused(self, answer: Any) -> str:
        """
        Have the policy give an answer while somebody waits for C{b}, and see
        that nothing comes of it but a note.
        """
        self.policy.answer = answer
        ready = self.switcher.acquire("b")
        self.assertNoResult(ready)
        self.assertEqual(self.hooks.ran, [])
        self.clock.pump([0.5] * 4)
        (note,) = self.recorder.of(DecisionRefused)
        why: str = note.why
        return why

    def test_unknown(self) -> None:
        """
        A model that is not there cannot be woken.
        """
        self.assertIn("no such model", self.refused(Switch("nobody")))

    def test_awake(self) -> None:
        """
        Neither can one that is awake.
        """
        self.assertIn("not asleep", self.refused(Switch("a")))

    def test_noDemand(self) -> None:
        """
        Or one that nobody waits for.
        """
        self.assertIn("nobody waits", self.refused(Switch("c", {"a"})))

    def test_noRoom(self) -> None:
        """
        Or one for which there is no room.
        """
        self.assertIn("room", self.refused(Switch("b")))

    def test_victimAsleep(self) -> None:
        """
        What is asleep cannot be put to sleep.
        """
        self.assertIn("'c' is not awake", self.refused(Switch("b", {"c"})))

    def test_tooEarly(self) -> None:
        """
        Nothing is put to sleep before C{min_active_secs}.
        """
        self.assertIn("min_active_secs", self.refused(Switch("b", {"a"})))

    def test_admitNowhere(self) -> None:
        """
        Nobody can join a drain that is none.
        """
        stranger = Waiting("b", 0.0, 7)
        self.assertIn("join", self.refused(Admit(stranger)))

    def test_nonsense(self) -> None:
        """
        What is not a decision is not obeyed.
        """
        self.assertIn("not a decision", self.refused("sleep, perhaps"))

    def test_pinned(self) -> None:
        """
        Nothing that is pinned is put to sleep.
        """
        self.hooks.awake = {"c"}
        switcher = Switcher(
            makeConfig(
                resources={"gpu": 2},
                models={
                    "b": {"needs": {"gpu": 1}},
                    "c": {"needs": {"gpu": 1}, "pin": True},
                },
            ),
            self.hooks,
            Stubborn(Switch("b", {"c"})),
            self.clock,
            [self.recorder],
        )
        switcher.start()
        self.assertNoResult(switcher.acquire("b"))
        self.assertIn("'c' is pinned", self.recorder.of(DecisionRefused)[0].why)

    def test_barred(self) -> None:
        """
        Nobody is woken in the way of one who has waited for as long as they may.
        """
        policy = Stubborn(Switch("a"))
        switcher = Switcher(
            makeConfig(
                resources={"gpu": 2},
                policy=PolicyConfig(name="fifo", max_wait_secs=5),
                models={
                    "a": {"needs": {"gpu": 1}},
                    "b": {"needs": {"gpu": 2}},
                    "c": {"needs": {"gpu": 1}},
                },
            ),
            FakeHooks(self.clock),
            policy,
            self.clock,
            [self.recorder],
        )
        switcher.start()
        # What is on its way cannot make room.
        switcher.acquire("a")
        policy.answer = Stay()
        switcher.acquire("b")
        self.clock.advance(6)
        policy.answer = Switch("c")
        self.assertNoResult(switcher.acquire("c"))
        self.assertIn("too long", self.recorder.of(DecisionRefused)[-1].why)
        self.assertIs(switcher.snapshot().models["c"].state, State.ASLEEP)

    def test_raises(self) -> None:
        """
        A policy that raises is logged and asked again later.
        """
        self.policy.answer = RuntimeError("no idea")
        ready = self.switcher.acquire("b")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.policy.answer = Switch("b", {"a"})
        self.clock.pump([1.0] * 12)
        self.flushLoggedErrors(RuntimeError)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(ready)

    def test_moreNonsense(self) -> None:
        """
        Nor does a policy that says what makes no sense do any harm.
        """
        anything: Any = None
        for answer in (
            Switch("b", {anything}),
            Switch("b", {"a": 1}),
            Switch(anything),
            Switch([]),  # type: ignore[arg-type]
            Admit(anything),
            Stay(float("nan")),
            Stay(float("inf")),
            Stay("soon"),  # type: ignore[arg-type]
            anything,
        ):
            self.policy.answer = answer
            ready = self.switcher.acquire("b")
            self.assertNoResult(ready)
            self.clock.pump([1.0] * 3)
            self.flushLoggedErrors(TypeError, AttributeError)
            ready.cancel()
            self.failureResultOf(ready)
        self.assertEqual(self.hooks.ran, [])
        self.policy.answer = Switch("b", {"a"})
        ready = self.switcher.acquire("b")
        self.clock.pump([1.0] * 10)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(ready)

    def test_admits(self) -> None:
        """
        A policy may let a request join a drain.
        """
        self.clock.advance(10)
        token = self.switcher.grant("a")
        self.policy.answer = Switch("b", {"a"})
        self.switcher.acquire("b")
        self.assertIs(self.switcher.snapshot().models["a"].state, State.DRAINING)
        self.policy.answer = Stay()
        ready = self.switcher.acquire("a")
        (waiting,) = self.switcher.snapshot().models["a"].queue
        self.policy.answer = Admit(waiting)
        late = self.switcher.acquire("a")
        self.successResultOf(ready).release()
        self.assertNoResult(late)
        assert token is not None
        token.release()
        self.assertEqual(self.hooks.ran, [("a", "sleep")])

    def test_observerRaises(self) -> None:
        """
        An observer that fails is logged, and harms nobody.
        """

        class Clumsy:
            def notify(self, event: object) -> None:
                raise RuntimeError("oops")

        clumsy: Any = Clumsy()
        self.switcher.addObserver(clumsy)
        self.successResultOf(self.switcher.acquire("a"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.switcher.removeObserver(clumsy)
        self.successResultOf(self.switcher.acquire("a"))

    def test_interests(self) -> None:
        """
        An observer that says what interests it is told of nothing else.
        """

        class Picky(Recorder):
            interests = frozenset({RequestDone})

        picky = Picky()
        self.switcher.addObserver(picky)
        self.successResultOf(self.switcher.acquire("a")).release()
        self.assertEqual([type(event) for event in picky.events], [RequestDone])
