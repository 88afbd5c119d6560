# -*- test-case-name: llmux.test.test_site -*-
# mypy: allow-untyped-calls
"""
A connection to a client.

Twisted's channel parses; this one is stricter about what it lets it parse,
has a limit for every phase of a connection, refuses with a body that says
why, and knows when the last byte of a response has been taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel, Request

from llmux.web._answer import Answer
from llmux.web._deadline import Deadline
from llmux.web._headers import requestId
from llmux.web._write import Drained, hasUnread

__all__ = ()

#: For how many seconds a connection may be kept with no request on it.
KEPT = 75.0

#: For how many seconds, after a request was refused, what its client still
#: sends is read and thrown away, so that the client gets to see the answer.
LINGER = 10.0

#: How many bytes a client must send of a body in C{stall_secs}.
PROGRESS = 1024

#: How many bytes of further requests are kept while one is being answered.
#: (Twisted stops reading there, and then does not see that a client leaves.)
BEHIND = 64 * 1024

_requestLine = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ "
    rb"(?P<target>/[\x21-\x7e]*|[Hh][Tt][Tt][Pp][Ss]?://[\x21-\x7e]+|\*) "
    rb"HTTP/1\.(?P<minor>[01])"
).fullmatch
_headerLine = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*"
).fullmatch
isHost = re.compile(rb"[!-+\--.0-\[\]-~]*").fullmatch


class Phase(Enum):
    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ANSWERING = "answering"
    DRAINING = "draining"
    REFUSED = "refused"


def _bad(what: str) -> Answer:
    return Answer(400, "bad_request", what)


class ProxyChannel(HTTPChannel):
    """
    A connection to a client of a L{llmux.web.site.ProxySite}.
    """

    site: Any
    transport: Any
    _phase = Phase.IDLE
    _headSize = 0
    _minor = b"1"
    _progress = 0
    _behindSize = 0
    _last: Any = None
    _isFull = False

    def connectionMade(self) -> None:
        """
        Wait for the first request.
        """
        limits = self.site.limits
        self._headLimit = int(limits.head_kb * 1024)
        # Their number is limited by this as well.
        self.MAX_LENGTH = self.totalHeadersSize = self.maxHeaders = self._headLimit
        self._deadline = Deadline(self.site.reactor, self._expired)
        self._behind: list[bytes] = []
        self._idle()
        self.site.descriptors.came(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is lost.
        """
        self._deadline.close()
        self.site.descriptors.gone(self)
        super().connectionLost(reason)

    def idleSince(self) -> float | None:
        """
        See L{llmux.descriptors.IClosable.idleSince}.
        """
        due = self._deadline.due
        return None if self._phase is not Phase.IDLE or due is None else due - KEPT

    def leave(self) -> bool:
        """
        See L{llmux.descriptors.IClosable.leave}.
        """
        if hasUnread(self.transport):
            return False
        # Whatever comes now is not read.
        self._phase = Phase.REFUSED
        self._deadline.set(LINGER)
        self.loseConnection()
        return True

    def refuse(self, answer: Answer) -> None:
        """
        Answer a request that has not been received whole, and take nothing
        more of this connection.
        """
        if self._phase is Phase.REFUSED:
            return
        given: list[tuple[bytes, bytes]] = []
        if self.requests:
            raw = self.requests[-1].requestHeaders.getAllRawHeaders()
            given = [(name, value) for name, values in raw for value in values]
        body = answer.body()
        lines = [
            b"HTTP/1.1 %d %b" % (answer.status, RESPONSES.get(answer.status, b"")),
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(body),
            b"Connection: close",
            b"X-Request-Id: " + requestId(given),
            *(b"%b: %b" % pair for pair in answer.headers),
            b"\r\n",
        ]
        self.transport.write(b"\r\n".join(lines) + body)
        self._phase = Phase.REFUSED
        self.persistent = False
        if isinstance(self.transport, FileDescriptor) and ITCPTransport.providedBy(
            self.transport
        ):
            # To close it now, with bytes unread, would reset the connection,
            # and the answer might be lost.
            self._deadline.set(LINGER)
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()

    # What comes in.

    def dataReceived(self, data: bytes) -> None:
        """
        Keep track of how a request comes along.
        """
        phase = self._phase
        if phase is Phase.REFUSED:
            return
        if phase is Phase.BODY:
            self._progress += len(data)
        elif phase is Phase.IDLE:
            self._phase = Phase.HEAD
            self._deadline.set(self.site.limits.head_secs)
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """
        Judge a line of a head, then parse it.
        """
        if self._phase is Phase.REFUSED:
            return
        self._headSize += len(line) + 2
        if self._headSize > self._headLimit:
            self._refuseHead()
            return
        if self._headSize == len(line) + 2:
            if not line:
                # One empty line before a request is forgiven.
                self._headSize = 0
                super().lineReceived(line)
                return
            first = _requestLine(line)
            if first is None:
                self.refuse(_bad("The first line of the request is not valid."))
                return
            self._minor = first["minor"]
            if first["target"] == b"*" and not line.startswith(b"OPTIONS "):
                self.refuse(_bad("Only OPTIONS may be asked for *."))
                return
        elif line and _headerLine(line) is None:
            self.refuse(_bad("A header of the request is not valid."))
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        A line is longer than a head may be.
        """
        if self._phase is not Phase.REFUSED:
            self._refuseHead()

    def allHeadersReceived(self) -> None:
        """
        Judge a whole head.
        """
        if self._phase is Phase.REFUSED:
            return
        self._headSize = 0
        headers = self.requests[-1].requestHeaders
        hosts = headers.getRawHeaders(b"Host", [])
        if len(hosts) > 1 or (not hosts and self._minor == b"1"):
            self.refuse(_bad("The request must have one Host header."))
        elif hosts and isHost(hosts[0]) is None:
            self.refuse(_bad("The Host header of the request is not valid."))
        elif not _isPlainlyFramed(
            headers.getRawHeaders(b"Transfer-Encoding"), self._minor
        ):
            self.refuse(_bad("The Transfer-Encoding of the request is not valid."))
        else:
            self._phase = Phase.BODY
            self._progress = 0
            self._deadline.set(self.site.limits.stall_secs)
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """
        Take a part of a body, or keep what comes after it.
        """
        if self._phase is Phase.BODY:
            super().rawDataReceived(data)
        elif self._phase is not Phase.REFUSED:
            self._keepBehind(data)

    def _keepBehind(self, data: bytes) -> None:
        """
        Keep further requests, while one is being answered.
        """
        if self.persistent:
            self._behindSize += len(data)
            if self._behindSize <= BEHIND:
                self._behind.append(data)
            else:
                # The client will have to send them again elsewhere.
                self._behind.clear()
                self.persistent = False

    def allContentReceived(self) -> None:
        """
        A request is here, whole.
        """
        if self._phase is not Phase.REFUSED:
            self._phase = Phase.ANSWERING
            self._deadline.clear()
            super().allContentReceived()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """
        Whether the connection is kept when this request is answered.
        """
        if self.site.descriptors.isShort:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return bool(super().checkPersistence(request, version))

    def _respondToBadRequestAndDisconnect(self) -> None:
        # There is no public way to say what Twisted answers to a bad request.
        # Without this the client gets a 400 without a body.
        self.refuse(_bad("The request is not valid HTTP."))

    def _refuseHead(self) -> None:
        kib = self.site.limits.head_kb
        self.refuse(
            Answer(
                431,
                "head_too_large",
                f"The head of the request is larger than {kib:g} KiB, which is the "
                "most that this server takes (limits.head_kb).",
            )
        )

    # What goes out.

    def pauseProducing(self) -> None:
        """
        The connection takes nothing more for now.
        """
        self._isFull = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """
        The connection has taken all it was given.
        """
        self._isFull = False
        super().resumeProducing()

    def requestDone(self, request: Request) -> None:
        """
        The response has been written.  Whoever asked is told, and the next
        request taken up, when the connection has taken it.
        """
        self._phase = Phase.DRAINING
        self._last = request
        transport = self.transport
        if isinstance(transport, FileDescriptor) and not transport.disconnecting:
            self._deadline.set(self.site.limits.stall_secs)
            transport.unregisterProducer()
            transport.registerProducer(Drained(self._drained), False)
            # Should there be nothing left to write, this is how to be told.
            transport.startWriting()
        else:
            self._drained()

    def _drained(self) -> None:
        request = self._taken()
        request.over()
        if self._isFull:
            self.resumeProducing()
        self._idle()
        super().requestDone(request)
        if self.persistent and self._behind:
            behind, self._behind = b"".join(self._behind), []
            self._behindSize = 0
            self.dataReceived(behind)

    def _taken(self) -> Any:
        """
        Be the connection's producer again.

        @return: the request whose response has been taken.
        """
        transport = self.transport
        if isinstance(transport, FileDescriptor):
            transport.unregisterProducer()
            transport.registerProducer(self, True)
        request, self._last = self._last, None
        return request

    # What takes too long.

    def _idle(self) -> None:
        self._phase = Phase.IDLE
        self._deadline.set(KEPT)

    def _expired(self) -> None:
        phase, limits = self._phase, self.site.limits
        if phase is Phase.IDLE:
            self.loseConnection()
        elif phase is Phase.HEAD:
            self.refuse(_slow("head", limits.head_secs, "head_secs"))
        elif phase is not Phase.BODY:
            self.transport.abortConnection()
        elif self._progress < PROGRESS:
            self.refuse(_slow("body", limits.stall_secs, "stall_secs"))
        else:
            self._progress = 0
            self._deadline.set(limits.stall_secs)


def _isPlainlyFramed(codings: Sequence[bytes] | None, minor: bytes) -> bool:
    # Twisted lets "identity" be added to "chunked", and both to HTTP/1.0.
    if codings is None:
        return True
    return minor == b"1" and len(codings) == 1 and codings[0].lower() == b"chunked"


def _slow(part: str, seconds: float, key: str) -> Answer:
    return Answer(
        408,
        "request_timeout",
        f"The {part} of the request came too slowly: there are {seconds:g} seconds "
        f"for it (limits.{key}).",
    )
