# -*- test-case-name: llmux.test.test_simulate_run -*-
"""
Runs a trace through the real switcher, on a clock that nobody waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf

from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.config import Config
from llmux.errors import WakeFailed
from llmux.interfaces import ISwitchPolicy
from llmux.policies import find
from llmux.simulate.costfile import ModelCost
from llmux.simulate.report import Report, Waits
from llmux.simulate.trace import Arrival, checkModels
from llmux.simulate.watch import Watch
from llmux.simulate.world import SimulatedHooks, SimulatedServer, Work
from llmux.switching.inflight import Token
from llmux.switching.switcher import Switcher

#: A request that has not been served this long after the last one arrived is
#: given up for lost, in seconds.
PATIENCE = 7 * 24 * 3600.0


@define(eq=False)
class _Client:
    """
    Sends one request and sees it through.
    """

    run: _Run
    arrival: Arrival
    number: int = 0
    token: Token | None = None
    work: Work | None = None
    bad: str = ""

    def send(self) -> None:
        """
        Ask for the model.
        """
        model = self.arrival.model
        self.run.sent += 1
        self.number = self.run.sent
        self.run.watch.arrived(self.number, model)
        self.run.switcher.acquire(
            model,
            priority=self.arrival.priority,
            size=self.arrival.size,
            maxTokens=self.arrival.maxTokens,
        ).addCallbacks(self._granted, self._refused).addErrback(self.run.broke)

    def _granted(self, token: Token) -> None:
        run, model = self.run, self.arrival.model
        if model not in run.hooks.alive:
            # The connection is refused.
            run.switcher.reacquire(token).addCallbacks(
                self._granted, self._refused
            ).addErrback(run.broke)
            return
        run.watch.granted(self.number, model)
        self.token = token
        server = run.servers[model]
        seconds = self.arrival.seconds
        if run.hooks.mayDie(model):
            self.work = server.start(seconds / 2, lambda: run.crash(model))
        else:
            self.work = server.start(seconds, self.over)
        run.serving[model][self.number] = self
        token.answered()
        token.whenCut(self._cut)

    def over(self) -> None:
        """
        The request is done, or is broken off.
        """
        run, model = self.run, self.arrival.model
        token, self.token = self.token, None
        assert token is not None
        del run.serving[model][self.number]
        run.watch.done(model)
        run.follow(self.arrival)
        run.ended()
        token.release()

    def broken(self) -> None:
        """
        The model died.
        """
        assert self.work is not None
        self.run.servers[self.arrival.model].stop(self.work)
        self.run.broken += 1
        self.over()

    def _cut(self, why: str) -> None:
        assert self.work is not None
        self.run.servers[self.arrival.model].stop(self.work)
        self.run.cut += 1
        self.over()

    def _refused(self, why: Failure) -> None:
        self.run.watch.left(self.number, self.arrival.model)
        error = why.value
        if isinstance(error, WakeFailed):
            # As OpenAI's clients do with a 503 and Retry-After.
            self.run.refused += 1
            self.run.clock.callLater(error.retryAfter, self.send)
        else:
            self.run.lost += 1
            self.run.ended()


@define(eq=False)
class _Run:
    """
    One simulation.
    """

    switcher: Switcher
    hooks: SimulatedHooks
    watch: Watch
    clock: Clock
    servers: Mapping[str, SimulatedServer]
    trace: Sequence[Arrival]
    serving: dict[str, dict[int, _Client]] = field(init=False)
    log = Logger()
    next: int = field(default=0, init=False)
    sent: int = field(default=0, init=False)
    open: int = field(default=0, init=False)
    lost: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    broken: int = field(default=0, init=False)
    cut: int = field(default=0, init=False)
    lastEnd: float = field(default=0.0, init=False)
    error: Failure | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.serving = {name: {} for name in self.servers}

    def broke(self, why: Failure) -> None:
        """
        Something is wrong with the simulator or the switcher.
        """
        self.error = self.error or why

    def ended(self) -> None:
        """
        A request is over.
        """
        self.open -= 1
        self.lastEnd = self.clock.seconds()

    def client(self, arrival: Arrival) -> _Client:
        """
        A client that is going to send a request.
        """
        self.open += 1
        return _Client(self, arrival)

    def follow(self, arrival: Arrival) -> None:
        """
        A request is over: have those that follow on it come.
        """
        for follower in arrival.then:
            self.clock.callLater(follower.at, self.client(follower).send)

    def crash(self, model: str) -> None:
        """
        A model dies, and with it all that it serves.
        """
        self.hooks.die(model)
        for client in list(self.serving[model].values()):
            client.broken()

    def arrive(self) -> None:
        """
        Have the next requests come, all of one moment.  What comes at the
        very moment at which something else ends comes first.
        """
        at = self.trace[self.next].at
        # Not by a call: it would have to come before others at its time, and
        # L{Clock} sorts all its calls for each new one.
        self.clock.rightNow = max(at, self.clock.rightNow)
        clients = []
        while self.next < len(self.trace) and self.trace[self.next].at == at:
            clients.append(self.client(self.trace[self.next]))
            self.next += 1
        for client in clients:
            client.send()

    def toTheEnd(self) -> None:
        """
        Turn the clock until all is over.
        """
        deadline = PATIENCE + (self.trace[-1].at if self.trace else 0.0)
        while self.error is None and (self.next < len(self.trace) or self.open):
            # The calls are kept sorted.
            calls = self.clock.getDelayedCalls()
            due = calls[0].getTime() if calls else inf
            if self.next < len(self.trace) and self.trace[self.next].at <= due:
                self.arrive()
            elif due > deadline:
                break
            else:
                self.clock.advance(max(0.0, due - self.clock.seconds()))
        self.lost += self.open
        self.watch.finish()
        if self.error is not None:
            self.error.raiseException()


def simulate(
    config: Config,
    trace: Sequence[Arrival],
    costs: Mapping[str, ModelCost],
    policy: str | Callable[[], ISwitchPolicy] | None = None,
    *,
    name: str = "",
    seed: int = 0,
    targetSecs: float | None = None,
    timeline: bool = False,
    firstWakeFree: bool = False,
) -> Report:
    """
    Find out what a policy makes of a trace.

    The same arguments give the same report.

    @param trace: the requests, in the order of their arrival.
    @param costs: the cost of each model of the configuration.
    @param policy: the name of a policy, or what makes one; the
        configuration's own if it is L{None}.
    @param name: what to call the policy in the report; its name, if that is
        known.
    @param seed: what all chance comes from.
    @param targetSecs: the wait, in seconds, for which the share that waited
        no longer is to be found.
    @param timeline: whether to keep what L{llmux.simulate.picture} draws.
    @param firstWakeFree: whether the first wake takes no time.
    @raise LookupError: there is no policy of that name.
    @raise ConfigError: the trace names a model that is not there.
    """
    checkModels(trace, config.models)
    if policy is None:
        policy = config.policy.name
    if isinstance(policy, str):
        name = name or policy
        policy = find(policy)
    clock = Clock()
    hooks = SimulatedHooks(config, costs, clock, seed, firstWakeFree)
    switcher = Switcher(config, hooks, policy(), clock)
    views = switcher.snapshot().models
    watch = Watch(
        clock,
        {model: view.maxWait for model, view in views.items()},
        {model: view.needs for model, view in views.items()},
        frozenset(model for model, view in views.items() if view.pinned),
        timeline,
    )
    switcher.addObserver(watch)
    servers = {
        model: SimulatedServer(clock, costs[model].concurrency)
        for model in config.models
    }
    run = _Run(switcher, hooks, watch, clock, servers, trace)
    switcher.start().addErrback(run.broke)
    run.toTheEnd()
    return _report(run, name or getattr(policy, "__name__", repr(policy)), targetSecs)


def _report(run: _Run, name: str, target: float | None) -> Report:
    watch = run.watch
    seconds = run.lastEnd
    serving = watch.serving / seconds if seconds else 0.0
    switching = min(watch.switching / seconds if seconds else 0.0, 1.0 - serving)
    return Report(
        policy=name,
        seconds=seconds,
        switches=watch.switches,
        failed=watch.failed,
        serving=serving,
        switching=switching,
        idle=1.0 - serving - switching,
        waits=Waits.of(
            [wait for seen in watch.models.values() for wait in seen.waits], target
        ),
        byModel={
            model: Waits.of(seen.waits, target) for model, seen in watch.models.items()
        },
        passedOver=watch.passedOver,
        bound=watch.bound,
        missed=watch.missed,
        lost=run.lost,
        refused=run.refused,
        broken=run.broken,
        cut=run.cut,
        timeline=tuple(watch.timeline),
        overdue=watch.overdue,
    )
