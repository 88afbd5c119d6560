# mypy: allow-untyped-calls
"""
Tests for L{llmux.pace}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from llmux.pace import ACCEPTS, boundAccepts, boundEvents, keepWhatIsLoaded


class EventsTests(SynchronousTestCase):
    """
    Tests for L{boundEvents}.
    """

    def setUp(self) -> None:
        """
        Make a reactor of our own.
        """
        try:
            from twisted.internet.epollreactor import EPollReactor
        except ImportError:
            raise SkipTest("needs epoll") from None
        self.reactor: Any = EPollReactor()

    def tearDown(self) -> None:
        """
        Close what it has open.
        """
        for reader in self.reactor.removeAll():
            reader.connectionLost(None)
        for reader in self.reactor._internalReaders:
            reader.connectionLost(None)
        self.reactor._poller.close()

    def test_few(self) -> None:
        """
        No turn deals with more events than it may, and whoever is left over
        comes next: after as few turns as that takes, everybody has been dealt
        with once.
        """
        self.assertTrue(boundEvents(self.reactor, 4))
        read: list[int] = []

        class Reader:
            def __init__(self, number: int) -> None:
                self.number = number
                self.ours, self.theirs = socket.socketpair()
                self.theirs.send(b"x")

            def fileno(self) -> int:
                return self.ours.fileno()

            def logPrefix(self) -> str:
                return ""

            def doRead(self) -> None:
                read.append(self.number)

            def connectionLost(self, reason: object) -> None:
                self.ours.close()
                self.theirs.close()

        for number in range(12):
            self.reactor.addReader(Reader(number))
        counts = []
        for _ in range(3):
            before = len(read)
            self.reactor.doPoll(0)
            counts.append(len(read) - before)
        self.assertEqual([4, 4, 4], counts)
        self.assertEqual(set(range(12)), set(read))

    def test_once(self) -> None:
        """
        To be told twice changes nothing more.
        """
        boundEvents(self.reactor)
        poller = self.reactor._poller
        self.assertTrue(boundEvents(self.reactor))
        self.assertIs(poller, self.reactor._poller)

    def test_others(self) -> None:
        """
        A reactor of another kind stays as it is.
        """
        self.assertFalse(boundEvents(object()))


class AcceptsTests(SynchronousTestCase):
    """
    Tests for L{boundAccepts}.
    """

    def test_few(self) -> None:
        """
        However many connect at once, a port accepts no more in one turn than
        it may, and all in the end.
        """
        from twisted.internet.selectreactor import SelectReactor
        from twisted.internet.tcp import Port

        reactor: Any = SelectReactor()
        made: list[Protocol] = []

        class Accepting(Protocol):
            def connectionMade(self) -> None:
                made.append(self)

        port: Any = Port(0, Factory.forProtocol(Accepting), 100, "127.0.0.1", reactor)
        port.startListening()
        self.addCleanup(port.connectionLost, None)
        boundAccepts(port)
        number = port.getHost().port
        clients = [
            socket.create_connection(("127.0.0.1", number))
            for _ in range(2 * ACCEPTS + 1)
        ]
        for client in clients:
            self.addCleanup(client.close)
        counts = []
        for _ in range(3):
            before = len(made)
            port.doRead()
            counts.append(len(made) - before)
        self.assertEqual([ACCEPTS, ACCEPTS, 1], counts)
        for protocol in made:
            protocol.transport.abortConnection()  # type: ignore[union-attr]
        for reader in [*reactor._internalReaders]:
            reader.connectionLost(None)

    def test_others(self) -> None:
        """
        A port of another kind stays as it is.
        """
        port = object()
        boundAccepts(port)


class KeepTests(SynchronousTestCase):
    """
    Tests for L{keepWhatIsLoaded}.
    """

    def test_order(self) -> None:
        """
        What is garbage is thrown away first, so that only the rest is kept.
        """
        done: list[str] = []

        class Collector:
            def collect(self) -> None:
                done.append("collect")

            def freeze(self) -> None:
                done.append("freeze")

        keepWhatIsLoaded(Collector())
        self.assertEqual(["collect", "freeze"], done)
