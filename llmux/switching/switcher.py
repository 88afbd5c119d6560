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

from twisted.internet.defer import Deferred, DeferredSemaphore, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.config import Config, ModelConfig
from llmux.errors import (
    Conflict,
    LLMuxError,
    ShuttingDown,
    SleepFailed,
    UnknownModel,
)
from llmux.interfaces import (
    Changes,
    ICosts,
    IHookRunner,
    IObserver,
    ISwitchPolicy,
    Reason,
    Snapshot,
    State,
    Waiting,
)
from llmux.switching._board import Board
from llmux.switching._changes import Renewal
from llmux.switching._choice import Choice
from llmux.switching._home import Home
from llmux.switching._place import Place
from llmux.switching._queues import Queues
from llmux.switching._residency import Errand, Residency
from llmux.switching._switches import ALIVE_PATIENCE, Switches
from llmux.switching.inflight import Token
from llmux.switching.placement import fits

#: How many models are asked at once, at the start, whether they are alive.
PROBES = 16


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
        self._board = Board(config, hooks, clock, observers)
        self._queues = Queues(self._board)
        self._switches = Switches(self._board, self._queues)
        self._choice = Choice(self._board, self._queues, self._switches, policy)
        self._board.round = self._round
        self._stopped: list[Deferred[None]] = []
        self._sleepAtExit = False
        self._limit: IDelayedCall | None = None
        self.costs: ICosts = self._board.costs
        for model in config.models.values():
            self._board.places[model.name] = self._make(model)
        self._turns = DeferredSemaphore(PROBES)
        self._renewal = Renewal(
            self._board,
            self._queues,
            self._switches,
            self._make,
            self._probe,
            self._preload,
        )

        self._home = Home(self._board, lambda name: self.wake(name, Reason.PRELOAD))

    def _make(self, model: ModelConfig) -> Place:
        board = self._board
        policy = board.config.policy
        needs = board.total if model.needs is None else model.needs
        return Place(
            config=model,
            needs=dict(needs),
            maxWait=(
                policy.max_wait_secs
                if model.max_wait_secs is None
                else model.max_wait_secs
            ),
            residency=Residency(
                model,
                board.hooks,
                board.clock,
                self._switches.changed,
                self._switches.hookEnded,
            ),
            fits=fits(needs, board.total),
        )

    def addObserver(self, observer: IObserver) -> None:
        """
        Have an observer told of every event from here on.
        """
        self._board.observers.append(observer)
        self._board.observed()

    def removeObserver(self, observer: IObserver) -> None:
        """
        Tell an observer nothing more.
        """
        self._board.observers.remove(observer)
        self._board.observed()

    def start(self) -> Deferred[None]:
        """
        Find out which models are awake already.  Requests may come before
        that is known.

        @return: fires when every model has been asked.
        """
        left = len(self._board.places)
        started: Deferred[None] = Deferred()

        def known(_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                for place in list(self._board.places.values()):
                    if place.config.preload:
                        self._preload(place)
                started.callback(None)

        for place in list(self._board.places.values()):
            self._probe(place).addBoth(known)
        return started

    def _probe(self, place: Place) -> Deferred[None]:
        def probe() -> Deferred[None]:
            known: Deferred[None] = Deferred()
            place.probed = known
            place.residency.probe()
            return known

        asked: Deferred[None] = self._turns.run(probe)
        return asked

    def reconfigure(
        self, config: Config, policy: ISwitchPolicy | None = None
    ) -> Changes:
        """
        Go by another configuration from here on, without a break: what has
        not changed goes on.

        Models that are new are asked whether they are awake; those that are
        not there any more end what they serve and are put to sleep; what
        others are woken and put to sleep by, and where they are, changes when
        they next sleep, and all else at once.

        @param policy: another policy, if there is to be one.
        @raise ShuttingDown: it is stopping.
        """
        if self._board.stopping:
            raise ShuttingDown()
        found: list[Changes] = []

        def work() -> None:
            if policy is not None:
                self._choice.follow(policy)
            found.append(self._renewal.apply(config))

        self._board.together(work)
        return found[0]

    def whenReconfigured(self, told: Callable[[Config, Config], None]) -> None:
        """
        Have a function called whenever the configuration that holds has
        changed, which for some of a model is when it next sleeps.

        @param told: is given the configuration with all models that are still
            there, and that with those that may be asked for.
        """
        self._renewal.told = told

    def acquire(
        self,
        model: str,
        *,
        priority: float = 0.0,
        size: float | None = None,
        maxTokens: int | None = None,
        reason: Reason = Reason.REQUEST,
    ) -> Deferred[Token]:
        """
        Wait for a model to be awake, then hold it awake.

        @param model: its name, which must not be an alias.
        @param priority: is added to the model's own; higher is served first.
        @param size: about how many seconds of service it will take, if known.
        @param maxTokens: how many tokens its answer may have, if that is known.
        @param reason: why it is asked for; other than for a request, neither
            C{max_queue} nor C{request_timeout_secs} apply.
        @return: fires with a token that the caller must release, in this
            reactor turn if the model is awake; fails with L{UnknownModel},
            L{NeverFits}, L{QueueFull}, L{WakeFailed}, L{WaitedTooLong} or
            L{ShuttingDown}.  Cancelling it leaves the queue.
        """
        token = self.grant(model, size, maxTokens)
        if token is not None:
            return succeed(token)
        try:
            place = self._queues.admit(model, reason)
        except LLMuxError as refused:
            return fail(refused)
        waiting = Waiting(
            model=model,
            since=self._board.clock.seconds(),
            number=next(self._board.numbers),
            priority=place.config.priority + priority,
            reason=reason,
            size=size,
            maxTokens=maxTokens,
        )
        return self._queues.enqueue(place, waiting)

    def grant(
        self, model: str, size: float | None = None, maxTokens: int | None = None
    ) -> Token | None:
        """
        Take a token if the model is awake and nobody else has to be first.

        @param size: about how many seconds of service it will take, if known.
        @param maxTokens: how many tokens its answer may have, if that is known.
        @return: L{None} if the model has to be waited for, by L{acquire}.
        """
        place = self._board.places.get(model)
        if (
            place is None
            or not place.serving
            or place.queue
            or place.full
            or self._board.stopping
        ):
            return None
        now = self._board.clock.seconds()
        token = self._queues.issue(
            place, now, now, None, size, maxTokens, place.config.priority
        )
        if self._board.waiting:
            # Others wait, and what is in flight now lasts longer: the policy
            # may want this one to have been the last.
            self._board.settle()
        return token

    def reacquire(self, token: Token) -> Deferred[Token]:
        """
        Give back a token whose server could not be reached, have C{alive}
        asked, and wait for the model again, with the same place in the queue.

        @return: as for L{acquire}.
        """
        place = self._board.places[token.model]
        if self._board.stopping:
            token.release()
            return fail(ShuttingDown())
        if place.removed:
            token.release()
            return fail(UnknownModel(token.model))
        waiting = Waiting(
            model=place.name,
            since=token.arrived,
            number=token.number,
            priority=token.priority,
            size=token.size,
            maxTokens=token.maxTokens,
        )
        if place.serving:
            place.residency.check()
        ready = self._queues.enqueue(place, waiting)
        token.release()
        return ready

    def suspect(self, model: str) -> None:
        """
        Have a model asked whether it is alive, because it does not answer.
        What is in flight to it goes on meanwhile; new requests wait.
        """
        place = self._board.places.get(model)
        if place is not None and place.serving and not self._board.stopping:
            place.residency.check(ALIVE_PATIENCE)

    def wake(self, model: str, reason: Reason = Reason.OPERATOR) -> Deferred[None]:
        """
        Have a model woken without a request for it.

        @return: fires when it is awake; fails as L{acquire} does.
        """
        return self.acquire(model, reason=reason).addCallback(Token.release)

    def sleep(self, model: str, drain: bool = False) -> Deferred[None]:
        """
        Put a model to sleep, as an operator may.  Requests that come
        meanwhile wait, and wake it again.

        @param drain: whether to let what is in flight end first, rather than
            to refuse.
        @return: fires when it sleeps, at once if it does already; fails with
            L{UnknownModel}, with L{Conflict} if it is pinned, serving or just
            being woken or asked, and with L{SleepFailed}.
        """
        place = self._board.places.get(model)
        if place is None:
            return fail(UnknownModel(model))
        state = place.state
        if not state.holdsResources:
            return succeed(None)
        if state is State.STUCK:
            return fail(SleepFailed(model))
        if state is State.AWAKE and not place.leaving:
            if place.config.pin:
                return fail(Conflict(model, "is pinned"))
            if place.tokens and not drain:
                return fail(Conflict(model, "is serving requests"))
        elif state not in (State.AWAKE, State.DRAINING, State.SLEEPING):
            return fail(Conflict(model, f"is {state.value}"))
        slept: Deferred[None] = Deferred()
        place.sleepers.append(slept)
        if place.serving:
            self._switches.drain(place, Errand(Reason.OPERATOR))
            self._board.settle()
        return slept

    def clear(self, model: str) -> None:
        """
        Take an operator's word that a model, which could not be put to sleep,
        holds nothing any more.

        @raise UnknownModel: there is none of that name.
        @raise Conflict: it is not stuck.
        """
        place = self._board.places.get(model)
        if place is None:
            raise UnknownModel(model)
        if place.state is not State.STUCK:
            raise Conflict(model, f"is {place.state.value}, not stuck")
        place.residency.clear()

    def queued(self, model: str) -> int:
        """
        @return: how many wait for a model.
        """
        return len(self._board.places[model].queue)

    def snapshot(self) -> Snapshot:
        """
        @return: everything, as policies see it, now.
        """
        return self._board.snapshot()

    def stop(self, sleepAwake: bool = False) -> Deferred[None]:
        """
        Refuse everything new, let what is in flight end (for as long as
        C{drain_timeout_secs} allows), and leave no hook running: a wake is
        broken off and cleaned up after, a sleep is waited for.

        @param sleepAwake: whether to put to sleep what is awake then.
        @return: fires when all that is done.
        """
        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        if self._board.stopping:
            self._board.settle()
        else:
            self._board.stopping = True
            self._sleepAtExit = sleepAwake
            self._board.together(self._stopEverything)
        return stopped

    def _stopEverything(self) -> None:
        self._choice.disarm()
        for move in list(self._board.moves.values()):
            if move.target.state is not State.WAKING:
                self._switches.cancel(move)
        for place in self._board.places.values():
            place.stopTimers()
            place.residency.halt()
            self._queues.dismissAll(place, "shutting_down", ShuttingDown())
            if place.state is State.WAKING:
                self._switches.abandon(place)
            elif place.state in (State.UNKNOWN, State.CHECKING):
                self._board.hooks.stop(place.name)
        limit = self._board.config.policy.drain_timeout_secs
        if limit is not None:
            self._limit = self._board.clock.callLater(
                limit, self._queues.cutAll, "shutdown"
            )

    def hurry(self) -> None:
        """
        Having been told to L{stop}, end at once what is in flight and what
        hooks are running.
        """
        self._sleepAtExit = False
        self._queues.cutAll("shutdown")
        for place in self._board.places.values():
            self._board.hooks.stop(place.name)

    def _round(self) -> None:
        self._renewal.advance()
        places = self._board.places.values()
        if (
            any(place.queue and place.serving and not place.full for place in places)
            and not self._board.stopping
            and self._choice.keepBounds()
        ):
            # What that model still owes is served as it drains.
            return
        for place in places:
            state = place.state
            if state is State.AWAKE and place.queue:
                self._queues.serve(place)
            elif state is State.DRAINING:
                self._queues.serve(place)
                if place.finished:
                    place.residency.sleep()
            if place.serving and not place.tokens:
                self._switches.startIdling(place)
        for move in list(self._board.moves.values()):
            self._switches.advance(move)
        self._home.advance()
        if self._board.stopping:
            self._stepStop()
        elif self._board.waiting:
            self._choice.decide()
        else:
            self._choice.disarm()

    def _preload(self, place: Place) -> None:
        if place.config.preload and not place.removed and not self._board.stopping:
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
        places = self._board.places.values()
        if self._queues.isTelling or any(place.tokens for place in places):
            return
        if self._sleepAtExit:
            for place in places:
                if place.serving:
                    self._switches.drain(place, Errand(Reason.EXIT))
                    self._board.settle()
        if self._board.unsettled or any(
            place.residency.hookRuns or place.state is State.DRAINING
            for place in places
        ):
            return
        limit, self._limit = self._limit, None
        if limit is not None and limit.active():
            limit.cancel()
        stopped, self._stopped = self._stopped, []
        for waiter in stopped:
            waiter.callback(None)
