"""
Tests for L{llmux.switching._changes}.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from llmux.config import Config, PolicyConfig
from llmux.errors import NeverFits, ShuttingDown, SleepFailed, UnknownModel
from llmux.interfaces import (
    Changes,
    Decision,
    ISwitchPolicy,
    RequestDropped,
    Snapshot,
    Stay,
)
from llmux.policies.fifo import FirstComeFirstServed
from llmux.test._walk import step
from llmux.test._world import World
from llmux.test.test_switcher import SwitcherTestCase
from llmux.testing import makeConfig


@implementer(ISwitchPolicy)
class Never:
    """
    A policy that changes nothing.
    """

    def decide(self, snapshot: Snapshot) -> Decision:
        """
        See L{ISwitchPolicy.decide}.
        """
        return Stay()


class ChangesTests(SwitcherTestCase):
    """
    Tests for L{Switcher.reconfigure}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.told: list[tuple[Config, Config]] = []
        self.follow()

    def follow(self) -> None:
        """
        Have the test told of what holds.
        """
        self.switcher.whenReconfigured(lambda *both: self.told.append(both))

    def change(self, *names: str, **settings: Any) -> Changes:
        """
        Have another configuration hold, which differs from that of L{build}
        in this.
        """
        settings.setdefault("alive_interval_secs", 0)
        settings.setdefault("policy", self.policy(max_wait_secs=None))
        return self.switcher.reconfigure(makeConfig(*(names or ("a", "b")), **settings))

    @property
    def states(self) -> dict[str, str]:
        """
        What each model is doing.
        """
        models = self.switcher.snapshot().models
        return {name: view.state.value for name, view in models.items()}

    def sleepOf(self, model: str) -> str:
        """
        The C{sleep} hook that a model has now, as hooks are told.
        """
        return self.told[-1][0].models[model].sleep

    def test_nothing(self) -> None:
        """
        The same again changes nothing, and what is under way goes on.
        """
        token = self.awake("a")
        waiting = self.switcher.acquire("b")
        self.assertEqual(self.change(), Changes())
        self.assertNoResult(waiting)
        self.assertTrue(token.held)
        self.assertEqual(self.states, {"a": "draining", "b": "asleep"})
        token.release()
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(waiting)

    def test_added(self) -> None:
        """
        A model that is new is asked whether it is awake, and can be asked
        for; it has its place in the order of the configuration.
        """
        self.awake("a").release()
        self.hooks.awake.add("c")
        changes = self.change(
            models={"c": {"needs": {}}, "d": {}},
        )
        self.assertEqual(changes.added, ("c", "d"))
        self.assertEqual(
            self.states, {"a": "awake", "b": "asleep", "c": "awake", "d": "asleep"}
        )
        self.successResultOf(self.switcher.acquire("c"))
        self.assertEqual(list(self.told[-1][1].models), ["a", "b", "c", "d"])

    def test_preloaded(self) -> None:
        """
        One that is to be preloaded is woken, whether it is new or not.
        """
        resources = {"gpu": 24}
        needs = {"needs": {"gpu": 4}}
        self.build(resources=resources, models={"a": needs, "b": needs})
        self.change(
            resources=resources,
            models={
                "a": {**needs, "preload": True},
                "b": needs,
                "c": {**needs, "preload": True},
            },
        )
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("c", "wake")])

    def test_removedIdle(self) -> None:
        """
        A model that is not there any more is put to sleep, by the hook that
        it had, and is then forgotten.  It cannot be asked for from the start.
        """
        self.awake("a").release()
        self.assertEqual(self.change("b").removed, ("a",))
        self.failureResultOf(self.switcher.acquire("a"), UnknownModel)
        self.assertIsNone(self.switcher.grant("a"))
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])
        whole, served = self.told[-1]
        self.assertEqual((list(whole.models), list(served.models)), (["b", "a"], ["b"]))
        self.assertTrue(self.switcher.snapshot().models["a"].removed)
        self.hooks.finish("a")
        self.assertEqual(self.states, {"b": "asleep"})
        self.assertEqual(list(self.told[-1][0].models), ["b"])
        self.failureResultOf(self.switcher.acquire("a"), UnknownModel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_removedAsleep(self) -> None:
        """
        One that holds nothing is forgotten at once.
        """
        self.change("b")
        self.assertEqual(self.states, {"b": "asleep"})
        self.assertEqual(self.hooks.ran, [])

    def test_removedServing(self) -> None:
        """
        What it serves comes to its end before that; those who wait for it are
        told, and are not waited for.
        """
        self.build(models={"a": {"max_in_flight": 1}, "b": {}})
        self.follow()
        token = self.awake("a")
        waiting = self.switcher.acquire("a")
        self.change("b")
        self.failureResultOf(waiting, UnknownModel)
        self.assertEqual(self.recorder.of(RequestDropped)[-1].why, "removed")
        self.assertEqual(self.states["a"], "draining")
        self.assertTrue(token.held)
        self.switcher.suspect("a")
        token.release()
        self.hooks.finish("a")
        self.assertEqual(self.states, {"b": "asleep"})
        # Whoever had to do with it may not know yet.
        self.switcher.suspect("a")

    def test_removedAndRefused(self) -> None:
        """
        Who finds that it is not there any more does not wait for it.
        """
        token = self.awake("a")
        self.change("b")
        self.failureResultOf(self.switcher.reacquire(token), UnknownModel)
        self.hooks.finish("a")
        self.assertEqual(self.states, {"b": "asleep"})

    def test_removedWaking(self) -> None:
        """
        A wake of it is broken off and cleaned up after.
        """
        waiting = self.switcher.acquire("a")
        self.change("b")
        self.failureResultOf(waiting, UnknownModel)
        self.assertEqual(self.hooks.stopped, ["a"])
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])
        self.hooks.finish("a")
        self.assertEqual(self.states, {"b": "asleep"})

    def test_removedUnknown(self) -> None:
        """
        One that has not been asked yet is, and goes to sleep if it is awake.
        """
        for awake in (True, False):
            self.hooks.slowAlive = True
            self.change("a", "b", "c")
            self.change("a", "b")
            self.hooks.slowAlive = False
            if awake:
                self.hooks.finish("c")
                self.hooks.finish("c")
            else:
                self.hooks.fail("c")
            self.assertEqual(self.states, {"a": "asleep", "b": "asleep"})
        self.assertEqual(self.hooks.ran, [("c", "sleep")])

    def test_removedStuck(self) -> None:
        """
        One that does not go to sleep keeps its place until it does.
        """
        self.awake("a").release()
        self.change("b")
        self.hooks.fail("a")
        self.assertEqual(self.states["a"], "stuck")
        waiting = self.switcher.acquire("b")
        self.assertNotIn(("b", "wake"), self.hooks.ran)
        self.clock.advance(1)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(waiting)
        self.assertEqual(self.states, {"b": "awake"})

    def test_removedVictim(self) -> None:
        """
        One that is just being drained for another makes room for it, and a
        switch to it is off.
        """
        token = self.awake("a")
        waiting = self.switcher.acquire("b")
        self.change("b")
        token.release()
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(waiting).release()
        token = self.awake("b")
        self.change("b", "c")
        waiting = self.switcher.acquire("c")
        self.assertEqual(self.states, {"b": "draining", "c": "asleep"})
        self.change("b")
        self.failureResultOf(waiting, UnknownModel)
        self.assertEqual(self.states, {"b": "awake"})
        self.assertTrue(token.held)

    def test_backAgain(self) -> None:
        """
        One that is back before it was forgotten is served when it sleeps.
        """
        token = self.awake("a")
        self.change("b")
        self.assertEqual(self.change().removed, ())
        waiting = self.switcher.acquire("a")
        token.release()
        self.hooks.finish("a")
        self.hooks.finish("a")
        self.successResultOf(waiting)
        self.assertEqual(self.states, {"a": "awake", "b": "asleep"})

    def test_treated(self) -> None:
        """
        How a model is treated changes at once, while it serves.
        """
        token = self.awake("a")
        changes = self.change(
            models={"a": {"ttl_secs": 5, "max_in_flight": 1, "aliases": ("x",)}}
        )
        self.assertEqual((changes.changed, changes.pending), (("a",), ()))
        self.assertNoResult(self.switcher.acquire("a"))
        named = self.told[-1][1].modelNamed("x")
        assert named is not None
        self.assertEqual(named.name, "a")
        self.assertTrue(token.held)
        self.assertEqual(self.hooks.ran[1:], [])

    def test_ttl(self) -> None:
        """
        C{ttl_secs} holds at once for a model that is idle already.
        """
        self.build(models={"a": {"ttl_secs": 100}})
        self.awake("a").release()
        self.clock.advance(8)
        self.change(models={"a": {"ttl_secs": 10}})
        self.clock.advance(1.9)
        self.assertEqual(self.hooks.ran[1:], [])
        self.clock.advance(0.2)
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])

    def test_pending(self) -> None:
        """
        What a model is put to sleep by changes when it next sleeps: until
        then the old hook is the one that fits.
        """
        token = self.awake("a")
        changes = self.change(
            models={"a": {"sleep": "new", "port": 9999, "priority": 3}}
        )
        self.assertEqual((changes.changed, changes.pending), (("a",), ("a",)))
        view = self.switcher.snapshot().models["a"]
        self.assertTrue(view.pending)
        self.assertEqual((view.priority, view.address), (3, "http://127.0.0.1:8001"))
        self.assertEqual(self.sleepOf("a"), "sleep a")
        token.release()
        self.assertEqual(self.sleepOf("a"), "sleep a")
        self.switcher.sleep("a")
        self.assertEqual(self.sleepOf("a"), "sleep a")
        self.hooks.finish("a")
        self.assertEqual(self.sleepOf("a"), "new")
        view = self.switcher.snapshot().models["a"]
        self.assertFalse(view.pending)
        self.assertEqual(view.address, "http://127.0.0.1:9999")
        self.assertEqual(self.awake("a").address, "http://127.0.0.1:9999")

    def test_pendingTakenBack(self) -> None:
        """
        A change that is taken back before that is none.
        """
        self.awake("a")
        self.change(models={"a": {"sleep": "new"}})
        self.assertEqual(self.change(), Changes())
        self.assertFalse(self.switcher.snapshot().models["a"].pending)

    def test_asleep(self) -> None:
        """
        A model that holds nothing changes at once.
        """
        self.assertEqual(self.change(models={"a": {"sleep": "new"}}).pending, ())
        self.assertEqual(self.sleepOf("a"), "new")

    def test_mendedWake(self) -> None:
        """
        A model that could not be woken is not left alone any longer when that
        by which it is woken is another.
        """
        for _ in range(3):
            waiting = self.switcher.acquire("a")
            self.hooks.fail("a")
            self.hooks.finish("a")
            self.failureResultOf(waiting)
            self.assertEqual(self.states["a"], "cooling")
            self.change(models={"a": {"priority": 1}})
            self.assertEqual(self.states["a"], "cooling")
            self.clock.advance(60)
        waiting = self.switcher.acquire("a")
        self.hooks.fail("a")
        self.hooks.finish("a")
        self.failureResultOf(waiting)
        self.change(models={"a": {"wake": "new"}})
        self.assertEqual(self.states["a"], "asleep")
        self.awake("a")

    def test_mendedSleep(self) -> None:
        """
        One that could not be put to sleep is tried at once by another hook,
        and holds what it has until that succeeds.
        """
        self.awake("a").release()
        slept = self.switcher.sleep("a")
        self.hooks.fail("a")
        self.failureResultOf(slept, SleepFailed)
        self.change(models={"a": {"sleep": "new"}})
        self.assertEqual(self.states["a"], "sleeping")
        self.assertEqual(self.sleepOf("a"), "new")
        self.hooks.finish("a")
        self.assertEqual(self.states["a"], "asleep")

    def test_resources(self) -> None:
        """
        More room is there at once.
        """
        needs = {name: {"needs": {"gpu": 20}} for name in "ab"}
        self.build(resources={"gpu": 24}, models=needs)
        token = self.awake("a")
        self.change(resources={"gpu": 40}, models=needs)
        waiting = self.switcher.acquire("b")
        self.hooks.finish("b")
        self.successResultOf(waiting)
        self.assertTrue(token.held)
        self.assertEqual(self.states, {"a": "awake", "b": "awake"})

    def test_resourcesRenamed(self) -> None:
        """
        What has another name now is still held by those who hold it.
        """
        self.build(
            resources={"gpu": 24}, models={n: {"needs": {"gpu": 20}} for n in "ab"}
        )
        token = self.awake("a")
        self.change(
            resources={"card": 24}, models={n: {"needs": {"card": 20}} for n in "ab"}
        )
        waiting = self.switcher.acquire("b")
        self.assertNotIn(("b", "wake"), self.hooks.ran)
        token.release()
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(waiting)
        self.assertEqual(dict(self.switcher.snapshot().free), {"card": 4})

    def test_lessRoom(self) -> None:
        """
        Models that are awake and do not fit together any more stay awake, and
        the next that is woken has room made for it.
        """
        needs = {name: {"needs": {"gpu": 10}} for name in "abc"}
        self.build(resources={"gpu": 20}, models=needs)
        for name in "ab":
            self.awake(name).release()
        self.change(resources={"gpu": 12}, models=needs)
        self.assertEqual(self.states, {"a": "awake", "b": "awake", "c": "asleep"})
        self.assertEqual(self.switcher.snapshot().free["gpu"], -8)
        waiting = self.switcher.acquire("c")
        for name in "abc":
            self.hooks.finish(name)
        self.successResultOf(waiting)
        self.change(resources={"gpu": 9}, models=needs)
        self.successResultOf(self.switcher.acquire("c"))
        self.failureResultOf(self.switcher.acquire("a"), NeverFits)

    def test_bound(self) -> None:
        """
        Another C{max_wait_secs} holds for those who wait already.
        """
        self.build(policy=self.policy(max_wait_secs=1000, min_active_secs=1000))
        self.awake("a").release()
        self.switcher.acquire("b")
        self.clock.advance(20)
        self.change(policy=self.policy(max_wait_secs=30, min_active_secs=1000))
        self.clock.advance(9.9)
        self.assertEqual(self.hooks.ran[1:], [])
        self.clock.advance(0.2)
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])

    def test_policy(self) -> None:
        """
        Another policy is asked at once.
        """
        self.switcher.reconfigure(makeConfig("a", "b"), Never())
        waiting = self.switcher.acquire("a")
        self.assertEqual(self.hooks.ran, [])
        self.switcher.reconfigure(makeConfig("a", "b"), FirstComeFirstServed())
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.hooks.finish("a")
        self.successResultOf(waiting)

    def test_stopping(self) -> None:
        """
        Nothing changes any more when it is stopping, and models that are
        leaving are left as they are.
        """
        token = self.awake("a")
        self.change("b")
        stopped = self.switcher.stop()
        with self.assertRaises(ShuttingDown):
            self.change()
        token.release()
        self.hooks.finish("a")
        self.successResultOf(stopped)


