# -*- test-case-name: llmux.test.test_hooks_shell -*-
"""
Hooks that wait until there are file descriptors for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from llmux.descriptors import Descriptors
from llmux.errors import HookFailed, Overloaded
from llmux.interfaces import HookCall, HookResult

__all__ = ()

#: How many file descriptors it takes to start a hook, with some to spare.
DESCRIPTORS = 8

#: Seconds that a hook waits for them.
PATIENCE = 30.0


@define(eq=False)
class Delays:
    """
    The hooks that wait, one for each model at most.
    """

    _descriptors: Descriptors
    _clock: IReactorTime
    _settled: Callable[[], None]
    _waits: dict[str, Deferred[None]] = field(factory=dict, init=False)

    def __contains__(self, model: str) -> bool:
        return model in self._waits

    def __bool__(self) -> bool:
        return bool(self._waits)

    def later(
        self,
        call: HookCall,
        go: Callable[[], HookResult | Deferred[HookResult]],
        until: float,
        count: int = DESCRIPTORS,
    ) -> Deferred[HookResult]:
        """
        Go on when there are descriptors.

        @param until: by when there have to be.
        @param count: how many.
        @return: fires with what comes of going on; fails with L{HookFailed},
            too, if it does not come to that.
        """

        def over(result: Any) -> Any:
            del self._waits[call.model]
            self._settled()
            return result

        def failed(why: Failure) -> HookResult:
            if why.check(CancelledError):
                raise HookFailed(call.model, call.hook.value, "stopped")
            why.trap(Overloaded)
            raise HookFailed(
                call.model, call.hook.value, "there were no file descriptors for it"
            )

        left = max(0.0, until - self._clock.seconds())
        wait = self._waits[call.model] = self._descriptors.wait(count, left)
        going: Deferred[Any] = wait.addBoth(over)
        return going.addCallbacks(lambda _: go(), failed)

    def stop(self, model: str) -> None:
        """
        Have the hook of a model not wait any more, if it does: it has failed.
        """
        if model in self._waits:
            self._waits[model].cancel()

    def stopAll(self) -> None:
        """
        The same, for all.
        """
        for model in tuple(self._waits):
            self.stop(model)
