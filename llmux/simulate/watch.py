# -*- test-case-name: llmux.test.test_simulate_watch -*-
"""
Watches a simulated switcher and keeps the books.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from llmux.interfaces import (
    BoundMissed,
    Event,
    IObserver,
    State,
    StateChanged,
    SwitchEnded,
    SwitchStarted,
)
from llmux.simulate.report import Change

#: Tolerance for sums of virtual seconds.
_EPSILON = 1e-6

#: The states in which a hook runs.
_HOOKS = frozenset({State.WAKING, State.SLEEPING})


@define(eq=False)
class Seen:
    """
    One model, as it was watched.

    @ivar rivals: the models that cannot let it be as long as they are awake:
        those that hold something that it needs, and may be put to sleep.
    @ivar waiting: the requests that wait for it: when each came, by number,
        oldest first.
    """

    name: str
    bound: float | None
    rivals: list[Seen] = field(factory=list)
    waiting: dict[int, float] = field(factory=dict)
    waits: list[float] = field(factory=list)
    state: State = State.UNKNOWN
    awakeAt: float = -1.0
    coming: int = 0
    inFlight: int = 0


@implementer(IObserver)
class Watch:
    """
    Keeps the books of one simulation.

    @ivar models: all models by name.
    @ivar serving: seconds in which something was in flight.
    @ivar switching: seconds in which nothing was and a hook ran.
    @ivar overdue: how often was said that a bound could not be held.
    @ivar timeline: changes, if they are to be kept.
    """

    def __init__(
        self,
        clock: IReactorTime,
        bounds: Mapping[str, float | None],
        needs: Mapping[str, Mapping[str, float]],
        pinned: frozenset[str] = frozenset(),
        timeline: bool = False,
    ) -> None:
        """
        @param bounds: how long each model's requests may be passed over.
        @param needs: what each model needs.
        @param pinned: the models that are never put to sleep for others.
        """
        self._clock = clock
        self._at = clock.seconds()
        self._busy = 0
        self._hooks = 0
        self._keep = timeline
        self.timeline: list[Change] = []
        self.models = {name: Seen(name, bound) for name, bound in bounds.items()}
        for name, seen in self.models.items():
            seen.rivals = [
                other
                for other in self.models.values()
                if other is not seen
                and other.name not in pinned
                and any(
                    needs[name].get(key)
                    for key, has in needs[other.name].items()
                    if has
                )
            ]
        self._losers: dict[str, list[Seen]] = {
            name: [one for one in self.models.values() if seen in one.rivals]
            for name, seen in self.models.items()
        }
        self.serving = 0.0
        self.switching = 0.0
        self.switches = 0
        self.failed = 0
        self.passedOver = 0.0
        self.bound: float | None = None
        self.missed = 0
        self.overdue = 0
        self._tightest = -1.0

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        if isinstance(event, StateChanged):
            self._settle()
            seen = self.models[event.model]
            self._hooks += (event.after in _HOOKS) - (seen.state in _HOOKS)
            seen.state = event.after
            if event.after is State.AWAKE and event.before is State.WAKING:
                seen.awakeAt = self._clock.seconds()
            self._note(seen)
        elif isinstance(event, SwitchStarted):
            self.models[event.target].coming += 1
        elif isinstance(event, SwitchEnded):
            self.models[event.target].coming -= 1
            if event.result == "ok":
                self.switches += 1
            else:
                self.failed += 1
        elif isinstance(event, BoundMissed):
            self.overdue += 1

    def arrived(self, number: int, model: str) -> None:
        """
        A request arrives.

        @param number: counted up in the order of arrival.
        """
        seen = self.models[model]
        seen.waiting[number] = self._clock.seconds()
        self._note(seen)

    def left(self, number: int, model: str) -> None:
        """
        A request that waited does so no longer, and was not let in.
        """
        seen = self.models[model]
        del seen.waiting[number]
        self._note(seen)

    def granted(self, number: int, model: str) -> None:
        """
        A request is let in.
        """
        self._settle()
        now = self._clock.seconds()
        seen = self.models[model]
        seen.waits.append(now - seen.waiting.pop(number))
        seen.inFlight += 1
        self._busy += 1
        self._note(seen)
        if seen.state is State.AWAKE and seen.awakeAt != now:
            for loser in self._losers[model]:
                self._passed(loser, number, now)

    def done(self, model: str) -> None:
        """
        A request that was let in is over.
        """
        self._settle()
        seen = self.models[model]
        seen.inFlight -= 1
        self._busy -= 1
        self._note(seen)

    def finish(self) -> None:
        """
        Close the books.
        """
        self._settle()

    def _passed(self, loser: Seen, number: int, now: float) -> None:
        """
        A request with that number was let in though others may wait for a
        model that could have had the place.
        """
        if not loser.waiting or loser.coming or loser.state is not State.ASLEEP:
            return
        oldest = next(iter(loser.waiting))
        if oldest > number:
            return
        over = now - loser.waiting[oldest]
        nearness = over / loser.bound if loser.bound else over
        if nearness > self._tightest:
            self._tightest = nearness
            self.passedOver, self.bound = over, loser.bound
        if loser.bound is not None and over > loser.bound + _EPSILON:
            self.missed += 1

    def _settle(self) -> None:
        now = self._clock.seconds()
        if self._busy:
            self.serving += now - self._at
        elif self._hooks:
            self.switching += now - self._at
        self._at = now

    def _note(self, seen: Seen) -> None:
        if self._keep:
            self.timeline.append(
                Change(
                    self._clock.seconds(),
                    seen.name,
                    seen.state.value,
                    len(seen.waiting),
                    seen.inFlight,
                )
            )
