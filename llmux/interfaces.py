# -*- test-case-name: llmux.test.test_interfaces -*-
"""
What the rooms of llmux say to each other: the interfaces that others may
implement, and the values that cross them.

Times are seconds on the clock of whoever made the value; they are good for
differences only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from functools import cached_property
from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred
from zope.interface import Interface


class State(Enum):
    """
    What a model is doing.
    """

    #: llmux has just started, and C{alive} has not answered yet.
    UNKNOWN = "unknown"
    #: It holds nothing.
    ASLEEP = "asleep"
    #: C{wake} runs.
    WAKING = "waking"
    #: It serves.
    AWAKE = "awake"
    #: It was awake, a connection to it was refused, and C{alive} is asked.
    CHECKING = "checking"
    #: It finishes what it has begun, and will then be put to sleep.
    DRAINING = "draining"
    #: C{sleep} runs.
    SLEEPING = "sleeping"
    #: It could not be woken, holds nothing, and is left alone for a while.
    COOLING = "cooling"
    #: C{sleep} failed: what it holds is not free.
    STUCK = "stuck"

    @property
    def holdsResources(self) -> bool:
        """
        Whether a model in this state must be thought to hold what it needs.
        """
        return self not in (State.ASLEEP, State.COOLING)


class Hook(Enum):
    """
    The three scripts that a user gives for each model.
    """

    WAKE = "wake"
    SLEEP = "sleep"
    ALIVE = "alive"


class Reason(Enum):
    """
    Why a model is woken or put to sleep; C{LLMUX_REASON} for its hooks.
    """

    REQUEST = "request"
    PRELOAD = "preload"
    TTL = "ttl"
    OPERATOR = "operator"
    RECOVER = "recover"
    EXIT = "exit"


# Hooks ----------------------------------------------------------------------


@frozen
class HookCall:
    """
    One run of one hook.

    @ivar peer: the model that is being switched from or to, if there is one.
    @ivar attempt: 1 for the first try, counted up until one succeeds.
    @ivar address: where the model's server is, as far as it is known: the
        base URL, or the empty string.
    """

    model: str
    hook: Hook
    reason: Reason
    peer: str = ""
    attempt: int = 1
    address: str = ""


@frozen
class HookResult:
    """
    A hook did its duty.

    @ivar duration: seconds that it took.
    @ivar address: the base URL that it wrote to C{LLMUX_OUTPUT}, if it did.
    """

    duration: float = 0.0
    address: str | None = None


class IHookRunner(Interface):
    """
    Runs hooks.  The only way by which the switcher acts on models.
    """

    def run(call: HookCall) -> Deferred[HookResult]:
        """
        Run a hook.  No other hook of the same model runs at that time.

        @return: fires when the hook has succeeded, and fails with
            L{llmux.errors.HookFailed} when it has not: its status was not 0,
            it took longer than its timeout, or L{stop} ended it.  In each
            case it fires only when the hook's process is gone, and it always
            fires in the end.  It is never cancelled.
        """

    def stop(model: str) -> None:
        """
        End the hook that runs for a model, if one does: its Deferred then
        fails.
        """


# What policies see and say ---------------------------------------------------


@frozen(eq=False)
class Waiting:
    """
    A request that waits for its model.

    @ivar since: when it arrived.
    @ivar number: counted up in the order of arrival, over all models.
    @ivar priority: higher is served first: the model's and the request's own
        together.
    @ivar reason: C{REQUEST}, or another if nobody's request but an operator
        or a preload asks for the model.
    @ivar size: about how many seconds of service it will take, if that is
        known.
    @ivar maxTokens: how many tokens its answer may have, if it says so.
    """

    model: str
    since: float
    number: int
    priority: float = 0.0
    reason: Reason = Reason.REQUEST
    size: float | None = None
    maxTokens: int | None = None


class Running(Protocol):
    """
    A request that is being served.
    """

    @property
    def granted(self) -> float:
        """
        When it was let in.
        """

    @property
    def size(self) -> float | None:
        """
        About how many seconds of service it was thought to take, if that was
        known.
        """

    @property
    def maxTokens(self) -> int | None:
        """
        How many tokens its answer may have, if it says so.
        """


@frozen
class ModelView:
    """
    One model in a L{Snapshot}.

    @ivar since: when it entered its state.
    @ivar wokenAt: when it was last woken, or adopted, if it holds resources.
    @ivar idleSince: since when it has had nothing in flight.
    @ivar inFlight: how many requests it is serving.
    @ivar running: the requests that it is serving, in no order.  A live view,
        as C{queue} is.
    @ivar queue: those that wait for it, oldest first.  A live view: good
        while the policy decides and not to be kept.
    @ivar oldest: the first of the queue.
    @ivar urgency: the highest priority of those in the queue.
    @ivar needs: what it holds while it is not asleep: amounts by resource.
    @ivar pinned: whether it must not be put to sleep for another.
    @ivar maxWait: how long its requests may be passed over by later ones, in
        seconds.
    @ivar maxInFlight: how many requests it serves at once.
    @ivar leaving: whether a switch that is under way puts it to sleep.
    @ivar coming: whether a switch that is under way wakes it.
    @ivar retryAt: when a model that is C{COOLING} or C{STUCK} is tried again.
    @ivar address: the base URL of its server, as far as it is known.
    @ivar pending: whether its configuration changes when it next holds
        nothing.
    @ivar removed: whether it is not configured any more, and is put to sleep
        for good.
    @ivar dead: whether it was found not to live any more, so that nobody is let
        in while it drains.
    """

    name: str
    state: State
    since: float
    needs: Mapping[str, float]
    queue: Collection[Waiting] = ()
    oldest: Waiting | None = None
    urgency: float = 0.0
    wokenAt: float = 0.0
    idleSince: float = 0.0
    inFlight: int = 0
    running: Collection[Running] = ()
    priority: float = 0.0
    pinned: bool = False
    maxWait: float | None = None
    maxInFlight: int | None = None
    leaving: bool = False
    coming: bool = False
    retryAt: float | None = None
    address: str = ""
    pending: bool = False
    removed: bool = False
    dead: bool = False


class ICosts(Interface):
    """
    What switching has been measured to cost, in seconds.
    """

    def wake(model: str) -> float:
        """
        @return: about how long the model's C{wake} takes.
        """

    def sleep(model: str) -> float:
        """
        @return: about how long the model's C{sleep} takes.
        """

    def switch(source: str, target: str) -> float:
        """
        @return: about how long it takes from the end of the drain of one
            model until the other is awake.
        """

    def service(model: str) -> float:
        """
        @return: about how long one of the model's requests is in flight.
        """

    def median(model: str, maxTokens: int | None = None) -> float:
        """
        @param maxTokens: asks of those whose answers may have about so many
            tokens, rather than of all.
        @return: a time, in seconds, such that about half of the model's
            requests are in flight for longer.
        """

    def spread(model: str, maxTokens: int | None = None) -> float:
        """
        @param maxTokens: as for L{median}.
        @return: by how much they differ: about the standard deviation of the
            natural logarithm of the seconds that they are in flight.
        """


@frozen
class Snapshot:
    """
    All that a policy may know.

    @ivar now: the time.
    @ivar models: every model by its name, in the order of the configuration.
    @ivar free: the amount of each resource that no model holds and that no
        switch under way is going to take.
    @ivar costs: what switching costs.
    @ivar minActive: how long a model stays awake at least, in seconds.
    @ivar drainTimeout: how long a drain may take, in seconds, if that is
        bounded.
    @ivar barred: the models that must not be woken now, as they would be in the
        way of others that have waited for as long as they may.
    """

    now: float
    models: Mapping[str, ModelView]
    free: Mapping[str, float]
    costs: ICosts
    minActive: float = 0.0
    drainTimeout: float | None = None
    barred: Collection[str] = ()

    @cached_property
    def movable(self) -> tuple[ModelView, ...]:
        """
        The models that could be put to sleep: awake, not pinned, and not on
        their way to sleep.
        """
        return tuple(
            view
            for view in self.models.values()
            if view.state is State.AWAKE and not view.pinned and not view.leaving
        )


@frozen
class Stay:
    """
    Change nothing for now.

    @ivar recheck: seconds after which to ask again even if nothing happens.
    """

    recheck: float | None = None


def _namesOf(models: Iterable[str]) -> frozenset[str]:
    return frozenset(models)


@frozen
class Switch:
    """
    Wake a model, after putting others to sleep.

    @ivar target: a model that is asleep and that somebody waits for.
    @ivar victims: the models to put to sleep first.
    """

    target: str
    victims: frozenset[str] = field(default=frozenset(), converter=_namesOf)


@frozen
class Admit:
    """
    Let a request join what its model, which is draining, still has to do.

    @ivar waiting: the request.
    """

    waiting: Waiting


Decision = Stay | Switch | Admit


class ISwitchPolicy(Interface):
    """
    Chooses which models are awake.
    """

    def decide(snapshot: Snapshot) -> Decision:
        """
        Decide what to do next.

        Called after everything that may change the answer, and again at once
        after each decision other than L{Stay}, so one thing at a time may be
        said.  It must be a pure function of its argument: no clock, no I/O,
        no Deferreds.  A decision that would break a promise of llmux (such as
        to put a pinned model to sleep, or two models in one place) is
        refused and logged.
        """


# What operators change ------------------------------------------------------


@frozen
class Changes:
    """
    What another configuration has changed, by names of models.

    @ivar added: those that were not there.
    @ivar removed: those that are not there any more, and are put to sleep.
    @ivar changed: those that are treated otherwise from now on.
    @ivar pending: those that change when they next hold nothing.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


