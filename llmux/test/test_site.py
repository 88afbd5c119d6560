"""
Tests for L{llmux.web.site} and L{llmux.web._channel} that need no sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EMFILE, ENOSPC
from io import BytesIO, StringIO
from typing import IO, Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from llmux.config import Limits
from llmux.test._memory import Transport
from llmux.web._channel import BEHIND, KEPT, LINGER
from llmux.web.site import IN_MEMORY, ClosedAside, ProxySite

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Grab(Resource):
    """
    Keeps the requests.
    """

    def __init__(self, isLeaf: bool = True) -> None:
        super().__init__()
        self.isLeaf = isLeaf
        self.requests: list[Any] = []
        self.error: Exception | None = None

    def getChild(self, name: bytes, request: object) -> Resource:
        """
        It is all its children.
        """
        return self

    def render(self, request: Any) -> int:
        """
        Keep it.
        """
        if self.error is not None:
            raise self.error
        self.requests.append(request)
        return NOT_DONE_YET


@implementer(ITCPTransport)
class Descriptor(FileDescriptor):
    """
    A transport that takes no more than it is told to.

    @ivar room: how many bytes it takes.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.connected = True
        self.taken = b""
        self.room = 10**9
        self.isAborted = False
        self.halfClosed = False

    def writeSomeData(self, data: bytes) -> int:
        """
        Take as much as there is room for.
        """
        some = bytes(data)[: self.room]
        self.taken += some
        self.room -= len(some)
        return len(some)

    def getPeer(self) -> Any:
        """
        It has no address.
        """

    getHost = getPeer

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Nothing is delayed.
        """

    def abortConnection(self) -> None:
        """
        Remember it.
        """
        self.isAborted = True

    def loseWriteConnection(self) -> None:
        """
        Remember it.
        """
        self.halfClosed = True

    def getTcpNoDelay(self) -> bool:
        """
        It is not.
        """
        return True

    setTcpKeepAlive = setTcpNoDelay
    getTcpKeepAlive = getTcpNoDelay


class Reactor(Clock):
    """
    Remembers who has something to write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writers: set[Any] = set()

    def addWriter(self, writer: Any) -> None:
        """
        Remember it.
        """
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        """
        Forget it.
        """
        self.writers.discard(writer)

    addReader = removeReader = removeWriter

    def write(self) -> None:
        """
        Have everybody write who wants to.
        """
        for writer in list(self.writers):
            writer.doWrite()


class FullDisk(BytesIO):
    """
    A file for which there is no room.
    """

    def flush(self) -> None:
        """
        Fail.
        """
        raise OSError(ENOSPC, "No space left on device")

    def close(self) -> None:
        """
        Fail, and close, as files do.
        """
        super().close()
        self.flush()


class SiteCase(SynchronousTestCase):
    """
    A site and one client.
    """

    limits = Limits(body_mb=2, head_secs=10, stall_secs=60)

    def setUp(self) -> None:
        """
        Connect.
        """
        self.grab = Grab()
        self.build()

    def build(self, descriptor: bool = False, **settings: Any) -> None:
        """
        Connect a client to a site of its own.
        """
        self.clock = Reactor()
        self.site = ProxySite(self.grab, self.clock, self.limits, **settings)
        self.connect(Descriptor(self.clock) if descriptor else Transport())

    def connect(self, transport: Any) -> None:
        """
        Connect a client.
        """
        self.transport = transport
        self.channel: Any = self.site.buildProtocol(None)
        self.channel.makeConnection(transport)

    def send(self, data: bytes) -> None:
        """
        Have the client send something.
        """
        self.channel.dataReceived(data)

    def lose(self) -> None:
        """
        Lose the connection.
        """
        self.channel.connectionLost(Failure(ConnectionLost()))

    def assertRefused(self, status: int, key: bytes = b"") -> None:
        """
        The client was told so, and the connection is being closed.
        """
        said = self.transport.value()
        self.assertTrue(said.startswith(b"HTTP/1.1 %d " % status), said)
        self.assertIn(b"\r\nX-Request-Id: ", said)
        self.assertIn(key, said)
        self.assertEqual(said.count(b"HTTP/1.1"), 1)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.grab.requests, [])


