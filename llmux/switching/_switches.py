# -*- test-case-name: llmux.test.test_switcher -*-
"""
Switches from their beginning to their end, and what else moves models: death,
and idleness.
"""

from __future__ import annotations

from llmux.errors import Conflict, SleepFailed
from llmux.interfaces import (
    Hook,
    HookFinished,
    Reason,
    State,
    StateChanged,
    Switch,
    SwitchEnded,
    SwitchStarted,
)
from llmux.switching._board import Board
from llmux.switching._moves import Move
from llmux.switching._place import Place
from llmux.switching._queues import Queues
from llmux.switching._residency import Errand

#: How long what is in flight to a model that was found dead may take to
#: notice, in seconds.
DEAD_GRACE = 5.0

#: How often in a row a model that nobody complained of may fail to say that it
#: is alive before it is taken for dead.
ALIVE_PATIENCE = 2

#: After how many seconds it is asked again when it has not said so.
SECOND_LOOK = 5.0


class Switches:
    """
    Moves models, and follows them as they move.
    """

    def __init__(self, board: Board, queues: Queues) -> None:
        self._board = board
        self._queues = queues
        board.idles = self.startIdling

    def hookEnded(self, event: HookFinished) -> None:
        if not event.error:
            if event.hook is Hook.WAKE:
                self._board.costs.woke(event.model, event.duration)
            elif event.hook is Hook.SLEEP:
                self._board.costs.slept(event.model, event.duration)
        self._board.notify(event)

    def changed(self, event: StateChanged) -> None:
        self._board.together(self._follow, event)

    def _follow(self, event: StateChanged) -> None:
        """
        Do what a change of state asks for.
        """
        place = self._board.places[event.model]
        before, after = event.before, event.after
        place.touch()
        self._board.notify(event)
        if after is State.AWAKE:
            self._startWatch(place)
            place.idleSince = self._board.clock.seconds()
            if before in (State.WAKING, State.UNKNOWN):
                place.dead = False
                place.owed = next(reversed(place.queue), 0)
            if before is State.UNKNOWN and self._board.rooms.holdTooMuch():
                # Whoever started them both has to be helped out of it.
                place.owed = 0
                self.drain(place, Errand(Reason.RECOVER))
        elif after is State.DRAINING and before is State.CHECKING:
            place.leaving = place.dead = True
            place.drainTimer = self._board.clock.callLater(
                DEAD_GRACE, self._queues.cut, place, "the model was found dead"
            )
        elif after is State.SLEEPING:
            place.stopTimers()
            place.leaving = True
        elif after is State.STUCK:
            place.leaving = place.dead = False
            self._board.stuck.add(place.name)
        elif not after.holdsResources:
            place.leaving = place.dead = False
            self._board.stuck.discard(place.name)
        if not after.holdsResources or after in (State.AWAKE, State.STUCK):
            self._tellSleepers(place)
        if before is State.UNKNOWN:
            probed, place.probed = place.probed, None
            if probed is not None:
                probed.callback(None)
        move = self._board.moves.get(event.model)
        if move is not None and before is State.WAKING:
            if after is State.AWAKE:
                self._end(move, "ok")
            elif move.abandoned:
                self._end(move, "cancelled")
            else:
                self._end(move, "failed")
                self._queues.dismissAll(
                    place, "wake_failed", self._queues.wakeFailed(place)
                )
        if after is State.COOLING or after is State.STUCK:
            self._queues.dismissAll(
                place, "wake_failed", self._queues.wakeFailed(place)
            )

    def _tellSleepers(self, place: Place) -> None:
        sleepers, place.sleepers = place.sleepers, []
        for slept in sleepers:
            if not place.state.holdsResources:
                slept.callback(None)
            elif place.state is State.STUCK:
                slept.errback(SleepFailed(place.name))
            else:
                slept.errback(Conflict(place.name, "went on serving"))

    def begin(self, decision: Switch) -> None:
        target = self._board.places[decision.target]
        victims = tuple(self._board.places[name] for name in sorted(decision.victims))
        oldest = target.oldest
        assert oldest is not None
        move = Move(target, victims, oldest.reason, self._board.clock.seconds())
        self._board.moves[target.name] = move
        target.coming = True
        target.touch()
        self._board.notify(SwitchStarted(target.name, move.names, move.reason))
        for victim in victims:
            self.drain(victim, Errand(move.reason, target.name))

    def drain(self, place: Place, errand: Errand) -> None:
        """
        Take a model out of service, with a view to sleep.
        """
        # Not before all of this is done may it go to sleep, which it does at
        # once if nothing is in flight: what limits a drain is to end with it.
        self._board.together(self._drain, place, errand)

    def _drain(self, place: Place, errand: Errand) -> None:
        policy = self._board.config.policy
        place.leaving = True
        place.touch()
        place.residency.drain(errand)
        if not policy.drain_before_switch and errand.reason is not Reason.EXIT:
            self._queues.cut(place, "the model is switched away without a drain")
        elif policy.drain_timeout_secs is not None and not self._board.stopping:
            place.drainTimer = self._board.clock.callLater(
                policy.drain_timeout_secs, self._drainedTooLong, place
            )

    def _drainedTooLong(self, place: Place) -> None:
        # What it owes waits on, with its place in the queue: the bound on a
        # drain is a promise to others.
        place.owed = 0
        self._queues.cut(place, "the drain took longer than drain_timeout_secs")
        self._board.settle()

    def _end(self, move: Move, result: str) -> None:
        target = move.target
        del self._board.moves[target.name]
        target.coming = False
        target.touch()
        now = self._board.clock.seconds()
        drained = move.started if move.drained is None else move.drained
        if result == "ok":
            for victim in move.victims:
                self._board.costs.switched(victim.name, target.name, now - drained)
        self._board.notify(
            SwitchEnded(
                target.name,
                move.names,
                result,
                now - move.started,
                drained - move.started,
                len(target.queue),
            )
        )

    def abandon(self, place: Place) -> None:
        """
        Break a wake off.
        """
        self._board.moves[place.name].abandoned = True
        place.residency.abandon()

    def cancel(self, move: Move, result: str = "cancelled") -> None:
        """
        The target is not to be woken, or cannot be: what has not been put to
        sleep yet goes on.
        """
        self._end(move, result)
        for victim in move.victims:
            if victim.state is State.DRAINING and not victim.dead:
                victim.stopTimers()
                victim.leaving = False
                victim.touch()
                victim.residency.keep()

    def advance(self, move: Move) -> None:
        """
        Take a switch as far as it goes.
        """
        target = move.target
        if (
            target.state is State.WAKING
            and not target.queue
            and not move.abandoned
            and self._board.config.policy.cancelled_wake == "end"
        ):
            self.abandon(target)
        if target.state is not State.ASLEEP:
            return
        if any(victim.state is State.STUCK for victim in move.victims):
            # Who waits goes on waiting: the sleep is tried again.
            self.cancel(move, "failed")
            return
        if not move.target.queue:
            self.cancel(move)
            return
        if move.drained is None and not move.draining:
            move.drained = self._board.clock.seconds()
        if move.hasRoom:
            move.target.residency.wake(Errand(move.reason, move.peer))

    def startIdling(self, place: Place) -> None:
        """
        A model serves nothing: see to it that it does not stay awake for too
        long, and that it stays alive.
        """
        if self._board.stopping or not place.serving:
            return
        clock = self._board.clock
        ttl = place.config.ttl_secs
        if ttl is not None and place.idleTimer is None:
            left = place.idleSince + ttl - clock.seconds()
            place.idleTimer = clock.callLater(max(0.0, left), self._idledTooLong, place)
        self._startWatch(place)

    def _startWatch(self, place: Place) -> None:
        interval = self._board.config.alive_interval_secs
        if interval > 0 and place.watchTimer is None and not self._board.stopping:
            if place.residency.doubts:
                interval = min(interval, SECOND_LOOK)
            place.watchTimer = self._board.clock.callLater(interval, self._watch, place)

    def _watch(self, place: Place) -> None:
        place.watchTimer = None
        if not place.serving:
            return
        # One that answers shows by that that it is alive.
        if self._hasSilence(place):
            place.residency.check(ALIVE_PATIENCE)
        if place.serving:
            self._startWatch(place)

    def _hasSilence(self, place: Place) -> bool:
        """
        Whether a model serves nothing, or has answered none of what it serves,
        one of which has waited for that for longer than is usual.
        """
        if any(token.isAnswered for token in place.tokens):
            return False
        interval = self._board.config.alive_interval_secs
        if place.residency.doubts:
            interval = min(interval, SECOND_LOOK)
        late = self._board.clock.seconds() - interval
        return not place.tokens or any(
            token.granted <= late + 1e-6 for token in place.tokens
        )

    def _idledTooLong(self, place: Place) -> None:
        # The timer is not stopped by each request, which would be work for
        # each: it may be that the model has served meanwhile.
        place.idleTimer = None
        if not place.serving or place.tokens or place.queue:
            return
        ttl = place.config.ttl_secs
        # A timer can be early by what floating point rounds off; what is left
        # then may be too little for any timer.
        idle = self._board.clock.seconds() - place.idleSince
        if ttl is not None and idle < ttl - 1e-6:
            self.startIdling(place)
            return
        self.drain(place, Errand(Reason.TTL))
        self._board.settle()
