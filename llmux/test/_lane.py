"""
Tools for tests of the lane without sockets.
"""

from __future__ import annotations

from typing import Any

from llmux.test._memory import Connection, MemoryCase, Transport, makeAsked
from llmux.web._lanebackend import LaneBackends
from llmux.web._laneclient import LaneClient
from llmux.web._laneexchange import LaneExchange


class FakeChannel:
    """
    A L{llmux.web.lane.LaneChannel} that remembers what it is told.

    @ivar sent: what was sent, in order.
    @ivar said: what else was done.
    """

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.said: list[str] = []
        self.producer: Any = None
        self.transport = Transport()

    @property
    def received(self) -> bytes:
        """
        What the client has received.
        """
        return b"".join(self.sent)

    def send(self, data: bytes) -> None:
        """
        Remember it.
        """
        self.sent.append(data)

    def written(self) -> None:
        """
        Remember it.
        """
        self.said.append("written")

    def timeoutConnection(self) -> None:
        """
        Remember it.
        """
        self.said.append("closes")

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Remember it.
        """
        self.producer = producer

    def unregisterProducer(self) -> None:
        """
        Forget it.
        """
        self.producer = None


class LaneCase(MemoryCase):
    """
    L{MemoryCase} with the lane's connections to servers.
    """

    def start(self, **settings: Any) -> None:
        """
        See L{MemoryCase.start}.
        """
        super().start(**settings)
        self.lane = LaneBackends(self.config, self.clock, self.servers.endpointFor)
        self.switcher.addObserver(self.lane)
        self.channel = FakeChannel()
        self.client = LaneClient(self.channel)

    def ask(self, closes: bool = False, **asked: Any) -> LaneExchange:
        """
        Have the client ask for something.
        """
        self.channel.sent.clear()
        request = makeAsked(**asked)
        self.client.begin(request.method == b"HEAD", closes)
        body = request.body.read()
        exchange = LaneExchange(self.context, self.client, request, self.lane, body)
        exchange.start()
        return exchange

    def accept(self) -> Connection:
        """
        Make the connection to the server.
        """
        connection = self.servers.accept()
        # The turn is over.
        self.clock.advance(0)
        return connection
