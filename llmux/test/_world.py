"""
A switcher with clients and hooks, moved one random step at a time, and the
promises that must hold after each.

The books are kept by the world itself, from what hooks were run and what
tokens were given: nothing is taken from the switcher's own word but the state
of a model where a promise speaks of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from llmux.config import Config
from llmux.interfaces import (
    Event,
    Hook,
    HookCall,
    HookResult,
    ISwitchPolicy,
    Reason,
    State,
    StateChanged,
    SwitchStarted,
)
from llmux.switching.inflight import Token
from llmux.switching.switcher import Switcher
from llmux.testing import FakeHooks


@define(eq=False)
class Client:
    """
    One request, by its client's own book.

    @ivar ends: what became of it; must be one entry in the end.
    """

    model: str
    number: int
    since: float
    ready: Deferred[Token] = field(init=False)
    token: Token | None = field(default=None, init=False)
    ends: list[str] = field(factory=list, init=False)
    grants: int = field(default=0, init=False)

    @property
    def waits(self) -> bool:
        """
        Whether it is neither served nor over.
        """
        return self.token is None and not self.ends


class BookHooks(FakeHooks):
    """
    Hooks that tell the world when they begin.
    """

    world: World

    def run(self, call: HookCall) -> Deferred[HookResult]:
        """
        See L{llmux.interfaces.IHookRunner.run}.
        """
        self.world.hookBegins(call)
        return super().run(call)

    def finish(self, model: str, address: str | None = None) -> None:
        """
        See L{FakeHooks.finish}.
        """
        self.world.hookSucceeds(self.running[model][0])
        super().finish(model, address)


class World:
    """
    See the module.

    @ivar holding: models that by the hooks' book hold resources: from the
        beginning of C{wake} until C{sleep} has succeeded.
    """

    def __init__(
        self,
        config: Config,
        policy: ISwitchPolicy,
        awake: frozenset[str] = frozenset(),
    ) -> None:
        self.config = config
        self.clock = Clock()
        self.hooks = BookHooks(self.clock, set(awake))
        self.hooks.world = self
        self.total: Mapping[str, float] = dict(config.resources) or {"machine": 1.0}
        self.clients: list[Client] = []
        self.holding: set[str] = set(awake)
        self.excess = set(awake)
        self.owed: dict[str, set[Client]] = {}
        self.excused: set[str] = set()
        self.problems: list[str] = []
        self.switcher = Switcher(config, self.hooks, policy, self.clock, [self])
        self.switcher.start()
        self.check()

    # What happens -------------------------------------------------------------

    def arrive(self, model: str, priority: float = 0.0) -> None:
        """
        A request comes.
        """
        client = Client(model, len(self.clients), self.clock.seconds())
        self.clients.append(client)
        self.follow(client, self.switcher.acquire(model, priority=priority))

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
        client.ends.append(how)
        client.token = None
        if how == "cut":
            # What was cut has had its share; the others wait on.
            self.excused.add(client.model)

    def leave(self, index: int) -> None:
        """
        The client of some waiting request hangs up.
        """
        waiting = [client for client in self.clients if client.waits]
        if waiting:
            waiting[index % len(waiting)].ready.cancel()

    def release(self, index: int, answered: bool = True) -> None:
        """
        Some request in flight ends.
        """
        held = [client for client in self.clients if client.token is not None]
        if held:
            client = held[index % len(held)]
            token = client.token
            assert token is not None
            if answered:
                token.answered()
            self.over(client, "served")
            token.release()

    def refuse(self, index: int, dead: bool) -> None:
        """
        Some request in flight finds that nobody listens.
        """
        held = [client for client in self.clients if client.token is not None]
        if held:
            client = held[index % len(held)]
            token, client.token = client.token, None
            assert token is not None
            if dead:
                self.hooks.awake.discard(client.model)
                self.excused.add(client.model)
            self.follow(client, self.switcher.reacquire(token))

    def endHook(self, index: int, succeeds: bool) -> None:
        """
        Some hook ends.
        """
        running = sorted(self.hooks.running)
        if running:
            model = running[index % len(running)]
            if succeeds:
                self.hooks.finish(model)
            else:
                self.hooks.fail(model)

    def tick(self, seconds: float) -> None:
        """
        Time goes by.
        """
        self.clock.advance(seconds)

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
        return [c for c in self.clients if c.waits and c.model == model]

    def hookBegins(self, call: HookCall) -> None:
        """
        A hook is run.
        """
        model = call.model
        if call.hook is Hook.WAKE:
            if call.reason is Reason.REQUEST:
                self.expect(bool(self.waitingFor(model)), f"{model} woken for nobody")
            self.holding.add(model)
            self.fits(f"{model} woken")
        elif call.hook is Hook.SLEEP:
            held = [c for c in self.clients if c.token and c.model == model]
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
        elif call.hook is Hook.WAKE:
            self.owed[call.model] = set(self.waitingFor(call.model))
            self.excused.discard(call.model)

    def needs(self, model: str) -> Mapping[str, float]:
        """
        What a model needs.
        """
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
        view = self.switcher.snapshot().models[client.model]
        self.expect(
            view.state in (State.AWAKE, State.DRAINING),
            f"{client.model} granted while {view.state.value}",
        )
        self.expect(
            client.model in self.holding,
            f"{client.model} granted although its hooks have it asleep",
        )
        if client.since <= view.wokenAt or client.grants:
            return
        for other in self.passedOver(client.model, client.number):
            self.expect(False, f"{other} passed over by {client}")

    def passedOver(self, model: str, number: int) -> list[Client]:
        """
        Whose bound is broken if a later request's model is preferred now.
        """
        bound = self.config.policy.max_wait_secs
        models = self.switcher.snapshot().models
        if bound is None:
            return []
        now = self.clock.seconds()
        return [
            other
            for other in self.clients
            if other.waits
            and other.number < number
            and not other.grants
            and now - other.since > bound + 1e-3
            and models[other.model].state is State.ASLEEP
            and not models[other.model].coming
            and self.collide(model, other.model)
            # A bound cannot be held against what holds the room and cannot
            # be moved, such as a model that does not go to sleep.
            and all(
                view.state in (State.AWAKE, State.ASLEEP, State.COOLING)
                and not view.leaving
                and not view.coming
                for view in models.values()
            )
        ]

    def notify(self, event: Event) -> None:
        """
        See L{llmux.interfaces.IObserver.notify}.
        """
        if isinstance(event, SwitchStarted):
            waiting = self.waitingFor(event.target)
            self.expect(bool(waiting), f"switch to {event.target}, which nobody wants")
        elif isinstance(event, StateChanged) and event.after is State.COOLING:
            self.excused.add(event.model)

    def check(self) -> None:
        """
        See that every promise holds now.
        """
        models = self.switcher.snapshot().models
        for name, view in models.items():
            held = [c for c in self.clients if c.token is not None and c.model == name]
            self.expect(
                view.inFlight == len(held),
                f"{name}: {view.inFlight} in flight, but {len(held)} tokens held",
            )
            self.expect(
                len(view.queue) == len(self.waitingFor(name)),
                f"{name}: {len(view.queue)} queued, {len(self.waitingFor(name))} wait",
            )
            if held:
                self.expect(
                    view.state in (State.AWAKE, State.CHECKING, State.DRAINING),
                    f"{name} serves while {view.state.value}",
                )
            most = view.maxInFlight
            self.expect(most is None or len(held) <= most, f"{name} serves too many")
            if view.state is State.AWAKE and not view.leaving:
                self.expect(
                    not view.queue or (most is not None and len(held) >= most),
                    f"{name} is awake, and lets requests wait",
                )
        if not self.excess:
            self.fits("now")
        for client in self.clients:
            self.expect(len(client.ends) <= 1, f"{client} ended more than once")
        assert not self.problems, "\n".join(self.problems)

    def settle(self) -> None:
        """
        Let everything come to its end, and see that it does, and that nothing
        is left over.
        """
        for _ in range(400):
            for model in list(self.hooks.running):
                self.hooks.finish(model)
            while any(client.token for client in self.clients):
                self.release(0)
            self.check()
            if not any(c.waits for c in self.clients) and not self.hooks.running:
                break
            self.clock.advance(1.0)
        else:
            raise AssertionError(
                f"still waiting: {[c for c in self.clients if c.waits]}"
            )
        self.stop()

    def stop(self) -> None:
        """
        Stop the switcher, and see that it leaves nothing behind.
        """
        stopped: list[object] = []
        self.switcher.stop().addCallback(stopped.append)
        for _ in range(10):
            for model in list(self.hooks.running):
                self.hooks.finish(model)
            while any(client.token for client in self.clients):
                self.release(0)
        assert stopped, "the switcher does not stop"
        for client in self.clients:
            assert len(client.ends) == 1, f"{client} ended {client.ends}"
        assert not self.clock.getDelayedCalls(), "a timer is left over"
        assert not self.problems, "\n".join(self.problems)
