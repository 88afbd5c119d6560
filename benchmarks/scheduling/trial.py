"""
One simulation of one set with one policy, as the benchmark runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.scheduling.sets import Set
from benchmarks.scheduling.standins import Exhaust, FirstForeign
from llmux.config import PolicyConfig
from llmux.interfaces import ISwitchPolicy
from llmux.policies.costaware import CostAware
from llmux.simulate import Report, simulate
from llmux.testing import makeConfig

#: What is compared: the default, and the stand-ins for what others do.
POLICIES: Mapping[str, Callable[[], ISwitchPolicy]] = {
    "cost-aware": CostAware,
    "first-foreign": FirstForeign,
    "exhaust": Exhaust,
}

#: A bound that is never reached, in seconds: the others have none.
NEVER = 1e9


def run(
    traffic: Set,
    policy: str,
    *,
    seed: int = 0,
    targetSecs: float | None = None,
    resources: Mapping[str, float] | None = None,
    needs: Mapping[str, Mapping[str, float]] | None = None,
    timeline: bool = False,
) -> Report:
    """
    @param policy: a name in L{POLICIES}.
    @param resources: what the machine has; one place if not given.
    @param needs: what each model needs of it.
    """
    bound = traffic.maxWait if policy == "cost-aware" else NEVER
    settings: dict[str, Any] = {
        model: {"needs": (needs or {}).get(model)} for model in traffic.costs
    }
    config = makeConfig(
        policy=PolicyConfig(max_wait_secs=bound),
        resources=resources,
        models=settings,
    )
    return simulate(
        config,
        traffic.trace,
        traffic.costs,
        POLICIES[policy],
        name=policy,
        seed=seed,
        targetSecs=targetSecs,
        timeline=timeline,
        firstWakeFree=traffic.firstWakeFree,
    )
