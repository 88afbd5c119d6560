# -*- test-case-name: llmux.test.test_policy_costaware -*-
"""
Whose turn it is: in which order models that are waited for should be woken.

Whoever has waited longest comes first, after priorities.  But where everybody
can still be served in time after it, that model comes first by whose switch
most waiting is ended for what it takes: one that many wait for, or to which
this very switch is cheap and whose answers are short.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from itertools import islice
from math import log1p

from attrs import frozen

from llmux.interfaces import ModelView, Snapshot, State
from llmux.policies.drains import Lengths
from llmux.policies.stakes import AHEAD

#: At how many of those who wait for a model is looked.
LOOK = 64


#: How much of its bound whoever is passed over may have waited when it is
#: served: what else comes meanwhile needs time, too.
PATIENCE = 0.3


@frozen
class _Wanted:
    """
    A model that is waited for.

    @ivar age: for how long whoever waits most urgently has waited, in
        seconds, after priorities.
    """

    view: ModelView
    age: float
    number: int


def inTurn(snapshot: Snapshot, ageing: float) -> list[ModelView]:
    """
    @param ageing: how many seconds of waiting one point of priority is worth.
    @return: the models that are asleep and waited for, in the order in which
        they should be woken.
    """
    wanted = [
        _wanted(snapshot, view, ageing)
        for view in snapshot.models.values()
        if view.oldest is not None
        and view.state is State.ASLEEP
        and not view.coming
        and view.name not in snapshot.barred
    ]
    wanted.sort(key=lambda one: (-one.age, one.number))
    if len(wanted) > 1 and wanted[0].age > 0:
        source = _source(snapshot)
        worths = [_worth(snapshot, one, source) for one in wanted[:AHEAD]]
        best = max(range(len(worths)), key=worths.__getitem__)
        if worths[best] > worths[0]:
            chosen = wanted.pop(best)
            if _isInTime(snapshot, chosen, wanted, source):
                wanted.insert(0, chosen)
            else:
                wanted.insert(best, chosen)
    return [one.view for one in wanted]


def _wanted(snapshot: Snapshot, view: ModelView, ageing: float) -> _Wanted:
    oldest = view.oldest
    assert oldest is not None
    urgent = oldest.priority * ageing - oldest.since
    if view.urgency > oldest.priority:
        urgent = max(
            waiting.priority * ageing - waiting.since
            for waiting in islice(view.queue, LOOK)
        )
    return _Wanted(view, snapshot.now + urgent, oldest.number)


def _source(snapshot: Snapshot) -> str | None:
    """
    The model from which is going to be switched, if there is but one.
    """
    holders = [
        view.name
        for view in snapshot.models.values()
        if view.state.holdsResources and not view.pinned
    ]
    return holders[0] if len(holders) == 1 else None


def _seconds(snapshot: Snapshot, view: ModelView, source: str | None) -> float:
    """
    About how long it takes to switch to a model and to serve all that wait
    for it.
    """
    costs, name = snapshot.costs, view.name
    switch = costs.wake(name) if source is None else costs.switch(source, name)
    # The last of many is over later than one is.
    return switch + Lengths.of(name, costs).mean * (1.0 + log1p(len(view.queue) - 1))


def _worth(snapshot: Snapshot, one: _Wanted, source: str | None) -> float:
    """
    How much waiting is ended, in seconds, for each second that it takes.
    """
    if one.age <= 0:
        return 0.0
    # They have come evenly since the first of them did.
    waited = one.age * (len(one.view.queue) + 1) / 2
    return waited / _seconds(snapshot, one.view, source)


def _isInTime(
    snapshot: Snapshot,
    chosen: _Wanted,
    others: Sequence[_Wanted],
    source: str | None,
) -> bool:
    """
    Whether all others can be served within their bounds after one model.
    """
    at = snapshot.now + _seconds(snapshot, chosen.view, source)
    before = chosen.view.name
    due = nsmallest(
        AHEAD,
        [
            (one.view.oldest.since + PATIENCE * one.view.maxWait, one.number, one.view)
            for one in others
            if one.view.oldest is not None and one.view.maxWait is not None
        ],
    )
    for deadline, _, view in due:
        if at + snapshot.costs.switch(before, view.name) > deadline:
            return False
        at += _seconds(snapshot, view, before)
        before = view.name
    return True
