"""
One simulation of one set with one policy, as the benchmark runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, log2
from random import Random
from typing import Any

from attrs import evolve

from benchmarks.scheduling.sets import Set
from benchmarks.scheduling.standins import Exhaust, FirstForeign
from llmux.config import PolicyConfig
from llmux.interfaces import ISwitchPolicy
from llmux.policies.costaware import CostAware
from llmux.simulate import Arrival, Report, simulate
from llmux.testing import makeConfig

#: The default policy where clients say how long answers may be.
TOLD = "told"

#: What is compared: the default, and the stand-ins for what others do.
POLICIES: Mapping[str, Callable[[], ISwitchPolicy]] = {
    "cost-aware": CostAware,
    "first-foreign": FirstForeign,
    "exhaust": Exhaust,
}

#: A bound that is never reached, in seconds: the others have none.
NEVER = 1e9

#: Tokens a second that an answer has.
SPEED = 25.0


def announced(trace: Sequence[Arrival], seed: int) -> list[Arrival]:
    """
    @return: the same requests with C{max_tokens}: powers of two, up to eight
        times what they need.
    """
    random = Random(f"announced/{seed}")
    return [
        evolve(
            one,
            maxTokens=2
            ** (ceil(log2(max(1.0, SPEED * one.seconds))) + random.randrange(3)),
        )
        for one in trace
    ]


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
    @param policy: a name in L{POLICIES}, or L{TOLD}.
    @param resources: what the machine has; one place if not given.
    @param needs: what each model needs of it.
    """
    trace = traffic.trace
    if policy == TOLD:
        policy, trace = "cost-aware", announced(trace, seed)
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
        trace,
        traffic.costs,
        POLICIES[policy],
        name=policy,
        seed=seed,
        targetSecs=targetSecs,
        timeline=timeline,
        firstWakeFree=traffic.firstWakeFree,
    )
