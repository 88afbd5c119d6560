# -*- test-case-name: llmux.test.test_switcher -*-
"""
What the parts of the switcher share: all models, the switches under way, and
the rule that things settle after every event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import count

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from llmux.config import Config
from llmux.interfaces import Event, IHookRunner, IObserver, Snapshot
from llmux.switching._moves import Move, Rooms
from llmux.switching._place import Place
from llmux.switching.costs import Costs

#: The resource that every model needs all of where none are configured.
MACHINE = "machine"


class Board:
    """
    Everything that is where it is.

    @ivar places: the models by name, in the order of the configuration.
    @ivar moves: the switches under way, by target.
    @ivar stuck: the models that could not be put to sleep, until they are.
    @ivar waiting: how many requests wait, for whatever model.
    @ivar numbers: counts arrivals.
    @ivar stopping: whether nothing new is to be begun.
    @ivar idles: told of each model that has nothing to serve any more.
    @ivar round: does all that can be done now, once.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        hooks: IHookRunner,
        clock: IReactorTime,
        observers: Sequence[IObserver],
    ) -> None:
        self.config = config
        self.hooks = hooks
        self.clock = clock
        self.observers = list(observers)
        self._told: dict[type[Event], tuple[IObserver, ...]] = {}
        self.costs = Costs()
        self.total = dict(config.totals) or {MACHINE: 1.0}
        self.places: dict[str, Place] = {}
        self.rooms = Rooms(self.total, self.places)
        self.moves: dict[str, Move] = {}
        self.stuck: set[str] = set()
        self.numbers = count(1)
        self.waiting = 0
        self.stopping = False
        self.idles: Callable[[Place], None] = lambda place: None
        self.round: Callable[[], None] = lambda: None
        self._settling = False
        self._unsettled = False

    def snapshot(self, barred: Collection[str] = ()) -> Snapshot:
        """
        @param barred: the models that must not be woken now.
        @return: everything, as policies see it, now.
        """
        policy = self.config.policy
        return Snapshot(
            now=self.clock.seconds(),
            models={name: place.view() for name, place in self.places.items()},
            free=self.rooms.free(self.moves),
            costs=self.costs,
            minActive=policy.min_active_secs,
            drainTimeout=policy.drain_timeout_secs,
            barred=barred,
        )

    def observed(self) -> None:
        """
        Say that there are other observers than before.
        """
        self._told.clear()

    def notify(self, event: Event) -> None:
        """
        Tell all observers whom it interests.
        """
        kind = type(event)
        told = self._told.get(kind)
        if told is None:
            told = self._told[kind] = tuple(
                observer
                for observer in self.observers
                if kind in getattr(observer, "interests", (kind,))
            )
        for observer in told:
            try:
                observer.notify(event)
            except Exception:
                self.log.failure("an observer failed at {note}", note=event)

    def settle(self) -> None:
        """
        Do all that can be done now.  Whatever is set off by that and comes
        back here only asks for another round.
        """
        self._unsettled = True
        if self._settling:
            return
        self._settling = True
        try:
            while self._unsettled:
                self._unsettled = False
                self.round()
        finally:
            self._settling = False

    @property
    def unsettled(self) -> bool:
        """
        Whether there is going to be another round.
        """
        return self._unsettled

    def together(self, work: Callable[..., None], *arguments: object) -> None:
        """
        Do several things before settling once.
        """
        outer, self._settling = self._settling, True
        try:
            work(*arguments)
        finally:
            self._settling = outer
        self.settle()
