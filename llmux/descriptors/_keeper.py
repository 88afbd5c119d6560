# -*- test-case-name: llmux.test.test_descriptors -*-
"""
Sees to it that descriptors are left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import nsmallest
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from llmux.descriptors._files import OpenFiles
from llmux.descriptors._socket import PatientSocket
from llmux.errors import Overloaded
from llmux.pace import boundAccepts

__all__ = ()

#: How many descriptors clients leave to all else, where there are few.  To
#: start a hook takes six, and while it runs it holds two.
RESERVE = 24

#: How many they leave at most.
LARGEST_RESERVE = 256

#: For how many clients that ask nothing a descriptor is kept for a connection
#: to a server, where there are not four times as many descriptors: so many do
#: not ask at once, and if they do, the last of them wait.
PROMISED = 4096

#: How many one client and one hook take, and so how many there have to be for
#: one client if nobody else is there.
FEWEST = 8

#: Seconds after a shortage was met until the next look, which is enough for
#: what has been closed to be gone.
SOON = 0.02

#: Seconds from one look to the next while there is a shortage.
EVERY = 0.25

#: Seconds without one after which it is over.
CALM = 5.0

#: Seconds that a client is let be that has just come or been answered: its
#: next request may be on its way.
YOUNG = 1.0

#: How many idle clients are closed in one look at most.
AT_ONCE = 32

#: Seconds that is waited for a descriptor.
PATIENCE = 10.0


class IClosable(Protocol):
    """
    The connection of a client.
    """

    def idleSince(self) -> float | None:
        """
        @return: since when nothing has been asked, or L{None} if something is.
        """

    def leave(self) -> bool:
        """
        Close it, unless something comes just now.

        @return: whether it is closed.
        """


@define
class _Wait:
    """
    Somebody who has met the shortage.
    """

    count: int
    over: Deferred[None]


@define(eq=False)
class Descriptors:
    """
    Sees to it that descriptors are left.

    @ivar clients: the connections of clients, each an L{IClosable}.
    @ivar servers: how many connections to models' servers there are.
    @ivar isShort: whether there are so few that connections are not kept.
    @ivar closers: close the connections to models' servers that wait for a
        request.
    """

    log: ClassVar = Logger()

    _clock: IReactorTime
    _system: Any = field(factory=OpenFiles)
    clients: set[IClosable] = field(factory=set, init=False)
    servers: int = field(default=0, init=False)
    isShort: bool = field(default=False, init=False)
    closers: list[Callable[[], None]] = field(factory=list, init=False)
    _held: list[Any] = field(factory=list, init=False)
    _waits: deque[_Wait] = field(factory=deque, init=False)
    _isMet: bool = field(default=False, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _last: float = field(default=0.0, init=False)
    _closed: float = field(default=float("-inf"), init=False)

    # Clients that come.

    def room(self) -> int:
        """
        @return: how many more clients can be let in and served.
        """
        clients, servers = len(self.clients), self.servers
        left, limit = self._system.spare(clients + servers)
        # Each client has, or has to be able to get, a connection to a server.
        owed = min(max(0, clients - servers), max(PROMISED, limit // 4))
        most: int = left - _reserve(limit) - owed
        if most < 2 and not clients and left >= FEWEST:
            return 1
        return max(0, most // 2)

    def guard(self, port: Any) -> None:
        """
        Have a port accept no more than there is room for.

        @param port: a listening port; any but Twisted's own stay as they are.
        """
        if boundAccepts(port, partial(self.roomAt, port)):
            port.socket = PatientSocket(port.socket, partial(self.hold, port))

    def roomAt(self, port: Any) -> int:
        """
        The same, for those who come to a port: if there is none, it is held
        until there is.
        """
        room = self.room()
        if room < 1:
            self.hold(port)
        return room

    def hold(self, port: Any) -> None:
        """
        Accept nobody at a port until there is room.
        """
        if port not in self._held:
            port.stopReading()
            self._held.append(port)
            self._closeKept()
            self._lookIn(SOON)

    def forget(self, port: Any) -> None:
        """
        Have no more to do with a port: it is being closed.
        """
        if port in self._held:
            self._held.remove(port)

    # What is opened and closed.

    def came(self, client: IClosable) -> None:
        """
        A client is connected.
        """
        self.clients.add(client)

    def gone(self, client: IClosable) -> None:
        """
        It is not any more.
        """
        self.clients.discard(client)
        if self._timer is not None:
            self._lookIn(0)

    def connected(self) -> None:
        """
        There is another connection to a model's server.
        """
        self.servers += 1

    def disconnected(self) -> None:
        """
        There is one less.
        """
        self.servers -= 1
        if self._timer is not None:
            self._lookIn(0)

    # Those who met it.

    def met(self) -> None:
        """
        There was no descriptor for something.
        """
        self._isMet = True
        self._closeKept()
        self._lookIn(SOON)

    def wait(self, count: int = 1, patience: float = PATIENCE) -> Deferred[None]:
        """
        Wait for descriptors, after all who do so already.

        @param count: how many.
        @param patience: for how many seconds.
        @return: fires when there are that many; fails with L{Overloaded}.
            It can be cancelled.
        """
        over: Deferred[None] = Deferred()
        waiting = _Wait(count, over)
        self._waits.append(waiting)
        self.met()

        def forget(result: Any) -> Any:
            if waiting in self._waits:
                self._waits.remove(waiting)
            return result

        def tooLong(result: Any, seconds: float) -> Any:
            raise Overloaded()

        return over.addTimeout(patience, self._clock, tooLong).addBoth(forget)

    def close(self) -> None:
        """
        Look no more.
        """
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # To look.

    def _lookIn(self, seconds: float) -> None:
        due = self._clock.seconds() + seconds
        if self._timer is not None:
            if self._timer.getTime() <= due:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        self._serve()
        if self._held and self.room():
            held, self._held = self._held, []
            for port in held:
                port.startReading()
        if self._held or self._waits or self._isMet:
            self._isMet = False
            self._last = now
            self._begin()
            self._closeKept()
            if now - self._closed >= EVERY / 2:
                self._closed = now
                self._closeIdle(now)
        elif self.isShort and now - self._last >= CALM:
            self.isShort = False
            self.log.info(
                "There are enough file descriptors again.", event="descriptors_enough"
            )
        if self.isShort:
            self._lookIn(EVERY)

    def _serve(self) -> None:
        waits = self._waits
        if not waits:
            return
        left, _ = self._system.spare(len(self.clients) + self.servers)
        # Those who meet it again at once wait for the next look.
        for _ in range(len(waits)):
            if not waits or waits[0].count > left:
                break
            waiting = waits.popleft()
            left -= waiting.count
            waiting.over.callback(None)

    def _begin(self) -> None:
        if self.isShort:
            return
        self.isShort = True
        clients = len(self.clients)
        _, limit = self._system.spare(clients + self.servers)
        self.log.warn(
            "There are hardly any of the {limit} file descriptors left, with "
            "{clients} clients connected. Idle ones are closed, and new ones wait "
            "until others have left. Raise the limit where llmux is started, by "
            "ulimit -n or LimitNOFILE=.",
            event="descriptors_short",
            limit=limit,
            clients=clients,
        )

    def _closeKept(self) -> None:
        for close in self.closers:
            close()

    def _closeIdle(self, now: float) -> None:
        idle = []
        for client in self.clients:
            since = client.idleSince()
            if since is not None and since <= now - YOUNG:
                idle.append((since, id(client), client))
        for _, _, client in nsmallest(AT_ONCE, idle):
            client.leave()


def _reserve(limit: int) -> int:
    """
    How many descriptors clients leave to all else.
    """
    return min(max(RESERVE, limit // 16), LARGEST_RESERVE, limit // 4)
