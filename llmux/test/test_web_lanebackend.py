"""
Tests for L{llmux.web._lanebackend}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from llmux.test._lane import LaneCase
from llmux.web._backend import KEPT, MANY
from llmux.web._lanebackend import AT_ONCE, Connection, LaneBackend


class LaneBackendTests(LaneCase):
    """
    Tests for L{LaneBackend}.
    """

    def start(self, **settings: Any) -> None:
        """
        See L{LaneCase.start}.
        """
        super().start(**settings)
        self.backend: LaneBackend = self.lane.at("a", "http://127.0.0.1:8001")

    def made(self) -> Connection:
        """
        A new connection.
        """
        connecting = self.backend.connect()
        self.servers.accept()
        connection: Connection = self.successResultOf(connecting)
        self.clock.advance(0)
        return connection

    def test_connect(self) -> None:
        """
        Connections are made to where the model's server is, without delay on
        small packets, and without a word in the log.
        """
        log = EventLoggingObserver()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        self.made()
        self.servers.connections[0]._factory.doStart()
        self.assertEqual(self.servers.addresses, [("http://127.0.0.1:8001", 5)])
        self.assertEqual(list(log), [])

    def test_kept(self) -> None:
        """
        The connection that was used last is the next to be used.
        """
        self.assertIsNone(self.backend.take())
        one, two = self.made(), self.made()
        self.backend.keep(one)
        self.backend.keep(two)
        self.assertIs(self.backend.take(), two)
        self.assertIs(self.backend.take(), one)
        self.assertIsNone(self.backend.take())

    def test_notForLong(self) -> None:
        """
        Each is closed when it has been kept for long enough.
        """
        one, two = self.made(), self.made()
        self.backend.keep(one)
        self.clock.advance(KEPT / 2)
        self.backend.keep(two)
        self.clock.advance(KEPT / 2)
        self.assertTrue(one.transport.disconnecting)
        self.assertFalse(two.transport.disconnecting)
        self.clock.advance(KEPT / 2)
        self.assertTrue(two.transport.disconnecting)
        self.assertIsNone(self.backend.take())
        self.assertEqual(self.timers(), 0)

    def test_notTooMany(self) -> None:
        """
        There is a bound on how many are kept.
        """
        for _ in range(MANY):
            self.backend.keep(self.made())
        one = self.made()
        self.backend.keep(one)
        self.assertTrue(one.transport.disconnecting)

    def test_close(self) -> None:
        """
        Closing closes all that are kept, and they are not used any more; nor
        are those that the server closed.
        """
        one, two = self.made(), self.made()
        self.backend.keep(one)
        self.backend.keep(two)
        self.servers.connections[1].end()
        self.backend.close()
        self.assertTrue(one.transport.disconnecting)
        self.assertIsNone(self.backend.take())
        self.assertEqual(self.timers(), 0)

    def test_unasked(self) -> None:
        """
        A server that speaks without being asked is not asked any more.
        """
        one = self.made()
        self.backend.keep(one)
        self.servers.connections[0].send(b"HTTP/1.1 408 Slow\r\n\r\n")
        self.assertTrue(one.transport.aborting)
        self.assertIsNone(self.backend.take())

    def test_sleep(self) -> None:
        """
        No connection outlives the time in which the model is awake.
        """
        one = self.made()
        self.backend.keep(one)
        self.ask(body=b'{"model": "b"}')
        self.assertTrue(one.transport.disconnecting)
        self.assertIsNone(self.backend.take())

    def test_elsewhere(self) -> None:
        """
        Nor the time in which the model is at that address.
        """
        one = self.made()
        self.backend.keep(one)
        other = self.lane.at("a", "http://127.0.0.1:9999")
        self.assertIsNot(other, self.backend)
        self.assertTrue(one.transport.disconnecting)

    def test_free(self) -> None:
        """
        A connection is kept if it can be used again, and read on.
        """
        one = self.made()
        one.pauseProducing()
        one.free(True)
        self.assertEqual(one.transport.producerState, "producing")
        self.assertIs(self.backend.take(), one)
        one.free(False)
        self.assertTrue(one.transport.disconnecting)
        self.assertIsNone(self.backend.take())

    def wanted(self, count: int) -> list[Deferred[Connection]]:
        """
        Want many connections at once.
        """
        return [self.backend.connect() for _ in range(count)]

    def test_manyAtOnce(self) -> None:
        """
        In one turn few connections are begun, and the others after it, so
        that the first of many requests need not wait for all of them.
        """
        turns: list[Any] = []
        self.patch(self.clock, "callLater", lambda _, call: turns.append(call))
        wanted = self.wanted(2 * AT_ONCE + 1)
        for count in (AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1):
            self.assertEqual(len(self.servers.connections), count)
            turns.pop()()
        for connection in self.servers.connections:
            connection.accept()
        for one in wanted:
            self.assertIsInstance(self.successResultOf(one), Connection)
        self.assertEqual(turns, [])

    def test_freeMeanwhile(self) -> None:
        """
        Whoever has to wait for a connection gets one that becomes free.
        """
        wanted = self.wanted(AT_ONCE + 2)
        self.servers.connections[0].accept()
        connection = self.successResultOf(wanted[0])
        wanted[AT_ONCE].cancel()
        self.failureResultOf(wanted[AT_ONCE])
        connection.free(True)
        self.assertIs(self.successResultOf(wanted[-1]), connection)
        self.clock.advance(0)
        self.assertEqual(len(self.servers.connections), AT_ONCE)

    def test_leftMeanwhile(self) -> None:
        """
        A connection that nobody wants any more is kept for others.
        """
        wanted = self.wanted(AT_ONCE + 3)
        wanted[-2].cancel()
        self.failureResultOf(wanted[-2])
        self.clock.advance(0)
        self.assertEqual(len(self.servers.connections), AT_ONCE + 2)
        for number in (-1, -3):
            wanted[number].cancel()
            self.failureResultOf(wanted[number])
        self.servers.connections[-1].accept()
        self.assertIsNotNone(self.backend.take())
        self.servers.connections[-2].refuse()

    def test_refusedLater(self) -> None:
        """
        Whoever had to wait is told that there is no connection.
        """
        wanted = self.wanted(AT_ONCE + 1)
        self.clock.advance(0)
        self.servers.connections[-1].refuse()
        self.failureResultOf(wanted[-1], ConnectionRefusedError)
