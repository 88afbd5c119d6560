# -*- test-case-name: llmux.test.test_web_laneclient -*-
"""
The connection to a client, as the lane writes to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.web.http import RESPONSES
from zope.interface import implementer

from llmux.web._chunks import chunked
from llmux.web._headers import Pair
from llmux.web._relay import IClient, withMore

__all__ = ()


def statusLine(status: int, phrase: bytes) -> bytes:
    """
    The first line of a response.
    """
    phrase = phrase or RESPONSES.get(status, b"Unknown Status")
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase)


@implementer(IClient)
class LaneClient:
    """
    The client of one request after the other, on the same connection.

    Other than with those of other front ends, a head waits for what follows
    it, or for L{flush}; and a body that is framed already can be passed on.

    @ivar isBusy: whether a request is being answered.
    @ivar isBegun: whether the head of the response has been given.
    """

    __slots__ = (
        "_channel",
        "_closes",
        "_head",
        "_isChunked",
        "_isHead",
        "_more",
        "_over",
        "isBegun",
        "isBusy",
    )

    def __init__(self, channel: Any) -> None:
        """
        @param channel: a L{llmux.web.lane.LaneChannel}.
        """
        self._channel = channel
        self._over: Callable[[], None] | None = None
        self.isBusy = self.isBegun = False

    def begin(self, isHead: bool, closes: bool) -> None:
        """
        Be the client of another request.

        @param isHead: whether its method is C{HEAD}.
        @param closes: whether the connection is going to be closed.
        """
        self._head = b""
        self._isHead = isHead
        self._isChunked = False
        self._closes = closes
        self.isBegun = False
        self._more: list[Pair] = []
        self.isBusy = True

    def attach(self, over: Callable[[], None]) -> None:
        """
        See L{IClient.attach}.
        """
        self._over = over

    def over(self) -> None:
        """
        Say that the connection has taken the last byte, or is lost.
        """
        self.isBusy = False
        over, self._over = self._over, None
        if over is not None:
            over()

    def add(self, headers: list[Pair]) -> None:
        """
        See L{IClient.add}.
        """
        self._more = self._more + headers

    def head(
        self, status: int, phrase: bytes, headers: list[Pair], length: int | None
    ) -> None:
        """
        See L{IClient.head}.
        """
        if self._more:
            headers = withMore(headers, self._more)
        lines = [statusLine(status, phrase)]
        lines.extend([b"%b: %b\r\n" % pair for pair in headers])
        self.headOf(status, b"".join(lines), length)

    def headOf(self, status: int, lines: bytes, length: int | None) -> None:
        """
        As L{head}, if nothing is to be added.

        @param lines: the head, but for framing and the empty line.
        """
        self.isBegun = True
        framing = b"\r\n"
        if length is not None:
            framing = b"Content-Length: %d\r\n\r\n" % length
        elif not self._isHead and status not in (204, 304):
            self._isChunked = True
            framing = b"Transfer-Encoding: chunked\r\n\r\n"
        if self._closes:
            lines += b"Connection: close\r\n"
        self._head = lines + framing

    @property
    def isPlain(self) -> bool:
        """
        Whether nothing is to be added to the head.
        """
        return not self._more

    def write(self, data: bytes) -> None:
        """
        See L{IClient.write}.
        """
        if data:
            self.passOn(chunked(data) if self._isChunked else data)

    def passOn(self, framed: bytes) -> None:
        """
        Send a part of the body that is framed as this response is.
        """
        if self._head or self._isHead:
            head, self._head = self._head, b""
            framed = head if self._isHead else head + framed
        if framed:
            self._channel.send(framed)

    def ended(self) -> None:
        """
        Say that the end of the body is among what is passed on.
        """
        self._isChunked = False

    def flush(self) -> None:
        """
        Send the head, if it waits.
        """
        if self._head:
            self.passOn(b"")

    def finish(self) -> None:
        """
        See L{IClient.finish}.
        """
        self.passOn(b"0\r\n\r\n" if self._isChunked else b"")
        self._channel.written()

    def cut(self, last: bytes) -> None:
        """
        See L{IClient.cut}.
        """
        if self.isBusy:
            self.passOn(chunked(last) if last and self._isChunked else b"")
            # Closes when all is sent, and after a while in any case.
            self._channel.timeoutConnection()

    def abort(self) -> None:
        """
        See L{IClient.abort}.
        """
        if self.isBusy:
            self._channel.transport.abortConnection()

    def registerProducer(self, producer: IPushProducer) -> None:
        """
        See L{IClient.registerProducer}.
        """
        if self.isBusy:
            self._channel.registerProducer(producer, True)

    def unregisterProducer(self) -> None:
        """
        See L{IClient.unregisterProducer}.
        """
        if self.isBusy:
            self._channel.unregisterProducer()
