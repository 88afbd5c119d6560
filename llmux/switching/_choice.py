# -*- test-case-name: llmux.test.test_switcher -*-
"""
What to do next: the bounds that hold whatever the policy says, then the
policy, within what is safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from llmux.interfaces import (
    Admit,
    BoundMissed,
    Decision,
    DecisionRefused,
    ISwitchPolicy,
    Snapshot,
    State,
    Stay,
    Switch,
)
from llmux.switching._board import Board
from llmux.switching._moves import Move, refusal
from llmux.switching._place import Place
from llmux.switching._queues import Queues
from llmux.switching._switches import Switches
from llmux.switching.placement import roomFor


class Choice:
    """
    Asks the policy, and has done what it says.
    """

    log = Logger()

    def __init__(
        self, board: Board, queues: Queues, switches: Switches, policy: ISwitchPolicy
    ) -> None:
        self._board = board
        self._queues = queues
        self._switches = switches
        self._policy = policy
        self._timer: IDelayedCall | None = None
        self._refused: Decision | None = None
        self._missed: frozenset[str] = frozenset()

    def follow(self, policy: ISwitchPolicy) -> None:
        """
        Ask another policy from here on.
        """
        self._policy = policy
        self._refused = None

    def decide(self) -> None:
        """
        Keep the bounds, then ask the policy.
        """
        self.disarm()
        obstacles = self._queues.obstacles()
        for place in self._board.places.values() if any(obstacles) else ():
            if place.queue and place.state is State.ASLEEP:
                error = self._queues.hopeless(place, obstacles)
                if error is not None:
                    self._queues.dismissAll(place, "wake_failed", error)
        now = self._board.clock.seconds()
        overdue, soonest = self._overdue(now)
        snapshot = self._board.snapshot(self._barred(overdue))
        for move in list(self._board.moves.values()):
            if self._isInTheWay(move, snapshot):
                self._switches.abandon(move.target)
                self._board.settle()
                return
        if self._force(overdue, snapshot):
            return
        self._noteMissed(overdue, now)
        decision, why = self._ask(snapshot)
        recheck: float | None = 1.0
        if why is not None:
            if decision != self._refused:
                self._refused = decision
                self._board.notify(DecisionRefused(decision, why))
        elif isinstance(decision, Stay):
            recheck = decision.recheck
        else:
            self._obey(decision, snapshot)
            self._board.settle()
            return
        self._arm(now, recheck, soonest)

    def keepBounds(self) -> bool:
        """
        Begin a switch for somebody who has been passed over for long enough,
        before anybody else is let in.

        @return: whether there was one to begin.
        """
        overdue, _ = self._overdue(self._board.clock.seconds())
        return bool(overdue) and self._force(overdue, self._board.snapshot())

    def _force(self, overdue: Sequence[Place], snapshot: Snapshot) -> bool:
        for place in overdue:
            victims = roomFor(snapshot, place.name)
            if victims is not None:
                forced = Switch(place.name, victims)
                if refusal(forced, snapshot, bounded=True) is None:
                    self._switches.begin(forced)
                    self._board.settle()
                    return True
        return False

    def _noteMissed(self, overdue: Sequence[Place], now: float) -> None:
        """
        Say of each model once, until it is woken, that others are in its way
        for longer than was promised.
        """
        before = self._missed
        if not (overdue or before):
            return
        self._missed = frozenset(place.name for place in overdue)
        for place in overdue:
            oldest = place.oldest
            if place.name not in before and oldest is not None:
                assert place.maxWait is not None
                self._board.notify(
                    BoundMissed(place.name, now - oldest.since, place.maxWait)
                )

    def _isInTheWay(self, move: Move, snapshot: Snapshot) -> bool:
        """
        Whether a model is being woken for nobody any more, in a place that
        others wait for.
        """
        target = move.target
        if target.state is not State.WAKING or target.queue or move.abandoned:
            return False
        wanted = self._board.config.policy.cancelled_wake
        return wanted == "yield" and any(
            place.queue
            and place.state is State.ASLEEP
            and not place.coming
            and self._board.rooms.collide(target, place)
            and roomFor(snapshot, place.name) is None
            for place in self._board.places.values()
        )

    def _ask(self, snapshot: Snapshot) -> tuple[Decision, str | None]:
        """
        @return: what the policy says, and why that may not be done, if so.
        """
        try:
            decision = self._policy.decide(snapshot)
            # Whatever is in it: it may be anybody's.
            return decision, self._refusal(decision, snapshot)
        except Exception:
            self.log.failure("the policy {policy} failed", policy=self._policy)
            return Stay(1.0), None

    def _refusal(self, decision: object, snapshot: Snapshot) -> str | None:
        if isinstance(decision, Stay):
            isTime = decision.recheck is None or isfinite(decision.recheck)
            return None if isTime else "that is no time to ask again"
        if isinstance(decision, Switch):
            return refusal(decision, snapshot, bounded=False)
        if isinstance(decision, Admit):
            place = self._board.places.get(decision.waiting.model)
            waiting = decision.waiting
            if (
                place is None
                or place.state is not State.DRAINING
                or place.dead
                or place.full
                or waiting.number not in place.queue
            ):
                return "the request cannot join a drain"
            return None
        return f"{decision!r} is not a decision"

    def _obey(self, decision: Switch | Admit, snapshot: Snapshot) -> None:
        """
        Do what the policy says, which may be done.
        """
        if isinstance(decision, Switch):
            self._switches.begin(decision)
        else:
            waiting = decision.waiting
            self._queues.hand(self._board.places[waiting.model], waiting, snapshot.now)

    def _barred(self, overdue: Sequence[Place]) -> frozenset[str]:
        """
        Which models must not be woken: they would be in the way of others that
        have waited for as long as they may.
        """
        if not overdue:
            return frozenset()
        return frozenset(
            place.name
            for place in self._board.places.values()
            if any(
                other is not place and self._board.rooms.collide(place, other)
                for other in overdue
            )
        )

    def _overdue(self, now: float) -> tuple[list[Place], float | None]:
        """
        Whose requests have been passed over for as long as they may be.

        @return: models that are asleep and not yet being woken although their
            oldest request has waited long enough, the longest first; and
            when the next of that kind may come to be.
        """
        overdue: list[tuple[float, int, Place]] = []
        soonest: float | None = None
        for place in self._board.places.values():
            oldest = place.oldest
            if oldest is None or place.maxWait is None or place.coming:
                continue
            if place.state is not State.ASLEEP:
                continue
            deadline = oldest.since + place.maxWait
            if deadline <= now + 1e-6:
                overdue.append((deadline, oldest.number, place))
            elif soonest is None or deadline < soonest:
                soonest = deadline
        overdue.sort(key=lambda one: one[:2])
        return [place for _, _, place in overdue], soonest

    def _arm(self, now: float, recheck: float | None, soonest: float | None) -> None:
        delays = [] if recheck is None else [recheck]
        if soonest is not None:
            delays.append(soonest - now)
        if delays:
            # Never a delay of nothing: a policy that asks for it would spin.
            self._timer = self._board.clock.callLater(
                max(0.001, min(delays)), self._timeUp
            )

    def disarm(self) -> None:
        """
        Have nothing decided before something happens.
        """
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _timeUp(self) -> None:
        self._timer = None
        self._board.settle()
