# mypy: allow-untyped-calls
"""
Tests for L{llmux.pace}.
"""

from __future__ import annotations

import socket
from itertools import count
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from llmux.pace import ACCEPTS, Collections, boundAccepts, boundEvents


class Reader:
    """
    There is always something to read for it.

    @ivar count: how often it was told so.
    """

    def __init__(self, reactor: Any) -> None:
        self.count = 0
        self.ours, self.theirs = socket.socketpair()
        self.theirs.send(b"x")
        reactor.addReader(self)

    def fileno(self) -> int:
        """
        See L{IReadDescriptor}.
        """
        return self.ours.fileno()

    def doRead(self) -> None:
        """
        Take note.
        """
        self.count += 1

    def connectionLost(self, reason: object) -> None:
        """
        Close.
        """
        self.ours.close()
        self.theirs.close()


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
        readers = [Reader(self.reactor) for _ in range(12)]
        counts = []
        for _ in range(3):
            before = sum(reader.count for reader in readers)
            self.reactor.doIteration(0)
            counts.append(sum(reader.count for reader in readers) - before)
        self.assertEqual([4, 4, 4], counts)
        self.assertEqual([1] * 12, [reader.count for reader in readers])

    def test_short(self) -> None:
        """
        No turn begins with a further event when its time is up, and still
        everybody is dealt with as often as anybody else.
        """
        clock = count(0.0, 1.0)
        boundEvents(self.reactor, 8, 2.5, lambda: next(clock))
        readers = [Reader(self.reactor) for _ in range(12)]
        counts = []
        for _ in range(12):
            before = sum(reader.count for reader in readers)
            self.reactor.doIteration(0)
            counts.append(sum(reader.count for reader in readers) - before)
        self.assertEqual(3, max(counts))
        often = [reader.count for reader in readers]
        self.assertLessEqual(max(often) - min(often), 1)
        self.assertGreater(min(often), 1)

    def test_meanwhile(self) -> None:
        """
        Who is closed, or is to read no more, before there is time for it is
        passed over; and so is whoever has got its number since.
        """
        clock = count(0.0, 1.0)
        boundEvents(self.reactor, 8, 0.5, lambda: next(clock))
        readers = [Reader(self.reactor) for _ in range(4)]
        self.reactor.doIteration(0)
        waiting = [reader for reader in readers if not reader.count]
        self.assertEqual(3, len(waiting))
        paused, closed, last = waiting
        self.reactor.removeReader(paused)
        self.reactor.removeReader(closed)
        closed.connectionLost(None)
        for _ in range(3):
            self.reactor.doIteration(0)
        self.assertEqual([0, 0], [paused.count, closed.count])
        self.assertGreater(last.count, 0)
        paused.connectionLost(None)

    def test_raises(self) -> None:
        """
        What fails is logged and left, and the others are dealt with.
        """
        boundEvents(self.reactor)
        dealt: list[int] = []

        def deal(selectable: object, number: int, event: int) -> None:
            dealt.append(number)
            raise RuntimeError("on purpose")

        self.reactor._doReadOrWrite = deal
        boundEvents(self.reactor)
        pairs = [socket.socketpair() for _ in range(2)]
        for ours, theirs in pairs:
            self.addCleanup(ours.close)
            self.addCleanup(theirs.close)
            theirs.send(b"x")
            self.reactor._poller.register(ours.fileno(), 1)
            self.reactor._selectables[ours.fileno()] = object()
        self.reactor.doIteration(0)
        for ours, _ in pairs:
            self.reactor._poller.unregister(ours.fileno())
            del self.reactor._selectables[ours.fileno()]
        self.assertEqual({ours.fileno() for ours, _ in pairs}, set(dealt))
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))

    def test_gone(self) -> None:
        """
        An event of what has been taken away meanwhile is passed over.
        """
        boundEvents(self.reactor)
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        theirs.send(b"x")
        self.reactor._poller.register(ours.fileno(), 1)
        self.reactor.doIteration(0)
        self.reactor._poller.unregister(ours.fileno())

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


class Collector:
    """
    Stands for Python's garbage collector.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.threshold: tuple[int, ...] = (700, 10, 10)

    def collect(self) -> None:
        """
        Take note.
        """
        self.done.append("collect")

    def freeze(self) -> None:
        """
        Take note.
        """
        self.done.append("freeze")

    def get_threshold(self) -> tuple[int, ...]:
        """
        What was set.
        """
        return self.threshold

    def set_threshold(self, *threshold: int) -> None:
        """
        Set it.
        """
        self.threshold = threshold


class CollectionsTests(SynchronousTestCase):
    """
    Tests for L{Collections}.
    """

    def setUp(self) -> None:
        """
        Start, with nothing but what is loaded.
        """
        self.clock = Clock()
        self.collector = Collector()
        self.blocks = 1_000_000
        self.collections = Collections(self.clock, self.collector, lambda: self.blocks)
        self.collections.start()

    def collected(self, seconds: float) -> int:
        """
        How often all objects are looked at in some time.
        """
        self.collector.done.clear()
        for _ in range(int(seconds / Collections.EVERY)):
            self.clock.advance(Collections.EVERY)
        return len(self.collector.done)

    def test_start(self) -> None:
        """
        What is garbage is thrown away first, so that only the rest is kept;
        and Python looks at young objects only.
        """
        self.assertEqual(["collect", "freeze"], self.collector.done)
        self.assertEqual((700, 10, Collections.NEVER), self.collector.threshold)

    def test_little(self) -> None:
        """
        As long as there is little, it is looked at each time.
        """
        self.blocks += Collections.CHEAP
        self.assertEqual(4, self.collected(4 * Collections.EVERY))

    def test_much(self) -> None:
        """
        If there is much, it is looked at when there has been for long; and
        then again only if there is much more.
        """
        self.blocks += Collections.CHEAP + 1
        self.assertEqual(0, self.collected(Collections.LONG - Collections.EVERY))
        self.assertEqual(1, self.collected(Collections.EVERY))
        self.assertEqual(0, self.collected(3 * Collections.LONG))
        self.blocks += Collections.CHEAP
        self.assertEqual(1, self.collected(Collections.EVERY))
        self.assertEqual(0, self.collected(Collections.LONG - Collections.EVERY))

    def test_stop(self) -> None:
        """
        In the end it is Python's own again.
        """
        self.collections.stop()
        self.assertEqual((700, 10, 10), self.collector.threshold)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.collections.stop()