class SiteTests(SiteCase):
    """
    Tests for L{ProxySite} and its requests.
    """

    def test_settings(self) -> None:
        """
        It speaks HTTP/1.1, does not parse forms, and has the usual limits if
        none are given.
        """
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])
        self.assertEqual(ProxySite(self.grab, self.clock).limits, Limits())
        self.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=b"
        )
        self.assertEqual(self.grab.requests[0].args, {})

    def place(self, body: bytes, isChunked: bool = False) -> Any:
        """
        Where the body of a request is kept.
        """
        if isChunked:
            self.send(
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for start in range(0, len(body), 100_000):
                part = body[start : start + 100_000]
                self.send(b"%x\r\n%b\r\n" % (len(part), part))
            self.send(b"0\r\n\r\n")
        else:
            self.send(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            self.send(body)
        request = self.grab.requests.pop()
        self.assertEqual(request.content.read(), body)
        content = request.content
        request.finish()
        self.assertTrue(content.closed)
        return content

    def test_bodies(self) -> None:
        """
        A small body is in memory, a large one in a file that is closed with
        the request.
        """
        small, large = bytes(IN_MEMORY), bytes(IN_MEMORY + 1)
        for isChunked in (False, True):
            self.assertIsInstance(self.place(small, isChunked), BytesIO)
            self.assertNotIsInstance(self.place(large, isChunked), BytesIO)

    def test_tooLarge(self) -> None:
        """
        A body over the limit is refused before it is here, and nobody is told
        to go on with it.
        """
        size = self.site.bodyLimit + 1
        self.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % size
        )
        self.assertRefused(413, b"body_too_large")
        self.send(b"x" * size + GET)
        self.assertRefused(413)

    def test_tooLargeChunked(self) -> None:
        """
        So is one whose length was not said, as soon as it is too large.
        """
        self.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            self.send(b"f4240\r\n%b\r\n" % bytes(1_000_000))
        self.send(b"0\r\n\r\n" + GET)
        self.assertRefused(413)

    def test_noRoom(self) -> None:
        """
        A body that cannot be kept, as the disk is full, is a 500; llmux says
        so in its log, and goes on.
        """
        for isChunked in (False, True):
            self.build()
            self.patch(self.site, "getContentFile", lambda length: FullDisk())
            head, body = bytes(IN_MEMORY), bytes(IN_MEMORY)
            if isChunked:
                framing = b"Transfer-Encoding: chunked"
                head, body = (b"100000\r\n%b\r\n" % part for part in (head, body))
            else:
                framing = b"Content-Length: %d" % (2 * IN_MEMORY)
            self.send(b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % framing)
            with capturedLogs() as events:
                self.send(head)
                self.send(body + b"0\r\n\r\n" + GET)
            self.assertRefused(500, b"internal_error")
            self.assertNotIn(b"space", self.transport.value())
            [event] = [event for event in events if "event" in event]
            self.assertEqual(event["event"], "body_not_kept")
            self.assertIn("No space left", event["problem"])
            self.lose()

    def test_noFile(self) -> None:
        """
        So is one for which no file can be opened, before any of it is here.
        """

        def refuse(length: int | None) -> IO[bytes]:
            raise OSError(EMFILE, "Too many open files")

        self.patch(self.site, "getContentFile", refuse)
        self.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % (2 * IN_MEMORY)
        )
        self.assertRefused(503, b"overloaded")
        self.assertIn(b"\r\nRetry-After: 1\r\n", self.transport.value())
        self.lose()
        self.clock.advance(60)

    def test_tree(self) -> None:
        """
        Its root may be any resource.
        """
        self.grab.isLeaf = False
        self.build()
        self.send(GET)
        [request] = self.grab.requests
        request.write(b"x")
        request.finish()
        self.assertIn(b"\r\nServer: ", self.transport.value())

    def test_rootFails(self) -> None:
        """
        A root that raises is a 500.
        """
        self.grab.error = RuntimeError("a secret")
        self.send(GET)
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 500"))
        self.assertNotIn(b"secret", self.transport.value())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_accessLog(self) -> None:
        """
        There is an access log if one was asked for.
        """
        for path, expected in ((None, 0), ("access.log", 1)):
            self.build(logPath=path)
            log = StringIO()
            self.site._logFile = log
            self.send(GET)
            request = self.grab.requests.pop()
            request.client = None
            request.finish()
            self.assertEqual(log.getvalue().count("\n"), expected)

    def head(self, *head: Any, request: bytes = GET) -> bytes:
        """
        Have a head sent, and a body.
        """
        self.build()
        self.send(request)
        asked = self.grab.requests.pop()
        asked.sendHead(*head)
        asked.write(b"ok")
        asked.finish()
        sent: bytes = self.transport.value()
        return sent

    def test_sendHead(self) -> None:
        """
        A head is sent as it is, with a framing that suits the request.
        """
        self.assertEqual(
            self.head(200, b"Fine", [(b"a", b"b")], 2),
            b"HTTP/1.1 200 Fine\r\na: b\r\nContent-Length: 2\r\n\r\nok",
        )
        self.assertEqual(
            self.head(200, b"", [], None),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n0\r\n\r\n",
        )
        self.assertEqual(
            self.head(200, b"", [], None, request=b"GET / HTTP/1.0\r\n\r\n"),
            b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nok",
        )
        self.assertEqual(
            self.head(200, b"", [], 2, request=GET.replace(b"GET", b"HEAD")),
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        )
        self.assertEqual(
            self.head(204, b"", [], None), b"HTTP/1.1 204 No Content\r\n\r\n"
        )


