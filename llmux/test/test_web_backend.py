"""
Tests for L{llmux.web._backend}.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent, IClientRequest
from zope.interface.verify import verifyObject

from llmux.interfaces import DecisionRefused, IObserver, State, StateChanged, Stay
from llmux.test._memory import Connection, MemoryCase
from llmux.web._backend import KEPT, Unreachable
from llmux.web._body import StoredBody
from llmux.web._errors import BackendError
from llmux.web._headers import Pair
from llmux.web._pieces import Slice
from llmux.web._sending import Backend, Sending, _Message

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HERE = "http://127.0.0.1:8001/base/"


class Body(Protocol):
    """
    Remembers a body.
    """

    def __init__(self) -> None:
        self.data = b""
        self.reason: Any = None

    def dataReceived(self, data: bytes) -> None:
        """
        Remember it.
        """
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Remember the end.
        """
        self.reason = reason


class SendingTests(MemoryCase):
    """
    Tests for L{Backend} and L{Sending}.
    """

    def setUp(self) -> None:
        """
        A server.
        """
        super().setUp()
        self.backend: Backend = self.backends.at("a", HERE)

    def send(
        self,
        body: bytes | None = None,
        method: bytes = b"GET",
        headers: Sequence[Pair] = ((b"Host", b"x"),),
    ) -> tuple[Sending, Deferred[Any]]:
        """
        Send a request.
        """
        stored = None
        if body is not None:
            stored = StoredBody([Slice(0, len(body))], BytesIO(body))
        sending = self.backend.request(method, b"/x", headers, stored)
        return sending, sending.send()

    def bodyOf(self, response: Any) -> Body:
        """
        Have the body of a response delivered.
        """
        body = Body()
        response.deliverBody(body)
        return body

    def served(self, **request: Any) -> Connection:
        """
        Send a request that is answered on a new connection, which is kept.
        """
        sending, sent = self.send(**request)
        connection = self.servers.accept()
        connection.send(OK)
        self.bodyOf(self.successResultOf(sent))
        sending.received()
        connection.transport.clear()
        return connection

    def test_interfaces(self) -> None:
        """
        They are what treq and Twisted take them for.
        """
        self.assertTrue(verifyObject(IAgent, self.send()[0]))
        self.assertTrue(verifyObject(IClientRequest, _Message(b"GET", b"/", [], None)))
        self.assertTrue(verifyObject(IObserver, self.backends))

    def test_request(self) -> None:
        """
        What is sent is what was given, behind the path of the address.
        """
        self.send(method=b"Get", headers=[(b"host", b"x"), (b"A", b"1"), (b"A", b"2")])
        self.assertEqual(
            self.servers.accept().received,
            b"Get /base/x HTTP/1.1\r\nhost: x\r\nA: 1\r\nA: 2\r\n\r\n",
        )

    def test_body(self) -> None:
        """
        A body is sent with its length, and methods that are expected to have
        one say so if they have none.
        """
        head = b"%b /base/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        self.send(b"abc")
        self.assertEqual(self.servers.accept().received, head % (b"GET", 3) + b"abc")
        for method in (b"POST", b"PUT", b"PATCH"):
            self.send(method=method)
            self.assertEqual(self.servers.accept().received, head % (method, 0))

    def test_response(self) -> None:
        """
        The response comes as it is: not decompressed, no redirect followed, no
        cookie kept for the next request.
        """
        _, sent = self.send()
        connection = self.servers.accept()
        connection.send(
            b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Encoding: gzip\r\n"
            b"Set-Cookie: a=b\r\nContent-Length: 3\r\n\r\nabc"
        )
        response = self.successResultOf(sent)
        self.assertEqual(response.code, 302)
        self.assertEqual(response.headers.getRawHeaders(b"Content-Encoding"), [b"gzip"])
        self.assertEqual(response.headers.getRawHeaders(b"Set-Cookie"), [b"a=b"])
        self.assertEqual(self.bodyOf(response).data, b"abc")
        connection.transport.clear()
        self.send()
        self.assertEqual(
            connection.received, b"GET /base/x HTTP/1.1\r\nHost: x\r\n\r\n"
        )

    def test_unbuffered(self) -> None:
        """
        A body is not held back until it is complete.
        """
        _, sent = self.send()
        connection = self.servers.accept()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
        body = self.bodyOf(self.successResultOf(sent))
        self.assertEqual(body.data, b"a")
        connection.send(b"b")
        self.assertEqual(body.data, b"ab")
        self.assertIsNone(body.reason)

    def test_large(self) -> None:
        """
        A large body waits for the connection.
        """
        self.send(bytes(200_000))
        transport = self.servers.accept().transport
        self.assertIsNone(transport.producer)
        self.assertGreater(len(transport.value()), 200_000)

    def test_unreachable(self) -> None:
        """
        A connection that cannot be made is told apart from all else.
        """
        _, sent = self.send()
        self.servers.connections[0].refuse()
        self.assertIn("connection", str(self.failureResultOf(sent, Unreachable).value))

    def test_closed(self) -> None:
        """
        A new connection that is closed without a word is an error.
        """
        _, sent = self.send()
        self.servers.accept().lose()
        error = self.failureResultOf(sent, BackendError).value
        self.assertIn("before it answered", str(error))
        self.assertEqual(len(self.servers.connections), 1)

    def test_broken(self) -> None:
        """
        So is an answer that breaks off, or is none.
        """
        for said, words in (
            (b"HTTP/1.1 200 OK\r\n", "broke off"),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "was not HTTP"),
            (b"garbage", "not HTTP"),
        ):
            _, sent = self.send()
            connection = self.servers.accept()
            connection.send(said)
            connection.lose()
            error = self.failureResultOf(sent, BackendError).value
            self.assertIn(words, str(error))

    def test_kept(self) -> None:
        """
        A connection is kept for the next request, for a short while.
        """
        connection = self.served()
        self.served2(connection)
        self.clock.advance(KEPT)
        self.assertTrue(connection.closed)
        self.send()
        self.assertEqual(len(self.servers.connections), 2)

    def served2(self, connection: Connection) -> None:
        """
        Send a request that is answered on a connection that was kept.
        """
        sending, sent = self.send()
        self.assertIn(b"GET", connection.received)
        connection.send(OK)
        self.bodyOf(self.successResultOf(sent))
        sending.received()

    def test_stale(self) -> None:
        """
        If a kept connection is closed without a word, the request, body and
        all, is sent on a new one; once.
        """
        old = self.served()
        _, sent = self.send(b"abc", b"POST")
        self.assertIn(b"abc", old.received)
        old.lose()
        self.assertNoResult(sent)
        new = self.servers.accept()
        self.assertIn(b"\r\n\r\nabc", new.received)
        new.lose()
        self.failureResultOf(sent, BackendError)
        self.assertEqual(len(self.servers.connections), 2)

    def test_staleWithAnAnswer(self) -> None:
        """
        Not if there was a word.
        """
        old = self.served()
        _, sent = self.send()
        old.send(b"H")
        old.lose()
        self.failureResultOf(sent, BackendError)

    def test_abortConnecting(self) -> None:
        """
        What is aborted while it connects is not sent.
        """
        sending, sent = self.send()
        sending.abort()
        self.assertNoResult(sent)
        self.assertTrue(self.servers.connections[0].made.called)

    def test_abortWaiting(self) -> None:
        """
        What is aborted before it is answered has its connection closed.
        """
        sending, sent = self.send(b"abc")
        connection = self.servers.accept()
        sending.abort()
        self.assertTrue(connection.closed)
        connection.lose()
        self.assertNoResult(sent)

    def test_abortReceived(self) -> None:
        """
        What is aborted when all is over is no harm to the connection, which
        may be another's by then.
        """
        sending, sent = self.send()
        connection = self.servers.accept()
        connection.send(OK)
        self.bodyOf(self.successResultOf(sent))
        sending.received()
        sending.abort()
        self.assertFalse(connection.closed)

    def test_answeredEarly(self) -> None:
        """
        An answer to a request that is still being sent ends that.
        """
        sending, sent = self.send(bytes(200_000))
        connection = self.servers.connections[0]
        write = connection.transport.write

        def pausing(data: bytes) -> None:
            write(data)
            if connection.transport.producer is not None:
                connection.transport.producer.pauseProducing()

        connection.transport.write = pausing  # type: ignore[method-assign]
        connection.accept()
        connection.send(OK)
        self.bodyOf(self.successResultOf(sent))
        self.assertLess(len(connection.received), 200_000)
        sending.received()
        self.assertTrue(connection.closed)

    def test_unreadable(self) -> None:
        """
        A body that cannot be read is an error, and the connection is closed.
        """
        file = BytesIO()
        sending = self.backend.request(
            b"POST", b"/", [], StoredBody([Slice(0, 9)], file)
        )
        sent = sending.send()
        connection = self.servers.accept()
        self.failureResultOf(sent, BackendError)
        self.assertTrue(connection.closed)

    def test_stopWriting(self) -> None:
        """
        When the connection is lost, a request with no body has nothing more to
        write.
        """
        _Message(b"GET", b"/", [], None).stopWriting()
        _Message(b"GET", b"/", [], None).abort()


