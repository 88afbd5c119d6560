"""
Stand-ins for what other programs do, written from descriptions of what they
do, so that the default policy has something to be compared with.

Neither bounds a wait: simulate them with a C{max_wait_secs} that is never
reached.
"""

from __future__ import annotations

from attrs import frozen
from zope.interface import implementer

from llmux.interfaces import (
    Decision,
    ISwitchPolicy,
    ModelView,
    Snapshot,
    State,
    Stay,
    Switch,
)


def waitingFor(snapshot: Snapshot) -> list[ModelView]:
    """
    @return: the models that are asleep and wanted, the one whose request has
        waited longest first.
    """
    wanted = [
        view
        for view in snapshot.models.values()
        if view.oldest is not None and view.state is State.ASLEEP and not view.coming
    ]
    return sorted(wanted, key=lambda view: view.oldest.number if view.oldest else 0)


def awake(snapshot: Snapshot) -> list[ModelView]:
    """
    @return: the models that serve.
    """
    return [
        view
        for view in snapshot.models.values()
        if view.state is State.AWAKE and not view.leaving
    ]


def moving(snapshot: Snapshot) -> bool:
    """
    Whether a switch is under way.
    """
    return any(view.coming for view in snapshot.models.values())


@implementer(ISwitchPolicy)
@frozen
class FirstForeign:
    """
    Switch on the first request for another model: the awake one finishes
    what it has begun, and whoever comes for it meanwhile waits.  One model at
    a time, whatever would fit.
    """

    def decide(self, snapshot: Snapshot) -> Decision:
        """
        See L{ISwitchPolicy.decide}.
        """
        wanted = waitingFor(snapshot)
        if not wanted or moving(snapshot):
            return Stay()
        return Switch(wanted[0].name, frozenset(view.name for view in awake(snapshot)))


@implementer(ISwitchPolicy)
@frozen
class Exhaust:
    """
    Serve the awake model for as long as it has anything to do, then the one
    that has waited longest.  One model at a time, whatever would fit.
    """

    def decide(self, snapshot: Snapshot) -> Decision:
        """
        See L{ISwitchPolicy.decide}.
        """
        wanted = waitingFor(snapshot)
        serving = awake(snapshot)
        busy = any(view.inFlight or view.queue for view in serving)
        if not wanted or busy or moving(snapshot):
            return Stay()
        return Switch(wanted[0].name, frozenset(view.name for view in serving))
