"""
Tests for L{llmux.testing}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.config import PolicyConfig
from llmux.errors import HookFailed
from llmux.interfaces import (
    Hook,
    HookCall,
    HookResult,
    IHookRunner,
    IObserver,
    Reason,
    RequestQueued,
    SwitchStarted,
)
from llmux.testing import FakeHooks, Recorder, makeConfig


class MakeConfigTests(SynchronousTestCase):
    """
    L{makeConfig}
    """

    def test_names(self) -> None:
        """
        There are models of the names that were given, each with a port and
        hooks of its own, and the policy is the plainest.
        """
        config = makeConfig("a", "b")
        self.assertEqual(list(config.models), ["a", "b"])
        self.assertEqual([m.port for m in config.models.values()], [8001, 8002])
        self.assertEqual(config.models["b"].wake, "wake b")
        self.assertEqual(config.policy.name, "fifo")
        self.assertEqual(dict(config.resources), {})

    def test_settings(self) -> None:
        """
        Everything can be set, and models that are only set are there, too.
        """
        config = makeConfig(
            "a",
            policy=PolicyConfig(name="cost-aware"),
            resources={"gpu": 24},
            models={"a": {"pin": True}, "b": {"port": 9000}},
            on_exit="sleep",
        )
        self.assertEqual(list(config.models), ["a", "b"])
        self.assertTrue(config.models["a"].pin)
        self.assertEqual(config.models["b"].port, 9000)
        self.assertEqual(config.policy.name, "cost-aware")
        self.assertEqual(dict(config.totals), {"gpu": 24})
        self.assertEqual(config.on_exit, "sleep")


def call(hook: Hook, model: str = "a") -> HookCall:
    """
    A hook to run.
    """
    return HookCall(model, hook, Reason.REQUEST)


class FakeHooksTests(SynchronousTestCase):
    """
    L{FakeHooks}
    """

    def setUp(self) -> None:
        self.hooks = FakeHooks(Clock())

    def test_interface(self) -> None:
        """
        They are hooks.
        """
        self.assertTrue(verifyObject(IHookRunner, self.hooks))

    def test_finish(self) -> None:
        """
        A hook runs until the test says that it is done; a server is up after
        C{wake} and down after C{sleep}.
        """
        woken = self.hooks.run(call(Hook.WAKE))
        self.assertNoResult(woken)
        self.assertEqual(list(self.hooks.running), ["a"])
        self.hooks.finish("a", "http://node7:1")
        self.assertEqual(
            self.successResultOf(woken), HookResult(address="http://node7:1")
        )
        self.assertEqual(self.hooks.awake, {"a"})
        slept = self.hooks.run(call(Hook.SLEEP))
        self.hooks.finish("a")
        self.successResultOf(slept)
        self.assertEqual(self.hooks.awake, set())
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("a", "sleep")])

    def test_fail(self) -> None:
        """
        Or that it fails, and changes nothing.
        """
        woken = self.hooks.run(call(Hook.WAKE))
        self.hooks.fail("a", "exit status 3")
        failed = self.failureResultOf(woken, HookFailed)
        self.assertEqual(
            str(failed.value), "the wake hook of 'a' failed: exit status 3"
        )
        self.assertEqual((self.hooks.awake, self.hooks.running), (set(), {}))

    def test_alive(self) -> None:
        """
        C{alive} answers at once, and is not among what was run.
        """
        self.failureResultOf(self.hooks.run(call(Hook.ALIVE)), HookFailed)
        self.hooks.awake.add("a")
        self.successResultOf(self.hooks.run(call(Hook.ALIVE)))
        self.assertEqual(self.hooks.ran, [])
        self.assertEqual(len(self.hooks.calls), 2)

    def test_slowAlive(self) -> None:
        """
        Unless it is to wait for the test; it wakes nobody.
        """
        self.hooks.slowAlive = True
        asked = self.hooks.run(call(Hook.ALIVE))
        self.assertNoResult(asked)
        self.hooks.finish("a")
        self.successResultOf(asked)
        self.assertEqual(self.hooks.awake, set())

    def test_stop(self) -> None:
        """
        A hook that is stopped fails, one that is deaf goes on, and where none
        runs nothing happens.
        """
        woken = self.hooks.run(call(Hook.WAKE))
        self.hooks.stop("a")
        self.failureResultOf(woken, HookFailed)
        self.hooks.deaf.add("a")
        again = self.hooks.run(call(Hook.WAKE))
        self.hooks.stop("a")
        self.assertNoResult(again)
        self.hooks.stop("b")
        self.assertEqual(self.hooks.stopped, ["a", "a", "b"])

    def test_twoAtOnce(self) -> None:
        """
        Whoever runs two hooks of a model at once is told.
        """
        self.hooks.run(call(Hook.WAKE))
        self.assertRaises(AssertionError, self.hooks.run, call(Hook.SLEEP))


class RecorderTests(SynchronousTestCase):
    """
    L{Recorder}
    """

    def test_records(self) -> None:
        """
        It keeps all events in order, and finds those of a class.
        """
        recorder = Recorder()
        self.assertTrue(verifyObject(IObserver, recorder))
        queued = RequestQueued("a", 1)
        started = SwitchStarted("a", (), Reason.REQUEST)
        recorder.notify(queued)
        recorder.notify(started)
        self.assertEqual(recorder.events, [queued, started])
        self.assertEqual(recorder.of(SwitchStarted), [started])
