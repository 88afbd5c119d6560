# -*- test-case-name: llmux.test.test_switcher -*-
"""
Who waits, and who is served: from arrival to the end of a token.
"""

from __future__ import annotations

from collections import deque
from math import inf

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from llmux.errors import (
    LLMuxError,
    NeverFits,
    QueueFull,
    ShuttingDown,
    UnknownModel,
    WaitedTooLong,
    WakeFailed,
)
from llmux.interfaces import (
    Reason,
    RequestDone,
    RequestDropped,
    RequestGranted,
    RequestQueued,
    State,
    Waiting,
)
from llmux.switching._board import Board
from llmux.switching._place import Place, Waiter
from llmux.switching.inflight import Token
from llmux.switching.outlook import outlook

#: How often a model may fail to go to sleep before those that need its room
#: are told so rather than left to wait.
STUCK_PATIENCE = 3

#: How many are told in one turn of the reactor that they wait in vain, or that
#: what they are being sent ends.
TOLD = 64


class Queues:
    """
    The queues of all models, and the tokens that are taken from them.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._untold: deque[tuple[Deferred[Token], LLMuxError]] = deque()
        self._telling: IDelayedCall | None = None

    def admit(self, model: str, reason: Reason) -> Place:
        """
        @raise LLMuxError: it is of no use to wait.
        """
        if self._board.stopping:
            raise ShuttingDown()
        place = self._board.places.get(model)
        if place is None or place.removed:
            raise UnknownModel(model)
        hopeless = self.hopeless(place, self.obstacles())
        if hopeless is not None:
            raise hopeless
        most = place.config.max_queue
        if reason is Reason.REQUEST and most is not None and len(place.queue) >= most:
            self._board.notify(
                RequestDropped(model, "queue_full", 0.0, len(place.queue))
            )
            ahead = outlook(self._board.snapshot(), model, len(place.queue))
            raise QueueFull(model, inf if ahead.seconds is None else ahead.seconds)
        return place

    def obstacles(self) -> tuple[set[str], set[str]]:
        """
        What will not make room for anybody: models that are pinned, and
        models that again and again could not be put to sleep.
        """
        board = self._board
        pinned = {
            place.name
            for place in board.places.values()
            if place.config.pin and place.state.holdsResources
        }
        stuck = {
            name
            for name in board.stuck
            if board.places[name].residency.sleepFailures >= STUCK_PATIENCE
        }
        return pinned, stuck

    def hopeless(
        self, place: Place, obstacles: tuple[set[str], set[str]]
    ) -> LLMuxError | None:
        """
        Why a model will not be awake in any time that is worth waiting for.
        """
        if place.state in (State.COOLING, State.STUCK):
            return self.wakeFailed(place)
        if place.state is not State.ASLEEP or place.coming:
            return None
        pinned, stuck = obstacles
        if place.fits and not pinned and not stuck:
            return None
        if not self._board.rooms.could(place, pinned):
            return NeverFits(place.name)
        if stuck and not self._board.rooms.could(place, pinned | stuck):
            return WakeFailed(
                place.name,
                max(
                    self.wakeFailed(self._board.places[name]).retryAfter
                    for name in stuck
                ),
            )
        return None

    def wakeFailed(self, place: Place) -> WakeFailed:
        at = place.residency.retryAt
        return WakeFailed(
            place.name,
            1.0 if at is None else max(0.0, at - self._board.clock.seconds()),
        )

    def enqueue(self, place: Place, waiting: Waiting) -> Deferred[Token]:
        number = waiting.number

        def left(_: Deferred[Token]) -> None:
            self._forget(place, number, "left")

        waiter = Waiter(waiting, Deferred(left))
        limit = self._board.config.policy.request_timeout_secs
        if limit is not None and waiting.reason is Reason.REQUEST:
            remaining = waiting.since + limit - self._board.clock.seconds()
            waiter.timer = self._board.clock.callLater(
                max(0.0, remaining), self._waitedTooLong, place, number
            )
        place.enqueue(waiter)
        self._board.waiting += 1
        self._board.notify(RequestQueued(place.name, len(place.queue)))
        self._board.settle()
        return waiter.ready

    def _forget(self, place: Place, number: int, why: str) -> Waiter | None:
        """
        Somebody waits no longer, and with them goes their demand.
        """
        waiter = place.remove(number)
        if waiter is None:
            return None
        self._board.waiting -= 1
        waited = self._board.clock.seconds() - waiter.waiting.since
        self._board.notify(RequestDropped(place.name, why, waited, len(place.queue)))
        self._board.settle()
        return waiter

    def _dismiss(self, place: Place, number: int, why: str, error: LLMuxError) -> None:
        def tell() -> None:
            waiter = self._forget(place, number, why)
            if waiter is not None:
                waiter.ready.errback(error)

        # They are told before anything is done about their demand being gone.
        self._board.together(tell)

    def dismissAll(self, place: Place, why: str, error: LLMuxError) -> None:
        """
        Have nobody wait for a model any more.  If these are many, not all of
        them are told so in this turn of the reactor: each may have an answer
        written and a connection closed.
        """

        def tell() -> None:
            for number in list(place.queue):
                waiter = self._forget(place, number, why)
                if waiter is not None:
                    self._untold.append((waiter.ready, error))
            if self._telling is None:
                self._tell()

        self._board.together(tell)

    @property
    def isTelling(self) -> bool:
        """
        Whether somebody who waits no longer has not been told so yet.
        """
        return self._telling is not None

    def _tell(self) -> None:
        told = 0
        while self._untold and told < TOLD:
            told += 1
            ready, error = self._untold.popleft()
            # Who has left meanwhile knows.
            if not ready.called:
                ready.errback(error)
        if not self._untold:
            self._telling = None
            if self._board.stopping:
                self._board.settle()
        elif self._telling is None or not self._telling.active():
            self._telling = self._board.clock.callLater(0, self._tell)

    def _waitedTooLong(self, place: Place, number: int) -> None:
        limit = self._board.config.policy.request_timeout_secs
        assert limit is not None
        self._dismiss(place, number, "timeout", WaitedTooLong(place.name, limit))

    def issue(
        self,
        place: Place,
        arrived: float,
        now: float,
        number: int | None = None,
        size: float | None = None,
        maxTokens: int | None = None,
        priority: float = 0.0,
    ) -> Token:
        token = Token(
            place.name,
            place.residency.address,
            now,
            arrived,
            next(self._board.numbers) if number is None else number,
            self._released,
            self._answered,
            size,
            maxTokens,
            priority,
        )
        place.tokens.add(token)
        place.touch()
        self._board.notify(
            RequestGranted(
                place.name, now - arrived, len(place.queue), len(place.tokens)
            )
        )
        return token

    def hand(self, place: Place, waiting: Waiting, now: float) -> None:
        waiter = place.remove(waiting.number)
        assert waiter is not None
        self._board.waiting -= 1
        token = self.issue(
            place,
            waiting.since,
            now,
            waiting.number,
            waiting.size,
            waiting.maxTokens,
            waiting.priority,
        )
        waiter.ready.callback(token)

    def serve(self, place: Place) -> None:
        """
        Grant tokens to whoever may have one.
        """
        now = self._board.clock.seconds()
        while (waiting := place.first(now)) is not None:
            self.hand(place, waiting, now)

    def _released(self, token: Token) -> None:
        place = self._board.places[token.model]
        now = self._board.clock.seconds()
        place.tokens.remove(token)
        place.touch()
        duration = now - token.granted
        self._board.costs.served(place.name, duration, token.maxTokens)
        if not place.tokens:
            place.idleSince = now
        self._board.notify(
            RequestDone(place.name, duration, len(place.tokens), token.wasCut)
        )
        if place.queue:
            self.serve(place)
        if self._board.waiting or place.leaving or place.dead or self._board.stopping:
            self._board.settle()
        elif not place.tokens:
            self._board.idles(place)

    def _answered(self, token: Token) -> None:
        self._board.places[token.model].residency.answered()

    def cut(self, place: Place, why: str) -> None:
        """
        End everything that is in flight to a model.  If that is much, not all
        of it ends in this turn of the reactor.
        """
        self._cutSome(deque(place.tokens), why)

    def _cutSome(self, tokens: deque[Token], why: str) -> None:
        for _ in range(min(TOLD, len(tokens))):
            tokens.popleft().cut(why)
        if tokens:
            self._board.clock.callLater(0, self._cutSome, tokens, why)

    def cutAll(self, why: str) -> None:
        for place in self._board.places.values():
            self.cut(place, why)
