"""
Tests for L{llmux.web._deadline}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    """
    Tests for L{Deadline}.
    """

    def setUp(self) -> None:
        """
        A deadline that remembers when it was reached.
        """
        self.clock = Clock()
        self.reached: list[float] = []
        self.deadline = Deadline(
            self.clock, lambda: self.reached.append(self.clock.seconds())
        )

    def test_reached(self) -> None:
        """
        The function is called when the time has come, and once.
        """
        self.deadline.set(2)
        self.clock.pump([1] * 5)
        self.assertEqual(self.reached, [2])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_later(self) -> None:
        """
        A deadline that is moved away is reached later.
        """
        self.deadline.set(2)
        self.clock.advance(1)
        self.deadline.set(3)
        self.clock.pump([1] * 5)
        self.assertEqual(self.reached, [4])

    def test_sooner(self) -> None:
        """
        One that is moved nearer is reached sooner.
        """
        self.deadline.set(10)
        self.deadline.set(1)
        self.clock.pump([1] * 12)
        self.assertEqual(self.reached, [1])

    def test_clear(self) -> None:
        """
        One that is cleared is not reached, and can be set again.
        """
        self.deadline.set(1)
        self.deadline.clear()
        self.clock.pump([1] * 3)
        self.deadline.set(1)
        self.deadline.set(None)
        self.clock.pump([1] * 3)
        self.assertEqual(self.reached, [])
        self.deadline.set(1)
        self.clock.pump([1] * 3)
        self.assertEqual(self.reached, [7])

    def test_cheap(self) -> None:
        """
        To move it away again and again takes one delayed call.
        """
        for _ in range(100):
            self.deadline.set(5)
            self.clock.advance(0.01)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_close(self) -> None:
        """
        One that is closed leaves nothing behind; to close it twice is no harm.
        """
        self.deadline.set(1)
        self.deadline.close()
        self.deadline.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
