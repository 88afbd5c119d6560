# -*- test-case-name: llmux.test.test_paths -*-
"""
Both ways through llmux in memory, and what can be seen of each from outside.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from attrs import frozen
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from llmux.test._memory import ADDRESS, MemoryCase, Transport
from llmux.web.lane import Lane
from llmux.web.resource import ProxyResource
from llmux.web.site import ProxySite

#: What differs between any two responses.
RANDOM = (b"x-request-id",)


@frozen
class Message:
    """
    What is the same of a message, whoever wrote it.

    @ivar body: without its framing.
    @ivar isWhole: whether its end was seen.
    """

    first: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    isWhole: bool


def messages(data: bytes, methods: list[bytes], closed: bool) -> list[Message]:
    """
    Take apart what was sent over a connection.

    @param methods: those of the requests that it answers; empty, if it is
        requests itself.
    @param closed: whether the connection was closed behind it.
    """
    found = []
    pending = list(methods)
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        # What is taken for a head may be a body, if a request was not one
        # request to llmux; then that has to be the same, too.
        pairs = [line.partition(b": ") for line in lines]
        headers: Any = sorted((name.lower(), value) for name, _, value in pairs)
        given = dict(headers)
        isInterim = bool(methods) and first[9:10] == b"1"
        method = pending.pop(0) if pending and not isInterim else b""
        isEmpty = method == b"HEAD" or isInterim or first[9:12] in (b"204", b"304")
        body, isWhole = b"", True
        if isEmpty or not end:
            isWhole = bool(end)
        elif b"transfer-encoding" in given:
            body, isWhole, data = chunks(data)
        elif b"content-length" in given:
            length = int(given[b"content-length"])
            body, data = data[:length], data[length:]
            isWhole = len(body) == length
        elif methods:
            body, data, isWhole = data, b"", closed
        same = tuple(pair for pair in headers if pair[0] not in RANDOM)
        found.append(Message(first, same, body, isWhole))
    return found


def chunks(data: bytes) -> tuple[bytes, bool, bytes]:
    """
    Take the chunks of a body apart.

    @return: the body, whether its end was among it, and what follows.
    """
    body = b""
    while True:
        size, mark, rest = data.partition(b"\r\n")
        if not mark:
            assert not size, data
            return body, False, b""
        length = int(size, 16)
        if not length:
            assert rest.startswith(b"\r\n"), data
            return body, True, rest[2:]
        part, data = rest[:length], rest[length:]
        body += part
        assert data.startswith(b"\r\n"), (part, data)
        data = data[2:]


class Way(MemoryCase):
    """
    One way, in memory, with all its surroundings.

    @ivar heard: what the model's server has received, by request.
    """

    def runTest(self) -> None:
        """
        It is no test by itself.
        """

    def build(self, isLane: bool) -> Way:
        """
        Build it.

        @param isLane: which of the two it is.
        """
        self.start(models={"a": {"port": 8001, "backend_model": "other/name"}})
        resource = ProxyResource(self.context)
        site: Any = ProxySite(resource, self.clock, self.config.limits)
        self.lane = Lane(self.context, resource.serves)
        self.lane.backends._endpointFor = self.servers.endpointFor
        if isLane:
            site.protocol = self.lane.protocol
        self.protocol = site.buildProtocol(ADDRESS)
        self.transport = Transport()
        self.protocol.makeConnection(self.transport)
        self.isLost = False
        self.heard: list[bytes] = []
        return self

    def receive(self, data: bytes) -> None:
        """
        Have the client send something.
        """
        if not self.isLost and not self.transport.disconnecting:
            self.protocol.dataReceived(data)
        self.settle()

    def settle(self) -> None:
        """
        Make all connections that are wanted, and lose those that are closed.
        """
        for connection in self.servers.connections:
            if connection.protocol is None and not connection.made.called:
                connection.accept()
        for connection in [one for one in self.servers.connections if one.closed]:
            self.servers.connections.remove(connection)
            connection.end()
        self.clock.advance(0)
        if self.transport.disconnecting:
            self.leave()

    def leave(self) -> None:
        """
        Lose the connection to the client.
        """
        if not self.isLost:
            self.isLost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def answer(self, parts: list[bytes], ending: str) -> None:
        """
        Have the model's server answer.

        @param ending: what it does then: C{stay}, C{close} or C{break}.
        """
        asked = [one for one in self.servers.connections if one.received]
        if not asked:
            return
        # Of the two ways, each keeps its own connections.
        (connection,) = asked
        self.heard.append(connection.received)
        connection.transport.clear()
        for part in parts:
            if not connection.closed and part:
                connection.send(part)
        if not connection.closed and ending != "stay":
            self.servers.connections.remove(connection)
            if ending == "close":
                connection.end()
            else:
                connection.lose()
        self.settle()

    def stop(self) -> None:
        """
        Have the model's server break off what it still has to say.
        """
        for connection in [one for one in self.servers.connections if one.protocol]:
            self.servers.connections.remove(connection)
            connection.lose()
        self.settle()

    def seen(self, methods: list[bytes]) -> tuple[Any, ...]:
        """
        What the client and the model's server have seen.
        """
        closed = self.transport.disconnecting
        return (
            messages(self.transport.value(), methods, closed),
            closed,
            [messages(request, [], False) for request in self.heard],
            self.inFlight(),
            [account[:2] for account in self.metrics.finished],
        )


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """
    Data in pieces.
    """
    edges = [0, *sorted({edge % (len(data) + 1) for edge in at}), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]
