# -*- test-case-name: llmux.test.test_observe_timeline -*-
"""
What the models did during the last hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from llmux.interfaces import Event, IObserver, Snapshot, StateChanged

__all__ = ["Timeline"]

#: For how many seconds states are remembered.
HOUR = 3600.0

#: How many states of a model are remembered at most.  One that changes more
#: often has its oldest ones forgotten sooner.
STATES = 1000


@frozen
class _Stretch:
    """
    A time that a model spent in a state, which is over.
    """

    state: str
    began: float
    ended: float


@implementer(IObserver)
@define(eq=False)
class Timeline:
    """
    Remembers the states that models were in.
    """

    _snapshot: Callable[[], Snapshot]
    _clock: IReactorTime
    _past: dict[str, deque[_Stretch]] = field(factory=dict, init=False)

    interests: ClassVar = frozenset({StateChanged})

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        if not isinstance(event, StateChanged):
            return
        now = self._clock.seconds()
        past = self._past.get(event.model)
        if past is None:
            past = self._past[event.model] = deque(maxlen=STATES)
        past.append(_Stretch(event.before.value, now - event.duration, now))
        while past[0].ended <= now - HOUR:
            past.popleft()

    def document(self) -> dict[str, object]:
        """
        @return: ready for JSON: of each model the C{states}, oldest first,
            that it was in during the last C{seconds}, with how long ago each
            began and ended.  The last one is that which it is in.
        """
        snapshot = self._snapshot()
        now = snapshot.now
        models = []
        for view in snapshot.models.values():
            past = [
                {
                    "state": stretch.state,
                    "began": min(HOUR, now - stretch.began),
                    "ended": now - stretch.ended,
                }
                for stretch in self._past.get(view.name, ())
                if stretch.ended > now - HOUR
            ]
            present = {
                "state": view.state.value,
                "began": min(HOUR, now - view.since),
                "ended": 0.0,
            }
            models.append({"id": view.name, "states": [*past, present]})
        return {"time": now, "seconds": HOUR, "models": models}
