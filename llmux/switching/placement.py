# -*- test-case-name: llmux.test.test_placement -*-
"""
What must sleep so that a model fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmux.interfaces import ModelView, Snapshot

#: Up to this many candidates every set is considered; beyond, sets are built
#: greedily.
EXACT = 12

#: Tolerance for sums of amounts.
_EPSILON = 1e-9


def fits(needs: Mapping[str, float], free: Mapping[str, float]) -> bool:
    """
    Whether amounts are there.
    """
    return all(
        # What is not needed need not be there: more may be held than there is.
        amount <= max(free.get(name, 0.0), 0.0) + _EPSILON
        for name, amount in needs.items()
    )


def loss(view: ModelView, snapshot: Snapshot) -> float:
    """
    How much is lost by putting a model to sleep, in seconds: to let it come
    back, and what it still has to finish or would have to take up again.
    """
    costs = snapshot.costs
    cost = costs.wake(view.name) + costs.sleep(view.name)
    if view.inFlight:
        cost += costs.service(view.name) + 1000.0
    if view.queue:
        cost += 100.0
    # Among equals, the one that was of use longest ago.
    idle = 0.0 if view.inFlight else snapshot.now - view.idleSince
    return cost + 1.0 / (1.0 + max(idle, 0.0)) + max(view.priority, 0.0) * cost


def roomFor(
    snapshot: Snapshot,
    target: str,
    lost: Callable[[ModelView, Snapshot], float] = loss,
    spare: frozenset[str] = frozenset(),
) -> frozenset[str] | None:
    """
    Choose what to put to sleep so that a model fits.

    @param target: the model to make room for.
    @param lost: what it costs to lose a model; positive.
    @param spare: models to leave alone.
    @return: the set that is cheapest to lose, none of which could be left
        out, and which is empty if there is room already; or L{None} if no
        set makes room now: what else there is is pinned, spared, or on its
        way already.
    """
    needs = snapshot.models[target].needs
    missing = {
        name: amount - snapshot.free.get(name, 0.0)
        for name, amount in needs.items()
        if amount > max(snapshot.free.get(name, 0.0), 0.0) + _EPSILON
    }
    if not missing:
        return frozenset()
    candidates = sorted(
        (
            (lost(view, snapshot), view.name, view.needs)
            for view in snapshot.movable
            if view.name != target
            and view.name not in spare
            and any(view.needs.get(name, 0.0) > 0 for name in missing)
        ),
        key=lambda candidate: candidate[:2],
    )
    if len(candidates) <= EXACT:
        return _cheapest(candidates, missing)
    return _greedy(candidates, missing)


_Candidate = tuple[float, str, Mapping[str, float]]


def _covers(chosen: list[_Candidate], missing: Mapping[str, float]) -> bool:
    return all(
        sum(needs.get(name, 0.0) for _, _, needs in chosen) + _EPSILON >= amount
        for name, amount in missing.items()
    )


def _cheapest(
    candidates: list[_Candidate], missing: Mapping[str, float]
) -> frozenset[str] | None:
    """
    Depth first through all sets, cheapest candidates first, never further
    into one that costs more than the best that was found.
    """
    if not _covers(candidates, missing):
        return None
    best: list[_Candidate] = candidates
    bestCost = sum(cost for cost, _, _ in candidates)
    chosen: list[_Candidate] = []

    def search(index: int, cost: float) -> None:
        nonlocal best, bestCost
        if _covers(chosen, missing):
            # Cheaper than the best so far, or the search had not come here.
            best, bestCost = list(chosen), cost
            return
        for at in range(index, len(candidates)):
            # They are sorted: no later one is cheaper.
            if cost + candidates[at][0] >= bestCost:
                return
            chosen.append(candidates[at])
            search(at + 1, cost + candidates[at][0])
            chosen.pop()

    search(0, 0.0)
    return frozenset(name for _, name, _ in _needed(best, missing))


def _greedy(
    candidates: list[_Candidate], missing: Mapping[str, float]
) -> frozenset[str] | None:
    """
    Take the cheapest until there is room.
    """
    chosen: list[_Candidate] = []
    for candidate in candidates:
        if _covers(chosen, missing):
            break
        chosen.append(candidate)
    if not _covers(chosen, missing):
        return None
    return frozenset(name for _, name, _ in _needed(chosen, missing))


def _needed(chosen: list[_Candidate], missing: Mapping[str, float]) -> list[_Candidate]:
    """
    Leave out what is not needed, the dearest first.
    """
    kept = list(chosen)
    for candidate in sorted(chosen, key=lambda one: -one[0]):
        rest = [other for other in kept if other is not candidate]
        if _covers(rest, missing):
            kept = rest
    return kept
