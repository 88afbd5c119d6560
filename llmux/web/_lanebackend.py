# -*- test-case-name: llmux.test.test_web_lanebackend -*-
"""
The servers of models, as the lane speaks to them.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from llmux.descriptors import Descriptors
from llmux.web._address import Address
from llmux.web._backend import KEPT, MANY, Backends
from llmux.web._write import isWaiting

if TYPE_CHECKING:
    from llmux.web._lanecall import Call

__all__ = ()


#: How many connections to one server are begun in one turn.  Hundreds of
#: requests may have waited for it to wake: were they all to connect at once,
#: the first would be answered no sooner than the last.
AT_ONCE = 8


class LaneBackends(Backends):
    """
    The servers of all models.
    """

    def _make(
        self, model: str, address: Address, endpoint: IStreamClientEndpoint
    ) -> Any:
        return LaneBackend(model, address, endpoint, self._reactor, self.descriptors)


@define(eq=False)
class LaneBackend:
    """
    The server of one model, and the connections to it that are kept for the
    next requests.

    @ivar model: whose server it is.
    @ivar address: where it is.
    @ivar descriptors: says whether connections are kept.
    """

    model: str
    address: Address
    _endpoint: IStreamClientEndpoint
    _clock: Any
    descriptors: Descriptors
    _kept: deque[Connection] = field(factory=deque, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _wanted: deque[Deferred[Connection]] = field(factory=deque, init=False)
    _begun: int = field(default=0, init=False)

    def take(self) -> Connection | None:
        """
        @return: the connection that was used last, if there is one.
        """
        return self._kept.pop() if self._kept else None

    def connect(self) -> Deferred[Any]:
        """
        @return: fires with a connection that is new, or that is free in the
            meantime; fails with what connecting failed with.
        """
        if self._begun < AT_ONCE:
            return self._connect()
        wanted: Deferred[Connection] = Deferred()
        self._wanted.append(wanted)
        return wanted

    def _connect(self) -> Deferred[Any]:
        if not self._begun:
            self._clock.callLater(0, self._connectMore)
        self._begun += 1
        return self._endpoint.connect(_Connections(self))

    def _connectMore(self) -> None:
        self._begun = 0
        while self._wanted and self._begun < AT_ONCE:
            wanted = self._wanted.popleft()
            if not wanted.called:
                self._connect().addCallbacks(
                    partial(self._give, wanted), partial(_tell, wanted)
                )

    def _give(self, wanted: Deferred[Connection], connection: Connection) -> None:
        if wanted.called:
            # Whoever wanted it has left.
            self.keep(connection)
        else:
            wanted.callback(connection)

    def keep(self, connection: Connection) -> None:
        """
        Keep a connection for the next request, for a short while.
        """
        while self._wanted:
            wanted = self._wanted.popleft()
            if not wanted.called:
                wanted.callback(connection)
                return
        if len(self._kept) >= MANY or self.descriptors.isShort:
            connection.transport.loseConnection()
            return
        connection.since = self._clock.seconds()
        self._kept.append(connection)
        if self._timer is None:
            self._timer = self._clock.callLater(KEPT, self._closeOld)

    def forget(self, connection: Connection) -> None:
        """
        Do not give out a connection any more.
        """
        if connection in self._kept:
            self._kept.remove(connection)

    def close(self) -> None:
        """
        Close the connections that are kept.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._kept:
            self._kept.pop().transport.loseConnection()

    def _closeOld(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        while self._kept and now - self._kept[0].since >= KEPT:
            self._kept.popleft().transport.loseConnection()
        if self._kept:
            due = self._kept[0].since + KEPT - now
            self._timer = self._clock.callLater(due, self._closeOld)


def _tell(wanted: Deferred[Connection], why: Failure) -> None:
    if not wanted.called:
        wanted.errback(why)


class _Connections(Factory):
    # Makes the one connection that is asked for.

    noisy = False

    def __init__(self, backend: LaneBackend) -> None:
        self._backend = backend

    def buildProtocol(self, address: object) -> Connection:
        return Connection(self._backend)


class Connection(Protocol):
    """
    A connection to a model's server.

    @ivar call: what is being asked over it.
    @ivar used: how many requests have been sent over it.
    @ivar since: since when it has been kept.
    """

    transport: Any
    call: Call | None = None
    used = 0
    since = 0.0
    _isPaused = False

    def __init__(self, backend: LaneBackend) -> None:
        self._backend = backend

    def connectionMade(self) -> None:
        """
        Connected.
        """
        self._backend.descriptors.connected()
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """
        Have it read by the call.
        """
        if self.call is not None:
            self.call.received(data)
        else:
            # Nothing was asked.
            self._backend.forget(self)
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is lost.
        """
        self._backend.forget(self)
        self._backend.descriptors.disconnected()
        call, self.call = self.call, None
        if call is not None:
            call.lost(reason)

    def pauseProducing(self) -> None:
        """
        Read nothing for now.
        """
        self._isPaused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Read on.
        """
        self._isPaused = False
        self.transport.resumeProducing()

    def free(self, keeps: bool) -> None:
        """
        Be of use to the next request.

        @param keeps: whether that is possible.
        """
        self.call = None
        transport = self.transport
        if not keeps:
            transport.loseConnection()
        elif isWaiting(transport):
            # The rest of the request is of no use to anyone now.
            transport.abortConnection()
        else:
            if self._isPaused:
                self.resumeProducing()
            self._backend.keep(self)