# Events -----------------------------------------------------------------------


@frozen
class StateChanged:
    """
    A model entered a state.

    @ivar duration: seconds that it spent in the state before.
    """

    model: str
    before: State
    after: State
    duration: float


def isDeath(event: StateChanged) -> bool:
    """
    Whether a model was found dead, or hung, while it was awake.
    """
    return event.before is State.CHECKING and event.after is State.DRAINING


@frozen
class HookFinished:
    """
    A hook ended.

    @ivar error: why it failed, or the empty string.
    @ivar duration: seconds that it took.
    """

    model: str
    hook: Hook
    reason: Reason
    attempt: int
    duration: float
    error: str = ""


@frozen
class SwitchStarted:
    """
    A model is to be woken.

    @ivar victims: those put to sleep for it.
    """

    target: str
    victims: tuple[str, ...]
    reason: Reason


@frozen
class SwitchEnded:
    """
    A switch is over.

    @ivar result: C{ok}, C{failed} or C{cancelled}.
    @ivar duration: seconds since it started.
    @ivar drain: seconds of them that the victims took to finish what they
        were serving.
    @ivar waiting: how many waited for the model.
    """

    target: str
    victims: tuple[str, ...]
    result: str
    duration: float
    drain: float
    waiting: int


@frozen
class RequestQueued:
    """
    A request has to wait.

    @ivar depth: how many wait for its model now.
    """

    model: str
    depth: int


