# -*- test-case-name: llmux.test.test_site -*-
# mypy: allow-untyped-calls
"""
A site with limits: on how large a request may be, on how slowly it may come,
and on what passes for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from llmux.config import Limits
from llmux.descriptors import Descriptors, isShortage
from llmux.errors import Overloaded
from llmux.web._channel import ProxyChannel
from llmux.web._denied import InvalidKey
from llmux.web._errors import BodyTooLarge, answerTo
from llmux.web._headers import Pair
from llmux.web._plan import MEBIBYTE

__all__ = ("ProxyRequest", "ProxySite")

#: The largest body that is kept in memory, in bytes.
IN_MEMORY = MEBIBYTE


class ProxyRequest(Request):
    """
    A request to a L{ProxySite}.
    """

    log = Logger()
    channel: Any
    content: Any
    _taken: Callable[[], None] | None = None
    _received = 0
    _isEmpty = False

    def whenTaken(self, taken: Callable[[], None]) -> None:
        """
        Have a function called, once, when the connection has taken the last
        byte of the response, or is lost.
        """
        self._taken = taken

    def sendHead(
        self,
        status: int,
        phrase: bytes,
        headers: Sequence[Pair],
        length: int | None,
    ) -> None:
        """
        Send the head of the response in one piece, in place of the first
        C{write}: it is complete, and need not become L{Headers} first.

        @param phrase: the reason phrase; if empty, the usual one.
        @param headers: all of them but the framing, in a form that may be
            sent as it is.
        @param length: the length of the body in bytes, if it is known.
        """
        self.setResponseCode(status, phrase or None)
        self._isEmpty = self.method == b"HEAD" or status in http.NO_BODY_CODES
        lines = [b"%b %d %b\r\n" % (self.clientproto, status, self.code_message)]
        lines += [b"%b: %b\r\n" % pair for pair in headers]
        if length is not None:
            lines.append(b"Content-Length: %d\r\n" % length)
        elif self.clientproto == b"HTTP/1.1" and not self._isEmpty:
            self.chunked = 1
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if not self.channel.persistent:
            lines.append(b"Connection: close\r\n")
        lines.append(b"\r\n")
        self.startedWriting = 1
        self.channel.write(b"".join(lines))

    def write(self, data: bytes) -> None:
        """
        Send a part of the body, if there is to be one.
        """
        if not self._isEmpty:
            super().write(data)

    def over(self) -> None:
        """
        Say that the connection has taken the last byte, or is lost.
        """
        taken, self._taken = self._taken, None
        if taken is not None:
            taken()

    def gotLength(self, length: int | None) -> None:
        """
        Refuse a body that is going to be too large, or that is not small and
        comes from nobody who may send one; else find a place for it.
        """
        site = self.channel.site
        isTooLarge = length is not None and length > site.bodyLimit
        isSmall = length is not None and length <= IN_MEMORY
        if isTooLarge or not (isSmall or site.isKnown(self._pairs())):
            # Nobody is to be told to go on.
            self.requestHeaders.removeHeader(b"Expect")
            self.content = BytesIO()
            if isTooLarge:
                self._refuse()
            else:
                self.channel.refuse(answerTo(InvalidKey()))
            return
        try:
            super().gotLength(length)
        except OSError as error:
            self.content = None
            self._cannotKeep(error)

    def _pairs(self) -> list[Pair]:
        return [
            (name, value)
            for name, values in self.requestHeaders.getAllRawHeaders()
            for value in values
        ]

    def handleContentChunk(self, data: bytes) -> None:
        """
        Store a part of the body; refuse it when it is getting too large.
        """
        self._received += len(data)
        if self._received > self.channel.site.bodyLimit:
            self._refuse()
            return
        try:
            if self._received > IN_MEMORY and isinstance(self.content, BytesIO):
                small = self.content
                self.content = self.channel.site.getContentFile(self._received)
                self.content.write(small.getbuffer())
            super().handleContentChunk(data)
            # Now is the time to hear that it does not fit.
            self.content.flush()
        except OSError as error:
            self._cannotKeep(error)

    def process(self) -> None:
        """
        Render the resource.
        """
        if getattr(self.channel.site.resource, "isLeaf", False):
            # No need to look for it, and no default headers: those of the
            # model's server are the right ones.
            self.site = self.channel.site
            self.prepath, self.postpath = [], []
            try:
                self.render(self.site.resource)
            except Exception:
                self.processingFailed(Failure())
        else:
            super().process()

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is lost.
        """
        super().connectionLost(reason)
        self.over()

    def _cannotKeep(self, error: OSError) -> None:
        """
        The disk is full, there are no descriptors left, or the like.
        """
        self.requestHeaders.removeHeader(b"Expect")
        unkept, self.content = self.content, BytesIO()
        if unkept is not None:
            with suppress(OSError):
                unkept.close()
        self.log.error(
            "A request body could not be kept: {problem}",
            event="body_not_kept",
            problem=str(error),
        )
        if isShortage(error):
            self.channel.site.descriptors.met()
            self.channel.refuse(answerTo(Overloaded()))
        else:
            self.channel.refuse(answerTo(error))

    def _refuse(self) -> None:
        self.channel.refuse(answerTo(BodyTooLarge(self.channel.site.bodyLimit)))


