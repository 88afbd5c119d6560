# -*- test-case-name: llmux.test.test_testing -*-
"""
Tools for the tests of llmux, and of programs that embed it or bring policies
of their own.

With L{FakeHooks} and L{twisted.internet.task.Clock} the real switcher runs
without a process and without real time::

    clock = Clock()
    hooks = FakeHooks(clock)
    switcher = Switcher(makeConfig("a", "b"), hooks, MyPolicy(), clock)
    switcher.start()
    ready = switcher.acquire("a")
    hooks.finish("a")
    token = self.successResultOf(ready)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from llmux.config import Config, ModelConfig, PolicyConfig, Resource
from llmux.errors import HookFailed
from llmux.interfaces import (
    Event,
    Hook,
    HookCall,
    HookResult,
    IHookRunner,
    IObserver,
)


def makeConfig(
    *names: str,
    policy: PolicyConfig | None = None,
    resources: Mapping[str, Resource | float] | None = None,
    models: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Any,
) -> Config:
    """
    A configuration with models that nobody could really run.  Unless the
    settings say so, they are not asked now and then whether they are alive.

    @param names: the models' names; their ports count up from 8001.
    @param policy: the policy's settings.
    @param resources: what the machine has.
    @param models: settings of single models, by name.
    @param settings: other settings of L{Config}.
    """
    settings.setdefault("alive_interval_secs", 0)
    special = dict(models or {})
    made = {
        name: ModelConfig(
            **{
                "name": name,
                "port": 8001 + index,
                "wake": f"wake {name}",
                "sleep": f"sleep {name}",
                "alive": f"alive {name}",
                **special.get(name, {}),
            }
        )
        for index, name in enumerate([*names, *(n for n in special if n not in names)])
    }
    return Config(
        models=made,
        policy=PolicyConfig(name="fifo") if policy is None else policy,
        resources=dict(resources or {}),
        **settings,
    )


@implementer(IHookRunner)
@define(eq=False)
class FakeHooks:
    """
    Hooks that end when a test says so.

    C{alive} answers at once, according to L{awake}, unless L{slowAlive} is
    set.

    @ivar awake: the models whose servers are up.
    @ivar calls: every hook that was begun, in order.
    @ivar running: the hook of each model that has not ended yet.
    @ivar stopped: the models whose hooks were to be stopped, in order.
    @ivar deaf: models whose hooks do not end when they are stopped; the test
        has to end them.
    """

    clock: IReactorTime
    awake: set[str] = field(factory=set)
    slowAlive: bool = False
    calls: list[HookCall] = field(factory=list, init=False)
    running: dict[str, tuple[HookCall, Deferred[HookResult]]] = field(
        factory=dict, init=False
    )
    stopped: list[str] = field(factory=list, init=False)
    deaf: set[str] = field(factory=set, init=False)

    @property
    def ran(self) -> list[tuple[str, str]]:
        """
        Which models had which hooks run, C{alive} aside, in order.
        """
        return [
            (call.model, call.hook.value)
            for call in self.calls
            if call.hook is not Hook.ALIVE
        ]

    def run(self, call: HookCall) -> Deferred[HookResult]:
        """
        See L{IHookRunner.run}.
        """
        assert call.model not in self.running, f"two hooks at once: {call}"
        self.calls.append(call)
        if call.hook is Hook.ALIVE and not self.slowAlive:
            if call.model in self.awake:
                return succeed(HookResult())
            return fail(HookFailed(call.model, "alive", "exit status 1"))
        result: Deferred[HookResult] = Deferred()
        self.running[call.model] = call, result
        return result

    def stop(self, model: str) -> None:
        """
        See L{IHookRunner.stop}.
        """
        self.stopped.append(model)
        if model in self.running and model not in self.deaf:
            self.fail(model, "stopped")

    def finish(self, model: str, address: str | None = None) -> None:
        """
        Have the running hook of a model succeed.

        @param address: what it wrote to C{LLMUX_OUTPUT}.
        """
        call, result = self.running.pop(model)
        if call.hook is Hook.WAKE:
            self.awake.add(model)
        elif call.hook is Hook.SLEEP:
            self.awake.discard(model)
        result.callback(HookResult(address=address))

    def fail(self, model: str, why: str = "exit status 1") -> None:
        """
        Have the running hook of a model fail.
        """
        call, result = self.running.pop(model)
        result.errback(HookFailed(model, call.hook.value, why))


@implementer(IObserver)
@define(eq=False)
class Recorder:
    """
    An observer that keeps all events.

    @ivar events: what has happened, in order.
    """

    events: list[Event] = field(factory=list, init=False)

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        """
        The events of one class.
        """
        return [event for event in self.events if isinstance(event, kind)]
