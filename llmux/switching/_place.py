# -*- test-case-name: llmux.test.test_place -*-
"""
One model as the switcher sees it: who waits for it, what it serves, and where
it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from heapq import heappop, heappush
from math import inf

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from llmux.config import ModelConfig
from llmux.interfaces import ModelView, State, Waiting
from llmux.switching._residency import Residency
from llmux.switching.inflight import Token

#: How many seconds of waiting count as much as one point of priority among
#: those who wait for the same model.  Without it, a steady stream of those
#: with a higher priority could keep one with a lower one waiting for ever
#: where no C{max_wait_secs} is set.
AGEING = 10.0


@define(eq=False)
class Waiter:
    """
    The other end of a L{Waiting}.

    @ivar ready: fires with a token, or fails.
    @ivar timer: ends the wait when it has been too long.
    """

    waiting: Waiting
    ready: Deferred[Token]
    timer: IDelayedCall | None = None


@define(eq=False)
class Place:
    """
    One model.

    @ivar needs: what it holds while it is not asleep.
    @ivar maxWait: how long its requests may be passed over, in seconds.
    @ivar fits: whether the machine has what it needs.
    @ivar queue: what waits for it, by number.
    @ivar tokens: what it serves.
    @ivar owed: requests up to this number waited when it woke: it must serve
        them before it may be put to sleep.
    @ivar coming: whether a switch under way wakes it.
    @ivar leaving: whether it is on its way to sleep.
    @ivar dead: whether it was found dead: what is in flight is lost, and
        nothing new may go there.
    @ivar sleepers: fire when it sleeps, or fail when it cannot be put to
        sleep.
    @ivar probed: fires when it is known whether it is awake at the start.
    @ivar next: what its configuration is going to be when it next holds
        nothing, and what it is going to need.
    @ivar removed: whether it is not configured any more, and is to be put to
        sleep for good.
    """

    config: ModelConfig
    needs: Mapping[str, float]
    maxWait: float | None
    residency: Residency
    fits: bool = True
    queue: OrderedDict[int, Waiting] = field(factory=OrderedDict, init=False)
    waiters: dict[int, Waiter] = field(factory=dict, init=False)
    tokens: set[Token] = field(factory=set, init=False)
    idleSince: float = field(default=0.0, init=False)
    owed: int = field(default=0, init=False)
    coming: bool = field(default=False, init=False)
    leaving: bool = field(default=False, init=False)
    dead: bool = field(default=False, init=False)
    drainTimer: IDelayedCall | None = field(default=None, init=False)
    idleTimer: IDelayedCall | None = field(default=None, init=False)
    watchTimer: IDelayedCall | None = field(default=None, init=False)
    probed: Deferred[None] | None = field(default=None, init=False)
    next: tuple[ModelConfig, Mapping[str, float]] | None = field(
        default=None, init=False
    )
    removed: bool = field(default=False, init=False)
    sleepers: list[Deferred[None]] = field(factory=list, init=False)
    _view: ModelView | None = field(default=None, init=False)
    _priorities: dict[float, int] = field(factory=dict, init=False)
    _order: list[tuple[float, int]] = field(factory=list, init=False)

    @property
    def name(self) -> str:
        """
        The model's name.
        """
        return self.config.name

    @property
    def state(self) -> State:
        """
        What the model is doing.
        """
        return self.residency.state

    @property
    def oldest(self) -> Waiting | None:
        """
        Who has waited longest.
        """
        return next(iter(self.queue.values()), None)

    @property
    def full(self) -> bool:
        """
        Whether it serves as much as it may at once.
        """
        most = self.config.max_in_flight
        return most is not None and len(self.tokens) >= most

    @property
    def serving(self) -> bool:
        """
        Whether whoever comes is served at once, as long as it is not full.
        """
        return self.residency.state is State.AWAKE and not self.leaving

    @property
    def finished(self) -> bool:
        """
        Whether a model that is draining has nothing left to do.
        """
        return not self.tokens and (self.dead or not self._owes())

    def _owes(self) -> bool:
        oldest = self.oldest
        return oldest is not None and oldest.number <= self.owed

    def enqueue(self, waiter: Waiter) -> None:
        """
        Have somebody wait, in the order of arrival: one who has waited before
        comes before all who came later, but not before those who came earlier
        and whom a higher priority had passed.
        """
        waiting = waiter.waiting
        number = waiting.number
        last = next(reversed(self.queue), 0)
        self.queue[number] = waiting
        self.waiters[number] = waiter
        if last > number:
            for later in [one for one in self.queue if one > number]:
                self.queue.move_to_end(later)
        # Who goes before whom does not change with time, since all of them
        # age alike.  Those who have left are passed over later.
        if len(self._order) > 2 * len(self.queue) + 64:
            self._order = sorted(map(_turn, self.queue.values()))
        else:
            heappush(self._order, _turn(waiting))
        known = self._priorities.get(waiting.priority, 0)
        self._priorities[waiting.priority] = known + 1
        self._view = None

    def remove(self, number: int) -> Waiter | None:
        """
        Have somebody wait no longer.
        """
        waiter = self.waiters.pop(number, None)
        if waiter is None:
            return None
        del self.queue[number]
        priority = waiter.waiting.priority
        self._priorities[priority] -= 1
        if not self._priorities[priority]:
            del self._priorities[priority]
        if not self.queue:
            self._order.clear()
        if waiter.timer is not None and waiter.timer.active():
            waiter.timer.cancel()
        self._view = None
        return waiter

    def first(self, now: float) -> Waiting | None:
        """
        Who is to be served next, if anybody can be.

        @param now: the time, to see who has been passed over long enough.
        """
        if not self.queue or self.full:
            return None
        if self.serving:
            last: float = inf
        elif self.state is State.DRAINING and not self.dead:
            last = self.owed
        else:
            return None
        oldest = next(iter(self.queue.values()))
        overdue = self.maxWait is not None and now - oldest.since >= self.maxWait
        if len(self._priorities) == 1 or overdue:
            return oldest if oldest.number <= last else None
        if last is not inf:
            return min(
                (waiting for waiting in self.queue.values() if waiting.number <= last),
                key=_turn,
                default=None,
            )
        while self._order[0][1] not in self.queue:
            heappop(self._order)
        return self.queue[self._order[0][1]]

    def touch(self) -> None:
        """
        Note that something has changed that a policy can see.
        """
        self._view = None

    def view(self) -> ModelView:
        """
        The model as policies see it.
        """
        if self._view is None:
            residency = self.residency
            config = self.config
            self._view = ModelView(
                name=config.name,
                state=residency.state,
                since=residency.since,
                needs=self.needs,
                queue=self.queue.values(),
                oldest=self.oldest,
                urgency=max(self._priorities, default=0.0),
                wokenAt=residency.wokenAt,
                idleSince=self.idleSince,
                inFlight=len(self.tokens),
                running=self.tokens,
                priority=config.priority,
                pinned=config.pin,
                maxWait=self.maxWait,
                maxInFlight=config.max_in_flight,
                leaving=self.leaving,
                coming=self.coming,
                retryAt=residency.retryAt,
                address=residency.address,
                pending=self.next is not None,
                removed=self.removed,
                dead=self.dead,
            )
        return self._view

    def stopTimers(self) -> None:
        """
        Forget what was to happen to the model later.
        """
        self.stopIdleTimers()
        if self.drainTimer is not None and self.drainTimer.active():
            self.drainTimer.cancel()
        self.drainTimer = None

    def stopIdleTimers(self) -> None:
        """
        Forget what was to happen to the model while it serves nothing.
        """
        for timer in (self.idleTimer, self.watchTimer):
            if timer is not None and timer.active():
                timer.cancel()
        self.idleTimer = self.watchTimer = None


def _turn(waiting: Waiting) -> tuple[float, int]:
    """
    Who goes first among those who wait for a model: the least.
    """
    return waiting.since - AGEING * waiting.priority, waiting.number
