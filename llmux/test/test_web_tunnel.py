"""
Tests for L{llmux.web._tunnel}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from llmux.test._memory import Transport
from llmux.web._tunnel import LINGER, End, join


class EndTests(SynchronousTestCase):
    """
    Tests for L{End} and L{join}.
    """

    def setUp(self) -> None:
        """
        Join two connections.
        """
        self.clock = Clock()
        self.ends = 0
        self.one, self.other = Transport(), Transport()
        for transport in (self.one, self.other):
            directlyProvides(transport, IHalfCloseableDescriptor)
        self.client = End(self.clock, 5.0, self.ended)
        self.server = End(self.clock, None, self.ended)
        self.client.transport, self.server.transport = self.one, self.other
        join(self.client, self.server)

    def ended(self) -> None:
        """
        Count it.
        """
        self.ends += 1

    def lose(self, end: End, error: Exception | None = None) -> None:
        """
        Lose a connection.
        """
        end.connectionLost(Failure(error or ConnectionDone()))

    def test_bytes(self) -> None:
        """
        What one says the other gets.
        """
        self.client.dataReceived(b"\x81\0")
        self.server.dataReceived(b"y")
        self.assertEqual((self.other.value(), self.one.value()), (b"\x81\0", b"y"))

    def test_pressure(self) -> None:
        """
        Nothing is read from one while the other takes nothing.
        """
        self.assertIs(self.one.producer, self.server)
        self.server.pauseProducing()
        self.assertEqual(self.other.producerState, "paused")
        self.server.resumeProducing()
        self.assertEqual(self.other.producerState, "producing")
        self.clock.advance(10)
        self.assertFalse(self.one.aborting)

    def test_standsStill(self) -> None:
        """
        A client that takes nothing for too long is given up; a server has as
        long as it likes.
        """
        self.client.pauseProducing()
        self.clock.advance(1000)
        self.assertFalse(self.one.aborting)
        self.server.pauseProducing()
        self.clock.advance(5)
        self.assertTrue(self.one.aborting and self.other.aborting)

    def test_halfClosed(self) -> None:
        """
        When one has nothing more to say, the other is told and goes on; when
        both have, both connections are closed.
        """
        self.client.readConnectionLost()
        self.assertTrue(self.other.halfClosed)
        self.assertFalse(self.other.disconnecting or self.one.disconnecting)
        self.server.dataReceived(b"y")
        self.assertEqual(self.one.value(), b"y")
        self.client.writeConnectionLost()
        # What is taken from the server does not have the client read on.
        self.one.producerState = "stopped"
        self.client.resumeProducing()
        self.server.readConnectionLost()
        self.assertTrue(self.other.disconnecting and self.one.disconnecting)
        self.lose(self.client)
        self.assertEqual(self.ends, 0)
        self.lose(self.server)
        self.assertEqual(self.ends, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_noHalfClose(self) -> None:
        """
        A connection that cannot be half closed is closed: one under TLS, of
        which only what is under that could be.
        """
        makeWrapper: Any = ProtocolWrapper
        tls = makeWrapper(WrappingFactory(Factory()), self.server)
        tls.makeConnection(self.other)
        self.assertTrue(IHalfCloseableDescriptor.providedBy(tls))
        self.server.transport = tls
        self.client.readConnectionLost()
        self.assertFalse(self.other.halfClosed)
        self.assertTrue(self.other.disconnecting and self.one.disconnecting)

    def test_closed(self) -> None:
        """
        When one is closed, the other may take what is on its way to it, but
        not for ever.
        """
        self.server.dataReceived(b"bye")
        self.lose(self.server)
        self.assertTrue(self.one.disconnecting)
        self.assertFalse(self.one.aborting)
        self.client.dataReceived(b"too late")
        self.server.resumeProducing()
        self.assertEqual(self.ends, 0)
        self.clock.advance(LINGER)
        self.assertTrue(self.one.aborting)
        self.lose(self.client)
        self.assertEqual((self.ends, self.other.value()), (1, b""))

    def test_broken(self) -> None:
        """
        When one breaks, so does the other.
        """
        self.lose(self.client, ConnectionLost())
        self.assertTrue(self.other.aborting)
        self.client.stopProducing()

    def test_abort(self) -> None:
        """
        Both can be closed at once, by whoever has one of them.
        """
        self.server.abort()
        self.assertTrue(self.one.aborting and self.other.aborting)
