"""
Tests for L{llmux.simulate.world}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.errors import HookFailed
from llmux.interfaces import Hook, HookCall, IHookRunner, Reason
from llmux.simulate.costfile import FailureRates, ModelCost
from llmux.simulate.world import SimulatedHooks, SimulatedServer
from llmux.testing import makeConfig


class ServerTests(SynchronousTestCase):
    """
    Tests for L{SimulatedServer}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = SimulatedServer(self.clock, 2)
        self.ended: list[tuple[str, float]] = []

    def start(self, name: str, seconds: float) -> object:
        """
        Start a request.
        """
        return self.server.start(
            seconds, lambda: self.ended.append((name, round(self.clock.seconds(), 6)))
        )

    def run_(self) -> None:
        """
        Let time pass in small steps.
        """
        self.clock.pump([0.25] * 200)

    def test_fullSpeed(self) -> None:
        """
        As many as it takes at full speed do not slow each other down.
        """
        self.start("a", 3)
        self.start("b", 4)
        self.run_()
        self.assertEqual(self.ended, [("a", 3.0), ("b", 4.0)])
        self.assertEqual(self.server.running, 0)

    def test_shared(self) -> None:
        """
        More share what it can do.
        """
        for name in "abcd":
            self.start(name, 3)
        self.run_()
        self.assertEqual(self.ended, [(name, 6.0) for name in "abcd"])

    def test_comesLater(self) -> None:
        """
        One that comes later slows the others from then on.
        """
        self.start("a", 4)
        self.start("b", 4)
        self.clock.advance(2)
        self.start("c", 1)
        # Three share two from 2.0 on: c has its second after 1.5 s, when a
        # and b have one left.
        self.run_()
        self.assertEqual(self.ended, [("c", 3.5), ("a", 4.5), ("b", 4.5)])

    def test_stop(self) -> None:
        """
        What is given up does not end, and slows nobody down any more.
        """
        self.start("a", 2)
        works = [self.start(str(number), 2) for number in range(22)]
        for work in works:
            self.server.stop(work)  # type: ignore[arg-type]
            self.server.stop(work)  # type: ignore[arg-type]
        self.run_()
        self.assertEqual(self.ended, [("a", 2.0)])

    def test_stopFromDone(self) -> None:
        """
        The end of one request may be the end of others.
        """
        works: list[Any] = []

        def stopAll() -> None:
            for work in works:
                self.server.stop(work)

        self.server.start(1, stopAll)
        works.append(self.server.start(1, lambda: self.ended.append(("b", 1.0))))
        works.append(self.server.start(9, lambda: self.ended.append(("c", 9.0))))
        self.run_()
        self.assertEqual(self.server.running, 0)
        self.assertEqual(self.ended, [("b", 1.0)])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class HooksTests(SynchronousTestCase):
    """
    Tests for L{SimulatedHooks}.
    """

    def make(self, free: bool = False, seed: int = 0, **cost: object) -> SimulatedHooks:
        """
        Hooks for one model.
        """
        self.clock = Clock()
        hooks = SimulatedHooks(
            makeConfig("a"),
            {"a": ModelCost(**cost)},  # type: ignore[arg-type]
            self.clock,
            seed,
            free,
        )
        verifyObject(IHookRunner, hooks)
        return hooks

    def call(self, hook: Hook) -> HookCall:
        """
        A call of a hook of the model.
        """
        return HookCall("a", hook, Reason.REQUEST)

    def test_cycle(self) -> None:
        """
        Hooks take their time, and C{alive} says what they made of the model.
        """
        hooks = self.make(wake=9.0, sleep=1.0)
        self.failureResultOf(hooks.run(self.call(Hook.ALIVE)), HookFailed)
        ended = hooks.run(self.call(Hook.WAKE))
        self.clock.advance(8.9)
        self.assertNoResult(ended)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(ended).duration, 9.0)
        self.successResultOf(hooks.run(self.call(Hook.ALIVE)))
        ended = hooks.run(self.call(Hook.SLEEP))
        self.clock.advance(1)
        self.successResultOf(ended)
        self.assertEqual(hooks.alive, set())

    def test_firstFree(self) -> None:
        """
        The first wake takes no time if that was asked for; the next does.
        """
        hooks = self.make(free=True, wake=9.0)
        ended = hooks.run(self.call(Hook.WAKE))
        self.clock.advance(0)
        self.successResultOf(ended)
        ended = hooks.run(self.call(Hook.WAKE))
        self.clock.advance(1)
        self.assertNoResult(ended)

    def test_failures(self) -> None:
        """
        Wakes and sleeps fail, hang until their timeout, and can be ended.
        """
        hooks = self.make(fail=FailureRates(wake=1.0, sleep=1.0))
        for hook, seconds in ((Hook.WAKE, 10), (Hook.SLEEP, 1)):
            ended = hooks.run(self.call(hook))
            self.clock.advance(seconds)
            self.failureResultOf(ended, HookFailed)
        hooks = self.make(fail=FailureRates(hang=1.0))
        ended = hooks.run(self.call(Hook.WAKE))
        self.clock.advance(599)
        self.assertNoResult(ended)
        self.clock.advance(1)
        self.assertIn("600 s", str(self.failureResultOf(ended).value))
        ended = hooks.run(self.call(Hook.WAKE))
        hooks.stop("a")
        hooks.stop("a")
        self.failureResultOf(ended, HookFailed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def durations(self, seed: int) -> list[float]:
        """
        How long some wakes take.
        """
        hooks = self.make(seed=seed, jitter=0.2)
        found = []
        for _ in range(50):
            ended = hooks.run(self.call(Hook.WAKE))
            self.clock.pump([0.01] * 4000)
            found.append(self.successResultOf(ended).duration)
        return found

    def test_jitter(self) -> None:
        """
        Durations vary by about the jitter, and the seed decides how.
        """
        found = self.durations(1)
        self.assertGreater(max(found), 11)
        self.assertLess(min(found), 9)
        self.assertGreaterEqual(min(found), 5)
        self.assertEqual(found, self.durations(1))
        self.assertNotEqual(found, self.durations(2))

    def test_death(self) -> None:
        """
        Requests take their model down as often as is said.
        """
        self.assertFalse(self.make().mayDie("a"))
        hooks = self.make(fail=FailureRates(die=1.0))
        hooks.alive.add("a")
        self.assertTrue(hooks.mayDie("a"))
        hooks.die("a")
        self.assertEqual(hooks.alive, set())
