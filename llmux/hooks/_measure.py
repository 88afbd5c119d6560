# -*- test-case-name: llmux.test.test_hooks_measure -*-
"""
What has to be free before a model is woken, where a command can tell: drivers
give memory back some time after the process that held it has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from llmux.config import Config, ModelConfig, Resource
from llmux.hooks._process import HookProcess

__all__ = ["LONGEST", "Measure", "Printed", "wanted"]

#: Seconds between the end of one look and the next.
INTERVAL = 1.0

#: Seconds that a command may take.
LONGEST = 10.0

#: Bytes that are kept of what it prints.
KEPT = 1000

#: Tolerance of amounts.
_EPSILON = 1e-9


class Printed:
    """
    What a command prints on its standard output.
    """

    def __init__(self) -> None:
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        """
        Take what was read.
        """
        self._data = (self._data + data)[: KEPT + 1]

    def flush(self) -> None:
        """
        There will be no more.
        """

    def number(self) -> float | None:
        """
        The number that was printed, if it was one and nothing else.
        """
        try:
            value = float(self._data)
        except ValueError:
            return None
        return value if isfinite(value) else None


def wanted(config: Config, model: ModelConfig) -> list[tuple[Resource, float]]:
    """
    What has to be measured before a model is woken, and how much of it has to
    be free.
    """
    needs = config.totals if model.needs is None else model.needs
    return [
        (resource, needs[name])
        for name, resource in config.resources.items()
        if resource.free_command is not None and needs.get(name, 0.0) > 0
    ]


class Measure:
    """
    Looks, one resource after the other and again and again, until what is
    wanted is free.

    @ivar done: fires when that is over: with the empty string if everything
        is free, or with a few words that say why not.
    @ivar process: the command that runs, if one does.
    """

    process: HookProcess | None = None

    def __init__(
        self,
        clock: IReactorTime,
        start: Callable[[Resource, Printed], HookProcess],
        wanted: Sequence[tuple[Resource, float]],
    ) -> None:
        """
        @param start: runs the command of a resource; may raise what
            C{spawnProcess} raises.
        """
        self.done: Deferred[str] = Deferred()
        self._clock = clock
        self._start = start
        self._left = list(wanted)
        self._timer: IDelayedCall | None = None
        self._ended = ""
        self._began = clock.seconds()
        self._look()

    def end(self, why: str) -> None:
        """
        Look no more.

        @param why: why, in a few words.
        """
        self._ended = self._ended or why
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._over(self._ended)
        elif self.process is not None:
            self.process.end(why)

    def kill(self) -> None:
        """
        The same, at once.
        """
        self.end("killed")
        if self.process is not None:
            self.process.kill()

    def _look(self) -> None:
        self._timer = None
        resource, _ = self._left[0]
        printed = Printed()
        try:
            process = self._start(resource, printed)
        except (OSError, TypeError, ValueError):
            self._saw("its free_command could not be started", None)
            return
        self.process = process
        process.finished.addCallback(self._looked, process, printed)

    def _looked(self, why: str, process: HookProcess, printed: Printed) -> None:
        self.process = None
        if process.isOpen:
            process.closePipes()
        if self._ended:
            self._over(self._ended)
        elif why:
            self._saw(f"its free_command failed: {why}", None)
        else:
            free = printed.number()
            if free is None:
                self._saw("its free_command did not print one number", None)
            else:
                self._saw(f"{free:g} is free", free)

    def _saw(self, seen: str, free: float | None) -> None:
        resource, amount = self._left[0]
        if free is not None and free + _EPSILON >= amount:
            del self._left[0]
            if self._left:
                self._began = self._clock.seconds()
                self._look()
            else:
                self._over("")
            return
        waited = self._clock.seconds() - self._began
        left = resource.free_timeout_secs - waited
        if left <= 0:
            self._over(
                f"{amount:g} of {resource.name} is needed, and after "
                f"{waited:.0f} s {seen}"
            )
            return
        self._timer = self._clock.callLater(min(INTERVAL, left), self._look)

    def _over(self, why: str) -> None:
        if not self.done.called:
            self.done.callback(why)
