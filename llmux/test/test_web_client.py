"""
Tests for L{llmux.web._client}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface.verify import verifyObject

from llmux.test._memory import Transport
from llmux.web._client import WebClient, askedBy
from llmux.web._relay import IClient


class Grab(Resource):
    """
    Keeps the request.
    """

    isLeaf = True
    request: Any = None

    def render(self, request: Request) -> int:
        """
        Keep it.
        """
        self.request = request
        return NOT_DONE_YET


class ClientCase(SynchronousTestCase):
    """
    A plain site, not one of llmux.
    """

    def ask(self, request: bytes) -> Any:
        """
        Have a client send something.

        @return: the request that came of it.
        """
        self.clock = Clock()
        grab = Grab()
        site = Site(grab, reactor=self.clock)
        site.displayTracebacks = False
        self.channel: Any = site.buildProtocol(None)
        self.transport = Transport()
        self.channel.makeConnection(self.transport)
        self.channel.dataReceived(request)
        return grab.request

    def connectionsProducer(self) -> Any:
        """
        What the connection pauses.
        """
        return self.transport.producer

    def lose(self) -> None:
        """
        Lose the connection.
        """
        self.channel.connectionLost(Failure(ConnectionLost()))


class AskedTests(ClientCase):
    """
    Tests for L{askedBy}.
    """

    def test_parts(self) -> None:
        """
        All parts of a request are found.
        """
        asked = askedBy(
            self.ask(
                b"POST http://x/a?b HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-1\r\n"
                b"A: 1\r\nA: 2\r\nContent-Length: 3\r\n\r\nabc"
            )
        )
        self.assertEqual((asked.method, asked.target), (b"POST", b"/a?b"))
        self.assertEqual([v for n, v in asked.headers if n == b"A"], [b"1", b"2"])
        self.assertEqual(asked.length, 3)
        asked.body.seek(0)
        self.assertEqual(asked.body.read(), b"abc")
        self.assertEqual(asked.peer, b"192.168.1.1")
        self.assertEqual((asked.scheme, asked.version), (b"http", b"1.1"))
        self.assertEqual(asked.requestId, b"r-1")
        self.assertEqual(asked.header(b"host"), b"x")
        self.assertIsNone(asked.header(b"nope"))

    def test_form(self) -> None:
        """
        A form that the site has parsed is there all the same.
        """
        asked = askedBy(
            self.ask(
                b"POST / HTTP/1.0\r\nContent-Length: 7\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\nmodel=a"
            )
        )
        self.assertEqual((asked.length, asked.version), (7, b"1.0"))

    def test_prefix(self) -> None:
        """
        A prefix is taken off whole or not at all.
        """
        for target, expected in (
            (b"/llm/v1/x?y", b"/v1/x?y"),
            (b"/llm", b"/"),
            (b"/llm?y", b"/?y"),
            (b"/llmx", b"/llmx"),
            (b"/x/llm", b"/x/llm"),
        ):
            request = self.ask(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(askedBy(request, b"/llm").target, expected)

    def test_noAddress(self) -> None:
        """
        A client on a UNIX socket has no IP address; one over TLS is said so.
        """
        request = self.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        request.client = UNIXAddress(None)
        request._forceSSL = 1
        asked = askedBy(request)
        self.assertEqual((asked.peer, asked.scheme), (b"", b"https"))


class WebClientTests(ClientCase):
    """
    Tests for L{WebClient}.
    """

    def client(self, version: bytes = b"1.1", method: bytes = b"GET") -> WebClient:
        """
        A client.
        """
        self.over = 0
        self.request = self.ask(b"%b / HTTP/%b\r\nHost: x\r\n\r\n" % (method, version))
        client = WebClient(self.request)
        client.attach(self.count)
        return client

    def count(self) -> None:
        """
        Count how often it was over.
        """
        self.over += 1

    def sent(self) -> bytes:
        """
        What the client has got.
        """
        got: bytes = self.transport.value()
        self.transport.clear()
        return got

    def test_interface(self) -> None:
        """
        It is a client.
        """
        self.assertTrue(verifyObject(IClient, self.client()))

    def test_length(self) -> None:
        """
        A response of a known length is sent with that; the head goes at once,
        and no header is added.
        """
        client = self.client()
        client.head(418, b"Tea", [(b"a", b"1"), (b"A", b"2")], 2)
        self.assertEqual(
            self.sent(),
            b"HTTP/1.1 418 Tea\r\nA: 1\r\nA: 2\r\nContent-Length: 2\r\n\r\n",
        )
        client.write(b"ok")
        self.assertEqual((self.sent(), self.over), (b"ok", 0))
        client.finish()
        self.assertEqual((self.sent(), self.over), (b"", 1))

    def test_chunked(self) -> None:
        """
        One whose length is not known is chunked.
        """
        client = self.client()
        client.head(200, b"", [], None)
        self.assertEqual(
            self.sent(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.write(b"ok")
        client.finish()
        self.assertEqual(self.sent(), b"2\r\nok\r\n0\r\n\r\n")

    def test_http10(self) -> None:
        """
        Not in HTTP/1.0.
        """
        client = self.client(b"1.0")
        client.head(200, b"", [], None)
        client.write(b"ok")
        client.finish()
        self.assertEqual(self.sent(), b"HTTP/1.0 200 OK\r\n\r\nok")
        self.assertTrue(self.transport.disconnecting)

    def test_connectionClose(self) -> None:
        """
        What the channel has to say of the connection is said.
        """
        request = self.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        client = WebClient(request)
        client.head(200, b"", [], 0)
        self.assertIn(b"\r\nConnection: close\r\n", self.sent())

    def test_cutFramed(self) -> None:
        """
        A framed response is cut by closing the connection when all is sent,
        without an end; after a while in any case.
        """
        client = self.client()
        client.head(200, b"", [], None)
        client.write(b"a")
        client.cut(b"")
        self.assertTrue(self.sent().endswith(b"1\r\na\r\n"))
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborting)
        self.clock.advance(60)
        self.assertTrue(self.transport.aborting)

    def test_cutUnframed(self) -> None:
        """
        Another is cut by resetting it, unless there are words to go with it.
        """
        client = self.client(b"1.0")
        client.head(200, b"", [], None)
        client.cut(b"")
        self.assertTrue(self.transport.aborting)
        client = self.client(b"1.0")
        client.head(200, b"", [], None)
        client.cut(b"event: error")
        self.assertTrue(self.sent().endswith(b"event: error"))
        self.assertFalse(self.transport.aborting)

    def test_abort(self) -> None:
        """
        A client can be dropped.
        """
        client = self.client()
        client.abort()
        self.assertTrue(self.transport.aborting)

    def test_stream(self) -> None:
        """
        So can one that is a stream of HTTP/2, which has a method for it.
        """

        class Stream:
            aborted = False

            def abortConnection(self) -> None:
                self.aborted = True

        for cut in (WebClient.abort, lambda client: client.cut(b"")):
            client = self.client()
            client.head(200, b"", [], None)
            self.request.channel = stream = Stream()
            cut(client)
            self.assertTrue(stream.aborted)

    def test_producer(self) -> None:
        """
        A producer is paused while the connection takes nothing.
        """
        client = self.client()
        producer = StringTransport()
        client.registerProducer(producer)
        self.connectionsProducer().pauseProducing()
        self.assertEqual(producer.producerState, "paused")
        client.unregisterProducer()
        self.connectionsProducer().resumeProducing()
        self.assertEqual(producer.producerState, "paused")

    def test_gone(self) -> None:
        """
        When the client is gone that is said once, and all else does nothing.
        """
        client = self.client()
        self.lose()
        self.assertEqual(self.over, 1)
        client.cut(b"x")
        client.abort()
        client.registerProducer(StringTransport())
        client.unregisterProducer()
        self.assertEqual((self.sent(), self.over), (b"", 1))

    def test_special(self) -> None:
        """
        A request that can send a head as it is does that, and says itself when
        it is over.
        """
        request = self.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        said: list[Any] = []
        request.whenTaken = said.append
        request.sendHead = lambda *head: said.append(head)
        client = WebClient(request)
        client.attach(lambda: said.append("over"))
        client.head(200, b"", [], 2)
        said.pop(0)()
        self.assertEqual(said, [(200, b"", [], 2), "over"])

    def test_notAttached(self) -> None:
        """
        Nobody need be told.
        """
        client = WebClient(self.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        client._ended()
