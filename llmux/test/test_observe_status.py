"""
Tests for L{llmux.observe.status}.
"""

from __future__ import annotations

import json
from math import inf
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.interfaces import IObserver, Reason, SwitchEnded, SwitchStarted
from llmux.observe.status import AGES, RECENT, Status, _number
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.switcher import Switcher
from llmux.testing import FakeHooks, makeConfig


class StatusTests(SynchronousTestCase):
    """
    What an operator is told.
    """

    def setUp(self) -> None:
        """
        Two models with aliases that do not fit beside each other.
        """
        self.build()

    def build(self, **settings: Any) -> None:
        """
        Start a switcher, and look at it.
        """
        self.clock = Clock()
        self.hooks = FakeHooks(self.clock)
        config = makeConfig("a", models={"b": {"aliases": ("bee",)}}, **settings)
        self.switcher = Switcher(config, self.hooks, FirstComeFirstServed(), self.clock)
        self.status = Status(config, self.switcher.snapshot, self.clock)
        self.switcher.addObserver(self.status)
        self.switcher.start()

    def document(self) -> Any:
        """
        The document, as a client gets it.
        """
        return json.loads(json.dumps(self.status.document(), allow_nan=False))

    def test_observer(self) -> None:
        """
        It is told of events as any observer is.
        """
        verifyObject(IObserver, self.status)

    def test_atRest(self) -> None:
        """
        Models stand in the order of the configuration, with their states and
        for how long they have been in them, where they are and what it costs
        to wake them.
        """
        self.clock.advance(3)
        document = self.document()
        self.assertEqual([model["id"] for model in document["models"]], ["a", "b"])
        b = document["models"][1]
        self.assertEqual((b["state"], b["state_for"]), ("asleep", 3))
        self.assertEqual(b["aliases"], ["bee"])
        self.assertEqual(b["address"], "http://127.0.0.1:8002")
        self.assertEqual(set(b["costs"]), {"wake", "sleep", "service"})
        self.assertEqual((b["in_flight"], b["queued"], b["needs"]), (0, 0, {}))
        for none in ("oldest_waits", "last_error", "retry_in"):
            self.assertIsNone(b[none], none)
        self.assertEqual(document["resources"], {})
        self.assertEqual(document["switches"], [])
        self.assertEqual(document["recent_switches"], [])

    def test_overloaded(self) -> None:
        """
        It is said whether, and for which models, somebody has waited for
        longer than they should while others are in the way.
        """
        self.assertEqual(self.document()["models"][0]["max_wait"], 120)
        self.switcher.acquire("a")
        self.switcher.acquire("b")
        self.clock.advance(119.9)
        self.assertIs(self.document()["overloaded"], False)
        self.clock.advance(0.1)
        document = self.document()
        self.assertIs(document["overloaded"], True)
        self.assertEqual(
            [model["overdue"] for model in document["models"]], [False, True]
        )
        self.hooks.finish("a")
        self.assertIs(self.document()["overloaded"], False)

    def test_oneModel(self) -> None:
        """
        One model can be looked at alone.
        """
        self.assertEqual(self.status.model("b"), self.status.document()["models"][1])  # type: ignore[index]

    def test_switch(self) -> None:
        """
        A switch is seen from its beginning to its end: what drains, what
        sleeps, what wakes, who waits and since when, and then how it ended.
        """
        held = self.switcher.acquire("a")
        self.clock.advance(1)
        self.assertEqual(self.document()["switches"][0]["phase"], "waking")
        self.hooks.finish("a", "http://node7:1")
        self.assertEqual(self.document()["models"][0]["address"], "http://node7:1")
        waiting = self.switcher.acquire("b")
        self.clock.advance(2)
        document = self.document()
        (switch,) = document["switches"]
        self.assertEqual((switch["target"], switch["victims"]), ("b", ["a"]))
        self.assertEqual((switch["phase"], switch["elapsed"]), ("draining", 2))
        self.assertEqual(document["models"][0]["in_flight"], 1)
        b = document["models"][1]
        self.assertEqual((b["queued"], b["oldest_waits"]), (1, 2))
        self.assertEqual((b["queue_ages"], b["in_flight_ages"]), ([2], []))
        self.assertEqual(document["models"][0]["in_flight_ages"], [2])
        before = switch["remaining"]

        self.successResultOf(held).release()
        self.clock.advance(1)
        (switch,) = self.document()["switches"]
        self.assertEqual((switch["phase"], switch["elapsed"]), ("sleeping", 3))
        self.assertEqual(switch["remaining"], before - 1)
        self.hooks.finish("a")
        (switch,) = self.document()["switches"]
        self.assertEqual((switch["phase"], switch["reason"]), ("waking", "request"))
        self.clock.advance(10000)
        (switch,) = self.document()["switches"]
        self.assertEqual(switch["remaining"], 0)
        self.hooks.finish("b")
        self.successResultOf(waiting)
        self.clock.advance(4)
        document = self.document()
        self.assertEqual(document["switches"], [])
        last = document["recent_switches"][0]
        self.assertEqual((last["target"], last["victims"]), ("b", ["a"]))
        self.assertEqual((last["result"], last["drain"], last["ago"]), ("ok", 2, 4))

    def test_between(self) -> None:
        """
        The moments in which nothing drains, sleeps or wakes have a name, too.
        """
        self.status.notify(SwitchStarted("b", ("a",), Reason.REQUEST))
        self.assertEqual(self.document()["switches"][0]["phase"], "waiting")

    def test_mishap(self) -> None:
        """
        How the last hook failed is told, and when there will be another
        attempt, until the model wakes.
        """
        self.failureResultOf(self.fail_("a"))
        self.clock.advance(0.5)
        a = self.document()["models"][0]
        self.assertEqual(
            a["last_error"],
            {"hook": "wake", "error": "exit status 1", "attempt": 1, "ago": 0.5},
        )
        self.assertEqual((a["state"], a["retry_in"]), ("cooling", 0.5))
        self.clock.advance(10)
        self.switcher.acquire("a")
        self.hooks.finish("a")
        self.assertIsNone(self.document()["models"][0]["last_error"])
        (error,) = self.document()["recent_errors"]
        self.assertEqual((error["model"], error["error"]), ("a", "exit status 1"))

    def test_ages(self) -> None:
        """
        Of many requests the ages of the oldest are told.
        """
        self.switcher.wake("a")
        self.hooks.finish("a")
        for _ in range(AGES + 5):
            self.clock.advance(1)
            self.switcher.acquire("a")
        for _ in range(AGES + 5):
            self.clock.advance(1)
            self.switcher.acquire("b")
        a, b = self.document()["models"]
        self.assertEqual((a["in_flight"], b["queued"]), (AGES + 5, AGES + 5))
        self.assertEqual(len(a["in_flight_ages"]), AGES)
        self.assertEqual(a["in_flight_ages"][0], 2 * AGES + 9)
        self.assertEqual(len(b["queue_ages"]), AGES)
        self.assertEqual(b["queue_ages"][0], AGES + 4)

    def fail_(self, model: str) -> Any:
        """
        Fail to wake a model.
        """
        waiting = self.switcher.acquire(model)
        self.hooks.fail(model)
        self.hooks.finish(model)
        return waiting

    def test_resources(self) -> None:
        """
        What there is of each resource, and what of it is free.
        """
        self.build(resources={"gpu": 24.0})
        self.switcher.acquire("a")
        document = self.document()
        self.assertEqual(document["resources"], {"gpu": {"total": 24, "free": 0}})
        self.assertEqual(document["models"][0]["needs"], {"gpu": 24})

    def test_bounded(self) -> None:
        """
        Only so many switches are remembered, the newest first.
        """
        for number in range(RECENT + 5):
            self.status.notify(SwitchEnded("a", (), "ok", float(number), 0.0, 1))
        recent = self.document()["recent_switches"]
        self.assertEqual(len(recent), RECENT)
        self.assertEqual(recent[0]["duration"], RECENT + 4)

    def test_infinity(self) -> None:
        """
        What is not known to end is C{null}, as JSON has no infinity.
        """
        self.assertIsNone(_number(inf))
