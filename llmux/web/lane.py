# -*- test-case-name: llmux.test.test_lane -*-
# mypy: allow-untyped-calls
"""
The lane: a shorter way for what most requests are.

It is a channel of L{llmux.web.site.ProxySite} that takes requests of
HTTP/1.1 to models, if there is nothing odd about them, and carries them to the
models' servers without a L{twisted.web.http.Request}, an agent or a Deferred.
Every other request it leaves, from its first byte on, to its parent class, and
so to the site's resource; both kinds may come over the same connection.

What decides about a request is the same either way: an
L{llmux.web.exchange.Exchange}.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from llmux.web import _write
from llmux.web._access import isLoopback
from llmux.web._channel import Phase, ProxyChannel
from llmux.web._headers import newId
from llmux.web._heads import RequestHead, readRequest
from llmux.web._lanebackend import LaneBackends
from llmux.web._laneclient import LaneClient
from llmux.web._laneexchange import LaneExchange
from llmux.web._plan import MEBIBYTE, Asked
from llmux.web._target import PREFIX
from llmux.web.exchange import Context

__all__ = ("Lane",)

#: The largest request body that is taken, in bytes.
LARGEST = MEBIBYTE


class Lane:
    """
    What all connections have in common::

        resource = ProxyResource(context)
        site = ProxySite(resource, reactor)
        site.protocol = Lane(context, resource.serves).protocol

    @ivar context: what all exchanges have in common; the same as that of the
        resource.
    @ivar isOwn: whether a path, without a query, is one of the resource's
        own, which are left to it.
    @ivar below: how paths begin that are the resource's.
    @ivar backends: the connections to the models' servers.
    """

    def __init__(
        self, context: Context, isOwn: Callable[[bytes], bool], below: bytes = b"/"
    ) -> None:
        self.context = context
        self.isOwn = isOwn
        self.below = below
        self.backends = LaneBackends(
            context.config, context.clock, descriptors=context.backends.descriptors
        )
        context.switcher.addObserver(self.backends)

    def protocol(self) -> LaneChannel:
        """
        Make the protocol for a connection.
        """
        return LaneChannel(self)

    def close(self) -> None:
        """
        Close all connections that wait for a request.
        """
        self.backends.close()


class LaneChannel(ProxyChannel):
    """
    A connection to a client.
    """

    _head: tuple[RequestHead, int, int] | None = None
    _isTaking = False

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self._lane = lane
        self._client = LaneClient(self)
        self._parts: list[bytes] = []
        self._missing = 0

    def connectionMade(self) -> None:
        """
        Wait for the first request.
        """
        super().connectionMade()
        host = getattr(self.transport.getPeer(), "host", "")
        self._peer = host.encode("ascii", "replace")
        self._scheme = b"https" if self.isSecure() else b"http"
        here = getattr(self.transport.getHost(), "host", None)
        self._isLocal = isLoopback(here or "")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is lost.
        """
        self._parts.clear()
        super().connectionLost(reason)
        if self._client.isBusy:
            self._client.over()

    # What comes in.

    def dataReceived(self, data: bytes) -> None:
        """
        Take a request, or leave it to the parent class.
        """
        if self._client.isBusy:
            self._keepBehind(data)
        elif self._head is not None:
            self._progress += len(data)
            self._missing -= len(data)
            self._parts.append(data)
            if self._missing <= 0:
                self._take(self._head, self._partial())
        elif (
            self._phase is Phase.IDLE
            and self.persistent
            and not self._handlingRequest
            and not self._headSize
            and not self._buffer
            and not self._busyReceiving
            and (read := readRequest(data, self._headLimit)) is not None
            and self._isFor(read[0], read[2])
        ):
            self._take(read, data)
        else:
            super().dataReceived(data)

    def _isFor(self, head: RequestHead, length: int) -> bool:
        # Requests that nothing names a model for are llmux's own, or wrong;
        # OPTIONS may be what a browser asks before it sends another.
        target = head.target
        return (
            target.startswith(self._lane.below)
            and length <= LARGEST
            and length <= self.site.bodyLimit
            and (length > 0 or head.path != target or target.startswith(PREFIX))
            and head.method != b"OPTIONS"
            and not self._lane.isOwn(head.path)
        )

    def _take(self, read: tuple[RequestHead, int, int], data: bytes) -> None:
        head, size, length = read
        end = size + length
        if len(data) < end:
            self._head = read
            self._parts.append(data)
            self._missing = end - len(data)
            self._phase = Phase.BODY
            self._progress = len(data) - size
            self._deadline.set(self.site.limits.stall_secs)
            return
        if len(data) > end:
            self._keepBehind(data[end:])
        # As long as this is so, a full connection is still read from: else
        # nobody would notice that the client leaves.
        self._handlingRequest = True
        self._phase = Phase.ANSWERING
        self._deadline.clear()
        closes = head.closes or self.site.descriptors.isShort
        self._client.begin(head.method == b"HEAD", closes)
        body = data[size:end]
        asked = Asked(
            head.method,
            head.target,
            head.headers,
            BytesIO(body),
            length,
            self._peer,
            self._scheme,
            b"1.1",
            head.requestId or newId(),
            self._isLocal,
        )
        lane = self._lane
        wasTaking, self._isTaking = self._isTaking, True
        LaneExchange(lane.context, self._client, asked, lane.backends, body).start()
        self._isTaking = wasTaking
        self._takeBehind()

    def _partial(self) -> bytes:
        # What has been received of a request whose end was missing.
        data = b"".join(self._parts)
        self._parts.clear()
        self._head = None
        return data

    def _takeBehind(self) -> None:
        # In a loop: there may be many, and each may be answered at once.
        if self._isTaking:
            return
        self._isTaking = True
        while self._behind and self._phase is Phase.IDLE and self.persistent:
            data = b"".join(self._behind)
            self._behind = []
            self._behindSize = 0
            self.dataReceived(data)
        self._isTaking = False

    # What goes out.

    def send(self, data: bytes) -> None:
        """
        Send a part of a response.
        """
        _write.write(self.transport, data)

    def written(self) -> None:
        """
        The response has been written.
        """
        if self._client._closes:
            self.persistent = False
        transport: Any = self.transport
        if _write.isWaiting(transport):
            self.requestDone(self._client)  # type: ignore[arg-type]
        else:
            self._answered()

    def _drained(self) -> None:
        if self._last is not self._client:
            super()._drained()
            return
        self._taken()
        if self._isFull:
            self.resumeProducing()
        self._answered()

    def _answered(self) -> None:
        # The client has taken the last byte.
        self._handlingRequest = False
        self._client.over()
        if not self.persistent:
            self._phase = Phase.DRAINING
            self.loseConnection()
            return
        self._idle()
        self._takeBehind()

    # What takes too long.

    def _expired(self) -> None:
        if self._head is not None and self._phase is Phase.BODY:
            progress = self._progress
            data = self._partial()
            # The parent class has to know the request to refuse it.
            self._phase = Phase.IDLE
            super().dataReceived(data)
            self._progress = progress
        super()._expired()
