# -*- test-case-name: llmux.test.test_web_guard -*-
"""
What stands between the connection to a model's server and Twisted's HTTP
client: it sees to it that heads are short, sane and unambiguous.

Twisted's client reads heads of any length, takes what begins with any word
for a status line, only heeds C{Connection: close} in lower case, and does not
say which headers C{Connection} lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from llmux.descriptors import Descriptors
from llmux.web._headers import PROTECTED, Pair
from llmux.web._heads import (
    LONGEST_HEAD,
    BadResponse,
    blankLine,
    readResponse,
    statusLine,
    unfolded,
)

__all__ = ()

_connection = re.compile(rb"(?i)\nconnection[ \t]*:[ \t]*([^\r\n]*)\r?(?=\n)")

#: Is told the connection, the headers of the answer, and what came behind them.
#: It may make something else the C{wrappedProtocol} of the connection.
Switched = Callable[["Guard", list[Pair], bytes], None]

#: As much of a status line as is the same in all of them.
_BEGINNING = b"HTTP/1."

#: The longest status line, in bytes.
_LONGEST_LINE = 8192

#: Not to be dropped because C{Connection} lists them: they frame the body.
_FRAMING = PROTECTED | {b"content-length", b"transfer-encoding"}


class Guard(ProtocolWrapper):
    """
    A connection to a model's server.

    @ivar requests: how many requests have been sent over it.
    @ivar received: whether anything came back since the last one.
    @ivar wasReset: whether the connection was lost other than by being closed.
    @ivar problem: what was wrong with what came back, in words that a client
        may see; empty if nothing was.
    """

    requests = 0
    received = False
    wasReset = False
    problem = ""
    factory: Any
    _head: bytes | None = None
    _skipped = 0
    _switched: Switched | None = None

    def begin(self, switched: Switched | None = None) -> None:
        """
        Expect a head: a request is about to be sent.

        @param switched: is called if the server changes the protocol to
            WebSocket; by default, it may not do so.
        """
        self._switched = switched
        self.requests += 1
        self.received = False
        self._head = b""
        self._skipped = 0

    def connectionMade(self) -> None:
        """
        Connected.
        """
        self.factory.descriptors.connected()
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is lost.
        """
        self.factory.descriptors.disconnected()
        self.wasReset = reason.check(ConnectionDone) is None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        """
        Hold back a head until it is complete; pass on all else.
        """
        if self._head is None:
            self.wrappedProtocol.dataReceived(data)
            return
        self.received = True
        head = self._head + data
        while True:
            line = statusLine(head)
            if line is None:
                self._judge(head)
                return
            end = blankLine(head, line.end() - 1)
            if end is None:
                self._judge(head)
                return
            status = line.group(1)
            if status[:1] != b"1":
                break
            if status == b"101":
                self._switch(head[: end.end()], head[end.end() :])
                return
            # An interim response concerns this connection only.
            self._skipped += end.end()
            head = head[end.end() :]
        if self._skipped + end.end() > LONGEST_HEAD:
            self._refuse("sent a head that is too long")
            return
        try:
            # Twisted takes some heads whose framing is ambiguous.
            readResponse(head[: end.end()])
        except BadResponse as error:
            self._refuse(str(error))
            return
        self._head = None
        if _connection.search(head, 0, end.end()) is not None:
            # Without a header's first line, the rest of it were part of another.
            head = _withoutListed(unfolded(head[: end.end()])) + head[end.end() :]
        self.wrappedProtocol.dataReceived(head)

    def _switch(self, head: bytes, rest: bytes) -> None:
        pairs = _pairsIn(head)
        kinds = [value.lower() for name, value in pairs if name.lower() == b"upgrade"]
        if self._switched is None or kinds != [b"websocket"]:
            self._refuse("changed the protocol without being asked")
            return
        self._head = None
        self._switched(self, pairs, rest)

    def _judge(self, head: bytes) -> None:
        """
        Wait for the rest of a head, unless it can be none.
        """
        begins = head.startswith(_BEGINNING[: len(head)])
        isLine = statusLine(head) is not None
        if not begins or (not isLine and (b"\n" in head or len(head) > _LONGEST_LINE)):
            self._refuse("answered with something that is not HTTP")
        elif self._skipped + len(head) > LONGEST_HEAD:
            self._refuse("sent a head that is too long")
        else:
            self._head = head

    def _refuse(self, problem: str) -> None:
        self.problem = problem
        self._head = b""
        self.abortConnection()


def _pairsIn(head: bytes) -> list[Pair]:
    """
    The headers of a head, of which what is no header is not one.
    """
    lines = [line.partition(b":") for line in head.splitlines()[1:]]
    return [(name, value.strip(b" \t")) for name, colon, value in lines if colon]


def _withoutListed(head: bytes) -> bytes:
    """
    A head without the headers that its C{Connection} lists, and with that
    in a form that Twisted understands.

    @param head: one without folded lines.
    """
    listed = {
        token.strip(b" \t").lower()
        for value in _connection.findall(head)
        for token in value.split(b",")
    }
    head = _connection.sub(b"", head)
    for name in listed - _FRAMING - {b"", b"close", b"keep-alive"}:
        header = rb"(?i)\n" + re.escape(name) + rb"[ \t]*:[^\n]*(?=\n)"
        head = re.sub(header, b"", head)
    if b"close" in listed:
        line = head.index(b"\n") + 1
        head = head[:line] + b"Connection: close\r\n" + head[line:]
    return head


class _GuardedFactory(WrappingFactory):
    protocol = Guard
    noisy = False
    descriptors: Descriptors


@implementer(IStreamClientEndpoint)
class GuardedEndpoint:
    """
    Connects protocols through a L{Guard} each: it is their transport.
    """

    def __init__(
        self, endpoint: IStreamClientEndpoint, descriptors: Descriptors
    ) -> None:
        """
        @param descriptors: is told of each connection.
        """
        self._endpoint = endpoint
        self._descriptors = descriptors

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See L{IStreamClientEndpoint.connect}.
        """
        makeGuards: Any = _GuardedFactory
        guards = makeGuards(factory)
        # Each connection is one of these, and none of them is news.
        guards.noisy = False
        guards.descriptors = self._descriptors
        named: Any = factory
        named.noisy = False
        guarded: Deferred[Any] = self._endpoint.connect(guards)
        return guarded.addCallback(lambda guard: guard.wrappedProtocol)
