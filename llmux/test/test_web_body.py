"""
Tests for L{llmux.web._body}.
"""

from __future__ import annotations

from io import BytesIO

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IBodyProducer
from zope.interface.verify import verifyObject

from llmux.web._body import StoredBody
from llmux.web._pieces import CHUNK, Slice


class Sink(StringTransport):
    """
    Takes so many chunks and then pauses its producer.
    """

    body: StoredBody
    room = 1

    def write(self, data: bytes) -> None:
        """
        Take a chunk.
        """
        super().write(data)
        self.room -= 1
        if not self.room:
            self.body.pauseProducing()


class StoredBodyTests(SynchronousTestCase):
    """
    Tests for L{StoredBody}.
    """

    def test_interfaces(self) -> None:
        """
        It is a body producer that can be paused.
        """
        body = StoredBody([b"x"], BytesIO())
        self.assertTrue(verifyObject(IBodyProducer, body))
        self.assertTrue(verifyObject(IPushProducer, body))

    def test_whole(self) -> None:
        """
        All pieces are sent in order; the length is theirs.
        """
        body = StoredBody([Slice(0, 2), b"XY", Slice(4, 6)], BytesIO(b"abcdef"))
        sink = StringTransport()
        self.successResultOf(body.startProducing(sink))
        self.assertEqual(sink.value(), b"abXYef")
        self.assertEqual(body.length, 6)
        self.assertTrue(body.small)

    def test_again(self) -> None:
        """
        It can be sent again, from the start.
        """
        body = StoredBody([Slice(0, 6)], BytesIO(b"abcdef"))
        for _ in range(2):
            sink = StringTransport()
            self.successResultOf(body.startProducing(sink))
            self.assertEqual(sink.value(), b"abcdef")

    def large(self) -> tuple[StoredBody, Sink]:
        """
        A body of three chunks and a sink that takes one at a time.
        """
        content = bytes(3 * CHUNK)
        body, sink = StoredBody([Slice(0, len(content))], BytesIO(content)), Sink()
        sink.body = body
        return body, sink

    def test_paused(self) -> None:
        """
        While it is paused nothing is sent or read.
        """
        body, sink = self.large()
        self.assertFalse(body.small)
        sent = body.startProducing(sink)
        for count in (1, 2, 3):
            self.assertEqual(len(sink.value()), count * CHUNK)
            self.assertNoResult(sent)
            sink.room = 1
            body.resumeProducing()
        self.assertEqual(len(sink.value()), 3 * CHUNK)
        self.successResultOf(sent)

    def test_stopped(self) -> None:
        """
        When it is stopped no more is sent, whoever resumes it.
        """
        body, sink = self.large()
        sent = body.startProducing(sink)
        body.stopProducing()
        body.resumeProducing()
        self.assertEqual(len(sink.value()), CHUNK)
        self.assertNoResult(sent)

    def test_cancelled(self) -> None:
        """
        To cancel it stops it.
        """
        body, sink = self.large()
        sent = body.startProducing(sink)
        sent.cancel()
        body.resumeProducing()
        self.failureResultOf(sent, CancelledError)
        self.assertEqual(len(sink.value()), CHUNK)

    def test_fileTooShort(self) -> None:
        """
        A file that is not what it was fails.
        """
        body = StoredBody([Slice(0, 6)], BytesIO(b"abc"))
        sent = body.startProducing(StringTransport())
        self.failureResultOf(sent, EOFError)

    def test_fileClosed(self) -> None:
        """
        So does one that is closed.
        """
        file = BytesIO(b"abc")
        file.close()
        sent = StoredBody([Slice(0, 3)], file).startProducing(StringTransport())
        self.failureResultOf(sent, ValueError)
