# -*- test-case-name: llmux.test.test_web_client -*-
"""
Requests of L{twisted.web} as the exchange takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from llmux.web._access import isLoopback
from llmux.web._headers import Pair, requestId
from llmux.web._model import originForm
from llmux.web._plan import Asked
from llmux.web._relay import IClient, withMore

__all__ = ()


def askedBy(request: Any, prefix: bytes = b"") -> Asked:
    """
    A request of L{twisted.web}, of which nothing but the start of its target
    is changed.

    @param request: a L{twisted.web.http.Request}, of which the body is here.
    @param prefix: such as C{b"/llm"}.
    """
    headers = [
        (name, value)
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
    ]
    target = originForm(request.uri)
    rest = target[len(prefix) :]
    if prefix and target.startswith(prefix) and rest[:1] in (b"", b"/", b"?"):
        target = rest if rest.startswith(b"/") else b"/" + rest
    body = request.content
    length = body.seek(0, 2)
    return Asked(
        request.method,
        target,
        headers,
        body,
        length,
        getattr(request.client, "host", "").encode("ascii", "replace"),
        b"https" if request.isSecure() else b"http",
        request.clientproto[5:],
        requestId(headers),
        isLoopback(getattr(request.host, "host", None) or ""),
    )


@implementer(IClient)
class WebClient:
    """
    The client of a request of L{twisted.web}.
    """

    def __init__(self, request: Any) -> None:
        """
        @param request: a L{Request}, of which the body is here and nothing of
            the response is sent.  If it has the methods C{whenTaken} and
            C{sendHead}, as those of L{llmux.web.site.ProxySite} have, they
            are made use of: the first tells when the connection has taken the
            last byte, which otherwise is when that was written.
        """
        self._request = request
        self._open = True
        self._more: list[Pair] = []
        self._over: Callable[[], None] | None = None

    def attach(self, over: Callable[[], None]) -> None:
        """
        See L{IClient.attach}.
        """
        self._over = over
        whenTaken = getattr(self._request, "whenTaken", None)
        if whenTaken is not None:
            whenTaken(self._ended)
        else:
            self._request.notifyFinish().addBoth(self._ended)

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
        request = self._request
        if self._more:
            headers = withMore(headers, self._more)
        self._isFramed = length is not None or request.clientproto == b"HTTP/1.1"
        sendHead = getattr(request, "sendHead", None)
        if sendHead is not None:
            sendHead(status, phrase, headers, length)
            return
        request.setResponseCode(status, phrase or None)
        request.defaultContentType = None
        sent = Headers()
        for name, value in headers:
            sent.addRawHeader(name, value)
        if length is not None:
            sent.addRawHeader(b"Content-Length", b"%d" % length)
        # The channel has said there if the connection will be closed.
        closing = request.responseHeaders.getRawHeaders(b"Connection")
        if closing is not None:
            sent.setRawHeaders(b"Connection", closing)
        request.responseHeaders = sent
        request.write(b"")

    def write(self, data: bytes) -> None:
        """
        See L{IClient.write}.
        """
        self._request.write(data)

    def finish(self) -> None:
        """
        See L{IClient.finish}.
        """
        self._request.finish()

    def cut(self, last: bytes) -> None:
        """
        See L{IClient.cut}.

        What was written before is still sent if the response is framed, so
        that it is seen to be short.
        """
        if not self._open:
            return
        request = self._request
        if last:
            request.write(last)
        timeOut = getattr(request.channel, "timeoutConnection", None)
        if (self._isFramed or last) and timeOut is not None:
            # Closes when all is sent, and after a while in any case.
            timeOut()
        else:
            self.abort()

    def abort(self) -> None:
        """
        See L{IClient.abort}.
        """
        if self._open:
            channel = self._request.channel
            # An HTTPChannel has a transport; an H2Stream is one.
            drop = getattr(channel, "abortConnection", None)
            (drop or channel.transport.abortConnection)()

    def registerProducer(self, producer: IPushProducer) -> None:
        """
        See L{IClient.registerProducer}.
        """
        if self._open:
            self._request.registerProducer(producer, True)

    def unregisterProducer(self) -> None:
        """
        See L{IClient.unregisterProducer}.
        """
        if self._open:
            self._request.unregisterProducer()

    def switch(self, headers: list[Pair], end: Any) -> bytes:
        """
        Agree to another protocol.  From then on the connection is no longer
        one for requests.

        @param headers: all of those of the answer.
        @param end: the protocol; gets a transport, and is told what comes.
        @return: what has come behind the request already.
        """
        channel = self._request.channel
        transport, lost = channel.transport, channel.connectionLost

        def connectionLost(reason: Failure = connectionDone) -> None:
            end.connectionLost(reason)
            lost(reason)

        kept = (getattr(channel, "_behind", ()), getattr(channel, "_dataBuffer", ()))
        early = b"".join(part for parts in kept for part in parts)
        end.transport = transport
        channel.dataReceived = end.dataReceived
        channel.connectionLost = connectionLost
        # The channel, which may have paused it.
        transport.unregisterProducer()
        transport.resumeProducing()
        lines = [b"HTTP/1.1 101 Switching Protocols\r\n"]
        lines += [b"%b: %b\r\n" % pair for pair in headers]
        transport.write(b"".join([*lines, b"\r\n"]))
        return early

    def _ended(self, result: object = None) -> None:
        self._open = False
        if self._over is not None:
            self._over()
