# -*- test-case-name: llmux.test.test_together -*-
"""
Models that have nothing in common: none of them waits for another, nor for
another's hooks.
"""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llmux.config import PolicyConfig
from llmux.interfaces import (
    Event,
    Hook,
    HookCall,
    HookResult,
    RequestGranted,
    StateChanged,
)
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.inflight import Token
from llmux.switching.switcher import Switcher
from llmux.testing import FakeHooks, Recorder, makeConfig

#: Two models that take turns on one card, and two on another.
NEEDS = {"a": "gpu0", "b": "gpu0", "c": "gpu1", "d": "gpu1"}


class TimedHooks(FakeHooks):
    """
    Hooks that take their time, which is another for each model.
    """

    def run(self, call: HookCall) -> Deferred[HookResult]:
        """
        See L{llmux.interfaces.IHookRunner.run}.
        """
        result = super().run(call)
        if call.hook is not Hook.ALIVE:
            seconds = {"a": 3.0, "b": 5.5, "c": 40.0, "d": 7.25}[call.model]
            self.clock.callLater(seconds, self.finish, call.model)
        return result


class TogetherTests(SynchronousTestCase):
    """
    Traffic on one card, with and without traffic on another.
    """

    def events(self, seed: str, groups: str) -> list[Event]:
        """
        What happens to those on the first card.

        @param groups: for which models there is traffic.
        """
        clock = Clock()
        hooks = TimedHooks(clock)
        recorder = Recorder()
        switcher = Switcher(
            makeConfig(
                policy=PolicyConfig(
                    name="fifo", max_wait_secs=20, drain_timeout_secs=15
                ),
                resources={"gpu0": 1, "gpu1": 1},
                models={
                    name: {
                        "needs": {card: 1},
                        "max_in_flight": 2,
                        "ttl_secs": 30,
                        "priority": 100 if card == "gpu1" else 0,
                    }
                    for name, card in NEEDS.items()
                },
            ),
            hooks,
            FirstComeFirstServed(),
            clock,
            [recorder],
        )
        switcher.start()

        def granted(token: Token, seconds: float) -> None:
            token.answered()
            clock.callLater(seconds, token.release)

        # In quarters of a second, so that time goes by in the same steps.
        random = Random(seed)
        arrivals = [
            (random.randrange(1200) / 4, random.choice("abcd"), random.uniform(0.1, 20))
            for _ in range(120)
        ]
        for at, model, seconds in sorted(arrivals):
            if model in groups:
                clock.pump([0.25] * int((at - clock.seconds()) * 4))
                ready = switcher.acquire(model)
                ready.addCallback(granted, seconds)
        clock.pump([0.25] * 4000)
        # What is cut together is so in no order.
        kinds = (StateChanged, RequestGranted)
        return [
            event
            for event in recorder.events
            if isinstance(event, kinds) and NEEDS[event.model] == "gpu0"
        ]

    def test_independent(self) -> None:
        """
        To those on one card everything happens as if the other card were not
        there, however slow, busy and urgent those on the other are.
        """
        for seed in ("one", "two", "three"):
            alone = self.events(seed, "ab")
            beside = self.events(seed, "abcd")
            self.assertGreater(len(alone), 100)
            self.assertEqual(alone, beside)
