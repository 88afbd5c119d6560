"""
Tests for L{llmux.switching._place}.
"""

from __future__ import annotations

from typing import Any, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llmux.config import ModelConfig
from llmux.interfaces import State, Waiting
from llmux.switching._place import Place, Waiter
from llmux.switching._residency import Residency
from llmux.switching.inflight import Token


@define(eq=False)
class FakeResidency:
    """
    As much of a residency as a place looks at.
    """

    state: State = State.AWAKE
    since: float = 0.0
    wokenAt: float = 0.0
    retryAt: float | None = None
    address: str = "http://127.0.0.1:8001"


class PlaceTestCase(SynchronousTestCase):
    """
    One model.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.residency = FakeResidency()
        self.place = self.make()

    def make(self, maxWait: float | None = None, **settings: Any) -> Place:
        """
        A model, with settings.
        """
        self.place = Place(
            config=ModelConfig(
                name="m", port=8001, wake="w", sleep="s", alive="a", **settings
            ),
            needs={"gpu": 1.0},
            maxWait=maxWait,
            residency=cast("Residency", self.residency),
        )
        return self.place

    def wait(
        self, number: int, priority: float = 0.0, since: float | None = None
    ) -> Waiter:
        """
        Have somebody wait.
        """
        at = float(number) if since is None else since
        waiter = Waiter(Waiting("m", at, number, priority), Deferred())
        self.place.enqueue(waiter)
        return waiter

    def hold(self) -> Token:
        """
        Have somebody served.
        """
        token = Token("m", "", 0.0, 0.0, 0, None)
        self.place.tokens.add(token)
        return token

    def next(self, now: float = 0.0) -> int | None:
        """
        The number of who is next.
        """
        waiting = self.place.first(now)
        return None if waiting is None else waiting.number


class QueueTests(PlaceTestCase):
    """
    Who waits.
    """

    def test_arrival(self) -> None:
        """
        Those who wait stand in the order of their arrival.
        """
        for number in (1, 2, 3):
            self.wait(number)
        self.assertEqual(list(self.place.queue), [1, 2, 3])
        oldest = self.place.oldest
        assert oldest is not None
        self.assertEqual(oldest.number, 1)

    def test_again(self) -> None:
        """
        Also those who come back: before all who came later, and after all who
        came earlier.
        """
        for number in (1, 4, 6, 3, 5, 7, 2):
            self.wait(number)
        self.assertEqual(list(self.place.queue), [1, 2, 3, 4, 5, 6, 7])

    def test_nobody(self) -> None:
        """
        Nobody is the oldest of nobody.
        """
        self.assertIsNone(self.place.oldest)

    def test_remove(self) -> None:
        """
        One who waits no longer is gone with its timer, once.
        """
        waiter = self.wait(1)
        waiter.timer = self.clock.callLater(5.0, self.fail, "it was not stopped")
        self.assertIs(self.place.remove(1), waiter)
        self.assertIsNone(self.place.remove(1))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((dict(self.place.queue), self.place.waiters), ({}, {}))

    def test_removeAfterTimer(self) -> None:
        """
        A timer that has just run out does no harm.
        """
        waiter = self.wait(1)
        waiter.timer = self.clock.callLater(5.0, self.place.remove, 1)
        self.clock.advance(5.0)
        self.assertIsNone(self.place.remove(1))


class NextTests(PlaceTestCase):
    """
    Who is served next.
    """

    def test_oldest(self) -> None:
        """
        The oldest.
        """
        self.assertIsNone(self.next())
        self.wait(1)
        self.wait(2)
        self.assertEqual(self.next(), 1)

    def test_priority(self) -> None:
        """
        The oldest of the highest priority, as long as anybody has that.
        """
        self.wait(1)
        self.wait(2, 1.0)
        self.wait(3, 1.0)
        for expected in (2, 3, 1):
            self.assertEqual(self.next(), expected)
            self.place.remove(expected)

    def test_bound(self) -> None:
        """
        The oldest whatever the priorities, when it has waited long enough.
        """
        self.make(maxWait=10.0)
        self.wait(1, since=0.0)
        self.wait(2, 1.0)
        self.assertEqual(self.next(9.9), 2)
        self.assertEqual(self.next(10.0), 1)

    def test_full(self) -> None:
        """
        Nobody, while as many are served as may be.
        """
        self.make(max_in_flight=2)
        self.wait(1)
        self.hold()
        self.assertEqual(self.next(), 1)
        self.hold()
        self.assertIsNone(self.next())
        self.assertTrue(self.place.full)

    def test_states(self) -> None:
        """
        Nobody, unless the model is awake and does not leave.
        """
        self.wait(1)
        for state in State:
            self.residency.state = state
            expected = 1 if state is State.AWAKE else None
            self.assertEqual(self.next(), expected, state)
        self.residency.state = State.AWAKE
        self.place.leaving = True
        self.assertIsNone(self.next())

    def test_drain(self) -> None:
        """
        While it drains, only those who waited when it woke; nobody, if it is
        dead.
        """
        self.wait(1)
        self.wait(2, 1.0)
        self.wait(3, 2.0)
        self.place.owed = 2
        self.place.leaving = True
        self.residency.state = State.DRAINING
        for expected in (2, 1, None):
            self.assertEqual(self.next(), expected)
            if expected is not None:
                self.place.remove(expected)
        self.place.owed = 3
        self.assertEqual(self.next(), 3)
        self.place.dead = True
        self.assertIsNone(self.next())

    def test_drainNobody(self) -> None:
        """
        Nobody, if all of them came later.
        """
        self.residency.state = State.DRAINING
        self.wait(1)
        self.wait(2, 1.0)
        self.assertIsNone(self.next())


class FinishedTests(PlaceTestCase):
    """
    When a drain is over.
    """

    def test_finished(self) -> None:
        """
        When nothing is in flight and nobody is left to whom a turn is owed.
        """
        self.assertTrue(self.place.finished)
        token = self.hold()
        self.assertFalse(self.place.finished)
        self.place.tokens.remove(token)
        self.wait(5)
        self.assertTrue(self.place.finished)
        self.place.owed = 5
        self.assertFalse(self.place.finished)

    def test_dead(self) -> None:
        """
        The dead owe nothing.
        """
        self.wait(5)
        self.place.owed = 5
        self.place.dead = True
        self.assertTrue(self.place.finished)


class ViewTests(PlaceTestCase):
    """
    What policies see.
    """

    def test_view(self) -> None:
        """
        They see what there is.
        """
        self.make(maxWait=7.0, pin=True, priority=2, max_in_flight=3)
        waiter = self.wait(1)
        self.hold()
        self.place.touch()
        view = self.place.view()
        self.assertEqual(
            (view.name, view.state, view.inFlight, list(view.queue), view.oldest),
            ("m", State.AWAKE, 1, [waiter.waiting], waiter.waiting),
        )
        self.assertEqual(
            (view.pinned, view.priority, view.maxInFlight, view.maxWait),
            (True, 2, 3, 7.0),
        )
        self.assertEqual(list(view.running), list(self.place.tokens))

    def test_kept(self) -> None:
        """
        A view is made anew only when something has changed.
        """
        view = self.place.view()
        self.assertIs(self.place.view(), view)
        self.wait(1)
        waiting = self.place.view()
        self.assertIsNot(waiting, view)
        self.place.remove(1)
        self.assertIsNone(self.place.view().oldest)
        self.place.leaving = True
        self.place.touch()
        self.assertTrue(self.place.view().leaving)

    def test_name(self) -> None:
        """
        A place goes by the name of its model.
        """
        self.assertEqual((self.place.name, self.place.state), ("m", State.AWAKE))


class TimerTests(PlaceTestCase):
    """
    What was to happen later.
    """

    def test_stop(self) -> None:
        """
        All of it is forgotten at once, what has happened already included.
        """
        for name in ("drainTimer", "idleTimer"):
            setattr(self.place, name, self.clock.callLater(5.0, self.fail, name))
        self.place.stopTimers()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.place.drainTimer)
        self.place.idleTimer = self.clock.callLater(1.0, lambda: None)
        self.clock.advance(1.0)
        self.place.stopTimers()
        self.assertIsNone(self.place.idleTimer)
