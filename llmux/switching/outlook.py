# -*- test-case-name: llmux.test.test_outlook -*-
"""
How much longer somebody has to wait for a model, as far as can be told.
"""

from __future__ import annotations

from math import isfinite

from attrs import frozen

from llmux.interfaces import ModelView, Snapshot, State


@frozen
class Outlook:
    """
    What somebody who waits has before them.

    @ivar doing: what is being done about it, to be followed by the name of
        the model.
    @ivar seconds: about how long it takes until they are served; L{None} if
        nothing is known of that.
    """

    doing: str
    seconds: float | None


def outlook(snapshot: Snapshot, model: str, ahead: int) -> Outlook:
    """
    Look ahead.

    @param model: the name of a model.
    @param ahead: how many are to be served by it before.
    """
    view = snapshot.models[model]
    seconds = _untilAwake(view, snapshot)
    most = view.maxInFlight
    if most is not None:
        service = snapshot.costs.service(model)
        if view.inFlight >= most:
            seconds += service * (ahead + 1) / most
        else:
            seconds += service * (ahead // most)
    return Outlook(_doing(view), seconds if isfinite(seconds) else None)


def _doing(view: ModelView) -> str:
    if view.state is State.WAKING:
        return "waking"
    if view.coming:
        return "making room for"
    if view.state in (State.AWAKE, State.CHECKING) and not view.leaving:
        return "waiting for"
    return "waiting to wake"


def _untilAwake(view: ModelView, snapshot: Snapshot) -> float:
    """
    About how long it takes until a model is awake.
    """
    wake = snapshot.costs.wake(view.name)
    if view.state is State.WAKING:
        return max(0.0, wake - (snapshot.now - view.since))
    if view.leaving:
        return _untilAsleep(view, snapshot) + wake
    if view.state in (State.AWAKE, State.CHECKING, State.UNKNOWN):
        return 0.0
    if view.retryAt is not None:
        return max(0.0, view.retryAt - snapshot.now) + wake
    if view.coming:
        others = [other for other in snapshot.models.values() if other.leaving]
        return wake + max((_untilAsleep(one, snapshot) for one in others), default=0.0)
    # Nobody has decided yet whose place it takes.
    if all(
        amount <= snapshot.free.get(name, 0.0) for name, amount in view.needs.items()
    ):
        return wake
    return wake + min(
        (_untilAsleep(one, snapshot) for one in snapshot.movable), default=0.0
    )


def _untilAsleep(view: ModelView, snapshot: Snapshot) -> float:
    """
    About how long it takes until a model that is to leave has left.
    """
    sleep = snapshot.costs.sleep(view.name)
    if view.state is State.SLEEPING:
        return max(0.0, sleep - (snapshot.now - view.since))
    if not view.state.holdsResources:
        return 0.0
    service = snapshot.costs.service(view.name)
    newest = max((running.granted for running in view.running), default=None)
    if newest is None:
        return sleep
    return sleep + max(0.0, service - (snapshot.now - newest))