class BackendsTests(MemoryCase):
    """
    Tests for L{Backends}.
    """

    def test_once(self) -> None:
        """
        An address is taken apart once, and the time to connect in is the
        model's.
        """
        self.assertIs(self.backends.at("a", HERE), self.backends.at("a", HERE))
        self.assertEqual(self.servers.addresses, [(HERE, 5.0)])

    def test_moved(self) -> None:
        """
        A model may be somewhere else the next time.
        """
        first = self.backends.at("a", HERE)
        second = self.backends.at("a", "http://gpu2")
        self.assertIsNot(first, second)
        self.assertEqual(second.address.hostHeader, b"gpu2")

    def test_nowhere(self) -> None:
        """
        An address that is none is an error of the model's server.
        """
        for address in ("", "nonsense"):
            with self.assertRaises(BackendError):
                self.backends.at("a", address)

    def test_notAwake(self) -> None:
        """
        No connection is kept to a model that is not awake.
        """
        backend = self.backends.at("a", HERE)
        sending = backend.request(b"GET", b"/", [], None)
        sent = sending.send()
        connection = self.servers.accept()
        connection.send(OK)
        self.successResultOf(sent).deliverBody(Body())
        for event in (
            StateChanged("b", State.AWAKE, State.DRAINING, 1.0),
            StateChanged("a", State.WAKING, State.AWAKE, 1.0),
            DecisionRefused(Stay(), "x"),
        ):
            self.backends.notify(event)
            self.assertFalse(connection.closed)
        self.backends.notify(StateChanged("a", State.AWAKE, State.DRAINING, 1.0))
        self.assertTrue(connection.closed)
        self.assertEqual(self.timers(), 0)

    def test_close(self) -> None:
        """
        All of them can be closed.
        """
        self.backends.at("a", HERE)
        self.backends.close()
