"""
Tools for tests over real sockets on the loopback interface: clients and
servers that speak exact bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from socket import AF_INET, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET, socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import (
    IListeningPort,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from llmux.config import Limits, Timeouts
from llmux.interfaces import HookCall, HookResult, State
from llmux.observe.account import Account
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.switcher import Switcher
from llmux.testing import FakeHooks, Recorder, makeConfig
from llmux.web._backend import Backends
from llmux.web.exchange import Context

REACTOR: Any = reactor

#: Long enough to tell that something does not happen, short enough for tests.
MOMENT = 0.05


def pause(seconds: float = MOMENT) -> Deferred[None]:
    """
    Let the reactor run, to see that something does not happen.
    """
    waited: Deferred[None] = Deferred()
    REACTOR.callLater(seconds, waited.callback, None)
    return waited


class Peer(Protocol):
    """
    One end of a connection, that says what it is told and remembers what it
    hears.

    @ivar received: what was received and not yet taken by L{take}.
    @ivar count: how many bytes were received.
    @ivar keeps: whether C{received} is kept at all.
    @ivar over: whether the connection is lost.
    @ivar reason: why.
    """

    # Any: more is asked of it than an L{ITransport} has.
    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.count = 0
        self.keeps = True
        self.over = False
        self.reason: Any = None
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def connectionMade(self) -> None:
        """
        Connected.
        """
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """
        Remember what is heard.
        """
        self.count += len(data)
        if self.keeps:
            self.received += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Remember the end.
        """
        self.over = True
        self.reason = reason.value
        self._look()

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        """
        Wait for something that depends on what this peer hears.
        """
        waited: Deferred[None] = Deferred()
        self._waiting.append((condition, waited))
        self._look()
        return waited

    def send(self, data: bytes) -> None:
        """
        Say something.
        """
        self.transport.write(data)

    def close(self) -> None:
        """
        Close the connection when all is said.
        """
        self.transport.loseConnection()

    def abort(self) -> None:
        """
        Close the connection at once.
        """
        self.transport.abortConnection()

    async def take(self, ending: bytes) -> bytes:
        """
        Wait until some bytes were received, and take everything up to them.
        """
        await self.when(lambda: ending in self.received or self.over)
        assert ending in self.received, (
            f"closed ({self.reason!r}) before {ending!r}: {self.received!r}"
        )
        taken, _, self.received = self.received.partition(ending)
        return taken + ending

    async def takeBytes(self, size: int) -> bytes:
        """
        Wait for so many bytes, and take them.
        """
        await self.when(lambda: len(self.received) >= size or self.over)
        assert len(self.received) >= size, f"closed: {self.received!r}"
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    async def end(self) -> bytes:
        """
        Wait for the end of the connection.

        @return: what was received and not taken.
        """
        await self.when(lambda: self.over)
        return self.received

    async def takeResponse(self, method: str = "POST") -> Response:
        """
        Take a whole response.
        """
        return await takeResponse(self, method)

    async def takeRequest(self) -> Response:
        """
        Take a whole request.
        """
        return await takeResponse(self, "", isRequest=True)

    def _look(self) -> None:
        ready = [both for both in self._waiting if both[0]()]
        self._waiting = [both for both in self._waiting if both not in ready]
        for _, waited in ready:
            waited.callback(None)


class Response:
    """
    A message, taken apart.

    @ivar line: its first line.
    @ivar headers: by their names in lower case; the last, of several.
    @ivar body: with no chunks.
    @ivar chunks: the chunks, if it had any.
    """

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.head = head
        self.line = lines[0]
        self.headers = {
            name.lower(): value.strip()
            for name, value in (line.split(":", 1) for line in lines[1:])
        }
        self.body = b""
        self.chunks: list[bytes] = []

    @property
    def status(self) -> int:
        """
        The status.
        """
        return int(self.line.split()[1])


async def takeResponse(peer: Peer, method: str, isRequest: bool = False) -> Response:
    """
    Take a whole message.
    """
    message = Response(await peer.take(b"\r\n\r\n"))
    headers = message.headers
    if not isRequest and (method == "HEAD" or message.status in (204, 304)):
        return message
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await peer.take(b"\r\n"), 16):
            message.chunks.append(await peer.takeBytes(size))
            assert await peer.takeBytes(2) == b"\r\n"
        assert await peer.takeBytes(2) == b"\r\n"
        message.body = b"".join(message.chunks)
    elif "content-length" in headers:
        message.body = await peer.takeBytes(int(headers["content-length"]))
    elif not isRequest:
        message.body = await peer.end()
        peer.received = b""
    return message


