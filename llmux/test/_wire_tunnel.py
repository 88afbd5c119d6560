"""
What every front end has to do with requests for WebSockets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import alsoProvides

from llmux.config import Limits, PolicyConfig
from llmux.interfaces import State
from llmux.test._wire import Peer, WireCase, pause, post

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n"
    b"Connection: upgrade\r\nSec-WebSocket-Accept: s3\r\n\r\n"
)


def upgrade(target: bytes = b"/v1/realtime?model=a", headers: bytes = b"") -> bytes:
    """
    A request for a WebSocket.
    """
    return (
        b"GET %b HTTP/1.1\r\nHost: llmux\r\nConnection: keep-alive, Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n"
        b"Sec-WebSocket-Version: 13\r\n%b\r\n" % (target, headers)
    )


def whenTold(peer: Peer, told: Callable[[], object]) -> None:
    """
    Have a peer call something, rather than close its connection, when the
    other side has nothing more to say.
    """
    connected = peer.transport.protocol
    connected.readConnectionLost = told
    connected.writeConnectionLost = lambda: None
    alsoProvides(connected, IHalfCloseableProtocol)


class Tunnelling(WireCase):
    """
    Requests that become tunnels.
    """

    async def tunnel(
        self, target: bytes = b"/v1/realtime?model=a"
    ) -> tuple[Peer, Peer]:
        """
        Open a tunnel.

        @return: its two ends.
        """
        client = await self.ask(upgrade(target))
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(AGREED)
        await client.take(b"\r\n\r\n")
        return client, server

    async def taken(self, peer: Peer, size: int) -> None:
        """
        Wait until a peer has taken as many bytes.
        """
        await peer.when(lambda: peer.count >= size)

    async def test_tunnel(self) -> None:
        """
        The request reaches the server with what makes it one for a WebSocket,
        the answer the client; from then on bytes go both ways as they are, and
        the model is held until both connections are closed.
        """
        client = await self.ask(upgrade(b"/upstream/a/ws?clientId=1"))
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.assertEqual(request.line, "GET /ws?clientId=1 HTTP/1.1")
        self.assertEqual(request.headers["connection"], "Upgrade")
        self.assertEqual(request.headers["upgrade"], "websocket")
        self.assertEqual(request.headers["sec-websocket-key"], "k")
        self.assertEqual(request.headers["sec-websocket-version"], "13")
        self.assertEqual(request.headers["x-forwarded-for"], "127.0.0.1")
        server.send(AGREED + b"\x81\x02hi")
        head = await client.take(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"))
        for line in (
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Accept: s3",
            b"Via: 1.1 llmux",
        ):
            self.assertIn(b"\r\n%b\r\n" % line, head)
        self.assertNotIn(b"Transfer-Encoding", head)
        self.assertEqual(await client.takeBytes(4), b"\x81\x02hi")
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0\xff", b"0\r\n\r\n"):
            client.send(data)
            self.assertEqual(await server.takeBytes(len(data)), data)
            server.send(data)
            self.assertEqual(await client.takeBytes(len(data)), data)
        self.assertEqual(self.inFlight(), 1)
        self.assertEqual(self.metrics.finished, [])
        client.close()
        await server.end()
        await self.metrics.when(1)
        self.assertEqual(self.metrics.finished, [("a", 101)])
        self.assertEqual(self.inFlight(), 0)

    async def test_tunnelEarly(self) -> None:
        """
        What a client sends before the answer is not lost.
        """
        client = await self.ask(upgrade() + b"early")
        server = await self.backend.connection()
        await server.take(b"\r\n\r\n")
        client.send(b"bird")
        await pause()
        self.assertEqual(server.received, b"")
        server.send(AGREED)
        self.assertEqual(await server.takeBytes(9), b"earlybird")

    async def test_tunnelHalfClosed(self) -> None:
        """
        A side that says no more can still listen, whichever it is.
        """
        for first in (0, 1):
            ends = await self.tunnel()
            one, other = ends[first], ends[1 - first]
            told: Deferred[None] = Deferred()
            whenTold(one, one.close)
            whenTold(other, partial(told.callback, None))
            one.send(b"last words")
            one.transport.loseWriteConnection()
            self.assertEqual(await other.takeBytes(10), b"last words")
            await told
            other.send(b"answer" * 100_000)
            await one.takeBytes(600_000)
            self.assertEqual(self.inFlight(), 1)
            other.close()
            await one.end()
            await self.metrics.when(first + 1)
            self.assertEqual(self.inFlight(), 0)

    async def test_tunnelLastWords(self) -> None:
        """
        What a server says before it closes reaches a client that reads slowly,
        and the model is held until then.
        """
        size = 3_000_000
        client, server = await self.tunnel()
        client.transport.pauseProducing()
        server.send(b"x" * size)
        server.close()
        await pause()
        self.assertEqual(self.inFlight(), 1)
        client.keeps = False
        client.count = 0
        client.transport.resumeProducing()
        await self.taken(client, size)
        client.close()
        await self.metrics.when(1)

    async def test_tunnelPressure(self) -> None:
        """
        Nothing is read from either side while the other takes nothing.
        """
        size = 64_000_000
        client, server = await self.tunnel()
        for sender, taker in ((client, server), (server, client)):
            taker.keeps = False
            taker.count = 0
            taker.transport.pauseProducing()
            await self.flood(sender, size)
            taken = taker.count
            self.assertLess(taken, size // 2)
            taker.transport.resumeProducing()
            await self.taken(taker, size)
            self.assertEqual(taker.count, size)

    async def test_tunnelStandsStill(self) -> None:
        """
        A client that takes nothing for C{stall_secs} is given up.
        """
        self.start({}, limits=Limits(stall_secs=0.2))
        client, server = await self.tunnel()
        client.transport.pauseProducing()
        await self.flood(server, 64_000_000)
        await server.end()
        await self.metrics.when(1)
        self.assertEqual(self.inFlight(), 0)

    async def test_tunnelIdle(self) -> None:
        """
        A tunnel over which nothing goes is not cut for that.
        """
        self.start(
            {"a": {"timeouts": self.timeouts(idle=0.05, first_byte=0.5)}},
            limits=Limits(stall_secs=0.5, head_secs=0.5),
        )
        client, server = await self.tunnel()
        await pause(0.6)
        client.send(b"x")
        self.assertEqual(await server.takeBytes(1), b"x")

    async def test_tunnelAborted(self) -> None:
        """
        If one side breaks, so does the other.
        """
        for first in (0, 1):
            ends = await self.tunnel()
            ends[first].abort()
            await ends[1 - first].end()
            await self.metrics.when(first + 1)
            self.assertEqual(self.inFlight(), 0)

    async def test_tunnelRefused(self) -> None:
        """
        If the server does not agree, its answer is one like all others, and
        the client's connection goes on.
        """
        client = await self.ask(upgrade())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(
            b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\n"
            b"Content-Length: 2\r\n\r\nno"
        )
        response = await client.takeResponse()
        self.assertEqual((response.status, response.body), (426, b"no"))
        client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((await client.takeResponse()).status, 200)

    async def test_tunnelToSomethingElse(self) -> None:
        """
        A server that agrees to another protocol, or to nothing that was asked,
        has its connection closed, and the client gets 502.
        """
        for request in (upgrade(), post()):
            client = await self.ask(request)
            server = await self.backend.connection()
            await server.takeRequest()
            websocket = request != upgrade()
            kind = b"websocket" if websocket else b"h2c"
            server.send(
                b"HTTP/1.1 101 Well\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"
                % kind
            )
            response = await client.takeResponse()
            self.assertEqual(response.status, 502)
            self.assertEqual(self.errorIn(response.body)["code"], "backend_error")
            await server.end()

    async def test_noTunnel(self) -> None:
        """
        What does not quite ask for a WebSocket is a request like all others.
        """
        for request in (
            upgrade().replace(b"GET", b"POST"),
            upgrade().replace(b"websocket", b"h2c"),
            upgrade().replace(b"keep-alive, Upgrade", b"keep-alive"),
            upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"),
            upgrade(headers=b"Content-Length: 1\r\n") + b"x",
        ):
            client = await self.ask(request)
            if not self.backend.peers:
                server = await self.backend.connection()
            headers = (await server.takeRequest()).headers
            self.assertNotIn("upgrade", headers)
            self.assertNotIn("connection", headers)
            server.send(OK)
            self.assertEqual((await client.takeResponse()).body, b"ok")

    async def test_tunnelErrors(self) -> None:
        """
        A WebSocket to no model, to one that is not there, from a page of
        another site, or to one that fails to wake gets the usual error.
        """
        for request, status, code in (
            (upgrade(b"/v1/realtime"), 404, "not_found"),
            (upgrade(b"/upstream/x/ws"), 404, "model_not_found"),
            (upgrade(headers=b"Origin: http://evil\r\n"), 403, "foreign_origin"),
        ):
            client = await self.ask(request)
            response = await client.takeResponse("GET")
            self.assertEqual(response.status, status)
            self.assertEqual(self.errorIn(response.body)["code"], code)
        client = await self.ask(upgrade(b"/upstream/b/ws"))
        await self.untilHook("a", "sleep")
        self.hooks.finish("a")
        await self.untilHook("b", "wake")
        self.hooks.fail("b")
        response = await client.takeResponse("GET")
        self.assertEqual(response.status, 503)
        self.assertEqual(self.errorIn(response.body)["code"], "wake_failed")
        self.assertEqual(self.backends["b"].peers, [])

    async def test_tunnelOwnPage(self) -> None:
        """
        A page that came through llmux may open one.
        """
        await self.ask(upgrade(headers=b"Origin: http://llmux\r\n"))
        server = await self.backend.connection()
        self.assertEqual((await server.takeRequest()).headers["upgrade"], "websocket")

    async def test_tunnelLeft(self) -> None:
        """
        A client that leaves before the answer is forgotten.
        """
        client = await self.ask(upgrade())
        server = await self.backend.connection()
        await server.takeRequest()
        client.abort()
        await server.end()
        await self.metrics.when(1)
        self.assertEqual(self.metrics.finished, [("a", 499)])
        self.assertEqual(self.inFlight(), 0)

    async def test_tunnelDrained(self) -> None:
        """
        A model is not put to sleep while a tunnel is open, unless its drain
        takes too long: then the tunnel is cut.
        """
        self.policy = PolicyConfig(drain_timeout_secs=0.3)
        self.start({})
        client, server = await self.tunnel()
        await self.ask(post(b'{"model": "b"}'))
        await pause()
        self.assertEqual(self.stateOf("a"), State.DRAINING)
        server.send(b"still here")
        self.assertEqual(await client.takeBytes(10), b"still here")
        self.assertEqual(self.hooks.ran, [])
        await self.untilHook("a", "sleep")
        self.assertEqual(await client.end(), b"")
        await server.end()
        await self.metrics.when(1)

    async def test_tunnelIgnored(self) -> None:
        """
        A tunnel that does not count leaves its model free, and is closed
        before the model is put to sleep; another does not wake it.
        """
        self.start({"a": {"ignore_websockets": True}})
        client, server = await self.tunnel()
        left, leaving = await self.tunnel()
        self.assertEqual(self.inFlight(), 0)
        server.send(b"hi")
        self.assertEqual(await client.takeBytes(2), b"hi")
        left.close()
        await leaving.end()
        await self.ask(post(b'{"model": "b"}'))
        await self.untilHook("a", "sleep")
        await client.end()
        await server.end()
        await self.metrics.when(2)
        self.assertEqual(self.metrics.finished, [("a", 101)] * 2)
        response = await (await self.ask(upgrade())).takeResponse("GET")
        self.assertEqual(response.status, 503)
        self.assertEqual(self.errorIn(response.body)["code"], "asleep")
        self.assertEqual(self.stateOf("a"), State.SLEEPING)
        self.hooks.finish("a")
        await self.untilHook("b", "wake")
        self.assertEqual(len(self.switcher.snapshot().models["a"].queue), 0)

    async def test_tunnelUnreachable(self) -> None:
        """
        A server that is not where it should be is asked after, as ever.
        """
        await self.stopListening(self.backendPorts["a"])
        client = await self.ask(upgrade())
        response = await client.takeResponse("GET")
        self.assertEqual(response.status, 502)
        self.assertEqual(self.errorIn(response.body)["code"], "backend_error")
