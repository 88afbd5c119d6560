"""
Tests for L{llmux.switching._moves}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from llmux.interfaces import ModelView, Reason, Snapshot, State, Switch, Waiting
from llmux.switching._moves import Move, Rooms, refusal
from llmux.switching._place import Place
from llmux.switching.costs import Costs


@define(eq=False)
class FakePlace:
    """
    As much of a place as rooms and moves look at.
    """

    name: str
    state: State
    needs: Mapping[str, float] = field(factory=dict)


def place(name: str, state: State, **needs: float) -> Place:
    """
    A model that is doing something.
    """
    return cast("Place", FakePlace(name, state, needs))


class MoveTests(SynchronousTestCase):
    """
    How far a switch has come.
    """

    def move(self, *states: State) -> Move:
        """
        A switch whose victims are doing something.
        """
        return Move(
            place("t", State.ASLEEP),
            tuple(place(f"v{at}", state) for at, state in enumerate(states)),
            Reason.REQUEST,
            0.0,
        )

    def test_names(self) -> None:
        """
        Hooks are told of the first victim, or of none.
        """
        move = self.move(State.AWAKE, State.AWAKE)
        self.assertEqual((move.names, move.peer), (("v0", "v1"), "v0"))
        self.assertEqual((self.move().names, self.move().peer), ((), ""))

    def test_room(self) -> None:
        """
        There is room when every victim holds nothing any more.
        """
        self.assertTrue(self.move().hasRoom)
        self.assertTrue(self.move(State.ASLEEP, State.COOLING).hasRoom)
        for state in (State.DRAINING, State.SLEEPING, State.STUCK, State.WAKING):
            self.assertFalse(self.move(State.ASLEEP, state).hasRoom, state)

    def test_draining(self) -> None:
        """
        It drains as long as one victim does.
        """
        self.assertTrue(self.move(State.SLEEPING, State.DRAINING).draining)
        self.assertFalse(self.move(State.SLEEPING, State.ASLEEP).draining)


class RoomsTests(SynchronousTestCase):
    """
    What there is, and who holds it.
    """

    def rooms(self, *places: Place, **total: float) -> Rooms:
        """
        A machine with models.
        """
        return Rooms(total or {"gpu": 24.0}, {one.name: one for one in places})

    def moves(self, target: Place, *victims: Place) -> dict[str, Move]:
        """
        One switch under way.
        """
        return {target.name: Move(target, victims, Reason.REQUEST, 0.0)}

    def test_held(self) -> None:
        """
        Whatever is not known to hold nothing is counted as held.
        """
        for state in State:
            free = self.rooms(place("a", state, gpu=10)).free({})
            expected = 14.0 if state.holdsResources else 24.0
            self.assertEqual(free, {"gpu": expected}, state)

    def test_spokenFor(self) -> None:
        """
        What a switch is going to take is not free, whether its victims still
        hold it or hold it no longer; what they hold beyond that is not free
        before they sleep.
        """
        target = place("t", State.ASLEEP, gpu=20)
        victim = place("v", State.DRAINING, gpu=16)
        moves = self.moves(target, victim)
        rooms = self.rooms(target, victim)
        self.assertEqual(rooms.free(moves), {"gpu": 4.0})
        victim.state = State.ASLEEP  # type: ignore[misc]
        self.assertEqual(rooms.free(moves), {"gpu": 4.0})
        target.state = State.WAKING  # type: ignore[misc]
        self.assertEqual(rooms.free(moves), {"gpu": 4.0})

    def test_smallerTarget(self) -> None:
        """
        A target that needs less than its victim holds leaves no less free
        than there is.
        """
        target = place("t", State.ASLEEP, gpu=4)
        victim = place("v", State.SLEEPING, gpu=16)
        rooms = self.rooms(target, victim)
        self.assertEqual(rooms.free(self.moves(target, victim)), {"gpu": 8.0})

    def test_tooMuch(self) -> None:
        """
        Models that are found awake may hold more than there is; what has not
        been asked yet does not count.
        """
        one, two = place("a", State.AWAKE, gpu=20), place("b", State.UNKNOWN, gpu=20)
        rooms = self.rooms(one, two)
        self.assertFalse(rooms.holdTooMuch())
        two.state = State.AWAKE  # type: ignore[misc]
        self.assertTrue(rooms.holdTooMuch())
        two.state = State.ASLEEP  # type: ignore[misc]
        self.assertFalse(rooms.holdTooMuch())

    def test_could(self) -> None:
        """
        A model could be woken some time if it fits beside what never goes.
        """
        one, two = place("a", State.ASLEEP, gpu=20), place("b", State.AWAKE, gpu=8)
        rooms = self.rooms(one, two)
        self.assertTrue(rooms.could(one, set()))
        self.assertFalse(rooms.could(one, {"b"}))

    def test_collide(self) -> None:
        """
        Two models collide if there is a resource of which there is not enough
        for both.
        """
        rooms = self.rooms(gpu0=24.0, gpu1=24.0)
        large = place("a", State.ASLEEP, gpu0=20, gpu1=2)
        for other, expected in (
            (place("b", State.ASLEEP, gpu0=8), True),
            (place("b", State.ASLEEP, gpu0=4), False),
            (place("b", State.ASLEEP, gpu1=22), False),
            (place("b", State.ASLEEP, gpu1=23), True),
            (place("b", State.ASLEEP), False),
        ):
            self.assertEqual(rooms.collide(large, other), expected, other)
            self.assertEqual(rooms.collide(other, large), expected, other)


class RefusalTests(SynchronousTestCase):
    """
    L{refusal}
    """

    def ask(
        self,
        *,
        target: dict[str, Any] | None = None,
        victim: dict[str, Any] | None = None,
        decision: Switch | None = None,
        minActive: float = 0.0,
        bounded: bool = False,
    ) -> str | None:
        """
        Whether C{a} may be woken in the place of C{b}, where some things are
        not as they should be.
        """
        waiting = Waiting("a", 0.0, 1)
        a: dict[str, Any] = {
            "name": "a",
            "state": State.ASLEEP,
            "since": 0.0,
            "needs": {"gpu": 20},
            "queue": [waiting],
            "oldest": waiting,
        }
        b: dict[str, Any] = {
            "name": "b",
            "state": State.AWAKE,
            "since": 0.0,
            "needs": {"gpu": 16},
            "wokenAt": 90.0,
        }
        models = {
            "a": ModelView(**{**a, **(target or {})}),
            "b": ModelView(**{**b, **(victim or {})}),
        }
        snapshot = Snapshot(100.0, models, {"gpu": 8}, Costs(), minActive)
        return refusal(decision or Switch("a", {"b"}), snapshot, bounded)

    def test_may(self) -> None:
        """
        Where everything is as it should be, a switch may be made.
        """
        self.assertIsNone(self.ask())
        self.assertIsNone(self.ask(target={"needs": {"gpu": 8}}, decision=Switch("a")))

    def test_target(self) -> None:
        """
        The target must be there, asleep, not on its way, and wanted.
        """
        self.assertIn("no such", str(self.ask(decision=Switch("nobody"))))
        for state in State:
            why = self.ask(target={"state": state})
            self.assertEqual(why is None, state is State.ASLEEP, state)
        self.assertIn("not asleep", str(self.ask(target={"coming": True})))
        self.assertIn("nobody waits", str(self.ask(target={"oldest": None})))

    def test_victims(self) -> None:
        """
        Victims must be there, awake, not on their way to sleep, and not
        pinned.
        """
        self.assertIn("'x' is not", str(self.ask(decision=Switch("a", {"x"}))))
        for state in State:
            why = self.ask(victim={"state": state})
            self.assertEqual(why is None, state is State.AWAKE, state)
        self.assertIn("not awake", str(self.ask(victim={"leaving": True})))
        self.assertIn("pinned", str(self.ask(victim={"pinned": True})))
        pinned = self.ask(victim={"pinned": True}, bounded=True)
        self.assertIn("pinned", str(pinned))

    def test_minActive(self) -> None:
        """
        Nothing goes before C{min_active_secs}, unless a bound would be broken
        otherwise.
        """
        self.assertIn("min_active_secs", str(self.ask(minActive=11.0)))
        self.assertIsNone(self.ask(minActive=10.0))
        self.assertIsNone(self.ask(minActive=11.0, bounded=True))

    def test_room(self) -> None:
        """
        There must be room when the victims are gone, bound or no bound.
        """
        for bounded in (False, True):
            why = self.ask(decision=Switch("a"), bounded=bounded)
            self.assertIn("room", str(why))
