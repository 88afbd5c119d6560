"""
Tests for L{llmux_office_hours}, with the real switcher, and neither a process
nor a second of real time.
"""

from __future__ import annotations

from datetime import datetime

from llmux_office_hours import LOOK, OfficeHours, atWork
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.config import PolicyConfig
from llmux.interfaces import ISwitchPolicy
from llmux.policies import find
from llmux.switching.switcher import Switcher
from llmux.testing import FakeHooks, makeConfig

MONDAY_NOON = datetime(2026, 11, 23, 12, 0)
MONDAY_EVENING = datetime(2026, 11, 23, 18, 0)
SUNDAY_NOON = datetime(2026, 11, 22, 12, 0)


class HoursTests(SynchronousTestCase):
    """
    The clock on the wall.
    """

    def test_hours(self) -> None:
        """
        People are at work by day, from Monday to Friday.
        """
        self.assertTrue(atWork(MONDAY_NOON))
        self.assertFalse(atWork(MONDAY_EVENING))
        self.assertFalse(atWork(SUNDAY_NOON))


class OfficeHoursTests(SynchronousTestCase):
    """
    The policy, in a switcher between a chat model and a batch model.
    """

    def setUp(self) -> None:
        self.now = MONDAY_NOON
        self.clock = Clock()
        self.hooks = FakeHooks(self.clock, awake={"chat"})
        self.policy = OfficeHours(lambda: self.now)
        self.start()

    def start(self, **settings: float) -> None:
        """
        Start a switcher.
        """
        settings = {"max_wait_secs": 3600, **settings}
        self.switcher = Switcher(
            makeConfig(
                "chat",
                "code",
                policy=PolicyConfig(name="office-hours", **settings),
                models={"batch": {"priority": -1}},
            ),
            self.hooks,
            self.policy,
            self.clock,
        )
        self.successResultOf(self.switcher.start())

    def test_interface(self) -> None:
        """
        It is a policy.
        """
        self.assertTrue(verifyObject(ISwitchPolicy, self.policy))

    def test_found(self) -> None:
        """
        Once installed, it is found by the name that stands in the
        configuration.
        """
        self.assertIsInstance(find("office-hours")(), OfficeHours)

    def test_batchWaits(self) -> None:
        """
        While people are at work nobody goes to sleep for a batch model, which
        is woken in the evening though no request comes then.
        """
        self.switcher.acquire("batch")
        self.clock.pump([LOOK] * 10)
        self.assertEqual(self.hooks.ran, [])
        self.now = MONDAY_EVENING
        self.clock.advance(LOOK)
        self.assertEqual(self.hooks.ran, [("chat", "sleep")])
        self.hooks.finish("chat")
        self.assertEqual(self.hooks.ran[1:], [("batch", "wake")])

    def test_batchTakesWhatIsFree(self) -> None:
        """
        What nobody holds, a batch model may have at any time.
        """
        self.hooks.awake.clear()
        self.start()
        self.switcher.acquire("batch")
        self.assertEqual(self.hooks.ran, [("batch", "wake")])

    def test_peopleDoNotWait(self) -> None:
        """
        One batch request that came first does not hold up people's.
        """
        self.switcher.acquire("batch")
        self.switcher.acquire("code")
        self.assertEqual(self.hooks.ran, [("chat", "sleep")])
        self.hooks.finish("chat")
        self.assertEqual(self.hooks.ran[1:], [("code", "wake")])

    def test_minActive(self) -> None:
        """
        C{min_active_secs} holds as for any policy.
        """
        self.start(min_active_secs=10)
        self.switcher.acquire("batch")
        self.switcher.acquire("code")
        self.clock.advance(9)
        self.assertEqual(self.hooks.ran, [])
        self.clock.advance(1)
        self.assertEqual(self.hooks.ran, [("chat", "sleep")])

    def test_pinned(self) -> None:
        """
        A batch model for which there is no room at all is left waiting.
        """
        self.now = SUNDAY_NOON
        self.switcher.acquire("code")
        self.switcher.acquire("batch")
        self.assertEqual(self.hooks.ran, [("chat", "sleep")])

    def test_bound(self) -> None:
        """
        llmux's own bound stands above every policy: after C{max_wait_secs}
        even a batch request has its turn.
        """
        self.start(max_wait_secs=300)
        self.switcher.acquire("batch")
        self.clock.pump([LOOK] * 4)
        self.assertEqual(self.hooks.ran, [])
        self.clock.advance(LOOK)
        self.assertEqual(self.hooks.ran, [("chat", "sleep")])
