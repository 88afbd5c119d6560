# -*- test-case-name: llmux.test.test_policy_fifo -*-
"""
First come, first served: the policy of the Rust program llmux 2.2.
"""

from __future__ import annotations

from attrs import frozen
from zope.interface import implementer

from llmux.interfaces import Decision, ISwitchPolicy, Snapshot, State, Stay, Switch
from llmux.switching.placement import roomFor


@implementer(ISwitchPolicy)
@frozen
class FirstComeFirstServed:
    """
    Wakes the model of whoever has waited longest, as soon as there is or can
    be made room for it.
    """

    def decide(self, snapshot: Snapshot) -> Decision:
        """
        See L{ISwitchPolicy.decide}.
        """
        wanted = sorted(
            (view.oldest.number, view)
            for view in snapshot.models.values()
            if view.oldest is not None
            and view.state is State.ASLEEP
            and not view.coming
            and view.name not in snapshot.barred
        )
        recheck: float | None = None
        # Models with the same needs need the same room.
        rooms: dict[object, frozenset[str] | None] = {}
        for _, view in wanted:
            needs = frozenset(view.needs.items())
            if needs not in rooms:
                rooms[needs] = roomFor(snapshot, view.name)
            victims = rooms[needs]
            if victims is None:
                continue
            early = [
                snapshot.models[name].wokenAt + snapshot.minActive - snapshot.now
                for name in victims
            ]
            wait = max(early, default=0.0)
            if wait <= 0:
                return Switch(view.name, victims)
            recheck = wait if recheck is None else min(recheck, wait)
        return Stay(recheck)