class SlowTests(SiteCase):
    """
    Tests for the limits on time.
    """

    def tearDown(self) -> None:
        """
        When a connection is lost no timer is left.
        """
        self.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle(self) -> None:
        """
        A connection without a request is closed after a while, silently.
        """
        self.clock.advance(KEPT - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.transport.value(), b"")

    def test_idleAfterRequest(self) -> None:
        """
        So is one on which the last request was answered, counted from then.
        """
        self.clock.advance(50)
        self.send(GET)
        self.clock.advance(1000)
        self.assertFalse(self.transport.disconnecting)
        self.grab.requests[0].finish()
        self.clock.advance(KEPT - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnecting)

    def test_head(self) -> None:
        """
        A head must be here in time.
        """
        for byte in GET[:9]:
            self.send(bytes([byte]))
            self.clock.advance(1)
        self.assertEqual(self.transport.value(), b"")
        self.clock.advance(1)
        self.assertRefused(408, b"limits.head_secs")

    def test_body(self) -> None:
        """
        A body must make progress.
        """
        self.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n")
        for _ in range(3):
            self.clock.advance(59)
            self.send(bytes(1024))
            self.clock.advance(1)
        self.assertEqual(self.transport.value(), b"")
        self.send(bytes(1023))
        self.clock.advance(60)
        self.assertRefused(408, b"limits.stall_secs")

    def test_linger(self) -> None:
        """
        After a refusal a connection is half closed, and read from for a while.
        """
        self.build(descriptor=True)
        self.send(b"nonsense\r\n")
        self.clock.write()
        self.assertTrue(self.transport.taken.startswith(b"HTTP/1.1 400 "))
        self.assertTrue(self.transport.halfClosed)
        self.send(GET)
        self.assertEqual(self.grab.requests, [])
        self.clock.advance(LINGER - 1)
        self.assertFalse(self.transport.isAborted)
        self.clock.advance(1)
        self.assertTrue(self.transport.isAborted)

    def test_drained(self) -> None:
        """
        A request is over when the transport has taken the last byte, not when
        that was written; the next is taken up after that.
        """
        self.build(descriptor=True)
        self.send(GET + GET)
        over: list[str] = []
        [request] = self.grab.requests
        request.whenTaken(lambda: over.append("over"))
        self.transport.room = 45
        request.sendHead(200, b"", [], 10)
        request.write(b"x" * 10)
        request.finish()
        self.clock.write()
        self.assertEqual((over, len(self.grab.requests)), ([], 1))
        self.transport.room = 100
        self.clock.write()
        self.assertEqual((over, len(self.grab.requests)), (["over"], 2))
        self.assertTrue(self.transport.taken.endswith(b"x" * 10))

    def test_drainedAlready(self) -> None:
        """
        If everything has been taken before the end, that is noticed as well.
        """
        self.build(descriptor=True)
        self.send(GET)
        over: list[str] = []
        [request] = self.grab.requests
        request.whenTaken(lambda: over.append("over"))
        request.sendHead(200, b"", [], 1)
        request.write(b"x")
        self.clock.write()
        request.finish()
        self.assertEqual(over, [])
        self.clock.write()
        self.assertEqual(over, ["over"])

    def test_drainedWhilePaused(self) -> None:
        """
        A channel that was paused goes on afterwards.
        """
        self.build(descriptor=True)
        self.send(GET)
        [request] = self.grab.requests
        self.transport.room = 10
        request.sendHead(200, b"", [], 100_000)
        request.write(b"x" * 100_000)
        request.finish()
        self.transport.room = 10**9
        self.clock.write()
        self.send(GET)
        self.assertEqual(len(self.grab.requests), 2)

    def test_notDrained(self) -> None:
        """
        A client that does not take the last bytes is given up, and then the
        request is over.
        """
        self.build(descriptor=True)
        self.send(GET)
        over: list[str] = []
        [request] = self.grab.requests
        request.whenTaken(lambda: over.append("over"))
        self.transport.room = 10
        request.sendHead(200, b"", [], 0)
        request.finish()
        self.clock.write()
        self.clock.advance(59)
        self.assertFalse(self.transport.isAborted)
        self.clock.advance(1)
        self.assertTrue(self.transport.isAborted)
        self.transport.connectionLost(Failure(ConnectionLost()))
        self.lose()
        self.assertEqual(over, ["over"])

    def test_lost(self) -> None:
        """
        A request whose connection is lost is over, once.
        """
        self.send(GET)
        over: list[str] = []
        self.grab.requests[0].whenTaken(lambda: over.append("over"))
        self.lose()
        self.grab.requests[0].over()
        self.assertEqual(over, ["over"])


