"""
Tests for L{llmux.web._lanecall}.
"""

from __future__ import annotations

from typing import Any

from llmux.test._lane import LaneCase
from llmux.test._memory import Connection
from llmux.web._backend import Unreachable
from llmux.web._heads import ResponseHead
from llmux.web._lanecall import Call

REQUEST = b"GET / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Asker:
    """
    Remembers what it is told.
    """

    def __init__(self) -> None:
        self.said: list[Any] = []

    def answered(
        self, head: ResponseHead, length: int | None, data: bytes, isWhole: bool
    ) -> None:
        """
        See L{IAsker.answered}.
        """
        self.said.append((head.status, length, data, isWhole))

    def more(self, data: bytes, isWhole: bool) -> None:
        """
        See L{IAsker.more}.
        """
        self.said.append((data, isWhole))

    def broken(self) -> None:
        """
        See L{IAsker.broken}.
        """
        self.said.append("broken")

    def failed(self, error: Exception) -> None:
        """
        See L{IAsker.failed}.
        """
        self.said.append(str(error))


class CallTests(LaneCase):
    """
    Tests for L{Call}.
    """

    def send(self, isHead: bool = False, isFramed: bool = True) -> Call:
        """
        Send a request.
        """
        backend = self.lane.at("a", "http://127.0.0.1:8001")
        self.asker = Asker()
        call = Call(backend, isHead, REQUEST, self.asker, isFramed)
        call.send()
        return call

    def kept(self) -> Connection:
        """
        A connection that is kept after a request.
        """
        self.send()
        connection = self.accept()
        connection.send(OK)
        self.assertFalse(connection.closed)
        return connection

    def test_whole(self) -> None:
        """
        A request is sent, its response comes in one piece, and the
        connection is used for the next.
        """
        connection = self.kept()
        self.assertEqual(connection.received, REQUEST)
        self.assertEqual(self.asker.said, [(200, 2, b"ok", True)])
        self.send()
        self.assertEqual(connection.received, 2 * REQUEST)
        connection.send(OK)
        self.assertEqual(self.asker.said, [(200, 2, b"ok", True)])
        self.assertEqual(len(self.servers.connections), 1)

    def test_inPieces(self) -> None:
        """
        A response may come byte by byte.
        """
        self.send()
        connection = self.accept()
        for at in range(len(OK)):
            connection.send(OK[at : at + 1])
        self.assertEqual(
            self.asker.said, [(200, 2, b"", False), (b"o", False), (b"k", True)]
        )

    def test_unframed(self) -> None:
        """
        A body that only the end of the connection ends becomes chunks, if a
        framing is wanted, and its end is an end only if it was no breakdown.
        """
        for isFramed, data, end in (
            (True, b"2\r\nab\r\n", b"0\r\n\r\n"),
            (False, b"ab", b""),
        ):
            self.send(isFramed=isFramed)
            connection = self.accept()
            connection.send(b"HTTP/1.0 200 OK\r\n\r\nab")
            connection.end()
            self.assertEqual(self.asker.said, [(200, None, data, False), (end, True)])
        self.send()
        connection = self.accept()
        connection.send(b"HTTP/1.0 200 OK\r\n\r\nab")
        connection.lose()
        self.assertEqual(self.asker.said[1:], ["broken"])

    def test_noBody(self) -> None:
        """
        What can have no body is whole with its head; the length that the
        answer to C{HEAD} says is that of another.
        """
        for isHead, head, length in (
            (True, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 9),
            (True, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
            (True, b"HTTP/1.1 200 OK\r\n\r\n", None),
            (False, b"HTTP/1.1 204 None\r\nContent-Length: 9\r\n\r\n", None),
            (False, b"HTTP/1.1 304 Old\r\n\r\n", None),
        ):
            self.send(isHead)
            if len(self.servers.connections) == 1 and isHead and length == 9:
                self.accept()
            connection = self.servers.connections[-1]
            connection.send(head)
            self.assertEqual(
                self.asker.said, [(int(head[9:12]), length, b"", True)], head
            )
            self.assertFalse(connection.closed)

    def test_excess(self) -> None:
        """
        A server that sends more than it said is not believed any more.
        """
        for isHead, answer in (
            (False, OK + b"x"),
            (True, OK),
            (False, b"HTTP/1.1 204 None\r\n\r\nx"),
            (
                False,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
            ),
        ):
            self.send(isHead)
            connection = self.accept()
            connection.send(answer)
            self.assertTrue(self.asker.said[-1][-1])
            self.assertTrue(connection.closed, answer)

    def test_closes(self) -> None:
        """
        A connection that the server wants closed is closed.
        """
        self.send()
        connection = self.accept()
        connection.send(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        self.assertEqual(self.asker.said, [(200, 2, b"ok", True)])
        self.assertTrue(connection.closed)

    def test_badChunks(self) -> None:
        """
        What cannot be chunks breaks a response, at once or later.
        """
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for together in (True, False):
            self.send()
            connection = self.accept()
            for data in (head + b"xx",) if together else (head, b"xx"):
                connection.send(data)
            self.assertEqual(self.asker.said, [(200, None, b"", False), "broken"])

    def test_stale(self) -> None:
        """
        A request over a connection that was kept, and that is lost before a
        byte of an answer, is sent once more over a new one, and no other that
        was kept is tried.
        """
        connection = self.kept()
        self.send()
        connection.end()
        self.assertEqual(self.asker.said, [])
        again = self.accept()
        self.assertIsNot(again, connection)
        self.assertEqual(again.received, REQUEST)
        again.end()
        self.assertEqual(
            self.asker.said,
            ["the server of 'a' closed the connection before it answered"],
        )

    def test_notStale(self) -> None:
        """
        It is not sent again if anything of an answer came, or if the
        connection was new.
        """
        connection = self.kept()
        self.send()
        connection.send(b"HTTP/1.1 1")
        connection.end()
        self.assertEqual(len(self.asker.said), 1)
        self.assertIn("broke off in the head", self.asker.said[0])
        self.send()
        self.accept().end()
        self.assertIn("before it answered", self.asker.said[0])
        self.assertEqual(len(self.servers.connections), 2)

    def test_notHTTP(self) -> None:
        """
        What is not HTTP is an error that says so.
        """
        self.send()
        self.accept().send(b"SSH-2.0-x\r\n")
        self.assertIn("is not HTTP", self.asker.said[0])

    def test_refused(self) -> None:
        """
        It is known if no connection could be made.
        """
        self.send()
        self.servers.connections[0].refuse()
        self.assertEqual(self.asker.said, [str(Unreachable())])

    def test_abort(self) -> None:
        """
        After it was aborted nothing is said, whatever happens.
        """
        call = self.send()
        call.abort()
        self.assertEqual(self.asker.said, [])
        call = self.send()
        connection = self.accept()
        call.abort()
        self.assertTrue(connection.transport.aborting)
        connection.send(OK)
        connection.lose()
        self.assertEqual(self.asker.said, [])
