# -*- test-case-name: llmux.test.test_web_lanecall -*-
"""
A request of the lane to a model's server, and the response.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from llmux.errors import Overloaded
from llmux.web._backend import Unreachable
from llmux.web._chunks import Chunks, chunked
from llmux.web._errors import BackendError
from llmux.web._heads import BadResponse, ResponseHead, readResponse
from llmux.web._lanebackend import Connection, LaneBackend
from llmux.web._write import write

__all__ = ()


class IAsker(Protocol):
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
        @param data: what there is of the body, as L{Call.isFramed} says.
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

    def failed(self, error: BackendError | Overloaded | Unreachable) -> None:
        """
        No response is going to come.
        """


class Call:
    """
    One request to a model's server, and the response.

    @ivar connection: the connection, while it is the call's.
    @ivar isFramed: whether what is given of the body is framed: in chunks, if
        no length is said.
    """

    connection: Connection | None = None
    _connecting: Deferred[Any] | None = None
    _mayRetry = True
    _isHeard = False
    _before = b""
    _head: ResponseHead | None = None
    _chunks: Chunks | None = None
    _left: int | None = None
    _plainSize = 0

    def __init__(
        self,
        backend: LaneBackend,
        isHead: bool,
        request: bytes,
        asker: IAsker,
        isFramed: bool = True,
    ) -> None:
        """
        @param isHead: whether the method is C{HEAD}.
        @param request: all of the request.
        """
        self._backend = backend
        self._isHead = isHead
        self._request = request
        self._asker = asker
        self.isFramed = isFramed

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
            error = why.value
            self._asker.failed(
                error if isinstance(error, Overloaded) else Unreachable()
            )

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
            read = readResponse(data)
        except BadResponse as error:
            self._fail(str(error))
            return
        if read is None:
            self._before = data
            return
        self._head, size, length = read
        self._before = self._request = b""
        self._begin(self._head, length, data[size:])

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
            self._asker.more(b"0\r\n\r\n" if self.isFramed else b"", True)
        else:
            self._asker.broken()

    @property
    def size(self) -> int:
        """
        The bytes of the body that have come, without their framing.
        """
        return self._plainSize if self._chunks is None else self._chunks.size

    def _fail(self, why: str) -> None:
        self._asker.failed(BackendError(self._backend.model, why))

    # The body.

    def _begin(self, head: ResponseHead, length: int | None, data: bytes) -> None:
        if self._isHead or head.status in (204, 304):
            self._left = 0
            self._free(not data)
            # A length that was not said is not made up.
            self._asker.answered(head, length if self._isHead else None, b"", True)
            return
        if head.isChunked:
            self._chunks = Chunks(self.isFramed)
            length = None
        else:
            self._left = length
        framed, isWhole = self._framed(data) if data or length == 0 else (b"", False)
        self._asker.answered(head, length, framed, isWhole)
        if self._chunks is not None and self._chunks.broken:
            self._asker.broken()

    def _body(self, data: bytes) -> None:
        chunks = self._chunks
        if chunks is None:
            framed, isWhole = self._framed(data)
        else:
            # Nearly all that comes are chunks of streams.
            framed, isWhole = chunks.feed(data), chunks.done
            if isWhole:
                self._free(not chunks.excess)
        if framed or isWhole:
            self._asker.more(framed, isWhole)
        if chunks is not None and chunks.broken:
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
            self._plainSize += len(data)
            return (chunked(data) if self.isFramed else data), False
        size = len(data)
        if size < left:
            self._plainSize += size
            self._left = left - size
            return data, False
        self._plainSize += left
        self._left = 0
        self._free(size == left)
        return data[:left], True

    def _free(self, keeps: bool) -> None:
        connection, self.connection = self.connection, None
        assert connection is not None and self._head is not None
        connection.free(keeps and self._head.keeps)
