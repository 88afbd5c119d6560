# -*- test-case-name: llmux.test.test_invariants -*-
"""
A switcher with clients and hooks, moved one random step at a time, and the
promises that must hold after each.

The books are kept by the world itself, from what hooks were run and what
tokens were given: nothing is taken from the switcher's own word but the state
of a model where a promise speaks of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from llmux.config import Config
from llmux.interfaces import (
    Event,
    Hook,
    HookCall,
    HookResult,
    IObserver,
    ISwitchPolicy,
    ModelView,
    Reason,
    RequestDone,
    RequestGranted,
    Snapshot,
    State,
    StateChanged,
    SwitchStarted,
)
from llmux.switching.inflight import Token
from llmux.switching.placement import fits
from llmux.switching.switcher import Switcher
from llmux.testing import FakeHooks


@define(eq=False)
class Client:
    """
    One request, by its client's own book.

    @ivar ends: what became of it; must be one entry in the end.
    @ivar grants: how often it was given a token.
    @ivar leaves: whether it is hanging up.
    """

    model: str
    number: int
    since: float
    ready: Deferred[Token] = field(init=False)
    token: Token | None = field(default=None, init=False)
    ends: list[str] = field(factory=list, init=False)
    grants: int = field(default=0, init=False)
    leaves: bool = field(default=False, init=False)

    @property
    def waits(self) -> bool:
        """
        Whether it is neither served nor over.
        """
        return self.token is None and not self.ends and not self.leaves


class BookHooks(FakeHooks):
    """
    Hooks that tell the world when they begin.
    """

    world: World

    def run(self, call: HookCall) -> Deferred[HookResult]:
        """
        See L{llmux.interfaces.IHookRunner.run}.
        """
        self.world.expect(
            call.model not in self.running, f"two hooks of {call.model} at once"
        )
        self.world.hookBegins(call)
        return super().run(call)

    def finish(self, model: str, address: str | None = None) -> None:
        """
        See L{FakeHooks.finish}.
        """
        self.world.hookSucceeds(self.running[model][0])
        super().finish(model, address)


@implementer(IObserver)
class World:
    """
    See the module.

    @ivar clients: those whose requests have not ended, by number.
    @ivar holding: models that by the hooks' book hold resources: from the
        beginning of C{wake} until C{sleep} has succeeded.
    @ivar held: what those hold or held last.
    @ivar excess: models that were awake at the start, which together may hold
        more than there is.
    @ivar owed: who waited for a model when it woke.
    @ivar excused: models that need not serve those, since they died, could not
        be woken, or were cut because their drain took too long.
    @ivar woken: when each model that is awake was woken.
    @ivar eager: whether the policy is one that switches as soon as it may.
    @ivar problems: promises that were broken.
    """

    def __init__(
        self,
        config: Config,
        policy: ISwitchPolicy,
        awake: frozenset[str] = frozenset(),
        *,
        deaf: frozenset[str] = frozenset(),
        slowAlive: bool = False,
        eager: bool = True,
    ) -> None:
        """
        @param awake: the models that are awake before the switcher starts.
        @param deaf: the models whose hooks go on when they are to be stopped.
        @param slowAlive: whether C{alive} takes its time.
        """
        self.config = config
        self.clock = Clock()
        self.hooks = BookHooks(self.clock, set(awake), slowAlive)
        self.hooks.deaf = set(deaf)
        self.hooks.world = self
        self.total: Mapping[str, float] = dict(config.totals) or {"machine": 1.0}
        self.clients: dict[int, Client] = {}
        self.arrivals = 0
        self.inFlight = 0
        self.holding: set[str] = set(awake)
        self.excess = set(awake)
        self.owed: dict[str, set[Client]] = {}
        self.excused: set[str] = set()
        self.woken = dict.fromkeys(awake, 0.0)
        self.eager = eager
        self.problems: list[str] = []
        self.held = {
            name: self.total if one.needs is None else one.needs
            for name, one in config.models.items()
        }
        self.switcher = Switcher(config, self.hooks, policy, self.clock, [self])
        self.switcher.start()
        self.check()

    # What happens -------------------------------------------------------------

    def arrive(
        self, model: str, priority: float = 0.0, reason: Reason = Reason.REQUEST
    ) -> None:
        """
        A request comes.
        """
        client = Client(model, self.arrivals, self.clock.seconds())
        self.clients[client.number] = client
        self.arrivals += 1
        self.follow(
            client, self.switcher.acquire(model, priority=priority, reason=reason)
        )

    def follow(self, client: Client, ready: Deferred[Token]) -> None:
        """
        Keep the book of a client that waits.
        """
        client.ready = ready

        def granted(token: Token) -> None:
            self.granted(client)
            client.token = token
            client.grants += 1
            token.whenCut(lambda why: self.over(client, "cut"))

        def failed(why: Failure) -> None:
            self.over(
                client,
                "left" if why.check(CancelledError) else type(why.value).__name__,
            )

        ready.addCallbacks(granted, failed)

    def over(self, client: Client, how: str) -> None:
        """
        A request has ended.
        """
        self.expect(not client.ends, f"{client} ended twice, now {how}")
        client.ends.append(how)
        client.token = None
        self.clients.pop(client.number, None)
        if how == "cut":
            # What was cut has had its share; the others wait on.
            self.excused.add(client.model)

    def leave(self, index: int) -> None:
        """
        The client of some waiting request hangs up.
        """
        waiting = [client for client in self.clients.values() if client.waits]
        if waiting:
            client = waiting[index % len(waiting)]
            client.leaves = True
            client.ready.cancel()

    def release(self, index: int, answered: bool = True) -> None:
        """
        Some request in flight ends.
        """
        held = list(self.served())
        if held:
            client = held[index % len(held)]
            token = client.token
            assert token is not None
            if answered:
                token.answered()
            self.over(client, "served")
            token.release()
            # Those who are not sure whether they have done it do it again.
            token.release()

    def refuse(self, index: int, dead: bool) -> None:
        """
        Some request in flight finds that nobody listens.
        """
        held = list(self.served())
        if held:
            client = held[index % len(held)]
            token, client.token = client.token, None
            assert token is not None
            if dead:
                self.hooks.awake.discard(client.model)
            self.follow(client, self.switcher.reacquire(token))

    def endHook(self, index: int, succeeds: bool) -> None:
        """
        Some hook ends.
        """
        running = sorted(self.hooks.running)
        if running:
            model = running[index % len(running)]
            # At the start nothing but C{alive} says what holds resources.
            if succeeds or self.viewOf(model).state is State.UNKNOWN:
                self.conclude(model)
            else:
                self.hooks.fail(model)

    def conclude(self, model: str) -> None:
        """
        The hook of a model ends as it should: C{alive} says what is true.
        """
        alive = self.hooks.running[model][0].hook is Hook.ALIVE
        if alive and model not in self.hooks.awake:
            self.hooks.fail(model)
        else:
            self.hooks.finish(model)

    def tick(self, seconds: float) -> None:
        """
        Time goes by.
        """
        self.clock.advance(seconds)

    def reconfigure(self, config: Config) -> None:
        """
        Another configuration holds from here on, but for what is awake.
        """
        self.config = config
        self.switcher.reconfigure(config)

    # What must hold -----------------------------------------------------------

    def expect(self, holds: bool, what: str) -> None:
        """
        Note a promise that was broken.  Not raised at once: much of this is
        called by the switcher.
        """
        if not holds:
            self.problems.append(f"{self.clock.seconds()}: {what}")

    def waitingFor(self, model: str) -> list[Client]:
        """
        Who waits for a model.
        """
        return [c for c in self.clients.values() if c.waits and c.model == model]

    def served(self) -> Iterator[Client]:
        """
        Who holds a token.
        """
        return (c for c in self.clients.values() if c.token is not None)

    def hookBegins(self, call: HookCall) -> None:
        """
        A hook is run.
        """
        model = call.model
        if call.hook is Hook.WAKE:
            if call.reason is Reason.REQUEST:
                self.expect(bool(self.waitingFor(model)), f"{model} woken for nobody")
            self.held[model] = self.needs(model)
            self.holding.add(model)
            self.fits(f"{model} woken")
        elif call.hook is Hook.SLEEP:
            held = [c for c in self.served() if c.model == model]
            self.expect(not held, f"{model} put to sleep while serving")
            if call.reason is Reason.REQUEST and call.peer:
                self.expect(
                    bool(self.waitingFor(call.peer)),
                    f"{model} put to sleep for {call.peer}, which nobody wants",
                )
            owed = [c for c in self.owed.pop(model, set()) if c.waits and not c.grants]
            self.expect(
                not owed or model in self.excused,
                f"{model} put to sleep before it served those it was woken for",
            )

    def hookSucceeds(self, call: HookCall) -> None:
        """
        A hook has done its duty.
        """
        if call.hook is Hook.SLEEP:
            self.holding.discard(call.model)
            self.excess.discard(call.model)
            self.woken.pop(call.model, None)
        elif self.viewOf(call.model).state in (State.WAKING, State.UNKNOWN):
            # Otherwise it was awake before, or its wake has been broken off.
            self.owed[call.model] = set(self.waitingFor(call.model))
            self.excused.discard(call.model)
            if call.model in self.excess:
                # One that came up beside another, which was not llmux's doing.
                self.excused.add(call.model)
            self.woken[call.model] = self.clock.seconds()

    def viewOf(self, model: str) -> ModelView:
        """
        What the switcher says of a model.
        """
        return self.switcher.snapshot().models[model]

    def needs(self, model: str) -> Mapping[str, float]:
        """
        What a model needs.
        """
        if model in self.holding:
            return self.held[model]
        needs = self.config.models[model].needs
        return self.total if needs is None else needs

    def collide(self, one: str, other: str) -> bool:
        """
        Whether two models can never be awake together.
        """
        return any(
            self.needs(one).get(name, 0) + self.needs(other).get(name, 0) > amount
            for name, amount in self.total.items()
        )

    def fits(self, what: str) -> None:
        """
        What is held must not be more than there is.
        """
        for name, amount in self.total.items():
            held = sum(self.needs(model).get(name, 0) for model in self.holding)
            self.expect(
                held <= amount + 1e-6,
                f"{what}: {sorted(self.holding)} hold {held} of {amount} {name}",
            )

    def granted(self, client: Client) -> None:
        """
        A token is given: its model must be up, and nobody may be passed over
        who has waited for as long as one may be.
        """
        view = self.viewOf(client.model)
        self.expect(
            view.state in (State.AWAKE, State.DRAINING),
            f"{client.model} granted while {view.state.value}",
        )
        self.expect(
            client.model in self.holding,
            f"{client.model} granted although its hooks have it asleep",
        )
        if view.state is State.DRAINING and self.eager:
            self.expect(
                client in self.owed.get(client.model, ()),
                f"{client} let in although {client.model} is draining",
            )
        if client.since <= view.wokenAt or client.grants:
            return
        for other in self.passedOver(client.model, client.number):
            self.expect(False, f"{other} passed over by {client}")
        now = self.clock.seconds()
        for other in self.waitingFor(client.model):
            self.expect(
                other.number >= client.number
                or bool(other.grants)
                or not self.isOverdue(other, now),
                f"{other} passed over by {client} for the same model",
            )

    def boundOf(self, model: str) -> float | None:
        """
        How long requests for a model may be passed over.
        """
        known = self.config.models.get(model)
        own = None if known is None else known.max_wait_secs
        return self.config.policy.max_wait_secs if own is None else own

    def deadlineOf(self, client: Client) -> float:
        """
        Until when one who waits may be passed over.
        """
        bound = self.boundOf(client.model)
        return inf if bound is None else client.since + bound

    def isOverdue(self, client: Client, now: float) -> bool:
        """
        Whether one who waits has been passed over for as long as one may be.
        """
        return now > self.deadlineOf(client) + 1e-3

    def passedOver(self, model: str, number: int, but: str = "") -> list[Client]:
        """
        Whose bound is broken if a later request's model is preferred now.

        @param but: a model whose being woken is no excuse.
        """
        models = self.switcher.snapshot().models
        now = self.clock.seconds()
        return [
            other
            for other in self.clients.values()
            if other.waits
            and other.number < number
            and not other.grants
            and self.isOverdue(other, now)
            and models[other.model].state is State.ASLEEP
            and not models[other.model].coming
            and other.model != but
            and self.collide(model, other.model)
            # A bound cannot be held against what holds the room and cannot
            # be moved, such as a model that does not go to sleep.
            and all(atRest(view) or view.name == but for view in models.values())
        ]

    def notify(self, event: Event) -> None:
        """
        See L{llmux.interfaces.IObserver.notify}.
        """
        if isinstance(event, SwitchStarted):
            self.switchBegins(event)
        elif isinstance(event, RequestGranted):
            self.inFlight += 1
        elif isinstance(event, RequestDone):
            self.inFlight -= 1
        elif isinstance(event, StateChanged) and (
            event.after is State.COOLING
            # It was found dead.
            or (event.before, event.after) == (State.CHECKING, State.DRAINING)
        ):
            self.excused.add(event.model)

    def switchBegins(self, event: SwitchStarted) -> None:
        """
        A switch must be for somebody, must not be for one who came later than
        one who has waited for long enough, and must not be before its time.
        """
        target = event.target
        waiting = self.waitingFor(target)
        if event.reason is Reason.PRELOAD and not waiting:
            # For the default model nobody waits; nor does anybody else.
            for other in self.clients.values():
                self.expect(
                    not self.collide(target, other.model),
                    f"a switch to {target} by default although {other} is there",
                )
            return
        self.expect(bool(waiting), f"switch to {target}, which nobody wants")
        if not waiting:
            return
        first = min(waiting, key=lambda client: client.number)
        for other in self.passedOver(target, first.number, but=target):
            self.expect(
                # Whose bound is the shorter one may have had to go first.
                self.deadlineOf(first) < self.deadlineOf(other),
                f"{other} passed over by a switch to {target}",
            )
        policy = self.config.policy
        now = self.clock.seconds()
        bound = self.boundOf(target)
        if bound is not None and any(c.since + bound <= now + 1e-3 for c in waiting):
            return
        for victim in event.victims:
            awake = now - self.woken.get(victim, now)
            self.expect(
                awake >= policy.min_active_secs - 1e-3,
                f"{victim} to go after {awake} s for {target}",
            )

    def check(self) -> None:
        """
        See that every promise holds now.
        """
        snapshot = self.switcher.snapshot()
        models = snapshot.models
        waiting = dict.fromkeys(models, 0)
        held = dict.fromkeys(models, 0)
        for client in self.clients.values():
            (held if client.token is not None else waiting)[client.model] += 1
            self.expect(not client.ends, f"{client} is not over, or is it?")
        for name, view in models.items():
            self.expect(
                view.inFlight == held[name],
                f"{name}: {view.inFlight} in flight, but {held[name]} tokens held",
            )
            queued = sum(one.reason is not Reason.PRELOAD for one in view.queue)
            self.expect(
                queued == waiting[name],
                f"{name}: {queued} queued, {waiting[name]} wait",
            )
            if held[name]:
                self.expect(
                    view.state in (State.AWAKE, State.CHECKING, State.DRAINING),
                    f"{name} serves while {view.state.value}",
                )
            most = view.maxInFlight
            self.expect(most is None or held[name] <= most, f"{name} serves too many")
            if view.state is State.AWAKE and not view.leaving:
                self.expect(
                    not view.queue or (most is not None and held[name] >= most),
                    f"{name} is awake, and lets requests wait",
                )
        self.expect(
            self.inFlight == sum(held.values()),
            f"observers are told of {self.inFlight} in flight",
        )
        if not self.excess:
            self.fits("now")
        if not self.hooks.running and all(atRest(view) for view in models.values()):
            self.checkRest(snapshot)
        assert not self.problems, "\n".join(self.problems)

    def checkRest(self, snapshot: Snapshot) -> None:
        """
        While nothing is going on, nobody may wait who could be helped.
        """
        policy = self.config.policy
        now = self.clock.seconds()
        early = any(
            view.state is State.AWAKE
            and not view.pinned
            and now - self.woken[view.name] < policy.min_active_secs + 0.01
            for view in snapshot.models.values()
        )
        for name, view in snapshot.models.items():
            if view.state is not State.ASLEEP or view.oldest is None:
                continue
            waited = now - view.oldest.since
            bound = self.boundOf(name)
            self.expect(
                bound is None or waited < bound + 0.01,
                f"{name} is not woken although one has waited {waited} s",
            )
            if self.eager:
                self.expect(early, f"{name} is not woken although it might be")
                self.expect(
                    not fits(view.needs, snapshot.free),
                    f"{name} is not woken although there is room",
                )

    def settle(self) -> None:
        """
        Let everything come to its end, and see that it does, and that nothing
        is left over.
        """
        for _ in range(400):
            for model in list(self.hooks.running):
                self.conclude(model)
            while any(self.served()):
                self.release(0)
            self.check()
            if not self.clients and not self.hooks.running:
                break
            self.clock.advance(1.0)
        else:
            raise AssertionError(f"still waiting: {self.clients}")
        self.stop()

    def stop(self, sleepAwake: bool = False, hurry: bool = False) -> None:
        """
        Stop the switcher, and see that it leaves nothing behind.

        @param hurry: whether what is in flight and what hooks run are ended
            rather than waited for.
        """
        stopped: list[object] = []
        self.switcher.stop(sleepAwake=sleepAwake).addCallback(stopped.append)
        if hurry:
            self.switcher.hurry()
        for _ in range(10):
            for model in list(self.hooks.running):
                self.conclude(model)
            while any(self.served()):
                self.release(0)
        assert stopped, "the switcher does not stop"
        assert not self.clients, f"not over: {self.clients}"
        assert not self.inFlight, f"observers are told of {self.inFlight} in flight"
        assert not self.clock.getDelayedCalls(), "a timer is left over"
        if sleepAwake and not hurry:
            stuck = [
                view.name
                for view in self.switcher.snapshot().models.values()
                if view.state not in (State.ASLEEP, State.COOLING, State.STUCK)
                and view.state is not State.UNKNOWN
            ]
            assert not stuck, f"still awake: {stuck}"
        assert not self.problems, "\n".join(self.problems)


def atRest(view: ModelView) -> bool:
    """
    Whether nothing is going on with a model.
    """
    return (
        view.state in (State.AWAKE, State.ASLEEP, State.COOLING)
        and not view.leaving
        and not view.coming
    )