class Backend(Factory):
    """
    The server of a model, played by a test.

    @ivar peers: its connections, in the order in which they were made.
    """

    noisy = False

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self._waiting: list[Deferred[Peer]] = []
        self._given = 0

    def buildProtocol(self, address: object) -> Peer:
        """
        Take a connection.
        """
        backend = self

        class BackendPeer(Peer):
            def connectionMade(self) -> None:
                super().connectionMade()
                backend.peers.append(self)
                backend._give()

        return BackendPeer()

    def connection(self) -> Deferred[Peer]:
        """
        The next connection that has not been given yet.
        """
        waited: Deferred[Peer] = Deferred()
        self._waiting.append(waited)
        self._give()
        return waited

    def _give(self) -> None:
        while self._waiting and self._given < len(self.peers):
            self._given += 1
            self._waiting.pop(0).callback(self.peers[self._given - 1])


class Hooks(FakeHooks):
    """
    Fake hooks that can be waited for.
    """

    waiting: list[tuple[str, str, Deferred[None]]]

    def run(self, call: HookCall) -> Deferred[HookResult]:
        """
        See L{FakeHooks.run}.
        """
        result = super().run(call)
        for model, hook, waited in list(getattr(self, "waiting", ())):
            if (model, hook) == (call.model, call.hook.value):
                self.waiting.remove((model, hook, waited))
                # Later: whoever began this hook is not done yet.
                REACTOR.callLater(0, waited.callback, None)
        return result


@implementer(IPushProducer)
class Flood:
    """
    Sends many bytes, no faster than they are taken.

    @ivar sent: how many it has sent.
    """

    #: How many bytes are sent at once.
    STEP = 65536

    def __init__(
        self, peer: Peer, size: int, wrap: Callable[[bytes], bytes] = bytes
    ) -> None:
        self.sent = 0
        self._peer = peer
        self._size = size
        self._wrap = wrap
        self._piece = b"x" * self.STEP
        self._paused = True

    async def run(self) -> None:
        """
        Send, until all is sent or nothing is taken for a while.
        """
        self._peer.transport.registerProducer(self, True)
        self.resumeProducing()
        before = -1
        while self.sent < self._size and self.sent != before:
            before = self.sent
            await pause(4 * MOMENT)

    def resumeProducing(self) -> None:
        """
        Send.
        """
        self._paused = False
        while not self._paused and self.sent < self._size:
            piece = self._piece[: self._size - self.sent]
            self.sent += len(piece)
            self._peer.send(self._wrap(piece))
        if self.sent >= self._size:
            self._peer.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """
        Send nothing for now.
        """
        self._paused = True

    def stopProducing(self) -> None:
        """
        Send nothing more.
        """
        self._paused = True
        self._size = self.sent


class Metrics:
    """
    Remembers what it is told.
    """

    def __init__(self) -> None:
        self.finished: list[tuple[str, int]] = []
        self.accounts: list[Account] = []
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def requestFinished(self, account: Account) -> None:
        """
        See L{llmux.observe.account.IAccountant}.
        """
        self.finished.append((account.model, account.status))
        self.accounts.append(account)
        ready = [d for n, d in self._waiting if n <= len(self.finished)]
        self._waiting = [both for both in self._waiting if both[1] not in ready]
        for d in ready:
            d.callback(None)

    def when(self, count: int) -> Deferred[None]:
        """
        Wait until so many requests are over.
        """
        waited: Deferred[None] = Deferred()
        if count <= len(self.finished):
            waited.callback(None)
        else:
            self._waiting.append((count, waited))
        return waited


