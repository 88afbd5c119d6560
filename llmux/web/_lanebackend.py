# -*- test-case-name: llmux.test.test_lane -*-
"""
The servers of models, as the lane speaks to them.
"""

from __future__ import annotations

from collections import deque
from typing import Any
from typing import Protocol as Duck

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from llmux.web._address import Address
from llmux.web._backend import KEPT, MANY, Backends, Unreachable
from llmux.web._chunks import Chunks, chunked
from llmux.web._errors import BackendError
from llmux.web._heads import BadResponse, ResponseHead, readResponse
from llmux.web._write import isWaiting, write

__all__ = ()


class LaneBackends(Backends):
    """
    The servers of all models.
    """

    def _make(
        self, model: str, address: Address, endpoint: IStreamClientEndpoint
    ) -> Any:
        return LaneBackend(model, address, endpoint, self._reactor)


@define(eq=False)
class LaneBackend:
    """
    The server of one model, and the connections to it that are kept for the
    next requests.

    @ivar model: whose server it is.
    @ivar address: where it is.
    """

    model: str
    address: Address
    _endpoint: IStreamClientEndpoint
    _clock: Any
    _kept: deque[Connection] = field(factory=deque, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def take(self) -> Connection | None:
        """
        @return: the connection that was used last, if there is one.
        """
        return self._kept.pop() if self._kept else None

    def connect(self) -> Deferred[Any]:
        """
        @return: fires with a new connection; fails with what connecting
            failed with.
        """
        return self._endpoint.connect(Factory.forProtocol(lambda: Connection(self)))

    def keep(self, connection: Connection) -> None:
        """
        Keep a connection for the next request, for a short while.
        """
        if len(self._kept) >= MANY:
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


class IAsker(Duck):
    """
    Who wants an answer.
    """

    def answered(
        self, head: ResponseHead, length: int | None, data: bytes, isWhole: bool
    ) -> None:
        """
        The head of the response is here.

        @param length: the length of the body, if it is known; else it is
            chunked.  See L{exchange._lengthOf}.
        @param data: what there is of the body, framed.
        @param isWhole: whether that is all of it.
        """

    def more(self, data: bytes, isWhole: bool) -> None:
        """
        More of the body is here.
        """

    def broken(self) -> None:
        """
        The rest of the body is not going to come.
        """

    def failed(self, error: BackendError | Unreachable) -> None:
        """
        No response is going to come.
        """


class Call:
    """
    One request to a model's server, and the response.

    @ivar connection: the connection, while it is the call's.
    """

    connection: Connection | None = None
    _connecting: Deferred[Any] | None = None
    _mayRetry = True
    _isHeard = False
    _before = b""
    _head: ResponseHead | None = None
    _chunks: Chunks | None = None
    _left: int | None = None

    def __init__(
        self, backend: LaneBackend, isHead: bool, request: bytes, asker: IAsker
    ) -> None:
        """
        @param isHead: whether the method is C{HEAD}.
        @param request: all of the request.
        """
        self._backend = backend
        self._isHead = isHead
        self._request = request
        self._asker = asker

    def send(self) -> None:
        """
        Send it, over a connection that was kept or a new one.
        """
        connection = self._backend.take()
        if connection is not None:
            self._write(connection)
        else:
            self._connecting = connecting = self._backend.connect()
            connecting.addCallbacks(self._connected, self._notConnected)

    def abort(self) -> None:
        """
        Have no more to do with it.
        """
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.call = None
            connection.transport.abortConnection()

    def _connected(self, connection: Connection) -> None:
        self._connecting = None
        self._write(connection)

    def _notConnected(self, why: Failure) -> None:
        if self._connecting is not None:
            self._connecting = None
            self._asker.failed(Unreachable())

    def _write(self, connection: Connection) -> None:
        self.connection = connection
        connection.call = self
        connection.used += 1
        write(connection.transport, self._request)

    # What the connection says.

    def received(self, data: bytes) -> None:
        """
        Read a part of the response.
        """
        head = self._head
        if head is not None:
            self._body(data)
            return
        self._isHeard = True
        if self._before:
            data = self._before + data
        try:
            head = readResponse(data)
        except BadResponse as error:
            self._fail(str(error))
            return
        if head is None:
            self._before = data
            return
        self._head = head
        self._before = self._request = b""
        self._begin(head, data[head.size :])

    def lost(self, reason: Failure) -> None:
        """
        The connection is lost.
        """
        connection, self.connection = self.connection, None
        head = self._head
        if head is None:
            isStale = connection is not None and connection.used > 1
            if isStale and not self._isHeard and self._mayRetry:
                # The server closed it before it saw the request.  The others
                # that were kept are hardly better.
                self._mayRetry = False
                self._backend.close()
                self.send()
            elif self._isHeard:
                self._fail("broke off in the head of its answer, or it was not HTTP")
            else:
                self._fail("closed the connection before it answered")
        elif (
            self._chunks is None and self._left is None and reason.check(ConnectionDone)
        ):
            # That is how such a body ends.
            self._asker.more(b"0\r\n\r\n", True)
        else:
            self._asker.broken()

    def _fail(self, why: str) -> None:
        self._asker.failed(BackendError(self._backend.model, why))

    # The body.

    def _begin(self, head: ResponseHead, data: bytes) -> None:
        length = head.length
        if self._isHead or head.status in (204, 304):
            self._left = 0
            self._free(not data)
            # A length that was not said is not made up.
            self._asker.answered(head, length if self._isHead else None, b"", True)
            return
        if head.isChunked:
            self._chunks = Chunks()
            length = None
        else:
            self._left = length
        framed, isWhole = self._framed(data) if data or length == 0 else (b"", False)
        self._asker.answered(head, length, framed, isWhole)
        if self._chunks is not None and self._chunks.broken:
            self._asker.broken()

    def _body(self, data: bytes) -> None:
        framed, isWhole = self._framed(data)
        if framed or isWhole:
            self._asker.more(framed, isWhole)
        if self._chunks is not None and self._chunks.broken:
            self._asker.broken()

    def _framed(self, data: bytes) -> tuple[bytes, bool]:
        # As the client is to get it, and whether that is the end.
        chunks, left = self._chunks, self._left
        if chunks is not None:
            framed = chunks.feed(data)
            if chunks.done:
                self._free(not chunks.excess)
            return framed, chunks.done
        if left is None:
            return chunked(data), False
        size = len(data)
        if size < left:
            self._left = left - size
            return data, False
        self._left = 0
        self._free(size == left)
        return data[:left], True

    def _free(self, keeps: bool) -> None:
        connection, self.connection = self.connection, None
        assert connection is not None and self._head is not None
        connection.free(keeps and self._head.keeps)
