# -*- test-case-name: llmux.test.test_policy_costaware -*-
"""
The default policy: switch as seldom as the bounds allow, and not before it is
worth it.

Whom to wake
============

Whoever has waited longest comes first, after priorities, each point of which
counts as some seconds of waiting; so whoever waits long enough comes first in
the end.  While there is time for all, a model may come before that by whose
switch more waiting is ended for what it takes: one that many wait for, or to
which this very switch is cheap.  What has to make room is what is cheapest to lose: idle before busy,
soon drained before late, cheap to bring back before dear.  If nothing that is
in the way has anything in flight, the switch begins at once.

When to leave
=============

The expensive thing is to leave a model that is at work: the switch itself,
and before it the drain, in which less and less is being served while the
longest answer comes to its end.  While that answer lasts anyway, those that
fit beside it are served for nothing.  So a model that others wait for goes on
taking requests as long as one of these holds:

 - There is time: what is in flight, with one request more, will be over before
   the switches must begin that let all who wait be served within their bound.
   The time that this takes, and so how long a model is kept, grows with what
   switching was measured to cost.

 - There is room: one request more makes the drain longer by so little that to
   come back for it would cost more, and nobody has reached their bound yet.

The same is asked of each request that comes while the model drains: one whose
size is known to be small may still fit when others do not.

Where it does not hold any more, or somebody has waited for as long as they may
be passed over, the doors close.  When more comes than the machine can serve
within the bounds, this is always so, and what is left is the order of arrival,
in batches.

There is nothing to be tuned: everything above is measured (durations of wakes
and sleeps by model and by pair, lengths of answers by model) or configured
(the bounds).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from attrs import frozen
from zope.interface import implementer

from llmux.interfaces import (
    Admit,
    Decision,
    ISwitchPolicy,
    ModelView,
    Snapshot,
    State,
    Stay,
    Switch,
    Waiting,
)
from llmux.policies.drains import Drain, Lengths, drain
from llmux.policies.stakes import Stakes
from llmux.policies.turns import LOOK, inTurn
from llmux.switching.placement import fits, roomFor


@implementer(ISwitchPolicy)
@frozen
class CostAware:
    """
    See the module.

    @ivar ageing: how many seconds of waiting one point of priority is worth.
    @ivar worthwhile: what a drain may be made longer by for the sake of one
        request more, as a share of the mean length of requests.  To serve it
        at the next visit costs its share of a full machine, which is of this
        order wherever a server takes some requests at once.
    @ivar fairness: how many seconds those who wait may lose, taken together,
        for each second that one request more would have to wait for the model
        to come back.
    @ivar quantum: how long others may be kept waiting at most for the sake of
        a model that has work, however large their bounds are: in round trips,
        each of which is two switches and the length of a request.
    """

    ageing: float = 10.0
    worthwhile: float = 0.2
    fairness: float = 1.0
    quantum: float = 10.0

    def decide(self, snapshot: Snapshot) -> Decision:
        """
        See L{ISwitchPolicy.decide}.
        """
        wanted = inTurn(snapshot, self.ageing)
        recheck: float | None = None
        held: list[tuple[ModelView, frozenset[str]]] = []
        spare: frozenset[str] = frozenset()
        most = self._most(snapshot, spare)
        for view in wanted:
            # Of many that wait for the same place, all but the first end here.
            if not fits(view.needs, most):
                continue
            victims = roomFor(snapshot, view.name, self._loss, spare)
            if victims is None or not self._leaves(snapshot, view, victims, held):
                continue
            wait = self._untilSwitch(snapshot, victims, wanted)
            if wait <= 0:
                return Switch(view.name, victims)
            recheck = wait if recheck is None else min(recheck, wait)
            held.append((view, victims))
            spare |= victims
            most = self._most(snapshot, spare)
        joins = self._joins(snapshot)
        if joins is not None:
            return Admit(joins)
        return Stay(recheck)

    # Who makes room ----------------------------------------------------------------

    @staticmethod
    def _loss(view: ModelView, snapshot: Snapshot) -> float:
        """
        What is lost by putting a model to sleep, in seconds.
        """
        costs = snapshot.costs
        cost = costs.wake(view.name) + costs.sleep(view.name)
        if view.inFlight:
            cost += 1000.0 + drain(snapshot.now, (view,), costs).mean
        # Among equals, the one that was of use longest ago.
        idle = 0.0 if view.inFlight else max(snapshot.now - view.idleSince, 0.0)
        return cost * (1.0 + max(view.priority, 0.0)) + 1.0 / (1.0 + idle)

    @staticmethod
    def _most(snapshot: Snapshot, spare: frozenset[str]) -> dict[str, float]:
        """
        How much room could be made at most without some models.
        """
        room = dict(snapshot.free)
        for view in snapshot.models.values():
            if (
                view.state is State.AWAKE
                and not view.pinned
                and not view.leaving
                and view.name not in spare
            ):
                for resource, amount in view.needs.items():
                    room[resource] = room.get(resource, 0.0) + amount
        return room

    @staticmethod
    def _leaves(
        snapshot: Snapshot,
        view: ModelView,
        victims: frozenset[str],
        held: Iterable[tuple[ModelView, frozenset[str]]],
    ) -> bool:
        """
        Whether those who come first can still be woken as was foreseen if
        this model takes its place: a big model's place must not be taken
        bit by bit by small ones that came later.
        """
        room = dict(snapshot.free)
        for name in victims:
            for resource, amount in snapshot.models[name].needs.items():
                room[resource] = room.get(resource, 0.0) + amount
        for resource, amount in view.needs.items():
            room[resource] = room.get(resource, 0.0) - amount
        for other, names in held:
            for name in names:
                for resource, amount in snapshot.models[name].needs.items():
                    room[resource] = room.get(resource, 0.0) + amount
            if not fits(other.needs, room):
                return False
            for resource, amount in other.needs.items():
                room[resource] -= amount
        return True

    # When to leave --------------------------------------------------------------

    def _untilSwitch(
        self,
        snapshot: Snapshot,
        victims: frozenset[str],
        wanted: Sequence[ModelView],
    ) -> float:
        """
        @return: after how many seconds to think again about a switch; 0 or
            less to make it.
        """
        views = [snapshot.models[name] for name in victims]
        early = max(
            (view.wokenAt + snapshot.minActive - snapshot.now for view in views),
            default=0.0,
        )
        if early > 0:
            return early
        busy = [view for view in views if view.inFlight]
        if not busy:
            return 0.0
        ahead = drain(snapshot.now, busy, snapshot.costs)
        stakes = Stakes.of(snapshot, busy, wanted, self.quantum)
        margins = [
            self._margin(
                snapshot,
                ahead,
                view,
                Lengths.of(view.name, snapshot.costs),
                None,
                stakes,
            )
            for view in busy
        ]
        margin = max(margins)
        if margin <= 0:
            return 0.0
        # What is in flight changes whenever something happens, and then this
        # is asked again; time alone changes it slowly.
        return max(0.5, min(margin, 10.0))

    def _margin(
        self,
        snapshot: Snapshot,
        ahead: Drain,
        view: ModelView,
        lengths: Lengths,
        size: float | None,
        stakes: Stakes,
    ) -> float:
        """
        Whether a model that others wait for should take one request more.

        @param ahead: the drain as it is.
        @param lengths: how long such requests are.
        @param size: the size of the request, if it is known.
        @return: more than 0 if so: about how long that will not change by
            itself.
        """
        longer = ahead.extension(lengths, size)
        if longer * stakes.crowd > self.fairness * stakes.trip:
            return 0.0
        mean = ahead.mean
        if snapshot.drainTimeout is not None:
            mean = min(mean, snapshot.drainTimeout)
        spare = stakes.slack - mean - longer
        if spare > 0:
            return spare
        if longer <= self.worthwhile * lengths.mean and not self._overdue(
            snapshot, view
        ):
            return 1.0
        return 0.0

    @staticmethod
    def _overdue(snapshot: Snapshot, view: ModelView) -> bool:
        """
        Whether somebody whom a model is in the way of has been passed over
        for as long as may be.
        """
        return any(
            other.oldest is not None
            and other.maxWait is not None
            and other.state is State.ASLEEP
            and snapshot.now >= other.oldest.since + other.maxWait
            and any(
                amount and other.needs.get(name) for name, amount in view.needs.items()
            )
            for other in snapshot.models.values()
        )

    # Who may join a drain ----------------------------------------------------------

    def _joins(self, snapshot: Snapshot) -> Waiting | None:
        """
        @return: somebody who waits for a model that drains, and for whose
            sake that need not last longer than is good.
        """
        for view in snapshot.models.values():
            if (
                view.state is not State.DRAINING
                or view.dead
                or not view.inFlight
                or view.oldest is None
                or (view.maxInFlight is not None and view.inFlight >= view.maxInFlight)
            ):
                continue
            waitedFor = [
                other
                for other in snapshot.models.values()
                if other.oldest is not None and other.state is State.ASLEEP
            ]
            stakes = Stakes.of(snapshot, (view,), waitedFor, self.quantum)
            tried: set[tuple[Lengths, float | None]] = set()
            for waiting in islice(view.queue, LOOK):
                lengths = Lengths.of(view.name, snapshot.costs, waiting.maxTokens)
                kind = lengths, waiting.size
                if kind in tried:
                    continue
                tried.add(kind)
                ahead = drain(
                    snapshot.now, (view,), snapshot.costs, waiting.size, lengths
                )
                margin = self._margin(
                    snapshot, ahead, view, lengths, waiting.size, stakes
                )
                if margin > 0:
                    return waiting
        return None
