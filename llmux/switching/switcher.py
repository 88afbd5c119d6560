# -*- test-case-name: llmux.test.test_switcher -*-
"""
The switcher: takes requests, and sees that their models are awake.

It is the only writer of everything in this room, and it runs in one reactor
turn at a time, so there are no locks.  After every event it settles: it takes
the switches under way as far as they go, then asks the policy what to do
next, until there is nothing left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from twisted.internet.defer import Deferred, DeferredSemaphore, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.config import Config
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
    Admit,
    Decision,
    DecisionRefused,
    Event,
    Hook,
    HookFinished,
    IHookRunner,
    IObserver,
    ISwitchPolicy,
    Reason,
    RequestDone,
    RequestDropped,
    RequestGranted,
    RequestQueued,
    Snapshot,
    State,
    StateChanged,
    Stay,
    Switch,
    SwitchEnded,
    SwitchStarted,
    Waiting,
)
from llmux.switching._moves import Move, Rooms, refusal
from llmux.switching._place import Place, Waiter
from llmux.switching._residency import Errand, Residency
from llmux.switching.costs import Costs
from llmux.switching.inflight import Token
from llmux.switching.placement import roomFor

#: How many models are asked at once, at the start, whether they are alive.
PROBES = 16

#: How long what is in flight to a model that was found dead may take to
#: notice, in seconds.
DEAD_GRACE = 5.0

#: How often a model may fail to go to sleep before those that need its room
#: are told so rather than left to wait.
STUCK_PATIENCE = 3

#: The resource that every model needs all of where none are configured.
MACHINE = "machine"


class Switcher:
    """
    Queues, in-flight tokens, and switches between models.

    @ivar costs: what switching has been measured to cost.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        hooks: IHookRunner,
        policy: ISwitchPolicy,
        clock: IReactorTime,
        observers: Sequence[IObserver] = (),
    ) -> None:
        self._config = config
        self._hooks = hooks
        self._policy = policy
        self._clock = clock
        self._observers = list(observers)
        self.costs = Costs()
        self._numbers = count(1)
        self._waiting = 0
        total = dict(config.resources) or {MACHINE: 1.0}
        self._places: dict[str, Place] = {}
        for model in config.models.values():
            self._places[model.name] = Place(
                config=model,
                needs=dict(total if model.needs is None else model.needs),
                maxWait=config.policy.max_wait_secs,
                residency=Residency(
                    model, hooks, clock, self._changed, self._hookEnded
                ),
            )
        self._rooms = Rooms(total, self._places)
        self._moves: dict[str, Move] = {}
        self._timer: IDelayedCall | None = None
        self._settling = False
        self._unsettled = False
        self._refused: Decision | None = None
        self._started = False
        self._stopping: list[Deferred[None]] | None = None
        self._sleepAtExit = False

    # For those who use it ----------------------------------------------------

    def addObserver(self, observer: IObserver) -> None:
        """
        Have an observer told of every event from here on.
        """
        self._observers.append(observer)

    def removeObserver(self, observer: IObserver) -> None:
        """
        Tell an observer nothing more.
        """
        self._observers.remove(observer)

    def start(self) -> Deferred[None]:
        """
        Find out which models are awake already.  Requests may come before
        that is known.

        @return: fires when every model has been asked.
        """
        turns = DeferredSemaphore(PROBES)
        left = len(self._places)
        started: Deferred[None] = Deferred()

        def probe(place: Place) -> Deferred[None]:
            known: Deferred[None] = Deferred()
            place.probed = known
            place.residency.probe()
            return known

        def known(_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._begin()
                started.callback(None)

        for place in self._places.values():
            turns.run(probe, place).addBoth(known)
        return started

    def acquire(
        self,
        model: str,
        *,
        priority: float = 0.0,
        size: float | None = None,
        reason: Reason = Reason.REQUEST,
    ) -> Deferred[Token]:
        """
        Wait for a model to be awake, then hold it awake.

        @param model: its name, which must not be an alias.
        @param priority: is added to the model's own; higher is served first.
        @param size: about how many seconds of service it will take, if known.
        @param reason: why it is asked for; other than for a request, neither
            C{max_queue} nor C{request_timeout_secs} apply.
        @return: fires with a token that the caller must release, in this
            reactor turn if the model is awake; fails with L{UnknownModel},
            L{NeverFits}, L{QueueFull}, L{WakeFailed}, L{WaitedTooLong} or
            L{ShuttingDown}.  Cancelling it leaves the queue.
        """
        token = self.grant(model)
        if token is not None:
            return succeed(token)
        try:
            place = self._admit(model, reason)
        except LLMuxError as refused:
            return fail(refused)
        waiting = Waiting(
            model=model,
            since=self._clock.seconds(),
            number=next(self._numbers),
            priority=place.config.priority + priority,
            reason=reason,
            size=size,
        )
        return self._enqueue(place, waiting)

    def grant(self, model: str) -> Token | None:
        """
        Take a token if the model is awake and nobody else has to be first.

        @return: L{None} if the model has to be waited for, by L{acquire}.
        """
        place = self._places.get(model)
        if (
            place is None
            or not place.serving
            or place.queue
            or place.full
            or self._stopping is not None
        ):
            return None
        now = self._clock.seconds()
        return self._issue(place, now, now)

    def reacquire(self, token: Token) -> Deferred[Token]:
        """
        Give back a token whose server could not be reached, have C{alive}
        asked, and wait for the model again, with the same place in the queue.

        @return: as for L{acquire}.
        """
        place = self._places[token.model]
        if self._stopping is not None:
            token.release()
            return fail(ShuttingDown())
        waiting = Waiting(
            model=place.name,
            since=token.arrived,
            number=token.number,
            priority=place.config.priority,
        )
        if place.serving:
            place.residency.check()
        ready = self._enqueue(place, waiting, first=True)
        token.release()
        return ready

    def wake(self, model: str, reason: Reason = Reason.OPERATOR) -> Deferred[None]:
        """
        Have a model woken without a request for it.

        @return: fires when it is awake; fails as L{acquire} does.
        """
        return self.acquire(model, reason=reason).addCallback(Token.release)

    def snapshot(self) -> Snapshot:
        """
        @return: everything, as policies see it, now.
        """
        return Snapshot(
            now=self._clock.seconds(),
            models={name: place.view() for name, place in self._places.items()},
            free=self._rooms.free(self._moves),
            costs=self.costs,
            minActive=self._config.policy.min_active_secs,
            drainTimeout=self._config.policy.drain_timeout_secs,
        )

    def stop(self, sleepAwake: bool = False) -> Deferred[None]:
        """
        Refuse everything new, let what is in flight end (for as long as
        C{drain_timeout_secs} allows), and leave no hook running: a wake is
        broken off and cleaned up after, a sleep is waited for.

        @param sleepAwake: whether to put to sleep what is awake then.
        @return: fires when all that is done.
        """
        stopped: Deferred[None] = Deferred()
        if self._stopping is not None:
            self._stopping.append(stopped)
            self._settle()
            return stopped
        self._stopping = [stopped]
        self._sleepAtExit = sleepAwake
        self._disarm()
        self._together(self._stopEverything)
        return stopped

    def _stopEverything(self) -> None:
        for move in list(self._moves.values()):
            if move.target.state is not State.WAKING:
                self._cancelMove(move)
        for place in self._places.values():
            place.stopTimers()
            place.residency.halt()
            self._dismissAll(place, "shutting_down", ShuttingDown())
            if place.state is State.WAKING:
                self._abandon(place)
            elif place.state in (State.UNKNOWN, State.CHECKING):
                self._hooks.stop(place.name)
        limit = self._config.policy.drain_timeout_secs
        if limit is not None:
            self._timer = self._clock.callLater(limit, self._cutAll, "shutdown")

    def hurry(self) -> None:
        """
        Having been told to L{stop}, end at once what is in flight and what
        hooks are running.
        """
        self._sleepAtExit = False
        self._cutAll("shutdown")
        for place in self._places.values():
            self._hooks.stop(place.name)

    # Waiting -------------------------------------------------------------------

    def _admit(self, model: str, reason: Reason) -> Place:
        """
        @raise LLMuxError: it is of no use to wait.
        """
        if self._stopping is not None:
            raise ShuttingDown()
        place = self._places.get(model)
        if place is None:
            raise UnknownModel(model)
        hopeless = self._hopeless(place, self._obstacles())
        if hopeless is not None:
            raise hopeless
        most = place.config.max_queue
        if reason is Reason.REQUEST and most is not None and len(place.queue) >= most:
            now = self._clock.seconds()
            self._notify(RequestDropped(model, "queue_full", 0.0, len(place.queue)))
            raise QueueFull(model, self._retryAfter(place, now))
        return place

    def _obstacles(self) -> tuple[set[str], set[str]]:
        """
        What will not make room for anybody: models that are pinned, and
        models that again and again could not be put to sleep.
        """
        pinned: set[str] = set()
        stuck: set[str] = set()
        for place in self._places.values():
            if place.state.holdsResources:
                if place.config.pin:
                    pinned.add(place.name)
                if place.residency.sleepFailures >= STUCK_PATIENCE:
                    stuck.add(place.name)
        return pinned, stuck

    def _hopeless(
        self, place: Place, obstacles: tuple[set[str], set[str]]
    ) -> LLMuxError | None:
        """
        Why a model will not be awake in any time that is worth waiting for.
        """
        if place.state in (State.COOLING, State.STUCK):
            return self._wakeFailed(place)
        if place.state is not State.ASLEEP or place.coming:
            return None
        pinned, stuck = obstacles
        if not self._rooms.could(place, pinned):
            return NeverFits(place.name)
        if stuck and not self._rooms.could(place, pinned | stuck):
            return WakeFailed(
                place.name,
                max(self._wakeFailed(self._places[name]).retryAfter for name in stuck),
            )
        return None

    def _wakeFailed(self, place: Place) -> WakeFailed:
        at = place.residency.retryAt
        return WakeFailed(
            place.name, 1.0 if at is None else max(0.0, at - self._clock.seconds())
        )

    def _retryAfter(self, place: Place, now: float) -> float:
        """
        About how long it takes until somebody who waits for a model now has
        been served.
        """
        waking = 0.0 if place.serving else self.costs.wake(place.name)
        return waking + self.costs.service(place.name)

    def _enqueue(
        self, place: Place, waiting: Waiting, first: bool = False
    ) -> Deferred[Token]:
        number = waiting.number

        def left(_: Deferred[Token]) -> None:
            self._forget(place, number, "left")

        waiter = Waiter(waiting, Deferred(left))
        limit = self._config.policy.request_timeout_secs
        if limit is not None and waiting.reason is Reason.REQUEST:
            remaining = waiting.since + limit - self._clock.seconds()
            waiter.timer = self._clock.callLater(
                max(0.0, remaining), self._waitedTooLong, place, number
            )
        place.enqueue(waiter, first)
        self._waiting += 1
        self._stopIdling(place)
        self._notify(RequestQueued(place.name, len(place.queue)))
        self._settle()
        return waiter.ready

    def _forget(self, place: Place, number: int, why: str) -> Waiter | None:
        """
        Somebody waits no longer, and with them goes their demand.
        """
        waiter = place.remove(number)
        if waiter is None:
            return None
        self._waiting -= 1
        waited = self._clock.seconds() - waiter.waiting.since
        self._notify(RequestDropped(place.name, why, waited, len(place.queue)))
        self._settle()
        return waiter

    def _dismiss(self, place: Place, number: int, why: str, error: LLMuxError) -> None:
        waiter = self._forget(place, number, why)
        if waiter is not None:
            waiter.ready.errback(error)

    def _dismissAll(self, place: Place, why: str, error: LLMuxError) -> None:
        for number in list(place.queue):
            self._dismiss(place, number, why, error)

    def _waitedTooLong(self, place: Place, number: int) -> None:
        limit = self._config.policy.request_timeout_secs
        assert limit is not None
        self._dismiss(place, number, "timeout", WaitedTooLong(place.name, limit))

    # Tokens --------------------------------------------------------------------

    def _issue(
        self, place: Place, arrived: float, now: float, number: int | None = None
    ) -> Token:
        token = Token(
            place.name,
            place.residency.address,
            now,
            arrived,
            next(self._numbers) if number is None else number,
            self._released,
            self._answered,
        )
        place.tokens.add(token)
        place.touch()
        if place.idleTimer is not None:
            self._stopIdling(place)
        self._notify(
            RequestGranted(
                place.name, now - arrived, len(place.queue), len(place.tokens)
            )
        )
        return token

    def _hand(self, place: Place, waiting: Waiting, now: float) -> None:
        waiter = place.remove(waiting.number)
        assert waiter is not None
        self._waiting -= 1
        token = self._issue(place, waiting.since, now, waiting.number)
        waiter.ready.callback(token)

    def _serve(self, place: Place) -> None:
        """
        Grant tokens to whoever may have one.
        """
        now = self._clock.seconds()
        while (waiting := place.next(now)) is not None:
            self._hand(place, waiting, now)

    def _released(self, token: Token) -> None:
        place = self._places[token.model]
        now = self._clock.seconds()
        place.tokens.remove(token)
        place.touch()
        duration = now - token.granted
        self.costs.served(place.name, duration)
        if not place.tokens:
            place.idleSince = now
        self._notify(RequestDone(place.name, duration, len(place.tokens), token.wasCut))
        if place.queue:
            self._serve(place)
        if self._waiting or place.leaving or place.dead or self._stopping is not None:
            self._settle()
        elif not place.tokens:
            self._startIdling(place)

    def _answered(self, token: Token) -> None:
        self._places[token.model].residency.answered()

    def _cut(self, place: Place, why: str) -> None:
        """
        End everything that is in flight to a model.
        """
        for token in list(place.tokens):
            token.cut(why)

    def _cutAll(self, why: str) -> None:
        for place in self._places.values():
            self._cut(place, why)

    # What models tell ------------------------------------------------------------

    def _hookEnded(self, event: HookFinished) -> None:
        if not event.error:
            if event.hook is Hook.WAKE:
                self.costs.woke(event.model, event.duration)
            elif event.hook is Hook.SLEEP:
                self.costs.slept(event.model, event.duration)
        self._notify(event)

    def _changed(self, event: StateChanged) -> None:
        self._together(self._follow, event)

    def _follow(self, event: StateChanged) -> None:
        """
        Do what a change of state asks for.
        """
        place = self._places[event.model]
        before, after = event.before, event.after
        place.touch()
        self._notify(event)
        if after is State.AWAKE:
            place.idleSince = self._clock.seconds()
            if before in (State.WAKING, State.UNKNOWN):
                place.dead = False
                place.owed = next(reversed(place.queue), 0)
            if before is State.UNKNOWN and self._rooms.holdTooMuch():
                # Whoever started them both has to be helped out of it.
                place.owed = 0
                self._drain(place, Errand(Reason.RECOVER))
        elif after is State.DRAINING and before is State.CHECKING:
            place.leaving = place.dead = True
            place.drainTimer = self._clock.callLater(
                DEAD_GRACE, self._cut, place, "the model was found dead"
            )
        elif after is State.SLEEPING:
            place.stopTimers()
            place.leaving = True
        elif not after.holdsResources or after is State.STUCK:
            place.leaving = place.dead = False
        if before is State.UNKNOWN:
            probed, place.probed = place.probed, None
            if probed is not None:
                probed.callback(None)
        move = self._moves.get(event.model)
        if move is not None and before is State.WAKING:
            if after is State.AWAKE:
                self._endMove(move, "ok")
            elif move.abandoned:
                self._endMove(move, "cancelled")
            else:
                self._endMove(move, "failed")
                self._dismissAll(place, "wake_failed", self._wakeFailed(place))
        if after is State.COOLING or after is State.STUCK:
            self._dismissAll(place, "wake_failed", self._wakeFailed(place))

    # Switches --------------------------------------------------------------------

    def _beginMove(self, decision: Switch) -> None:
        target = self._places[decision.target]
        victims = tuple(self._places[name] for name in sorted(decision.victims))
        oldest = target.oldest
        assert oldest is not None
        move = Move(target, victims, oldest.reason, self._clock.seconds())
        self._moves[target.name] = move
        target.coming = True
        target.touch()
        self._notify(SwitchStarted(target.name, move.names, move.reason))
        for victim in victims:
            self._drain(victim, Errand(move.reason, target.name))

    def _drain(self, place: Place, errand: Errand) -> None:
        """
        Take a model out of service, with a view to sleep.
        """
        policy = self._config.policy
        self._stopIdling(place)
        place.leaving = True
        place.touch()
        place.residency.drain(errand)
        if not policy.drain_before_switch and errand.reason is not Reason.EXIT:
            self._cut(place, "the model is switched away without a drain")
        elif policy.drain_timeout_secs is not None and self._stopping is None:
            place.drainTimer = self._clock.callLater(
                policy.drain_timeout_secs, self._drainedTooLong, place
            )

    def _drainedTooLong(self, place: Place) -> None:
        # What it owes waits on, with its place in the queue: the bound on a
        # drain is a promise to others.
        place.owed = 0
        self._cut(place, "the drain took longer than drain_timeout_secs")
        self._settle()

    def _endMove(self, move: Move, result: str) -> None:
        target = move.target
        del self._moves[target.name]
        target.coming = False
        target.touch()
        now = self._clock.seconds()
        drained = move.started if move.drained is None else move.drained
        if result == "ok":
            for victim in move.victims:
                self.costs.switched(victim.name, target.name, now - drained)
        self._notify(
            SwitchEnded(
                target.name,
                move.names,
                result,
                now - move.started,
                drained - move.started,
                len(target.queue),
            )
        )

    def _abandon(self, place: Place) -> None:
        """
        Break a wake off.
        """
        self._moves[place.name].abandoned = True
        place.residency.abandon()

    def _cancelMove(self, move: Move, result: str = "cancelled") -> None:
        """
        The target is not to be woken, or cannot be: what has not been put to
        sleep yet goes on.
        """
        self._endMove(move, result)
        for victim in move.victims:
            if victim.state is State.DRAINING and not victim.dead:
                victim.stopTimers()
                victim.leaving = False
                victim.touch()
                victim.residency.keep()

    def _advance(self, move: Move) -> None:
        """
        Take a switch as far as it goes.
        """
        if move.target.state is not State.ASLEEP:
            return
        if any(victim.state is State.STUCK for victim in move.victims):
            # Who waits goes on waiting: the sleep is tried again.
            self._cancelMove(move, "failed")
            return
        if not move.target.queue:
            self._cancelMove(move)
            return
        if move.drained is None and not move.draining:
            move.drained = self._clock.seconds()
        if move.hasRoom:
            move.target.residency.wake(Errand(move.reason, move.peer))

    # Settling --------------------------------------------------------------------

    def _settle(self) -> None:
        """
        Do all that can be done now.  Whatever is set off by that and comes
        back here only asks for another round.
        """
        self._unsettled = True
        if self._settling:
            return
        self._settling = True
        try:
            while self._unsettled:
                self._unsettled = False
                self._round()
        finally:
            self._settling = False

    def _together(self, work: Callable[..., None], *arguments: object) -> None:
        """
        Do several things before settling once.
        """
        outer, self._settling = self._settling, True
        try:
            work(*arguments)
        finally:
            self._settling = outer
        self._settle()

    def _round(self) -> None:
        for place in self._places.values():
            state = place.state
            if state is State.AWAKE and place.queue:
                self._serve(place)
            elif state is State.DRAINING:
                self._serve(place)
                if place.finished:
                    place.residency.sleep()
            if place.serving and not place.tokens:
                self._startIdling(place)
        for move in list(self._moves.values()):
            self._advance(move)
        if self._stopping is not None:
            self._stepStop()
        elif self._waiting:
            self._decide()
        else:
            self._disarm()

    def _decide(self) -> None:
        """
        Keep the bounds, then ask the policy.
        """
        self._disarm()
        obstacles = self._obstacles()
        for place in self._places.values():
            if place.queue and place.state is State.ASLEEP:
                error = self._hopeless(place, obstacles)
                if error is not None:
                    self._dismissAll(place, "wake_failed", error)
        now = self._clock.seconds()
        overdue, soonest = self._overdue(now)
        snapshot = self.snapshot()
        for move in list(self._moves.values()):
            if self._isInTheWay(move, snapshot):
                self._abandon(move.target)
                self._unsettled = True
                return
        for place in overdue:
            victims = roomFor(snapshot, place.name)
            if victims is not None:
                forced = Switch(place.name, victims)
                if refusal(forced, snapshot, bounded=True) is None:
                    self._beginMove(forced)
                    self._unsettled = True
                    return
        decision = self._ask(snapshot)
        recheck: float | None = None
        if isinstance(decision, Stay):
            recheck = decision.recheck
        else:
            why = self._obey(decision, snapshot, overdue)
            if why is None:
                self._unsettled = True
                return
            if decision != self._refused:
                self._refused = decision
                self._notify(DecisionRefused(decision, why))
            recheck = 1.0
        self._arm(now, recheck, soonest)

    def _isInTheWay(self, move: Move, snapshot: Snapshot) -> bool:
        """
        Whether a model is being woken for nobody any more, in a place that
        others wait for.
        """
        target = move.target
        return (
            target.state is State.WAKING
            and not target.queue
            and not move.abandoned
            and any(
                place.queue
                and place.state is State.ASLEEP
                and not place.coming
                and self._rooms.collide(target, place)
                and roomFor(snapshot, place.name) is None
                for place in self._places.values()
            )
        )

    def _ask(self, snapshot: Snapshot) -> Decision:
        try:
            return self._policy.decide(snapshot)
        except Exception:
            self.log.failure("the policy {policy} failed", policy=self._policy)
            return Stay(1.0)

    def _obey(
        self, decision: Decision, snapshot: Snapshot, overdue: Sequence[Place]
    ) -> str | None:
        """
        Do what the policy says, if it may be done.

        @return: why not, otherwise.
        """
        if isinstance(decision, Switch):
            why = refusal(decision, snapshot, bounded=False)
            if why is not None:
                return why
            target = self._places[decision.target]
            if any(
                other is not target and self._rooms.collide(target, other)
                for other in overdue
            ):
                return "others have waited for too long"
            self._beginMove(decision)
            return None
        if isinstance(decision, Admit):
            place = self._places.get(decision.waiting.model)
            waiting = decision.waiting
            if (
                place is None
                or place.state is not State.DRAINING
                or place.dead
                or place.full
                or waiting.number not in place.queue
            ):
                return "the request cannot join a drain"
            self._hand(place, waiting, snapshot.now)
            return None
        return f"{decision!r} is not a decision"

    def _overdue(self, now: float) -> tuple[list[Place], float | None]:
        """
        Whose requests have been passed over for as long as they may be.

        @return: models that are asleep and not yet being woken although their
            oldest request has waited long enough, the longest first; and
            when the next of that kind may come to be.
        """
        overdue: list[tuple[float, int, Place]] = []
        soonest: float | None = None
        for place in self._places.values():
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
            self._timer = self._clock.callLater(max(0.001, min(delays)), self._timeUp)

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _timeUp(self) -> None:
        self._timer = None
        self._settle()

    # Idle models -------------------------------------------------------------------

    def _startIdling(self, place: Place) -> None:
        ttl = place.config.ttl_secs
        if ttl is None or place.idleTimer is not None or not place.serving:
            return
        if self._stopping is not None:
            return
        left = place.idleSince + ttl - self._clock.seconds()
        place.idleTimer = self._clock.callLater(
            max(0.0, left), self._idledTooLong, place
        )

    def _stopIdling(self, place: Place) -> None:
        timer, place.idleTimer = place.idleTimer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _idledTooLong(self, place: Place) -> None:
        place.idleTimer = None
        if place.serving and not place.tokens and not place.queue:
            self._drain(place, Errand(Reason.TTL))
            self._settle()

    # Beginning and end ---------------------------------------------------------------

    def _begin(self) -> None:
        """
        It is known what is awake.
        """
        self._started = True
        for place in self._places.values():
            if place.config.preload and self._stopping is None:
                self.wake(place.name, Reason.PRELOAD).addErrback(
                    self._preloadFailed, place.name
                )

    def _preloadFailed(self, why: Failure, model: str) -> None:
        self.log.error(
            "Cannot preload {model}: {why}",
            event="preload_failed",
            model=model,
            why=why.getErrorMessage(),
        )

    def _stepStop(self) -> None:
        """
        See whether everything has stopped.
        """
        assert self._stopping is not None
        places = self._places.values()
        if any(place.tokens for place in places):
            return
        if self._sleepAtExit:
            for place in places:
                if place.serving:
                    self._drain(place, Errand(Reason.EXIT))
                    self._unsettled = True
        if self._unsettled or any(
            place.residency.hookRuns or place.state is State.DRAINING
            for place in places
        ):
            return
        self._disarm()
        stopped, self._stopping = self._stopping, []
        for waiter in stopped:
            waiter.callback(None)

    def _notify(self, event: Event) -> None:
        for observer in self._observers:
            try:
                observer.notify(event)
            except Exception:
                self.log.failure("an observer failed at {note}", note=event)
