"""
Tests for L{llmux.web._guard}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from llmux.descriptors import Descriptors
from llmux.web._guard import Guard, GuardedEndpoint
from llmux.web._heads import LONGEST_HEAD


@implementer(IStreamClientEndpoint)
class Straight:
    """
    Connects at once.

    @ivar guard: the protocol that was connected.
    """

    guard: Any

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        """
        See L{IStreamClientEndpoint.connect}.
        """
        self.guard = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.guard.makeConnection(StringTransport())
        return succeed(self.guard)


class Inner(Protocol):
    """
    Remembers what it receives.
    """

    data = b""

    def dataReceived(self, data: bytes) -> None:
        """
        Remember it.
        """
        self.data += data


class GuardTests(SynchronousTestCase):
    """
    Tests for L{Guard} and L{GuardedEndpoint}.
    """

    def setUp(self) -> None:
        """
        Connect a protocol through a guard.
        """
        endpoint = Straight()
        self.descriptors = Descriptors(Clock())
        guarded = GuardedEndpoint(endpoint, self.descriptors)
        self.assertTrue(verifyObject(IStreamClientEndpoint, guarded))
        factory = Factory.forProtocol(Inner)
        inner: Any = self.successResultOf(guarded.connect(factory))
        self.inner = inner
        self.guard: Guard = endpoint.guard
        self.assertIs(self.inner.transport, self.guard)

    def passes(self, head: bytes, expected: bytes | None = None) -> None:
        """
        Have a head come in every number of parts.
        """
        expected = head if expected is None else expected
        for size in (1, 2, 7, len(head)):
            self.guard.begin()
            self.inner.data = b""
            for start in range(0, len(head), size):
                self.guard.dataReceived(head[start : start + size])
            self.assertEqual(self.inner.data, expected)
            self.assertTrue(self.guard.received)

    def refuses(self, head: bytes, problem: str) -> None:
        """
        Have a head come that is none.
        """
        self.setUp()
        self.guard.begin()
        self.guard.dataReceived(head)
        self.assertIn(problem, self.guard.problem)
        self.assertEqual(self.inner.data, b"")
        transport: Any = self.guard.transport
        self.assertTrue(transport.disconnecting)

    def test_plain(self) -> None:
        """
        A head is passed on as it is, once it is complete, and so is what
        follows.
        """
        self.passes(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
        self.passes(b"HTTP/1.0 404\nA: b\n\n")
        self.passes(b"HTTP/1.1 200 \r\n\r\n")
        self.inner.data = b""
        self.guard.dataReceived(b"HTTP/1.1 body")
        self.assertEqual(self.inner.data, b"HTTP/1.1 body")

    def test_incomplete(self) -> None:
        """
        Nothing of a head is passed on before it is complete.
        """
        self.guard.begin()
        self.assertFalse(self.guard.received)
        self.guard.dataReceived(b"HTTP/1.1 200 OK\r\nA: b\r\n")
        self.assertEqual(self.inner.data, b"")
        self.assertTrue(self.guard.received)
        self.assertEqual(self.guard.problem, "")

    def test_requests(self) -> None:
        """
        Requests are counted, so that one can tell a connection that was kept.
        """
        self.guard.begin()
        self.guard.begin()
        self.assertEqual(self.guard.requests, 2)

    def test_interim(self) -> None:
        """
        Interim responses are dropped.
        """
        ok = b"HTTP/1.1 200 OK\r\n\r\nabc"
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\n"
        self.passes(interim + ok, ok)

    def test_listed(self) -> None:
        """
        Headers that C{Connection} lists are dropped, but for those that say how
        to read the body.
        """
        self.passes(
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nConnection: x-a, Content-Length\r\n"
            b"x-A: 2\r\n\t3\r\nX-AB: 4\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nX-AB: 4\r\nContent-Length: 1\r\n\r\nx",
        )

    def test_folded(self) -> None:
        """
        A C{Connection} of several lines is read and dropped as a whole: what is
        left of it would be part of another header.
        """
        self.passes(
            b"HTTP/1.1 200 OK\r\nA: 1\r\nConnection: x-a\r\n , X-B\r\n"
            b"X-A: 1\r\nX-B: 2\r\n 3\r\nC: 4\r\n 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: 1\r\nC: 4 5\r\n\r\n",
        )

    def test_foldedStatus(self) -> None:
        """
        A status line that goes on in another is refused.
        """
        for more in (b"\r\n x: y", b"\n\tx: y", b"\r\n "):
            self.refuses(b"HTTP/1.1 200 OK" + more + b"\r\nA: b\r\n\r\n", "not HTTP")

    def test_close(self) -> None:
        """
        C{Connection: close} is passed on in the form that Twisted understands.
        """
        self.passes(
            b"HTTP/1.1 200 OK\r\nA: b\r\nCONNECTION: Keep-Alive , Close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\n\r\n",
        )

    def test_notHTTP(self) -> None:
        """
        What is no head is refused as soon as that is clear.
        """
        for head in (
            b"X",
            b"HTTX",
            b"HTTP/1.1 2000 OK\r\n",
            b"HTTP/1.1 20\r\n",
            b"HTTP/1.1 200 a\rb\r\n",
            b"HTTP/2.0 200 OK\r\n",
            b"HTTP/1.1 200 " + b"x" * 10_000,
            b"\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\ngarbage",
        ):
            self.refuses(head, "not HTTP")

    def test_tooLong(self) -> None:
        """
        A head that is too long is refused, also if it is complete.
        """
        line = b"A: b\r\n" * (LONGEST_HEAD // 6 + 1)
        self.refuses(b"HTTP/1.1 200 OK\r\n" + line, "too long")
        self.refuses(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n", "too long")
        self.refuses(b"HTTP/1.1 102 x\r\n\r\n" * LONGEST_HEAD, "too long")

    def test_upgrade(self) -> None:
        """
        Nobody has asked for another protocol.
        """
        self.refuses(b"HTTP/1.1 101 Switching\r\n\r\n", "protocol")
