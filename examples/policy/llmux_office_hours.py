# -*- test-case-name: test_office_hours -*-
"""
A switch policy that keeps batch work out of the office hours.

Models of a priority below 0 are batch models.  While people are at work, a
batch model takes only room that is free, and nobody is put to sleep for it.
Everything else is first come, first served.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

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
from llmux.switching.placement import roomFor

#: From when until when people are at work, in hours of local time.
BEGIN, END = 8, 18

#: How long to wait before looking at the clock again, in seconds.
LOOK = 60.0


def atWork(now: datetime) -> bool:
    """
    Whether people are at work.
    """
    return now.weekday() < 5 and BEGIN <= now.hour < END


@implementer(ISwitchPolicy)
@frozen
class OfficeHours:
    """
    See the module.

    @ivar today: what the clock on the wall says.  A policy may depend on
        nothing but its argument and what it was made with, so that it can be
        tested: hence a clock that is given, not one that is taken.
    """

    today: Callable[[], datetime] = datetime.now

    def decide(self, snapshot: Snapshot) -> Decision:
        """
        Wake the model of whoever has waited longest, if that is allowed now.
        """
        quiet = atWork(self.today())
        recheck: float | None = None
        for view in self._wanted(snapshot):
            victims = roomFor(snapshot, view.name)
            if victims is None:
                continue
            if victims and quiet and view.priority < 0:
                # Nothing happens at six o'clock that would have this asked
                # again, so ask for it.
                recheck = LOOK if recheck is None else min(recheck, LOOK)
                continue
            early = max(
                (
                    snapshot.models[name].wokenAt + snapshot.minActive - snapshot.now
                    for name in victims
                ),
                default=0.0,
            )
            if early <= 0:
                return Switch(view.name, victims)
            recheck = early if recheck is None else min(recheck, early)
        return Stay(recheck)

    def _wanted(self, snapshot: Snapshot) -> list[ModelView]:
        """
        The models that can be woken and that somebody waits for, the one who
        has waited longest first.
        """
        wanted = [
            (view.oldest.number, view)
            for view in snapshot.models.values()
            if view.oldest is not None
            and view.state is State.ASLEEP
            and not view.coming
        ]
        return [view for _, view in sorted(wanted, key=lambda one: one[0])]
