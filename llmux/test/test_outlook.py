"""
Tests for L{llmux.switching.outlook}.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from llmux.interfaces import ModelView, Snapshot, State
from llmux.switching.costs import Costs
from llmux.switching.outlook import Outlook, outlook

ALL = {"machine": 1.0}


class _Costs(Costs):
    """
    A wake takes 10 seconds, a sleep 2, a request 4.
    """

    wakes = 10.0

    def wake(self, model: str) -> float:
        """
        See L{Costs.wake}.
        """
        return self.wakes

    def sleep(self, model: str) -> float:
        """
        See L{Costs.sleep}.
        """
        return 2.0

    def service(self, model: str) -> float:
        """
        See L{Costs.service}.
        """
        return 4.0


@frozen
class _Running:
    granted: float
    size: float | None = None


def view(name: str, state: State, since: float = 0.0, **more: Any) -> ModelView:
    """
    A model.
    """
    return ModelView(name, state, since, ALL, **more)


class OutlookTests(SynchronousTestCase):
    """
    Tests for L{outlook}, of a model C{a}, 100 seconds after the start.
    """

    def look(
        self,
        *views: ModelView,
        ahead: int = 0,
        free: Mapping[str, float] | None = None,
        wakes: float = 10.0,
    ) -> Outlook:
        """
        Look ahead.
        """
        costs = _Costs()
        costs.wakes = wakes
        models = {one.name: one for one in views}
        room = {"machine": 0.0} if free is None else free
        return outlook(Snapshot(100.0, models, room, costs), "a", ahead)

    def test_waking(self) -> None:
        """
        A wake takes as long as it usually does, and then no time at all.
        """
        a = view("a", State.WAKING, 97.0, coming=True)
        self.assertEqual(self.look(a), Outlook("waking", 7.0))
        a = view("a", State.WAKING, 50.0)
        self.assertEqual(self.look(a), Outlook("waking", 0.0))

    def test_coming(self) -> None:
        """
        What has to leave first takes its time, the longest of them.
        """
        a = view("a", State.ASLEEP, coming=True)
        for other, seconds in (
            (view("b", State.SLEEPING, 99.0, leaving=True), 11.0),
            (view("b", State.DRAINING, leaving=True), 12.0),
            (view("b", State.DRAINING, leaving=True, running=[_Running(99.0)]), 15.0),
            (view("b", State.DRAINING, leaving=True, running=[_Running(9.0)]), 12.0),
            (view("b", State.ASLEEP, leaving=True), 10.0),
            (view("b", State.AWAKE), 10.0),
        ):
            said = Outlook("making room for", seconds)
            self.assertEqual(self.look(a, other), said)

    def test_undecided(self) -> None:
        """
        As long as nobody has to leave, it is whoever leaves soonest.
        """
        a = view("a", State.ASLEEP)
        b = view("b", State.AWAKE, running=[_Running(98.0)])
        c = view("c", State.AWAKE, running=[_Running(99.0), _Running(10.0)])
        self.assertEqual(self.look(a, b, c), Outlook("waiting to wake", 14.0))
        self.assertEqual(self.look(a, b, free=ALL), Outlook("waiting to wake", 10.0))
        self.assertEqual(self.look(a), Outlook("waiting to wake", 10.0))

    def test_leaving(self) -> None:
        """
        A model that is just leaving has to come back.
        """
        for state in (State.AWAKE, State.DRAINING):
            a = view("a", state, leaving=True)
            self.assertEqual(self.look(a), Outlook("waiting to wake", 12.0))

    def test_failed(self) -> None:
        """
        One that could not be woken is tried again later.
        """
        a = view("a", State.COOLING, retryAt=103.0)
        self.assertEqual(self.look(a), Outlook("waiting to wake", 13.0))

    def test_full(self) -> None:
        """
        Who waits for others to be served waits for as many as there are.
        """
        a = view("a", State.AWAKE, maxInFlight=2, inFlight=2)
        self.assertEqual(self.look(a, ahead=0), Outlook("waiting for", 2.0))
        self.assertEqual(self.look(a, ahead=5), Outlook("waiting for", 12.0))
        a = view("a", State.WAKING, 100.0, maxInFlight=2)
        self.assertEqual(self.look(a, ahead=1).seconds, 10.0)
        self.assertEqual(self.look(a, ahead=4).seconds, 18.0)
        a = view("a", State.WAKING, 100.0)
        self.assertEqual(self.look(a, ahead=400).seconds, 10.0)

    def test_unknown(self) -> None:
        """
        What cannot be told is not told.
        """
        a = view("a", State.WAKING, 100.0)
        self.assertEqual(self.look(a, wakes=inf), Outlook("waking", None))
