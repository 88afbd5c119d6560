"""
Tools for tests of the web room without sockets and without real time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IPushProducer, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from llmux.config import Config
from llmux.observe.account import Account, IAccountant
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.switcher import Switcher
from llmux.testing import FakeHooks, makeConfig
from llmux.web._address import Address
from llmux.web._backend import Backends
from llmux.web._headers import Pair
from llmux.web._plan import Asked
from llmux.web._relay import IClient, withMore
from llmux.web.exchange import Context

ADDRESS = IPv4Address("TCP", "127.0.0.1", 4321)


class Transport(StringTransport):
    """
    A transport that can be half closed, and knows whether it was aborted.
    """

    aborting = False
    halfClosed = False

    def abortConnection(self) -> None:
        """
        Remember it.
        """
        self.aborting = True
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Nothing is delayed.
        """

    def loseWriteConnection(self) -> None:
        """
        Remember it.
        """
        self.halfClosed = True


class Connection:
    """
    A connection that a client wants to make, and the server's side of it.
    """

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self.made: Deferred[Any] = Deferred(lambda _: None)
        self.transport = Transport()
        self.protocol: Any = None

    @property
    def received(self) -> bytes:
        """
        What the client has sent.
        """
        sent: bytes = self.transport.value()
        return sent

    @property
    def closed(self) -> bool:
        """
        Whether the client has closed it.
        """
        return self.transport.disconnecting

    def accept(self) -> None:
        """
        Make it.
        """
        self.protocol = self._factory.buildProtocol(ADDRESS)
        self.protocol.makeConnection(self.transport)
        self.made.callback(self.protocol)

    def refuse(self) -> None:
        """
        Do not make it.
        """
        self.made.errback(ConnectionRefusedError())

    def send(self, data: bytes) -> None:
        """
        Have the server send something.
        """
        self.protocol.dataReceived(data)

    def lose(self, error: Exception | None = None) -> None:
        """
        Lose it.
        """
        self.protocol.connectionLost(Failure(error or ConnectionLost()))

    def end(self) -> None:
        """
        Have the server close it.
        """
        self.lose(ConnectionDone())


@implementer(IStreamClientEndpoint)
class Servers:
    """
    Where every server is.

    @ivar connections: those that were wanted, in order.
    @ivar addresses: what endpoints were made for, with their timeouts.
    @ivar error: what making one fails with, if anything.
    """

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.addresses: list[tuple[str, float]] = []
        self.error: Exception | None = None

    def endpointFor(
        self, reactor: object, address: Address, connectTimeout: float
    ) -> Servers:
        """
        See L{llmux.web._address.endpointFor}.
        """
        if self.error is not None:
            raise self.error
        self.addresses.append((address.text, connectTimeout))
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        See L{IStreamClientEndpoint.connect}.
        """
        self.connections.append(Connection(factory))
        return self.connections[-1].made

    def accept(self) -> Connection:
        """
        Make the connection that was wanted last.
        """
        self.connections[-1].accept()
        return self.connections[-1]


@implementer(IAccountant)
class Metrics:
    """
    Remembers what it is told.
    """

    def __init__(self) -> None:
        self.finished: list[tuple[str, int, float]] = []
        self.accounts: list[Account] = []

    def requestFinished(self, account: Account) -> None:
        """
        See L{IAccountant}.
        """
        self.finished.append((account.model, account.status, account.duration))
        self.accounts.append(account)


@implementer(IClient)
class FakeClient:
    """
    A client that remembers what was done to it.

    @ivar said: what was done, in order.
    @ivar takes: whether it takes all it gets at once.
    """

    def __init__(self, takes: bool = True) -> None:
        self.said: list[Any] = []
        self.takes = takes
        self.producer: IPushProducer | None = None
        self.over: Callable[[], None] | None = None
        self.headers: dict[bytes, bytes] = {}
        self.added: list[Pair] = []

    def attach(self, over: Callable[[], None]) -> None:
        """
        See L{IClient.attach}.
        """
        self.over = over

    def leave(self) -> None:
        """
        Take the last byte, or be gone.
        """
        assert self.over is not None
        self.over()

    def add(self, headers: list[Pair]) -> None:
        """
        See L{IClient.add}.
        """
        self.added += headers

    def head(
        self, status: int, phrase: bytes, headers: list[Pair], length: int | None
    ) -> None:
        """
        See L{IClient.head}.
        """
        self.headers = dict(withMore(headers, self.added))
        self.said.append((status, phrase, length))

    def write(self, data: bytes) -> None:
        """
        See L{IClient.write}.
        """
        self.said.append(data)

    def finish(self) -> None:
        """
        See L{IClient.finish}.
        """
        self.said.append("finish")
        if self.takes:
            self.leave()

    def cut(self, last: bytes) -> None:
        """
        See L{IClient.cut}.
        """
        self.said.append(("cut", last))

    def abort(self) -> None:
        """
        See L{IClient.abort}.
        """
        self.said.append("abort")

    def registerProducer(self, producer: IPushProducer) -> None:
        """
        See L{IClient.registerProducer}.
        """
        self.producer = producer

    def unregisterProducer(self) -> None:
        """
        See L{IClient.unregisterProducer}.
        """
        self.producer = None


def makeAsked(
    body: bytes = b'{"model": "a"}',
    target: bytes = b"/v1/chat/completions",
    method: bytes = b"POST",
    headers: Mapping[bytes, bytes] | None = None,
) -> Asked:
    """
    A request.
    """
    given = {b"Content-Type": b"application/json"} if headers is None else headers
    return Asked(
        method,
        target,
        list(given.items()),
        BytesIO(body),
        len(body),
        b"10.0.0.1",
        b"http",
        b"1.1",
        b"r-1",
    )


class MemoryCase(SynchronousTestCase):
    """
    llmux with two models, C{a} and C{b}, of which C{a} is awake.
    """

    def setUp(self) -> None:
        """
        Start it.
        """
        self.start()

    def start(self, **settings: Any) -> None:
        """
        Start it, with settings of a configuration.
        """
        names = [] if "models" in settings else ["a", "b"]
        self.config: Config = makeConfig(*names, **settings)
        self.clock = Clock()
        self.servers = Servers()
        self.hooks = FakeHooks(self.clock, awake={"a"})
        self.switcher = Switcher(
            self.config, self.hooks, FirstComeFirstServed(), self.clock
        )
        self.backends = Backends(self.config, self.clock, self.servers.endpointFor)
        self.switcher.addObserver(self.backends)
        self.successResultOf(self.switcher.start())
        self.metrics = Metrics()
        self.context = Context(
            self.config, self.switcher, self.backends, self.clock, self.metrics
        )

    def inFlight(self, model: str = "a") -> int:
        """
        How many requests a model is serving.
        """
        return self.switcher.snapshot().models[model].inFlight

    def waiting(self, model: str) -> int:
        """
        How many requests wait for a model.
        """
        return len(self.switcher.snapshot().models[model].queue)

    def timers(self) -> int:
        """
        How many delayed calls there are.
        """
        return len(self.clock.getDelayedCalls())