class WalkTests(SynchronousTestCase):
    """
    Another configuration at any time, whatever goes on.
    """

    def test_walks(self) -> None:
        """
        No promise is broken by it, and nothing is left over.
        """
        for number in range(60):
            self.walk(f"changes-{number}")

    def walk(self, seed: str) -> None:
        """
        Walk through a world in which configurations change.
        """
        random = Random(seed)
        world = World(self.made(random, "abc"), FirstComeFirstServed(), frozenset("a"))
        try:
            for _ in range(60):
                if random.random() < 0.15:
                    names = random.sample("abc", random.choice((1, 2, 3, 3)))
                    world.reconfigure(self.made(random, "".join(sorted(names))))
                else:
                    step(world, random)
                world.check()
            world.reconfigure(self.made(random, "abc"))
            world.settle()
        except Exception as error:
            raise AssertionError(
                f"{seed!r}: {type(error).__name__}: {error}"
            ) from error

    def made(self, random: Random, names: str) -> Config:
        """
        Some configuration.
        """
        return makeConfig(
            policy=PolicyConfig(
                name="fifo",
                max_wait_secs=random.choice((10.0, 60.0)),
                drain_timeout_secs=random.choice((None, 8.0)),
            ),
            resources={"gpu": 24},
            models={
                name: {
                    "max_in_flight": 2,
                    "priority": random.choice((0, 3)),
                    "wake": random.choice(("one", "other")),
                    "needs": {"gpu": random.choice((8, 14, 20))},
                }
                for name in names
            },
        )
