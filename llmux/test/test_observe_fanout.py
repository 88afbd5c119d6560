"""
Tests for L{llmux.observe._fanout}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from llmux.interfaces import Event, IObserver, RequestQueued
from llmux.observe import FanOut

EVENT = RequestQueued("a", 1)


@implementer(IObserver)
class Notes:
    """
    An observer that remembers.

    @ivar broken: whether it raises instead.
    """

    def __init__(self, broken: bool = False) -> None:
        self.events: list[Event] = []
        self.broken = broken

    def notify(self, event: Event) -> None:
        """
        Remember an event.
        """
        if self.broken:
            raise ZeroDivisionError
        self.events.append(event)


class FanOutTests(SynchronousTestCase):
    """
    L{FanOut}
    """

    def test_interface(self) -> None:
        """
        It is an observer itself.
        """
        self.assertTrue(verifyObject(IObserver, FanOut()))

    def test_all(self) -> None:
        """
        Each observer is told, from when it is added until it is removed.
        """
        first, second = Notes(), Notes()
        fan = FanOut((first,))
        fan.notify(EVENT)
        fan.add(second)
        fan.notify(EVENT)
        fan.remove(first)
        fan.remove(first)
        fan.notify(EVENT)
        self.assertEqual(first.events, [EVENT] * 2)
        self.assertEqual(second.events, [EVENT] * 2)

    def test_broken(self) -> None:
        """
        An observer that raises is logged, and the others are told.
        """
        after = Notes()
        FanOut((Notes(broken=True), after)).notify(EVENT)
        self.assertEqual(after.events, [EVENT])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
