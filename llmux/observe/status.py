# -*- test-case-name: llmux.test.test_observe_status -*-
"""
All that an operator may want to know, as one document.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from heapq import nsmallest
from itertools import islice
from math import isfinite
from typing import ClassVar

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from llmux._version import __version__
from llmux.config import Config
from llmux.interfaces import (
    Event,
    HookFinished,
    IObserver,
    ModelView,
    Snapshot,
    State,
    StateChanged,
    SwitchEnded,
    SwitchStarted,
    isDeath,
)

__all__ = ["Status"]

#: How many switches that are over, and how many hooks that failed, are
#: remembered.
RECENT = 50

#: Of how many requests of a model it is said for how long they have waited or
#: been served: of those that are the oldest.
AGES = 100


@frozen
class _UnderWay:
    """
    A switch that has begun.
    """

    event: SwitchStarted
    started: float


@frozen
class _Mishap:
    """
    The last hook of a model that failed.
    """

    event: HookFinished
    at: float


@implementer(IObserver)
@define(eq=False)
class Status:
    """
    What is going on, and what went on lately.

    Durations are in seconds.  Of a hook that failed it says how, such as
    C{exit status 3}, and never what it printed.
    """

    config: Config
    _snapshot: Callable[[], Snapshot]
    _clock: IReactorTime
    _underWay: dict[str, _UnderWay] = field(factory=dict, init=False)
    _mishaps: dict[str, _Mishap] = field(factory=dict, init=False)
    _recent: deque[tuple[float, SwitchEnded]] = field(
        factory=lambda: deque(maxlen=RECENT), init=False
    )
    _errors: deque[_Mishap] = field(factory=lambda: deque(maxlen=RECENT), init=False)
    _deaths: dict[str, int] = field(factory=dict, init=False)
    _since: float = field(init=False)

    interests: ClassVar = frozenset(
        {SwitchStarted, SwitchEnded, HookFinished, StateChanged}
    )

    def __attrs_post_init__(self) -> None:
        self._since = self._clock.seconds()

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        now = self._clock.seconds()
        if isinstance(event, SwitchStarted):
            self._underWay[event.target] = _UnderWay(event, now)
        elif isinstance(event, SwitchEnded):
            self._underWay.pop(event.target, None)
            self._recent.appendleft((now, event))
        elif isinstance(event, StateChanged):
            if isDeath(event):
                self._deaths[event.model] = self._deaths.get(event.model, 0) + 1
        elif isinstance(event, HookFinished) and event.hook.value != "alive":
            # That `alive` says no is news, and not a mishap.
            if event.error:
                mishap = self._mishaps[event.model] = _Mishap(event, now)
                self._errors.appendleft(mishap)
            elif event.hook.value == "wake":
                self._mishaps.pop(event.model, None)

    def document(self) -> dict[str, object]:
        """
        @return: everything, ready for JSON: C{models} in the order of the
            configuration, C{resources} by name, C{switches} that are under
            way, and C{recent_switches} and C{recent_errors}, the newest
            first.
        """
        snapshot = self._snapshot()
        return {
            "version": __version__,
            "time": snapshot.now,
            "up_for": snapshot.now - self._since,
            "policy": self.config.policy.name,
            "overloaded": any(
                _isOverdue(view, snapshot.now) for view in snapshot.models.values()
            ),
            "models": [
                self._model(view, snapshot) for view in snapshot.models.values()
            ],
            "resources": {
                name: {"total": total, "free": snapshot.free.get(name, 0.0)}
                for name, total in self.config.totals.items()
            },
            "switches": [
                self._switch(found, snapshot) for found in self._underWay.values()
            ],
            "recent_switches": [
                {
                    "target": event.target,
                    "victims": list(event.victims),
                    "result": event.result,
                    "duration": event.duration,
                    "drain": event.drain,
                    "waiting": event.waiting,
                    "ago": snapshot.now - at,
                }
                for at, event in self._recent
            ],
            "recent_errors": [
                {"model": mishap.event.model, **_told(mishap, snapshot.now)}
                for mishap in self._errors
            ],
        }

    def model(self, name: str) -> dict[str, object]:
        """
        @param name: the name of a configured model.

        @return: the same of one model.
        """
        snapshot = self._snapshot()
        return self._model(snapshot.models[name], snapshot)

    def _model(self, view: ModelView, snapshot: Snapshot) -> dict[str, object]:
        now, costs = snapshot.now, snapshot.costs
        mishap = self._mishaps.get(view.name)
        oldest, retryAt = view.oldest, view.retryAt
        return {
            "id": view.name,
            "aliases": list(self.config.models[view.name].names[1:]),
            "state": view.state.value,
            "state_for": now - view.since,
            "in_flight": view.inFlight,
            "queued": len(view.queue),
            "oldest_waits": None if oldest is None else now - oldest.since,
            "max_wait": view.maxWait,
            "overdue": _isOverdue(view, now),
            "retry_in": None if retryAt is None else max(0.0, retryAt - now),
            "queue_ages": _ages(
                now, (waiting.since for waiting in islice(view.queue, AGES))
            ),
            "in_flight_ages": _ages(
                now, nsmallest(AGES, (running.granted for running in view.running))
            ),
            "last_error": None if mishap is None else _told(mishap, now),
            "deaths": self._deaths.get(view.name, 0),
            "address": view.address,
            "pinned": view.pinned,
            "pending": view.pending,
            "removed": view.removed,
            "priority": view.priority,
            "needs": dict(view.needs) if self.config.resources else {},
            "costs": {
                "wake": _number(costs.wake(view.name)),
                "sleep": _number(costs.sleep(view.name)),
                "service": _number(costs.service(view.name)),
            },
        }

    def _switch(self, found: _UnderWay, snapshot: Snapshot) -> dict[str, object]:
        target = snapshot.models[found.event.target]
        victims = [snapshot.models[name] for name in found.event.victims]
        return {
            "target": target.name,
            "victims": list(found.event.victims),
            "reason": found.event.reason.value,
            "phase": _phase(target, victims),
            "elapsed": snapshot.now - found.started,
            "remaining": _number(_remaining(target, victims, snapshot)),
        }


def _told(mishap: _Mishap, now: float) -> dict[str, object]:
    return {
        "hook": mishap.event.hook.value,
        "error": mishap.event.error,
        "attempt": mishap.event.attempt,
        "ago": now - mishap.at,
    }


def _isOverdue(view: ModelView, now: float) -> bool:
    """
    Whether somebody has waited for a model for as long as they may be passed
    over, and it is not even being woken: more comes than can be served within
    the bounds.
    """
    return (
        view.oldest is not None
        and view.maxWait is not None
        and view.state is State.ASLEEP
        and not view.coming
        and now - view.oldest.since >= view.maxWait
    )


def _ages(now: float, began: Iterable[float]) -> list[float]:
    return [round(now - at, 3) for at in began]


def _phase(target: ModelView, victims: Collection[ModelView]) -> str:
    """
    How far a switch is: C{draining}, C{sleeping}, C{waking}, or C{waiting} in
    the moments between and for what somebody else has to do.
    """
    if target.state is State.WAKING:
        return "waking"
    states = {victim.state for victim in victims}
    if State.DRAINING in states:
        return "draining"
    return "sleeping" if State.SLEEPING in states else "waiting"


def _remaining(
    target: ModelView, victims: Collection[ModelView], snapshot: Snapshot
) -> float:
    """
    About how many seconds a switch will take from now on, beside what is
    still in flight.
    """
    costs, now = snapshot.costs, snapshot.now
    wake = costs.wake(target.name)
    if target.state is State.WAKING:
        return max(0.0, wake - (now - target.since))
    sleeps = [
        max(0.0, costs.sleep(victim.name) - (now - victim.since))
        if victim.state is State.SLEEPING
        else costs.sleep(victim.name)
        for victim in victims
        if victim.state.holdsResources
    ]
    return wake + max(sleeps, default=0.0)


def _number(value: float) -> float | None:
    """
    JSON has no infinity.
    """
    return value if isfinite(value) else None