class ClosedAside:
    """
    A file that is closed in a thread: to give back what a large one takes, of
    the disk and of its cache, is work for tens of milliseconds.
    """

    def __init__(self, file: Any, inThread: Callable[[Callable[[], None]], Any]):
        self._file = file
        self._inThread = inThread

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        """
        Close it, for all who have it at once.
        """
        file = self._file
        if not file.closed:
            self._file = BytesIO()
            self._file.close()
            self._inThread(file.close)


def _anyone(headers: Sequence[Pair]) -> bool:
    return True


class ProxySite(Site):
    """
    A site with limits.  It speaks HTTP/1.1, and does not parse forms.

    @ivar limits: see L{Limits}.
    @ivar bodyLimit: the largest request body in bytes.
    @ivar descriptors: knows the connections to clients.
    """

    #: That it listens is said once, by who has it listen.
    noisy = False
    # A factory's protocol is what makes its protocols; Twisted's is a
    # function as well.
    protocol = ProxyChannel  # type: ignore[assignment]
    requestFactory = ProxyRequest

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        limits: Limits | None = None,
        isKnown: Callable[[Sequence[Pair]], bool] = _anyone,
        descriptors: Descriptors | None = None,
        **settings: Any,
    ) -> None:
        """
        @param resource: the root.
        @param limits: the limits, if other than the usual.
        @param isKnown: whether a request with such headers comes from
            somebody who may send a body that is not small.
        @param descriptors: sees to it that there are file descriptors left.
        @param settings: see L{Site}.
        """
        # The channel has its own timeouts.
        super().__init__(
            resource,
            reactor=reactor,
            timeout=None,
            parsePOSTFormSubmission=False,
            **settings,
        )
        self.limit(Limits() if limits is None else limits)
        self.isKnown = isKnown
        # Where no port is held, and nothing is ever short, it does nothing.
        self.descriptors = Descriptors(reactor) if descriptors is None else descriptors

    def limit(self, limits: Limits) -> None:
        """
        Have limits hold from here on, for heads on new connections.
        """
        self.limits = limits
        self.bodyLimit = int(limits.body_mb * MEBIBYTE)

    def getContentFile(self, length: int | None) -> IO[bytes]:
        """
        A place for a request body: in memory, or in a file that has no name.
        """
        isLarge = length is not None and length > IN_MEMORY
        inThread = getattr(self.reactor, "callInThread", None)
        if not isLarge or inThread is None:
            return TemporaryFile() if isLarge else BytesIO()
        aside: Any = ClosedAside(TemporaryFile(), inThread)  # noqa: SIM115
        return cast(IO[bytes], aside)

    def log(self, request: http.Request) -> None:
        """
        Write a line to the access log, if there is one.  The log of the
        process, which is what Twisted takes for one otherwise, has better
        things to say.
        """
        if self.logPath is not None:
            super().log(request)

    def acceptableProtocols(self) -> list[bytes]:
        """
        See L{twisted.internet.interfaces.IProtocolNegotiationFactory}.
        """
        return [b"http/1.1"]
