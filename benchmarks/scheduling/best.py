"""
The best that could have been done: small cases, solved with knowledge of the
future.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations

from llmux.simulate import Arrival


def leastWait(trace: Sequence[Arrival], cost: float, beforehand: bool = False) -> float:
    """
    The least mean wait of any schedule on one place, found by looking at all
    of them.

    Who makes the schedule knows when each request will come and how long it
    takes, may stay with a model to wait for one, and may keep one waiting
    though its model is awake, so that the drain ends sooner.  No more run at
    once than the server takes at full speed.

    @param trace: ten requests or so.
    @param cost: what a switch takes, in seconds; so does the first wake.
    @param beforehand: whether models may be woken for requests that are still
        to come.  Like llmux it otherwise wakes none that nobody waits for.
    @return: seconds.
    """
    requests = tuple(trace)
    everyone = frozenset(range(len(requests)))

    @cache
    def rest(left: frozenset[int], awake: str, now: float) -> float:
        """
        The least sum of waits for those that are left, from the end of a
        drain on.
        """
        if not left:
            return 0.0
        best = float("inf")
        for model in {requests[index].model for index in left}:
            mine = [index for index in left if requests[index].model == model]
            if model == awake:
                ready = now
            elif beforehand:
                ready = now + cost
            else:
                # Not before somebody waits for it.
                ready = max(now, min(requests[index].at for index in mine)) + cost
            for count in range(1, len(mine) + 1):
                for chosen in combinations(mine, count):
                    waits = 0.0
                    end = ready
                    for index in chosen:
                        start = max(ready, requests[index].at)
                        waits += start - requests[index].at
                        end = max(end, start + requests[index].seconds)
                    if waits >= best:
                        continue
                    found = waits + rest(left - frozenset(chosen), model, end)
                    best = min(best, found)
        return best

    return rest(everyone, "", 0.0) / len(requests)
