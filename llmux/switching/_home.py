# -*- test-case-name: llmux.test.test_home -*-
"""
The model that is awake when nothing is asked for: C{policy.default_model}.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from llmux.interfaces import State
from llmux.switching._board import Board
from llmux.switching._place import Place


class Home:
    """
    Wishes for that model once nothing has been asked for in its place for long
    enough, and takes the wish back when something is.
    """

    def __init__(self, board: Board, wish: Callable[[str], Deferred[None]]) -> None:
        """
        @param wish: has a model woken without a request for it.
        """
        self._board = board
        self._makeWish = wish
        self._wish: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    def advance(self) -> None:
        """
        See what is to be done now.
        """
        place = self._place()
        if place is None or place.state is not State.ASLEEP or self._board.stopping:
            self.disarm()
            return
        wish = self._wish
        if wish is None:
            if self._timer is None:
                self._arm(self._quietFor(place))
        elif self._quietFor(place) == inf:
            # Whatever has been begun for it goes on serving.
            self._wish = None
            wish.cancel()

    def disarm(self) -> None:
        """
        Have nothing happen later.
        """
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _place(self) -> Place | None:
        name = self._board.config.policy.default_model
        model = None if name is None else self._board.config.modelNamed(name)
        return None if model is None else self._board.places.get(model.name)

    def _quietFor(self, place: Place) -> float:
        """
        In how many seconds nothing will have been asked for in the model's
        place for long enough, if nothing is; infinite if something is now.
        """
        since = place.residency.since
        for other in self._board.places.values():
            if other is place or not any(
                other.needs.get(name) for name, amount in place.needs.items() if amount
            ):
                continue
            if other.tokens or other.queue:
                return inf
            since = max(since, other.idleSince)
        after = self._board.config.policy.default_after_secs
        return max(0.0, since + after - self._board.clock.seconds())

    def _arm(self, delay: float) -> None:
        # Requests do not tell of themselves here, which would be work for
        # each: it is looked again.
        after = max(0.001, self._board.config.policy.default_after_secs)
        self._timer = self._board.clock.callLater(
            after if delay == inf else max(0.001, delay), self._timeUp
        )

    def _timeUp(self) -> None:
        self._timer = None
        place = self._place()
        if place is None or place.state is not State.ASLEEP:
            return
        if place.coming or place.queue:
            self._arm(inf)
            return
        delay = self._quietFor(place)
        if delay > 1e-6:
            self._arm(delay)
            return
        wish = self._wish = self._makeWish(place.name)
        wish.addBoth(self._over, wish)

    def _over(self, result: object, wish: Deferred[None]) -> None:
        # It is awake, or could not be woken, which the log says.
        if self._wish is wish:
            self._wish = None
            self._board.settle()
