# -*- test-case-name: llmux.test.test_simulate_world -*-
"""
What a simulation puts in the place of the world: hooks and model servers
that take virtual seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from random import Random

from attrs import define
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from llmux.config import Config
from llmux.errors import HookFailed
from llmux.interfaces import Hook, HookCall, HookResult, IHookRunner
from llmux.simulate.costfile import ModelCost


@define(eq=False, order=False)
class Work:
    """
    A request that a L{SimulatedServer} serves.

    @ivar until: how much each request must have been served, counted from
        the server's start, when this one is done.
    @ivar done: called when it is.
    """

    until: float
    done: Callable[[], None]
    stopped: bool = False


class SimulatedServer:
    """
    A model's server: so many requests run at full speed, and more share what
    it can do evenly (processor sharing, as in continuous batching).

    Instead of a timer for each request there is one for the server: it keeps
    count of the seconds that each of its requests has been served by now, and
    a request is done when that has grown by what it needs.
    """

    def __init__(self, clock: IReactorTime, concurrency: float) -> None:
        """
        @param concurrency: how many requests run at full speed.
        """
        self._clock = clock
        self._concurrency = concurrency
        self._served = 0.0
        self._at = clock.seconds()
        self._queue: list[tuple[float, int, Work]] = []
        self._count = 0
        self._running = 0
        self._timer: IDelayedCall | None = None

    @property
    def running(self) -> int:
        """
        How many requests it is serving.
        """
        return self._running

    def start(self, seconds: float, done: Callable[[], None]) -> Work:
        """
        Take a request.

        @param seconds: how long it takes at full speed.
        @param done: called at its end.
        """
        self._settle()
        self._count += 1
        work = Work(self._served + seconds, done)
        heappush(self._queue, (work.until, self._count, work))
        self._running += 1
        self._plan()
        return work

    def stop(self, work: Work) -> None:
        """
        Give a request up; one that is done is left alone.
        """
        if work.stopped:
            return
        self._settle()
        self._drop(work)
        # What is given up stays in the heap until it is on top; many that are
        # given up at once must not make the heap grow without end.
        if len(self._queue) > 2 * self._running + 8:
            self._queue = [entry for entry in self._queue if not entry[2].stopped]
            heapify(self._queue)
        self._plan()

    def _drop(self, work: Work) -> None:
        work.stopped = True
        self._running -= 1

    def _settle(self) -> None:
        """
        Count what has been served since the last time.
        """
        now = self._clock.seconds()
        if self._running:
            speed = min(1.0, self._concurrency / self._running)
            self._served += (now - self._at) * speed
        self._at = now

    def _plan(self) -> None:
        """
        See that the timer is set for the next request that will be done.
        """
        while self._queue and self._queue[0][2].stopped:
            heappop(self._queue)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._queue:
            speed = min(1.0, self._concurrency / self._running)
            delay = max(0.0, self._queue[0][0] - self._served) / speed
            self._timer = self._clock.callLater(delay, self._ended)

    def _ended(self) -> None:
        self._timer = None
        self._settle()
        ended: list[Work] = []
        # The first one is why this is called, whatever rounding says.
        while self._queue and (not ended or self._queue[0][0] <= self._served + 1e-9):
            _, _, work = heappop(self._queue)
            if not work.stopped:
                self._drop(work)
                ended.append(work)
        for work in ended:
            work.done()
        self._settle()
        self._plan()


@define
class _Running:
    """
    A hook that runs.
    """

    call: HookCall
    ended: Deferred[HookResult]
    timer: IDelayedCall
    started: float


@implementer(IHookRunner)
class SimulatedHooks:
    """
    Hooks that take as long as a cost file says, and fail as often.

    @ivar alive: the models whose servers run.
    """

    def __init__(
        self,
        config: Config,
        costs: Mapping[str, ModelCost],
        clock: IReactorTime,
        seed: int = 0,
        firstWakeFree: bool = False,
    ) -> None:
        """
        @param seed: what all chance comes from.  Each model has its own, so
            that the luck of one does not depend on what others do.
        @param firstWakeFree: whether the very first wake takes no time, as if
            the model had been awake all along.
        """
        self._config = config
        self._costs = costs
        self._clock = clock
        self._random = {name: Random(f"{seed}/{name}") for name in costs}
        self._free = firstWakeFree
        self._running: dict[str, _Running] = {}
        self.alive: set[str] = set()

    def run(self, call: HookCall) -> Deferred[HookResult]:
        """
        See L{IHookRunner.run}.
        """
        if call.hook is Hook.ALIVE:
            if call.model in self.alive:
                ended: Deferred[HookResult] = Deferred()
                ended.callback(HookResult())
                return ended
            return fail(HookFailed(call.model, call.hook.value, "exit status 1"))
        assert call.model not in self._running, "two hooks of one model at once"
        seconds, why = self._fate(call)
        ended = Deferred()
        timer = self._clock.callLater(seconds, self._end, call.model, why)
        self._running[call.model] = _Running(call, ended, timer, self._clock.seconds())
        if call.hook is Hook.SLEEP:
            self.alive.discard(call.model)
        return ended

    def stop(self, model: str) -> None:
        """
        See L{IHookRunner.stop}.
        """
        running = self._running.get(model)
        if running is not None:
            running.timer.cancel()
            self._end(model, "ended by llmux")

    def die(self, model: str) -> None:
        """
        The model's server crashes.
        """
        self.alive.discard(model)

    def mayDie(self, model: str) -> bool:
        """
        Throw the dice for a request.

        @return: whether it takes its model down.
        """
        rate = self._costs[model].fail.die
        return rate > 0 and self._random[model].random() < rate

    def _fate(self, call: HookCall) -> tuple[float, str]:
        """
        @return: how long a hook takes, and why it fails, if it does.
        """
        cost, random = self._costs[call.model], self._random[call.model]
        fail, timeouts = cost.fail, self._config.models[call.model].timeouts
        if call.hook is Hook.WAKE:
            seconds, limit, rate = cost.wake, timeouts.wake, fail.wake
            if self._free:
                self._free, seconds = False, 0.0
            if fail.hang and random.random() < fail.hang:
                seconds = limit
        else:
            seconds, limit, rate = cost.sleep, timeouts.sleep, fail.sleep
        if cost.jitter:
            # Most within the jitter, none below half, as hooks are never
            # much faster than usual but may be much slower.
            seconds *= max(0.5, 1.0 + random.gauss(0.0, cost.jitter))
        if seconds >= limit:
            return limit, f"timed out after {limit:g} s"
        if rate and random.random() < rate:
            return seconds, "exit status 1"
        return seconds, ""

    def _end(self, model: str, why: str) -> None:
        running = self._running.pop(model)
        call = running.call
        if why:
            running.ended.errback(HookFailed(model, call.hook.value, why))
            return
        if call.hook is Hook.WAKE:
            self.alive.add(model)
        running.ended.callback(HookResult(self._clock.seconds() - running.started))
