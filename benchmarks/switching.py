"""
What the switcher itself costs: C{python -m benchmarks.switching}.

Hooks take no time at all here, so all time is the switcher's: for a switch
with many waiters, for a decision in a large machine room, and for a request to
a model that is awake.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from math import inf
from statistics import median
from time import perf_counter

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from llmux.config import Config, PolicyConfig
from llmux.errors import HookFailed
from llmux.interfaces import Hook, HookCall, HookResult, IHookRunner
from llmux.observe.metrics import Metrics
from llmux.policies import find
from llmux.switching.inflight import Token
from llmux.switching.switcher import Switcher
from llmux.testing import makeConfig

#: What is allowed, in milliseconds.
LIMITS = {"switch": 5.0, "decision": 1.0}


@implementer(IHookRunner)
class NoHooks:
    """
    Hooks that have succeeded before they began; everything is asleep at first.
    """

    def run(self, call: HookCall) -> Deferred[HookResult]:
        """
        See L{IHookRunner.run}.
        """
        if call.hook is Hook.ALIVE:
            failed: Deferred[HookResult] = Deferred()
            failed.errback(HookFailed(call.model, "alive", "exit status 1"))
            return failed
        return succeed(HookResult())

    def stop(self, model: str) -> None:
        """
        See L{IHookRunner.stop}.
        """


def switcherFor(config: Config, policy: str) -> tuple[Switcher, Clock]:
    """
    A switcher that has started.
    """
    clock = Clock()
    switcher = Switcher(config, NoHooks(), find(policy)(), clock)
    switcher.addObserver(Metrics(config.models, switcher.costs))
    switcher.start()
    return switcher, clock


def timeSwitch(policy: str, waiters: int) -> float:
    """
    From the release of the last token of one model until all who wait for
    another have theirs.

    @return: milliseconds.
    """
    config = makeConfig("a", "b", policy=PolicyConfig(name=policy, min_active_secs=0))
    switcher, clock = switcherFor(config, policy)
    held: list[Token] = []
    switcher.acquire("a").addCallback(held.append)
    (first,) = held
    granted: list[Token] = []
    for _ in range(waiters):
        switcher.acquire("b").addCallback(granted.append)
    begun = perf_counter()
    first.release()
    taken = (perf_counter() - begun) * 1000
    # A policy may wait for a better moment; that costs nobody any work.
    clock.pump([1.0] * 200)
    assert len(granted) == waiters, len(granted)
    return taken


def timeDecision(policy: str, models: int, waiters: int) -> float:
    """
    One arrival more, where a decision has to be made about all of them.

    @return: milliseconds for each.
    """
    config = makeConfig(
        *(f"m{number}" for number in range(models)),
        policy=PolicyConfig(name=policy, max_wait_secs=None, min_active_secs=1e6),
    )
    switcher, clock = switcherFor(config, policy)
    switcher.acquire("m0")
    for number in range(waiters):
        switcher.acquire(f"m{1 + number % (models - 1)}")
        if number % 100 == 0:
            clock.advance(0.01)
    rounds = 50
    begun = perf_counter()
    for number in range(rounds):
        switcher.acquire(f"m{1 + number % (models - 1)}")
    return (perf_counter() - begun) * 1000 / rounds


def timeGrant(policy: str) -> float:
    """
    A token for a model that is awake, taken and given back.

    @return: milliseconds for each.
    """
    switcher, _ = switcherFor(
        makeConfig("a", "b", policy=PolicyConfig(name=policy)), policy
    )
    switcher.acquire("a")
    rounds = 20_000
    begun = perf_counter()
    for _ in range(rounds):
        token = switcher.grant("a")
        assert token is not None
        token.release()
    return (perf_counter() - begun) * 1000 / rounds


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Print the figures.

    @return: the exit status: 0 if all are within their limits.
    """
    parser = argparse.ArgumentParser("benchmarks.switching", description=__doc__)
    parser.add_argument("--policy", default="cost-aware")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--waiters", type=int, default=100)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--queue", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)

    def measured(measure: Callable[[], float]) -> float:
        return median(measure() for _ in range(options.rounds))

    policy = options.policy
    figures = {
        "switch": measured(lambda: timeSwitch(policy, options.waiters)),
        "decision": measured(
            lambda: timeDecision(policy, options.models, options.queue)
        ),
        "grant": measured(lambda: timeGrant(policy)),
    }
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"policy {policy}, medians of {options.rounds}, milliseconds")
        for name, what in (
            ("switch", f"a switch, {options.waiters} waiters"),
            ("decision", f"a decision, {options.models} models, {options.queue} wait"),
            ("grant", "a token taken and given back"),
        ):
            verdict = "MISS" if figures[name] > LIMITS.get(name, inf) else "ok"
            most = f"at most {LIMITS[name]:g}" if name in LIMITS else ""
            print(f"{verdict:4} {what + ':':45} {figures[name]:8.4f}  {most}".rstrip())
    return int(any(figures[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
