# -*- test-case-name: llmux.test.test_switcher -*-
"""
Switches that are under way.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from llmux.interfaces import Reason, Snapshot, State, Switch
from llmux.switching._place import Place
from llmux.switching.placement import fits


@define(eq=False)
class Move:
    """
    One switch: the victims go to sleep, then the target wakes.

    @ivar drained: when the last victim had nothing in flight any more.
    @ivar abandoned: whether the wake was broken off.
    """

    target: Place
    victims: tuple[Place, ...]
    reason: Reason
    started: float
    drained: float | None = field(default=None, init=False)
    abandoned: bool = field(default=False, init=False)

    @property
    def names(self) -> tuple[str, ...]:
        """
        The victims' names.
        """
        return tuple(victim.name for victim in self.victims)

    @property
    def peer(self) -> str:
        """
        The model that hooks of the target are told they take over from.
        """
        return self.victims[0].name if self.victims else ""

    @property
    def hasRoom(self) -> bool:
        """
        Whether every victim has freed what it held.
        """
        return not any(victim.state.holdsResources for victim in self.victims)

    @property
    def draining(self) -> bool:
        """
        Whether a victim still has something in flight.
        """
        return any(victim.state is State.DRAINING for victim in self.victims)


class Rooms:
    """
    What the machine has, and who holds it.

    @ivar total: the amount of each resource.
    """

    def __init__(self, total: Mapping[str, float], places: Mapping[str, Place]) -> None:
        self.total = total
        self._places = places

    def free(self, moves: Mapping[str, Move]) -> dict[str, float]:
        """
        What no model holds, and what no switch under way is going to take.

        What victims hold counts for the target of their switch until they are
        asleep.
        """
        free = dict(self.total)
        for place in self._places.values():
            if place.state.holdsResources:
                for name, amount in place.needs.items():
                    free[name] -= amount
        for move in moves.values():
            if move.target.state.holdsResources:
                continue
            for name, amount in move.target.needs.items():
                given = sum(
                    victim.needs.get(name, 0.0)
                    for victim in move.victims
                    if victim.state.holdsResources
                )
                free[name] -= max(0.0, amount - given)
        return free

    def holdTooMuch(self) -> bool:
        """
        Whether models that are known to hold something hold more than there
        is, as models that are found awake at the start may.
        """
        held = dict.fromkeys(self.total, 0.0)
        for place in self._places.values():
            if place.state.holdsResources and place.state is not State.UNKNOWN:
                for name, amount in place.needs.items():
                    held[name] += amount
        return any(held[name] > amount + 1e-9 for name, amount in self.total.items())

    def could(self, place: Place, without: set[str]) -> bool:
        """
        Whether a model would fit if everything else slept but some.
        """
        left = dict(self.total)
        for other in without:
            for name, amount in self._places[other].needs.items():
                left[name] -= amount
        return fits(place.needs, left)

    def collide(self, one: Place, other: Place) -> bool:
        """
        Whether two models can never be awake together.
        """
        return any(
            amount + other.needs.get(name, 0.0) > self.total[name] + 1e-9
            for name, amount in one.needs.items()
            if name in other.needs
        )


def refusal(decision: Switch, snapshot: Snapshot, bounded: bool) -> str | None:
    """
    Why a switch must not be made.

    @param bounded: whether it is made to keep a bound, before which
        C{min_active_secs} gives way.
    @return: L{None} if it may be made.
    """
    models = snapshot.models
    target = models.get(decision.target)
    if target is None:
        return "there is no such model"
    if target.state is not State.ASLEEP or target.coming:
        return "the model is not asleep"
    if target.oldest is None:
        return "nobody waits for the model"
    if decision.target in snapshot.barred and not bounded:
        return "others have waited for too long"
    room = dict(snapshot.free)
    for name in decision.victims:
        victim = models.get(name)
        if victim is None or victim.state is not State.AWAKE or victim.leaving:
            return f"{name!r} is not awake"
        if victim.pinned:
            return f"{name!r} is pinned"
        early = victim.wokenAt + snapshot.minActive - snapshot.now
        if early > 1e-6 and not bounded:
            return f"{name!r} has not been awake for min_active_secs"
        for resource, amount in victim.needs.items():
            room[resource] += amount
    if not fits(target.needs, room):
        return "there would not be enough room"
    return None