class WireCase(TestCase):
    """
    llmux between clients and the servers of two models, C{a} and C{b}, of
    which C{a} is awake.  Only hooks are faked.
    """

    timeout = 20
    limits = Limits()
    policy: Any = None

    def frontEnd(self, context: Context) -> Any:
        """
        The factory that clients connect to: what is to be tested.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """
        Start two servers and llmux.
        """
        self.clients: list[Peer] = []
        self.ports: list[IListeningPort] = []
        self.backends = {"a": Backend(), "b": Backend()}
        self.backend = self.backends["a"]
        self.backendPorts = {
            name: self.listen(backend) for name, backend in self.backends.items()
        }
        self.start({})

    def start(self, settings: Mapping[str, Mapping[str, Any]], **more: Any) -> None:
        """
        Start llmux, or another.

        @param settings: those of models.
        """
        # Other tests than those of hosts call llmux what they like.
        more.setdefault("allowed_hosts", ("*",))
        config = makeConfig(
            limits=more.pop("limits", self.limits),
            policy=self.policy,
            models={
                name: {"port": port, **settings.get(name, {})}
                for name, port in self.backendPorts.items()
            },
            **more,
        )
        self.hooks = Hooks(REACTOR, awake={"a"})
        self.hooks.waiting = []
        self.events = Recorder()
        self.switcher = Switcher(
            config, self.hooks, FirstComeFirstServed(), REACTOR, [self.events]
        )
        backends = Backends(config, REACTOR)
        self.addCleanup(backends.close)
        self.addCleanup(backends.descriptors.close)
        self.switcher.addObserver(backends)
        self.successResultOf(self.switcher.start())
        self.metrics = Metrics()
        self.context = Context(config, self.switcher, backends, REACTOR, self.metrics)
        self.port = self.listen(self.frontEnd(self.context))

    def listen(self, factory: Any) -> int:
        """
        Listen on the loopback interface.

        @return: the number of the port.
        """
        port = REACTOR.listenTCP(0, factory, interface="127.0.0.1")
        self.ports.append(port)
        address: Any = port.getHost()
        number: int = address.port
        return number

    async def stopListening(self, number: int) -> None:
        """
        Have connections to a port refused from now on.
        """
        for port in self.ports:
            address: Any = port.getHost()
            if address.port == number:
                await maybeDeferred(port.stopListening)
                self.ports.remove(port)
                return

    async def tearDown(self) -> None:  # type: ignore[override]
        """
        Close every connection and wait until it is closed on both sides.
        """
        peers = [*self.clients]
        for backend in self.backends.values():
            peers.extend(backend.peers)
        for peer in peers:
            if not peer.over:
                peer.transport.resumeProducing()
                peer.abort()
        for port in self.ports:
            await maybeDeferred(port.stopListening)
        for peer in peers:
            await peer.end()
        self.context.backends.close()
        # What is closed on one side is noticed on the other some turns later.
        for _ in range(500):
            if not any(map(ITCPTransport.providedBy, REACTOR.getReaders())):
                break
            await pause(0.01)
        for name in list(self.hooks.running):
            self.hooks.fail(name)
        self.switcher.hurry()
        stopped = self.switcher.stop()
        for name in list(self.hooks.running):
            self.hooks.finish(name)
        await stopped

    async def connect(self) -> Peer:
        """
        Connect a client to llmux.
        """
        endpoint = TCP4ClientEndpoint(REACTOR, "127.0.0.1", self.port)
        peer: Peer = await endpoint.connect(Factory.forProtocol(Peer))  # type: ignore[assignment]
        self.clients.append(peer)
        return peer

    async def ask(self, request: bytes) -> Peer:
        """
        Connect a client to llmux, and have it send something.
        """
        peer = await self.connect()
        peer.send(request)
        return peer

    def errorIn(self, body: bytes) -> dict[str, Any]:
        """
        The error that an envelope holds.
        """
        envelope = json.loads(body)
        self.assertEqual(set(envelope), {"error"})
        error: dict[str, Any] = envelope["error"]
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        return error

    def timeouts(self, **settings: float) -> Timeouts:
        """
        Timeouts that are not the usual.
        """
        return Timeouts(**settings)

    async def untilHook(self, model: str, hook: str) -> None:
        """
        Wait until a hook has begun.
        """
        if (model, hook) not in self.hooks.ran:
            waited: Deferred[None] = Deferred()
            self.hooks.waiting.append((model, hook, waited))
            await waited

    async def flood(
        self, peer: Peer, size: int, wrap: Callable[[bytes], bytes] = bytes
    ) -> None:
        """
        Have a peer send many bytes, until all are sent or the other side takes
        nothing more.
        """
        await Flood(peer, size, wrap).run()

    def connectNarrow(self) -> Peer:
        """
        Connect a client over a connection in which the system keeps little of
        what has been sent, and that does not read.
        """
        for port in self.ports:
            listening: Any = port
            listening.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)
        peer = Peer()
        factory = Factory.forProtocol(lambda: peer)
        with socket() as narrow:
            # Once it is connected, it is too late to say so.
            narrow.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
            narrow.connect(("127.0.0.1", self.port))
            narrow.setblocking(False)
            REACTOR.adoptStreamConnection(narrow.fileno(), AF_INET, factory)
        peer.transport.pauseProducing()
        self.clients.append(peer)
        return peer

    async def fillSocket(self, server: Peer) -> int:
        """
        Have a server send a whole response to a client of L{connectNarrow}, of
        which the end does not fit into the client's connection, but well into
        what llmux may have waiting for it.

        @return: the length of the body.
        """
        body = b"x" * 60_000
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        server.send(body)
        # It is not to be seen from outside when llmux has received all of it.
        await pause(4 * MOMENT)
        return len(body)

    def inFlight(self, model: str = "a") -> int:
        """
        How many requests a model is serving.
        """
        return self.switcher.snapshot().models[model].inFlight

    def stateOf(self, model: str) -> State:
        """
        What a model is doing.
        """
        return self.switcher.snapshot().models[model].state


def post(
    body: bytes = b'{"model": "a"}',
    path: bytes = b"/v1/chat/completions",
    headers: bytes = b"Content-Type: application/json\r\n",
) -> bytes:
    """
    A request.
    """
    return b"POST %b HTTP/1.1\r\nHost: llmux\r\n%bContent-Length: %d\r\n\r\n%b" % (
        path,
        headers,
        len(body),
        body,
    )
