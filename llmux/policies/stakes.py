# -*- test-case-name: llmux.test.test_policy_costaware -*-
"""
What is at stake when a model is kept though others are waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from math import inf

from attrs import frozen

from llmux.interfaces import ModelView, Snapshot
from llmux.policies.drains import Lengths

#: How many switches are planned ahead.
AHEAD = 16


@frozen
class Stakes:
    """
    What there is to win and to lose by keeping a model.

    @ivar slack: how long it is until it must have drained so that all who
        wait for its place are served within their bounds, in seconds.
    @ivar trip: about how long it will be away, in seconds.
    @ivar crowd: how many wait for its place.
    """

    slack: float
    trip: float
    crowd: int

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        leaving: Sequence[ModelView],
        wanted: Iterable[ModelView],
        quantum: float,
    ) -> Stakes:
        """
        What there is to win and to lose for those who wait for the place of
        some models, if they are served one model after the other.

        @param leaving: the models whose place it is.
        @param wanted: the models that are waited for.
        @param quantum: how many round trips those who wait may be kept
            waiting at most, however large their bounds are.
        """
        costs = snapshot.costs
        waited = [view for view in wanted if view.oldest is not None]
        due = nsmallest(
            AHEAD,
            (
                (
                    inf if view.maxWait is None else view.oldest.since + view.maxWait,
                    view.oldest.since,
                    view.name,
                )
                for view in waited
                if view.oldest is not None
            ),
        )
        # Those who wait for other places are served at the same time.
        places = max(
            1,
            sum(
                view.state.holdsResources and not view.pinned
                for view in snapshot.models.values()
            ),
        )
        source = home = leaving[0].name
        patience = quantum * (
            costs.switch(home, due[0][2])
            + costs.switch(due[0][2], home)
            + Lengths.of(home, costs).mean
        )
        slack = inf
        switching = trip = 0.0
        for bound, since, name in due:
            cost = costs.switch(source, name)
            switching += cost / places if switching else cost
            trip += cost + Lengths.of(name, costs).mean
            deadline = min(bound, since + patience)
            slack = min(slack, deadline - switching - snapshot.now)
            source = name
        trip += costs.switch(source, home)
        return cls(slack, trip, sum(len(view.queue) for view in waited))
