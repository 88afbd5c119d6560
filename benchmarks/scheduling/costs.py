"""
What the switcher itself costs: its share of a switch, and a decision when
much is waiting.
"""

from __future__ import annotations

from time import perf_counter

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from llmux.errors import HookFailed
from llmux.interfaces import Hook, HookCall, HookResult, IHookRunner
from llmux.policies.costaware import CostAware
from llmux.switching.inflight import Token
from llmux.switching.switcher import Switcher
from llmux.testing import makeConfig


@implementer(IHookRunner)
class NoHooks:
    """
    Hooks that do nothing, at once.
    """

    def run(self, call: HookCall) -> Deferred[HookResult]:
        """
        See L{IHookRunner.run}.
        """
        if call.hook is Hook.ALIVE:
            return fail(HookFailed(call.model, "alive", "exit status 1"))
        return succeed(HookResult())

    def stop(self, model: str) -> None:
        """
        See L{IHookRunner.stop}.
        """


def switchSeconds(waiters: int = 100, turns: int = 20) -> float:
    """
    @return: the real seconds that a switch takes with hooks that take none:
        from the end of the drain until all who wait are served.
    """
    switcher = Switcher(makeConfig("a", "b"), NoHooks(), CostAware(), Clock())
    switcher.start()
    seconds = []
    for turn in range(turns):
        source, target = ("a", "b") if turn % 2 else ("b", "a")
        held: list[Token] = []
        switcher.acquire(source).addCallback(held.append)
        tokens: list[Token] = []
        for _ in range(waiters):
            switcher.acquire(target).addCallback(tokens.append)
        before = perf_counter()
        held[0].release()
        seconds.append(perf_counter() - before)
        assert len(tokens) == waiters
        for token in tokens:
            token.release()
    return sorted(seconds)[turns // 2]


def decisionSeconds(models: int = 100, waiters: int = 10_000) -> float:
    """
    @return: the real seconds that it takes to take one more request in, and
        to decide what to do about it, when so many wait for so many models.
    """
    names = [f"m{number}" for number in range(models)]
    switcher = Switcher(makeConfig(*names), NoHooks(), CostAware(), Clock())
    switcher.start()
    for _ in range(16):
        switcher.acquire(names[0])
    newest: list[float] = []
    for number in range(waiters):
        before = perf_counter()
        switcher.acquire(names[1 + number % (models - 1)])
        newest.append(perf_counter() - before)
    newest = sorted(newest[-200:])
    return newest[len(newest) // 2]
