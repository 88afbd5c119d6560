"""
What is done to llmux, to its models' servers and to its hooks.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

from attrs import define, field

from chaos.server import now
from chaos.stage import Stage

#: The longest that a fault lasts, in seconds.
LONGEST = 4.0


@define(eq=False)
class Torment:
    """
    Something that was done.

    @ivar what: what.
    @ivar model: whose it was; empty if it was llmux's.
    @ivar ended: when it was undone.
    """

    what: str
    model: str
    began: float = field(factory=now)
    ended: float = float("inf")


class Tormentor:
    """
    Does one thing after the other, chosen by a seed.

    @ivar done: all that was done.
    @ivar statuses: the exit statuses of llmux.
    """

    def __init__(self, stage: Stage, seed: str, every: float) -> None:
        """
        @param every: how many seconds there are between two torments.
        """
        self.stage = stage
        self.done: list[Torment] = []
        self.statuses: list[int] = []
        self.stopping = False
        self._random = Random(f"{seed}-torments")
        self._every = every
        self._busy: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """
        Torment, until stopped, and undo it all.
        """
        while not self.stopping:
            kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
            model = self._random.choice([*self.stage.models])
            number = self._random.random()
            who = "" if kind in GLOBAL else model
            await asyncio.sleep(self._every * (0.5 + self._random.random()))
            # Nothing while llmux starts: what comes of that says nothing.
            if self.stopping or who in self._busy or "" in self._busy:
                continue
            if who == "" and self._busy and kind == "restart":
                continue
            self._busy.add(who)
            task = asyncio.ensure_future(self._do(kind, who, number))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if self._running:
            await asyncio.wait(set(self._running))
        for one in self._running:
            one.result()

    async def _do(self, kind: str, model: str, number: float) -> None:
        torment = Torment(kind, model)
        self.done.append(torment)
        try:
            await TORMENTS[kind](self, model, number)
        finally:
            torment.ended = now()
            self._busy.discard(model)

    # Servers.

    async def kill(self, model: str, number: float) -> None:
        """
        A server dies.
        """
        pid = self.stage.serverOf(model)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    async def freeze(self, model: str, number: float) -> None:
        """
        A server hangs for a while.
        """
        pid = self.stage.serverOf(model)
        if pid is None:
            return
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(LONGEST * number)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    # Hooks.

    async def _hook(self, model: str, hook: str, what: str, number: float) -> None:
        self.stage.fault(model, hook, what)
        await asyncio.sleep(LONGEST * number)
        self.stage.fault(model, hook, None)

    async def hook(self, model: str, number: float) -> None:
        """
        A hook goes wrong in one way or the other.
        """
        hooks = ("wake", "sleep", "alive")
        faults = ("fail", "late", "hang", "stubborn", "daemon", "flood")
        number, hook = number * len(hooks) % 1, hooks[int(number * len(hooks))]
        number, what = number * len(faults) % 1, faults[int(number * len(faults))]
        self.done[-1].what = f"{hook} {what}"
        await self._hook(model, hook, what, number)

    # llmux.

    async def restart(self, model: str, number: float) -> None:
        """
        llmux is stopped and started again, and adopts what is awake.
        """
        self.statuses.append(await self.stage.stop())
        self.stage.lane = not self.stage.lane
        await self.stage.start()

    async def reload(self, model: str, number: float) -> None:
        """
        llmux is to go by another file, which is good, or is none at all.
        """
        self.stage.reload(int(number * 100))
        await asyncio.sleep(1)
        self.stage.reload(None)

    async def disk(self, model: str, number: float) -> None:
        """
        No file can grow: not that of a large body, and not the log.
        """
        self.stage.limit(resource.RLIMIT_FSIZE, 65536)
        await asyncio.sleep(LONGEST * number)
        self.stage.limit(resource.RLIMIT_FSIZE, None)

    async def descriptors(self, model: str, number: float) -> None:
        """
        There are hardly any file descriptors left, or none, or fewer may be
        open than are.
        """
        self.stage.limit(
            resource.RLIMIT_NOFILE, self.stage.descriptors() + int(number * 16) - 8
        )
        await asyncio.sleep(LONGEST * number)
        self.stage.limit(resource.RLIMIT_NOFILE, None)


TORMENTS: dict[str, Callable[[Tormentor, str, float], Awaitable[None]]] = {
    "kill": Tormentor.kill,
    "freeze": Tormentor.freeze,
    "hook": Tormentor.hook,
    "restart": Tormentor.restart,
    "reload": Tormentor.reload,
    "disk": Tormentor.disk,
    "descriptors": Tormentor.descriptors,
}

#: How often each comes.
KINDS = {
    "kill": 4,
    "freeze": 3,
    "hook": 8,
    "restart": 1,
    "reload": 2,
    "disk": 1,
    "descriptors": 1,
}

#: Those that concern all of llmux.
GLOBAL = frozenset({"restart", "reload", "disk", "descriptors"})
