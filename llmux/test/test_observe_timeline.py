"""
Tests for L{llmux.observe.timeline}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.interfaces import IObserver, Reason, SwitchStarted
from llmux.observe import timeline
from llmux.observe.timeline import HOUR, Timeline
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.switcher import Switcher
from llmux.testing import FakeHooks, makeConfig


class TimelineTests(SynchronousTestCase):
    """
    What the models did.
    """

    def setUp(self) -> None:
        """
        Two models that do not fit beside each other.
        """
        self.clock = Clock()
        self.hooks = FakeHooks(self.clock)
        config = makeConfig("a", "b")
        self.switcher = Switcher(config, self.hooks, FirstComeFirstServed(), self.clock)
        self.timeline = Timeline(self.switcher.snapshot, self.clock)
        self.switcher.addObserver(self.timeline)
        self.switcher.start()

    def states(self, model: str) -> list[tuple[str, float, float]]:
        """
        The states of a model, as a client gets them.
        """
        found: Any = json.loads(json.dumps(self.timeline.document(), allow_nan=False))
        (states,) = [one["states"] for one in found["models"] if one["id"] == model]
        return [(one["state"], one["began"], one["ended"]) for one in states]

    def test_observer(self) -> None:
        """
        It is told of events as any observer is, and heeds changes of states
        only.
        """
        verifyObject(IObserver, self.timeline)
        before = self.timeline.document()
        self.timeline.notify(SwitchStarted("b", ("a",), Reason.REQUEST))
        self.assertEqual(self.timeline.document(), before)

    def test_states(self) -> None:
        """
        The states stand in their order, each ends where the next begins, and
        the last is that of now.
        """
        self.clock.advance(10)
        self.switcher.wake("a")
        self.clock.advance(5)
        self.hooks.finish("a")
        self.clock.advance(1)
        self.assertEqual(
            self.states("a")[1:],
            [("asleep", 16, 6), ("waking", 6, 1), ("awake", 1, 0)],
        )
        self.assertEqual(self.states("b")[-1], ("asleep", 16, 0))

    def test_hour(self) -> None:
        """
        What ended more than an hour ago is not told, and forgotten; what
        began before that is told of as if it had begun then.
        """
        self.switcher.wake("a")
        self.clock.advance(5)
        self.hooks.finish("a")
        self.clock.advance(HOUR)
        self.assertEqual(self.states("a"), [("awake", HOUR, 0)])
        self.switcher.sleep("a")
        self.assertEqual(
            self.states("a"),
            [("awake", HOUR, 0), ("draining", 0, 0), ("sleeping", 0, 0)],
        )
        self.assertEqual(len(self.timeline._past["a"]), 2)

    def test_bounded(self) -> None:
        """
        A model that changes all the time has its oldest states forgotten.
        """
        self.patch(timeline, "STATES", 3)
        self.timeline._past.clear()
        for _ in range(5):
            self.switcher.wake("b")
            self.hooks.finish("b")
            self.switcher.sleep("b")
            self.hooks.finish("b")
        self.assertEqual(len(self.states("b")), 4)
