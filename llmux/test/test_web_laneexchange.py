"""
Tests for L{llmux.web._laneexchange}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llmux.config import ApiKey
from llmux.test._lane import LaneCase
from llmux.testing import makeConfig
from llmux.web._access import Access
from llmux.web._laneclient import LaneClient
from llmux.web._laneexchange import LaneExchange, _answered, _sent

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = CHUNKED.replace(b"\r\n", b"\r\nContent-Type: text/event-stream\r\n", 1)
EVENT = b"9\r\ndata: 1\n\n\r\n"
END = b"0\r\n\r\n"


class ReadyClient(LaneClient):
    """
    A client that takes one head and no other.
    """

    def head(self, *head: Any) -> None:
        """
        See L{LaneClient.head}.
        """
        if not self.isBegun:
            super().head(*head)


class LaneExchangeTests(LaneCase):
    """
    Tests for L{LaneExchange}.
    """

    def assertBody(self, body: bytes) -> None:
        """
        This is what the client got behind the head.
        """
        self.assertEqual(self.channel.received.partition(b"\r\n\r\n")[2], body)

    def test_request(self) -> None:
        """
        The server gets the request in one piece, with a framing of its own.
        """
        self.ask(headers={b"Host": b"me", b"X-Two": b"2", b"Connection": b"close"})
        self.assertEqual(
            self.accept().received,
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8001\r\n"
            b"X-Two: 2\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n"
            b"X-Forwarded-Host: me\r\nVia: 1.1 llmux\r\nX-Request-Id: r-1\r\n"
            b'Content-Length: 14\r\n\r\n{"model": "a"}',
        )

    def test_emptyBody(self) -> None:
        """
        A method that has a body has a length even if that is nothing; others
        have none.
        """
        for method, length in ((b"POST", True), (b"GET", False)):
            self.ask(method=method, body=b"", target=b"/x?model=a")
            self.assertEqual(
                b"\r\nContent-Length: 0\r\n" in self.accept().received, length
            )

    def test_otherName(self) -> None:
        """
        The model's name is exchanged where its server knows it by another.
        """
        self.start(models={"a": {"port": 1, "backend_model": "longer"}})
        self.ask()
        received = self.accept().received
        self.assertTrue(
            received.endswith(b'\r\nContent-Length: 19\r\n\r\n{"model": "longer"}')
        )

    def test_whole(self) -> None:
        """
        A response that comes in one piece is sent in one piece, and the token
        given back when the client has it.
        """
        self.ask()
        self.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        (sent,) = self.channel.sent
        self.assertTrue(sent.endswith(b"\r\nContent-Length: 2\r\n\r\nok"))
        self.assertEqual(self.channel.said, ["written"])
        self.assertEqual(self.inFlight(), 1)
        self.client.over()
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(self.metrics.finished, [("a", 200, 0.0)])
        self.assertEqual(self.timers(), 1)  # for the connection that is kept

    def test_wholeInChunks(self) -> None:
        """
        One that is chunked is, too.
        """
        self.ask()
        self.accept().send(CHUNKED + EVENT + END)
        self.assertEqual(len(self.channel.sent), 1)
        self.assertBody(EVENT + END)
        self.assertEqual(self.channel.said, ["written"])

    def test_chunks(self) -> None:
        """
        Chunks are passed on as they come, and the head does not wait for the
        first of them.
        """
        self.ask()
        connection = self.accept()
        connection.send(CHUNKED)
        self.assertEqual(len(self.channel.sent), 1)
        for data in (EVENT, EVENT, END):
            connection.send(data)
            self.assertEqual(self.channel.sent[-1], data)
        self.assertEqual(len(self.channel.sent), 4)
        self.assertEqual(self.channel.said, ["written"])

    def test_byLength(self) -> None:
        """
        A body with a length is passed on as it comes.
        """
        self.ask()
        connection = self.accept()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        connection.send(b"cd")
        self.assertBody(b"abcd")
        self.assertEqual(self.channel.said, ["written"])

    def begun(self) -> LaneExchange:
        """
        An exchange whose client has been given a head, and an event, while
        its model was being woken.
        """
        self.client = ReadyClient(self.channel)
        exchange = self.ask(body=b'{"model": "b"}')
        self.client.head(200, b"", [(b"Content-Type", b"text/event-stream")], None)
        self.client.write(b": waking\n\n")
        self.hooks.finish("a")
        self.hooks.finish("b")
        return exchange

    def test_framingOfItsOwn(self) -> None:
        """
        Where the client has been given a head before, what the server sends
        is framed anew, however it was framed there.
        """
        for head, body in (
            (EVENTS, EVENT + END),
            (EVENTS, b"9;x\r\ndata: 1\n\n\r\n0\r\nX: 1\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"data: 1\n\n"),
        ):
            for together in (True, False):
                self.start()
                self.begun()
                connection = self.accept()
                for data in (head + body,) if together else (head, body):
                    connection.send(data)
                self.assertBody(b"a\r\n: waking\n\n\r\n" + EVENT + END)
                self.assertEqual(self.channel.said, ["written"])
        self.start()
        self.begun()
        connection = self.accept()
        connection.send(b"HTTP/1.0 200 OK\r\n\r\ndata: 1\n\n")
        connection.end()
        self.assertBody(b"a\r\n: waking\n\n\r\n" + EVENT + END)

    def test_nothingBehindTheEnd(self) -> None:
        """
        When the end of a body has been passed on nothing is written behind
        it, even if the client has not taken it and is given up.
        """
        self.ask()
        connection = self.accept()
        connection.send(EVENTS)
        self.channel.producer.pauseProducing()
        connection.send(EVENT + END)
        self.assertBody(EVENT + END)
        self.switcher.hurry()
        self.switcher.stop()
        self.assertEqual(self.channel.said, ["closes"])
        self.assertBody(EVENT + END)
        self.assertEqual(self.inFlight(), 0)

    def test_cut(self) -> None:
        """
        Behind whole events there comes one that says that the stream broke
        off, as a chunk with no end behind it.
        """
        for sent, between in ((b"", b""), (EVENT, b""), (b"7\r\ndata: 1\r\n", b"\n\n")):
            self.start()
            self.ask()
            connection = self.accept()
            connection.send(EVENTS + sent)
            connection.lose()
            (_, _, body) = self.channel.received.partition(b"\r\n\r\n")
            self.assertTrue(body.startswith(sent))
            size, _, event = body[len(sent) :].partition(b"\r\n")
            self.assertEqual(int(size, 16), len(event) - 2)
            self.assertTrue(event.startswith(between + b"event: error\ndata: {"))
            self.assertEqual(self.channel.said, ["closes"])

    def test_leftWhileStreaming(self) -> None:
        """
        The server's connection is aborted when the client leaves.
        """
        self.ask()
        connection = self.accept()
        connection.send(EVENTS)
        self.channel.producer.stopProducing()
        self.assertTrue(connection.transport.aborting)
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(self.metrics.finished, [("a", 200, 0.0)])


class KnownTests(SynchronousTestCase):
    """
    What is known again.
    """

    def test_keys(self) -> None:
        """
        A key that becomes llmux's own is not passed on any more, although the
        same head was before.
        """
        key = ApiKey("kim", "secret")
        access = Access(makeConfig())
        headers = ((b"Host", b"me"), (b"Authorization", b"Bearer secret"))

        def sent() -> bytes:
            known = b"gpu", b"10.0.0.1", b"http", b"1.1"
            return _sent(headers, *known, access, access.generation)

        self.assertIn(b"secret", sent())
        access.follow(makeConfig(api_keys={"kim": key}))
        self.assertNotIn(b"secret", sent())
        access.follow(makeConfig())
        self.assertIn(b"secret", sent())

    def test_answered(self) -> None:
        """
        Of two answers whose heads differ in anything, each client gets its
        own.
        """
        headers = ((b"X-A", b"1"),)
        self.assertEqual(
            _answered(200, b"", headers),
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nVia: 1.1 llmux\r\n",
        )
        for other in (
            _answered(201, b"", headers),
            _answered(200, b"Fine", headers),
            _answered(200, b"", ((b"X-A", b"2"),)),
        ):
            self.assertNotEqual(other, _answered(200, b"", headers))
