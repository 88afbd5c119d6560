"""
Tests for L{llmux.web._laneclient}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.test._lane import FakeChannel
from llmux.web._laneclient import LaneClient
from llmux.web._relay import IClient


class LaneClientTests(SynchronousTestCase):
    """
    Tests for L{LaneClient}.
    """

    def setUp(self) -> None:
        """
        The client of a request.
        """
        self.channel = FakeChannel()
        self.client = LaneClient(self.channel)
        self.client.begin(False, False)

    def head(self, length: int | None = None, status: int = 200) -> None:
        """
        Give a head.
        """
        self.client.head(status, b"", [(b"X-Two", b"2")], length)

    def test_interface(self) -> None:
        """
        It is a client.
        """
        self.assertTrue(verifyObject(IClient, self.client))

    def test_withLength(self) -> None:
        """
        A body with a length is written as it is, the head together with the
        first of it.
        """
        self.head(4)
        self.assertEqual(self.channel.sent, [])
        self.assertTrue(self.client.isBegun)
        self.client.write(b"ab")
        self.client.write(b"")
        self.client.write(b"cd")
        self.client.finish()
        self.assertEqual(
            self.channel.sent,
            [b"HTTP/1.1 200 OK\r\nX-Two: 2\r\nContent-Length: 4\r\n\r\nab", b"cd"],
        )
        self.assertEqual(self.channel.said, ["written"])

    def test_chunked(self) -> None:
        """
        A body without a length is chunked, with an end.
        """
        self.head()
        self.client.write(b"ab")
        self.client.finish()
        self.assertEqual(
            self.channel.received,
            b"HTTP/1.1 200 OK\r\nX-Two: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nab\r\n0\r\n\r\n",
        )

    def test_passedOn(self) -> None:
        """
        What is framed already is sent as it is, and its end is not written
        twice.
        """
        self.head()
        self.client.passOn(b"2\r\nab\r\n")
        self.client.ended()
        self.client.passOn(b"0\r\n\r\n")
        self.client.finish()
        self.assertEqual(self.channel.sent[-2:][1], b"0\r\n\r\n")
        self.assertEqual(self.channel.received.count(b"0\r\n\r\n"), 1)

    def test_flush(self) -> None:
        """
        A head need not wait for a body, and is sent once.
        """
        self.head()
        self.client.flush()
        self.client.flush()
        self.assertEqual(len(self.channel.sent), 1)

    def test_noBody(self) -> None:
        """
        A response to C{HEAD}, and one that can have no body, has none and no
        framing for one.
        """
        for isHead, status in ((True, 200), (False, 204), (False, 304)):
            self.channel.sent.clear()
            self.client.begin(isHead, False)
            self.head(status=status)
            self.client.finish()
            self.assertNotIn(b"chunked", self.channel.received)
            self.assertTrue(self.channel.received.endswith(b"\r\nX-Two: 2\r\n\r\n"))
        self.client.begin(True, False)
        self.channel.sent.clear()
        self.head(4)
        self.client.write(b"abcd")
        self.client.finish()
        self.assertTrue(
            self.channel.received.endswith(b"\r\nContent-Length: 4\r\n\r\n")
        )

    def test_closes(self) -> None:
        """
        It says so if the connection is going to be closed.
        """
        self.client.begin(False, True)
        self.head(0)
        self.client.finish()
        self.assertIn(b"\r\nConnection: close\r\n", self.channel.received)

    def test_phrase(self) -> None:
        """
        A phrase that was given is kept, and an unknown status has one too.
        """
        self.client.head(200, b"Fine", [], 0)
        self.client.flush()
        self.assertTrue(self.channel.received.startswith(b"HTTP/1.1 200 Fine\r\n"))
        self.client.begin(False, False)
        self.channel.sent.clear()
        self.client.head(299, b"", [], 0)
        self.client.flush()
        self.assertIn(b"HTTP/1.1 299 Unknown Status\r\n", self.channel.received)

    def test_cut(self) -> None:
        """
        A response that is cut has no end, but the last word in its framing.
        """
        self.head()
        self.client.cut(b"event")
        self.assertTrue(self.channel.received.endswith(b"\r\n\r\n5\r\nevent\r\n"))
        self.assertEqual(self.channel.said, ["closes"])

    def test_cutWithLength(self) -> None:
        """
        Nothing is added to a body whose length is known.
        """
        self.head(100)
        self.client.write(b"ab")
        self.client.cut(b"event")
        self.assertTrue(self.channel.received.endswith(b"\r\n\r\nab"))
        self.assertEqual(self.channel.said, ["closes"])

    def test_over(self) -> None:
        """
        Whoever attached is told once; after that nothing is done.
        """
        told: list[int] = []
        self.client.attach(lambda: told.append(1))
        self.assertTrue(self.client.isBusy)
        self.client.over()
        self.client.over()
        self.assertEqual(told, [1])
        self.assertFalse(self.client.isBusy)
        self.client.cut(b"x")
        self.client.abort()
        self.client.registerProducer(object())  # type: ignore[arg-type]
        self.client.unregisterProducer()
        self.assertEqual((self.channel.sent, self.channel.said), ([], []))
        self.assertFalse(self.channel.transport.aborting)
        self.assertIsNone(self.channel.producer)

    def test_abort(self) -> None:
        """
        The connection can be closed at once.
        """
        self.client.abort()
        self.assertTrue(self.channel.transport.aborting)

    def test_next(self) -> None:
        """
        The next request has nothing of the one before.
        """
        self.head()
        self.client.finish()
        self.client.over()
        self.client.begin(False, False)
        self.assertFalse(self.client.isBegun)
        self.channel.sent.clear()
        self.head(0)
        self.client.finish()
        self.assertNotIn(b"chunked", self.channel.received)
