# -*- test-case-name: llmux.test.test_changes -*-
"""
Another configuration for a switcher that runs.

What concerns only how a model is treated holds at once.  What it is woken and
put to sleep by, where it is and what it holds changes when it next holds
nothing: until then its old C{sleep} is the one that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from llmux.config import Config, ModelConfig
from llmux.errors import UnknownModel
from llmux.interfaces import Changes, Reason, State
from llmux.switching._board import MACHINE, Board
from llmux.switching._place import Place
from llmux.switching._queues import Queues
from llmux.switching._residency import Errand
from llmux.switching._switches import Switches
from llmux.switching.placement import fits

#: The keys of a model that do not change while it holds something.
ENGINE = ("wake", "sleep", "alive", "port", "url", "backend_model", "api", "needs")


@define(eq=False)
class Renewal:
    """
    Brings a switcher from one configuration to another.

    @ivar make: makes the place of a model that is new.
    @ivar probe: finds out whether a new model is awake.
    @ivar wake: has a model woken.
    @ivar told: is told when what holds has changed: of the configuration with
        all models that are still there, and of that with those that may be
        asked for.
    """

    _board: Board
    _queues: Queues
    _switches: Switches
    _make: Callable[[ModelConfig], Place]
    _probe: Callable[[Place], Deferred[None]]
    _preload: Callable[[Place], None]
    told: Callable[[Config, Config], None] = field(
        default=lambda whole, served: None, init=False
    )
    _wanted: Config = field(init=False)
    _open: set[Place] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._wanted = self._board.config

    def apply(self, config: Config) -> Changes:
        """
        Have another configuration hold.  To be called with the board held
        together.
        """
        places = self._board.places
        self._wanted = config
        added, changed, pending = [], [], []
        total = _totals(config)
        before = dict(self._board.total)
        needs = {name: place.needs for name, place in places.items()}
        fresh: list[Place] = []
        for name, model in config.models.items():
            place = places.get(name)
            if place is None:
                place = self._make(model)
                fresh.append(place)
                places[name] = place
                added.append(name)
            else:
                known = place.config
                self._renew(place, model, total)
                if place.config != known:
                    changed.append(name)
                if place.next is not None:
                    pending.append(name)
        if total != before or any(needs[name] != places[name].needs for name in needs):
            # What was to make room for them may be too little now.
            for move in list(self._board.moves.values()):
                if move.target.state is not State.WAKING:
                    self._switches.cancel(move)
        removed = [
            name
            for name, place in places.items()
            if name not in config.models and not place.removed
        ]
        for name in removed:
            self._remove(places[name])
        # In the order of the configuration, and last those that are leaving.
        order = [
            *config.models,
            *(name for name in places if name not in config.models),
        ]
        inOrder = [(name, places[name]) for name in order]
        places.clear()
        places.update(inOrder)
        self._publish()
        for place in fresh:
            self._probe(place).addCallback(self._known, place)
        return Changes(tuple(added), tuple(removed), tuple(changed), tuple(pending))

    def _known(self, _: None, place: Place) -> None:
        self._preload(place)

    def advance(self) -> None:
        """
        Do what has been waited for with models that hold nothing any more.
        """
        if not self._open or self._board.stopping:
            return
        isNews = False
        for place in list(self._open):
            state = place.state
            if place.removed and place.serving:
                self._switches.drain(place, Errand(Reason.OPERATOR))
            elif state.holdsResources or place.residency.hookRuns:
                continue
            elif place.removed:
                self._forget(place)
                isNews = True
            elif place.next is not None:
                place.config, place.needs = place.next
                place.next = None
                place.residency.configure(place.config)
                isNews = True
            if not place.removed and place.next is None:
                self._open.discard(place)
        if isNews:
            self._publish()

    def _renew(
        self, place: Place, model: ModelConfig, total: Mapping[str, float]
    ) -> None:
        wasPreloaded = place.config.preload and not place.removed
        place.removed = False
        needs = dict(total if model.needs is None else model.needs)
        old = place.config
        isOther = needs != place.needs or any(
            getattr(old, name) != getattr(model, name) for name in ENGINE
        )
        place.next = None
        if not isOther:
            place.config = model
        elif not place.state.holdsResources:
            place.config, place.needs = model, needs
        else:
            place.next = model, needs
            self._open.add(place)
            # What it holds, and what it is going to hold: what has another
            # name now may be the same thing.
            place.needs = {
                name: max(place.needs.get(name, 0.0), needs.get(name, 0.0))
                for name in [*place.needs, *(n for n in needs if n not in place.needs)]
            }
            # Of one that could not be put to sleep, the hook that should do
            # it may be what was mended.
            place.config = (
                model
                if place.state is State.STUCK
                else evolve(model, **{name: getattr(old, name) for name in ENGINE})
            )
        place.stopIdleTimers()
        place.residency.configure(place.config)
        if isOther:
            place.residency.retry()
        if model.preload and not wasPreloaded and place.state is not State.UNKNOWN:
            self._preload(place)

    def _remove(self, place: Place) -> None:
        place.removed = True
        place.next = None
        self._open.add(place)
        self._queues.dismissAll(place, "removed", UnknownModel(place.name))
        if place.state is State.WAKING and place.name in self._board.moves:
            self._switches.abandon(place)

    def _forget(self, place: Place) -> None:
        place.stopTimers()
        place.residency.halt()
        self._open.discard(place)
        self._board.stuck.discard(place.name)
        move = self._board.moves.get(place.name)
        if move is not None:
            self._switches.cancel(move)
        del self._board.places[place.name]

    def _publish(self) -> None:
        """
        Say what holds now, to all who go by it.
        """
        board = self._board
        places = board.places
        before = dict(board.total)
        board.total.clear()
        board.total.update(_totals(self._wanted))
        for place in places.values():
            for name in place.needs:
                # What is not there any more, as long as somebody holds it.
                board.total.setdefault(name, before.get(name, place.needs[name]))
        bound = self._wanted.policy.max_wait_secs
        total = _totals(self._wanted)
        for place in places.values():
            own = place.config.max_wait_secs
            place.maxWait = bound if own is None else own
            place.fits = fits(
                place.needs if place.next is None else place.next[1], total
            )
            place.touch()
        models = {name: place.config for name, place in places.items()}
        board.config = evolve(self._wanted, models=models)
        served = {
            name: place.config for name, place in places.items() if not place.removed
        }
        self.told(
            board.config,
            board.config
            if len(served) == len(models)
            else evolve(self._wanted, models=served),
        )


def _totals(config: Config) -> dict[str, float]:
    return dict(config.totals) or {MACHINE: 1.0}
