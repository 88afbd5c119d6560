"""
Tests for L{llmux.web._relay}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from zope.interface.verify import verifyObject

from llmux.test._memory import FakeClient
from llmux.web._relay import IClient, Relay


class RelayTests(SynchronousTestCase):
    """
    Tests for L{Relay}.
    """

    def setUp(self) -> None:
        """
        A relay without a limit on silence.
        """
        self.build(idle=None)

    def build(self, idle: float | None) -> None:
        """
        A relay between a client and a server.
        """
        self.clock = Clock()
        self.client = FakeClient(takes=False)
        self.upstream = StringTransport()
        self.events: list[Any] = []
        self.relay = Relay(
            self.client,
            self.clock,
            60,
            idle,
            lambda: self.events.append("whole"),
            self.broken,
            lambda: self.events.append("gone"),
        )
        self.relay.makeConnection(self.upstream)

    def broken(self, why: str) -> None:
        """
        The server broke off.
        """
        self.events.append(why)
        self.relay.close()

    def end(self, error: Exception | None = None) -> None:
        """
        Have the server end its body.
        """
        self.relay.connectionLost(Failure(error or ResponseDone()))

    def test_interfaces(self) -> None:
        """
        It is a producer, and this is what clients are like.
        """
        self.assertTrue(verifyObject(IPushProducer, self.relay))
        self.assertTrue(verifyObject(IClient, self.client))
        self.assertIs(self.client.producer, self.relay)

    def test_whole(self) -> None:
        """
        Every chunk is passed on at once, and then the end.
        """
        for data in (b"1", b"2"):
            self.relay.dataReceived(data)
            self.assertEqual(self.client.said[-1], data)
        self.end()
        self.assertEqual(self.client.said, [b"1", b"2", "finish"])
        self.assertEqual(self.events, ["whole"])
        self.assertIsNone(self.client.producer)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unframed(self) -> None:
        """
        A body that ends with its connection is whole.
        """
        self.end(PotentialDataLoss())
        self.assertEqual(self.client.said, ["finish"])

    def test_broken(self) -> None:
        """
        A body that breaks off has no end.
        """
        self.relay.dataReceived(b"1")
        self.end(ResponseFailed([Failure(ConnectionLost())]))
        self.assertEqual(self.client.said, [b"1"])
        self.assertIn("broke off", self.events[0])

    def test_paused(self) -> None:
        """
        While the client takes nothing, nothing is read from the server.
        """
        self.relay.pauseProducing()
        self.assertEqual(self.upstream.producerState, "paused")
        self.relay.resumeProducing()
        self.assertEqual(self.upstream.producerState, "producing")
        self.clock.advance(1000)
        self.assertEqual(self.events, [])

    def test_stalled(self) -> None:
        """
        A client that takes nothing for long is given up.
        """
        self.relay.pauseProducing()
        self.clock.advance(59)
        self.assertEqual(self.events, [])
        self.clock.advance(1)
        self.assertEqual(self.client.said, ["abort"])
        self.assertEqual(self.events, ["gone"])

    def test_endWhilePaused(self) -> None:
        """
        The end is not passed on before the client has taken what came before.
        """
        self.relay.pauseProducing()
        self.relay.dataReceived(b"1")
        self.end()
        self.assertEqual(self.client.said, [b"1"])
        self.assertEqual(self.events, ["whole"])
        self.relay.resumeProducing()
        self.assertEqual(self.client.said, [b"1", "finish"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stalledAtTheEnd(self) -> None:
        """
        That is not waited for without end, either.
        """
        self.relay.pauseProducing()
        self.end()
        self.clock.advance(60)
        self.assertEqual(self.client.said, ["abort"])
        self.assertEqual(self.events, ["whole", "gone"])

    def test_silent(self) -> None:
        """
        A server that sends nothing for long is given up; every chunk counts.
        """
        self.build(idle=10)
        self.clock.advance(9)
        self.relay.dataReceived(b"1")
        self.clock.advance(9)
        self.assertEqual(self.events, [])
        self.clock.advance(1)
        self.assertIn("silent", self.events[0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silentWhilePaused(self) -> None:
        """
        Not if it is not read from, though.
        """
        self.build(idle=10)
        self.relay.pauseProducing()
        self.relay.dataReceived(b"1")
        self.clock.advance(59)
        self.assertEqual(self.events, [])
        self.relay.resumeProducing()
        self.clock.advance(9)
        self.assertEqual(self.events, [])
        self.clock.advance(1)
        self.assertIn("silent", self.events[0])

    def test_gone(self) -> None:
        """
        It is said when the client is gone, but not after the relay was closed.
        """
        self.relay.stopProducing()
        self.assertEqual(self.events, ["gone"])
        self.relay.close()
        self.relay.stopProducing()
        self.assertEqual(self.events, ["gone"])

    def test_closed(self) -> None:
        """
        Nothing is passed on after it was closed.
        """
        self.relay.close()
        self.relay.close()
        self.relay.dataReceived(b"1")
        self.end()
        self.assertEqual((self.client.said, self.events), ([], []))

    def test_nextLine(self) -> None:
        """
        A new event needs an empty line before it unless there is one.
        """
        for data, expected in (
            (b"data: 1\n\n", b""),
            (b"data: 1\r\n\r\n", b""),
            (b"data: 1\n", b"\n\n"),
            (b"data", b"\n\n"),
        ):
            self.relay.dataReceived(data)
            self.assertEqual(self.relay.nextLine, expected)

    def test_nextLineAtTheStart(self) -> None:
        """
        At the start there is nothing to be ended.
        """
        self.assertEqual(self.relay.nextLine, b"")
