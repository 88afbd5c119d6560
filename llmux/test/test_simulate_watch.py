"""
Tests for L{llmux.simulate.watch}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.interfaces import (
    IObserver,
    Reason,
    State,
    StateChanged,
    SwitchEnded,
    SwitchStarted,
)
from llmux.simulate.watch import Watch


class WatchTests(SynchronousTestCase):
    """
    Tests for L{Watch}: two models in one place, C{a} awake since 0, and C{b}
    asleep, with a bound of 10 seconds.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.make()

    def make(self, pinned: frozenset[str] = frozenset(), **needs: float) -> None:
        """
        Start to watch.
        """
        self.watch = Watch(
            self.clock,
            {"a": 10.0, "b": 10.0},
            {"a": {"gpu": 1.0}, "b": {"gpu": 1.0, **needs}},
            pinned,
            timeline=True,
        )
        verifyObject(IObserver, self.watch)
        self.change("b", State.UNKNOWN, State.ASLEEP)
        self.change("a", State.WAKING, State.AWAKE)
        self.clock.advance(1)

    def change(self, model: str, before: State, after: State) -> None:
        """
        A model changes its state.
        """
        self.watch.notify(StateChanged(model, before, after, 0.0))

    def pass_(self, number: int) -> None:
        """
        A request for the model that is awake comes and is let in.
        """
        self.watch.arrived(number, "a")
        self.watch.granted(number, "a")

    def test_passedOver(self) -> None:
        """
        A request is passed over when a later one is let in to another model
        in its place, and for too long beyond the bound.
        """
        self.watch.arrived(1, "b")
        self.clock.advance(10)
        self.pass_(2)
        self.assertEqual((self.watch.passedOver, self.watch.missed), (10.0, 0))
        self.assertEqual(self.watch.bound, 10.0)
        self.clock.advance(1)
        self.pass_(3)
        self.assertEqual((self.watch.passedOver, self.watch.missed), (11.0, 1))

    def test_notPassedOver(self) -> None:
        """
        It is not by those that came earlier, in a drain, together with those
        for whom a model was woken, by a pinned one, nor while its own model
        is on its way.
        """
        self.watch.arrived(1, "a")
        self.watch.arrived(2, "b")
        self.clock.advance(20)
        self.watch.granted(1, "a")
        self.change("a", State.AWAKE, State.DRAINING)
        self.pass_(3)
        self.change("a", State.WAKING, State.AWAKE)
        self.pass_(4)
        self.watch.notify(SwitchStarted("b", ("a",), Reason.REQUEST))
        self.clock.advance(1)
        self.pass_(5)
        self.assertEqual(self.watch.passedOver, 0.0)
        self.make(frozenset("a"))
        self.watch.arrived(1, "b")
        self.clock.advance(20)
        self.pass_(2)
        self.assertEqual(self.watch.passedOver, 0.0)

    def test_shares(self) -> None:
        """
        Time is counted as serving if anything is in flight, and as switching
        if nothing is and a hook runs.
        """
        self.pass_(1)
        self.clock.advance(5)
        self.watch.done("a")
        self.clock.advance(3)
        self.change("a", State.AWAKE, State.SLEEPING)
        self.clock.advance(2)
        self.change("a", State.SLEEPING, State.ASLEEP)
        self.clock.advance(4)
        self.watch.finish()
        self.assertEqual((self.watch.serving, self.watch.switching), (5.0, 2.0))

    def test_switches(self) -> None:
        """
        Switches are counted by their result.
        """
        for result in ("ok", "ok", "failed"):
            self.watch.notify(SwitchStarted("b", ("a",), Reason.REQUEST))
            self.watch.notify(SwitchEnded("b", ("a",), result, 1.0, 0.0, 0))
        self.assertEqual((self.watch.switches, self.watch.failed), (2, 1))

    def test_left(self) -> None:
        """
        Whoever left waits no longer.
        """
        self.watch.arrived(1, "b")
        self.watch.left(1, "b")
        self.clock.advance(20)
        self.pass_(2)
        self.assertEqual(self.watch.passedOver, 0.0)
        self.assertEqual(self.watch.timeline[-1].inFlight, 1)
