"""
Tests for L{llmux.web._priority}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.test._memory import makeAsked
from llmux.web._priority import HEADER, LEAST, priorityOf


class PriorityTests(SynchronousTestCase):
    """
    Tests for L{priorityOf}.
    """

    def of(self, value: bytes, most: float = 0.0) -> float:
        """
        The priority of a request with that header.
        """
        return priorityOf(makeAsked(headers={b"X-LLMux-Priority": value}), most)

    def test_none(self) -> None:
        """
        A request that does not say how urgent it is has what its client may
        have.
        """
        self.assertEqual(priorityOf(makeAsked()), 0)
        self.assertEqual(priorityOf(makeAsked(), 3), 3)

    def test_back(self) -> None:
        """
        Everybody may step back, to a bound.
        """
        self.assertEqual(self.of(b"-5"), -5)
        self.assertEqual(self.of(b"-0.5", 3), -0.5)
        self.assertEqual(self.of(b"2", 3), 2)
        self.assertEqual(self.of(b"-1e400"), LEAST)

    def test_forward(self) -> None:
        """
        Nobody may step forward but as far as they are allowed to.
        """
        for value in (b"1", b"1e9", b"inf"):
            self.assertEqual(self.of(value), 0)
            self.assertEqual(self.of(value, 0.5), 0.5)

    def test_usual(self) -> None:
        """
        What they may say at most need not be what they have if they say
        nothing.
        """
        self.assertEqual(priorityOf(makeAsked(), 1, 5), 1)
        for value, priority in ((b"4", 4), (b"9", 5), (b"-1", -1), (b"x", 1)):
            asked = makeAsked(headers={HEADER: value})
            self.assertEqual(priorityOf(asked, 1, 5), priority)
        self.assertEqual(priorityOf(makeAsked(headers={HEADER: b"9"}), 3, 1), 3)

    def test_nonsense(self) -> None:
        """
        What is no number says nothing.
        """
        for value in (b"", b"high", b"nan", b"\xff", b"1;2"):
            self.assertEqual(self.of(value, 2), 2)