@frozen
class RequestGranted:
    """
    A request may go to its model.

    @ivar waited: seconds since it arrived.
    @ivar depth: how many still wait for its model.
    @ivar inFlight: how many its model is now serving.
    """

    model: str
    waited: float
    depth: int
    inFlight: int


@frozen
class RequestDropped:
    """
    A request that waited will not be served.

    @ivar why: C{left}, C{timeout}, C{wake_failed}, C{queue_full}, C{removed}
        or C{shutting_down}.
    @ivar depth: how many still wait for its model.
    """

    model: str
    why: str
    waited: float
    depth: int


@frozen
class RequestDone:
    """
    A request that was granted is over.

    @ivar duration: seconds since it was granted.
    @ivar inFlight: how many its model still serves.
    @ivar cut: whether it was ended by llmux rather than by itself.
    """

    model: str
    duration: float
    inFlight: int
    cut: bool = False


@frozen
class BoundMissed:
    """
    A request had waited for as long as it may be passed over, and its model
    is still not being woken.  Said once for each model until it is.
    """

    model: str
    waited: float
    bound: float


@frozen
class DecisionRefused:
    """
    A policy asked for what would break a promise.
    """

    decision: Decision
    why: str


Event = (
    StateChanged
    | HookFinished
    | SwitchStarted
    | SwitchEnded
    | RequestQueued
    | RequestGranted
    | RequestDropped
    | RequestDone
    | BoundMissed
    | DecisionRefused
)


class IObserver(Interface):
    """
    Is told of everything that happens; or, if it has an attribute
    C{interests}, a set of types of events, of what is of those types.
    """

    def notify(event: Event) -> None:
        """
        Take note of an event.  Called in the reactor turn in which it
        happened, in order; must return soon, must not raise and must not act
        on the switcher.
        """