class ParsingTests(SiteCase):
    """
    Tests for what passes for a request.  The rest is in the conformance suite.
    """

    def test_onlyOnce(self) -> None:
        """
        A request is refused once, however much is wrong with it.
        """
        for request in (
            b"G(T\r\nA\r\nHost: x\r\n\r\n" + GET,
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000,
            b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 100_000,
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nA\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n",
            b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ):
            self.build()
            self.send(request)
            self.send(request)
            self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 4"), request)
            self.assertEqual(self.transport.value().count(b"HTTP/1.1"), 1, request)
            self.assertEqual(self.grab.requests, [])
            # Twisted's parser may not have noticed; ours must not care.
            self.channel.lineReceived(b"GET / HTTP/1.1")
            self.channel.lineLengthExceeded(b"")
            self.channel.refuse(None)
            self.channel.allHeadersReceived()
            self.channel.rawDataReceived(b"x")
            self.channel.allContentReceived()
            self.assertEqual(self.grab.requests, [])

    def test_asterisk(self) -> None:
        """
        C{OPTIONS} may be asked of all.
        """
        self.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.grab.requests[0].uri, b"*")

    def test_behind(self) -> None:
        """
        Further requests wait for their turn, some in front of others.
        """
        self.send(GET + GET)
        self.send(GET)
        self.send(b"GET /last")
        self.send(b" HTTP/1.1\r\nHost: x\r\n\r\n")
        for count in (1, 2, 3, 4):
            self.assertEqual(len(self.grab.requests), count)
            self.grab.requests[-1].finish()
        self.assertEqual(self.grab.requests[-1].uri, b"/last")

    def test_tooMuchBehind(self) -> None:
        """
        Too many of them are not kept; reading goes on, so that it is noticed
        if the client leaves, and the connection is closed after the response.
        """
        self.send(GET)
        for _ in range(3):
            self.send(bytes(BEHIND // 2 + 1))
        self.assertEqual(self.transport.producerState, "producing")
        [request] = self.grab.requests
        request.sendHead(200, b"", [], 0)
        self.assertIn(b"\r\nConnection: close\r\n", self.transport.value())
        request.finish()
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(len(self.grab.requests), 1)


class ClosedAsideTests(SynchronousTestCase):
    """
    Tests for L{ClosedAside}.
    """

    def test_close(self) -> None:
        """
        It is closed at once for whoever has it, and in a thread, once, for the
        system.
        """
        threads: list[Callable[[], None]] = []
        inner = BytesIO()
        file = ClosedAside(inner, threads.append)
        file.write(b"abc")
        self.assertEqual(b"abc", inner.getvalue())
        file.close()
        file.close()
        self.assertTrue(file.closed)
        self.assertRaises(ValueError, file.read)
        self.assertFalse(inner.closed)
        self.assertEqual(1, len(threads))
        threads[0]()
        self.assertTrue(inner.closed)
