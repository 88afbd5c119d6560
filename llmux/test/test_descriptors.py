# mypy: allow-untyped-calls
"""
Tests for L{llmux.descriptors}.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import (
    ConnectBindError,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from llmux.descriptors import Descriptors, OpenFiles, PatientEndpoint, isShortage
from llmux.descriptors._files import SHORTAGE
from llmux.descriptors._keeper import (
    AT_ONCE,
    CALM,
    EVERY,
    FEWEST,
    LARGEST_RESERVE,
    PATIENCE,
    PROMISED,
    RESERVE,
    SOON,
    YOUNG,
)
from llmux.descriptors._socket import PatientSocket
from llmux.errors import Overloaded


@define
class System:
    """
    Stands for L{OpenFiles}.

    @ivar used: how many there are.
    """

    limit: int = 100
    used: int = 10

    def spare(self, own: int) -> tuple[int, int]:
        """
        See L{OpenFiles.spare}.
        """
        return self.limit - self.used, self.limit


@define(eq=False)
class Port:
    """
    A port.
    """

    isReading: bool = True

    def stopReading(self) -> None:
        """
        Accept nobody.
        """
        self.isReading = False

    def startReading(self) -> None:
        """
        Accept whoever comes.
        """
        self.isReading = True


@define(eq=False)
class Client:
    """
    A client.
    """

    descriptors: Descriptors
    system: System
    since: float | None = None
    hasUnread: bool = False
    isOpen: bool = True

    def idleSince(self) -> float | None:
        """
        See L{IClosable}.
        """
        return self.since

    def leave(self) -> bool:
        """
        See L{IClosable}.
        """
        if not self.hasUnread:
            self.go()
        return not self.hasUnread

    def go(self) -> None:
        """
        Be closed.
        """
        self.isOpen = False
        self.system.used -= 1
        self.descriptors.gone(self)


class DescriptorsTests(SynchronousTestCase):
    """
    Tests for L{Descriptors}.
    """

    def setUp(self) -> None:
        """
        Make one.
        """
        self.clock = Clock()
        self.clock.advance(1000)
        self.system = System()
        self.descriptors = Descriptors(self.clock, self.system)
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def events(self) -> list[str]:
        """
        What was logged.
        """
        return [event["event"] for event in self.log if "event" in event]

    def client(self, idle: float | None = None, **more: Any) -> Client:
        """
        Let a client in.

        @param idle: for how many seconds it has been.
        """
        since = None if idle is None else self.clock.seconds() - idle
        client = Client(self.descriptors, self.system, since, **more)
        self.system.used += 1
        self.descriptors.came(client)
        return client

    def full(self) -> list[Client]:
        """
        Let in as many busy clients as may.
        """
        clients = []
        while self.descriptors.room():
            clients.append(self.client())
        return clients

    def held(self) -> Port:
        """
        A port at which somebody comes who is too many.
        """
        port = Port()
        self.assertEqual(self.descriptors.roomAt(port), 0)
        self.assertFalse(port.isReading)
        return port

    def test_room(self) -> None:
        """
        Each client is let in for whom there is a descriptor for its connection
        and one for that to a server, beside a reserve.
        """
        self.assertEqual(self.descriptors.room(), (100 - 10 - RESERVE) // 2)
        clients = self.full()
        self.assertEqual(len(clients), (100 - 10 - RESERVE) // 2)
        for _ in clients:
            # Those have been counted already.
            self.system.used += 1
            self.descriptors.connected()
        self.assertEqual(self.system.limit - self.system.used, RESERVE)
        self.assertEqual(self.descriptors.room(), 0)

    def test_connectionsKept(self) -> None:
        """
        Connections to servers beyond one for each client count as well.
        """
        before = self.descriptors.room()
        for _ in range(10):
            self.system.used += 1
            self.descriptors.connected()
        self.assertEqual(self.descriptors.room(), before - 5)

    def test_reserve(self) -> None:
        """
        The reserve is a part of what there is, within bounds, and one client
        is let in in any case, if there are a few descriptors.
        """
        for limit, reserve in (
            (40, 10),
            (64, 16),
            (1024, 64),
            (20000, LARGEST_RESERVE),
        ):
            self.system.limit = limit
            self.assertEqual(self.descriptors.room(), (limit - 10 - reserve) // 2)
        self.system.limit, self.system.used = 100, 100 - FEWEST
        self.assertEqual(self.descriptors.room(), 1)
        self.system.used += 1
        self.assertEqual(self.descriptors.room(), 0)
        self.client()
        self.system.used = 100 - FEWEST
        self.assertEqual(self.descriptors.room(), 0)

    def test_promised(self) -> None:
        """
        Of thousands that ask nothing, not each could be served at once.
        """
        for limit, promised in ((20000, 5000), (12000, PROMISED)):
            self.system.limit, self.system.used = limit, 10
            self.descriptors.clients = {self.client() for _ in range(promised + 1000)}
            left = limit - self.system.used - LARGEST_RESERVE - promised
            self.assertEqual(self.descriptors.room(), left // 2)
            for _ in range(1001):
                self.system.used += 1
                self.descriptors.connected()
            left = limit - self.system.used - LARGEST_RESERVE - (promised - 1)
            self.assertEqual(self.descriptors.room(), left // 2)
            self.descriptors.servers = 0

    def test_held(self) -> None:
        """
        While there is no room, ports are held; as soon as there is some, they
        accept again.  Both are said, once.
        """
        clients = self.full()
        port, other = self.held(), self.held()
        self.descriptors.roomAt(port)
        self.clock.advance(SOON)
        self.assertTrue(self.descriptors.isShort)
        self.clock.pump([EVERY] * 8)
        self.assertFalse(port.isReading or other.isReading)
        clients[0].go()
        self.clock.advance(0)
        self.assertTrue(port.isReading and other.isReading)
        self.assertGreater(self.descriptors.roomAt(port), 0)
        self.assertEqual(self.events(), ["descriptors_short"])
        self.assertTrue(self.descriptors.isShort)
        self.clock.pump([EVERY] * int(CALM / EVERY + 2))
        self.assertFalse(self.descriptors.isShort)
        self.assertEqual(self.events(), ["descriptors_short", "descriptors_enough"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_noticed(self) -> None:
        """
        That there is room again is noticed if nothing is closed, too, as when
        the limit is raised.
        """
        self.full()
        port = self.held()
        self.clock.advance(SOON)
        self.system.limit += 50
        self.clock.advance(EVERY)
        self.assertTrue(port.isReading)

    def test_closed(self) -> None:
        """
        A port that is closed is left alone.
        """
        clients = self.full()
        port = self.held()
        self.descriptors.forget(port)
        self.descriptors.forget(port)
        clients[0].go()
        self.clock.advance(EVERY)
        self.assertFalse(port.isReading)

    def test_keptFirst(self) -> None:
        """
        The connections to servers that are kept are closed first; if that is
        enough, nothing else is, and nothing is said.
        """
        kept = [1] * 60

        def close() -> None:
            while kept:
                kept.pop()
                self.system.used -= 1
                self.descriptors.disconnected()

        for _ in kept:
            self.system.used += 1
            self.descriptors.connected()
        client = self.client(100)
        while self.descriptors.room():
            self.client(100)
        self.descriptors.closers.append(close)
        port = self.held()
        self.assertEqual(kept, [])
        self.clock.advance(SOON)
        self.assertTrue(port.isReading)
        self.assertTrue(client.isOpen)
        self.assertEqual(self.events(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle(self) -> None:
        """
        Then clients are closed that have asked nothing for a while, those that
        have done so for longest first; not those that have just come, that
        are served, or from which something comes just now.
        """
        young = self.client(YOUNG / 2)
        busy = self.client()
        asking = self.client(200, hasUnread=True)
        old = [self.client(100 + number) for number in range(AT_ONCE + 4)]
        self.system.limit = 10
        self.held()
        self.clock.advance(SOON)
        self.assertEqual(
            [client.isOpen for client in old], [True] * 5 + [False] * (AT_ONCE - 1)
        )
        self.assertTrue(young.isOpen and busy.isOpen and asking.isOpen)
        self.clock.advance(EVERY)
        self.assertFalse(any(client.isOpen for client in old))
        self.clock.pump([EVERY] * 4)
        self.assertFalse(young.isOpen)
        self.assertTrue(busy.isOpen and asking.isOpen)

    def test_wait(self) -> None:
        """
        Those who need descriptors get them in the order in which they asked,
        each as many as it needs; idle clients are closed for them.
        """
        idle = self.client(100)
        self.system.used = self.system.limit
        one, two = self.descriptors.wait(6), self.descriptors.wait()
        self.assertNoResult(one)
        self.clock.advance(SOON)
        self.assertFalse(idle.isOpen)
        self.clock.advance(EVERY)
        self.assertNoResult(one)
        self.assertNoResult(two)
        self.system.used -= 5
        self.clock.advance(EVERY)
        self.successResultOf(one)
        self.assertNoResult(two)
        self.system.used -= 1
        self.clock.advance(EVERY)
        self.successResultOf(two)

    def test_waitTooLong(self) -> None:
        """
        Nobody waits for ever, and whoever leaves is forgotten.
        """
        self.system.used = self.system.limit
        one, two, three = (self.descriptors.wait() for _ in range(3))
        two.cancel()
        self.failureResultOf(two, CancelledError)
        self.clock.advance(PATIENCE)
        self.failureResultOf(one, Overloaded)
        self.failureResultOf(three, Overloaded)
        self.system.used = 0
        self.clock.pump([EVERY] * int(CALM / EVERY + 2))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """
        In the end no timer is left.
        """
        self.descriptors.close()
        self.descriptors.met()
        self.descriptors.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OpenFilesTests(SynchronousTestCase):
    """
    Tests for L{OpenFiles}.
    """

    def setUp(self) -> None:
        """
        There are limits.
        """
        self.limit = 1000
        self.now = 0.0
        self.RLIMIT_NOFILE, self.RLIM_INFINITY = 7, -1

    def getrlimit(self, which: int) -> tuple[int, int]:
        """
        What may be, and what it may be raised to.
        """
        self.assertEqual(which, self.RLIMIT_NOFILE)
        return self.limit, self.limit

    def files(self, *numbers: int) -> OpenFiles:
        """
        A system that does not count them, with these descriptors.
        """
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        # One more is open while they are listed.
        self.have(*numbers, 3)
        return OpenFiles(self, self.folder, lambda: self.now)

    def have(self, *numbers: int) -> None:
        """
        Have these, too.
        """
        for number in numbers:
            with open(os.path.join(self.folder, str(number)), "w"):
                pass

    def test_real(self) -> None:
        """
        What this process opens is counted, and so is what it closes.
        """
        files = OpenFiles()
        before, limit = files.spare(0)
        self.assertEqual(limit, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        # As elsewhere: not counted by the system.
        files._counts = False
        self.assertEqual(files.spare(0), (before, limit))
        files = OpenFiles()
        one = os.open(os.devnull, os.O_RDONLY)
        self.assertEqual(OpenFiles().spare(0), (before - 1, limit))
        os.close(one)
        self.assertEqual(files.spare(0), (before, limit))

    def test_unlimited(self) -> None:
        """
        There may be any number.
        """
        files = self.files(0, 1, 2)
        self.limit = self.RLIM_INFINITY
        self.assertGreater(files.spare(0)[0], 10**6)

    def test_listed(self) -> None:
        """
        Where the system does not count them, they are listed, the more rarely
        the more there are; meanwhile it is the caller's that are counted.
        """
        files = self.files(*range(4, 14))
        self.assertEqual(files.spare(5), (990, 1000))
        self.have(14, 15, 16)
        self.assertEqual(files.spare(5), (990, 1000))
        self.assertEqual(files.spare(7), (988, 1000))
        self.now += 0.02
        self.assertEqual(files.spare(7), (987, 1000))

    def test_lowered(self) -> None:
        """
        When the limit is lowered, descriptors beyond it take no place below
        it.
        """
        files = self.files(*range(4, 24), 900, 901)
        self.assertEqual(files.spare(0), (978, 1000))
        self.limit = 100
        self.assertEqual(files.spare(0), (80, 100))
        self.limit = 22
        self.assertEqual(files.spare(0), (4, 22))
        self.limit = 1000
        self.now += 1
        self.assertEqual(files.spare(0), (978, 1000))

    def test_none(self) -> None:
        """
        If it cannot be looked, none are left.
        """
        files = self.files(4)
        files._folder = self.mktemp()
        self.assertEqual(files.spare(0), (0, 1000))
        self.limit = 100
        self.assertEqual(files.spare(0), (0, 100))


class ShortageTests(SynchronousTestCase):
    """
    Tests for L{isShortage} and L{PatientSocket}.
    """

    def test_isShortage(self) -> None:
        """
        It is told from other errors, as the system says it and as Twisted
        does.
        """
        for number in SHORTAGE:
            self.assertTrue(isShortage(OSError(number, "no")))
            self.assertTrue(isShortage(ConnectBindError(number, "no")))
        for error in (
            OSError(errno.ENOENT, "no"),
            ConnectionRefusedError(),
            ValueError(),
        ):
            self.assertFalse(isShortage(error))

    def test_accept(self) -> None:
        """
        While there are no descriptors there is nobody to accept, which is
        noted; whoever has come waits.
        """
        met: list[str] = []
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        patient = PatientSocket(listening, lambda: met.append("met"))
        with socket.create_connection(patient.getsockname()):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                self.assertRaises(BlockingIOError, patient.accept)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            self.assertEqual(met, ["met"])
            patient.accept()[0].close()
        listening.setblocking(False)
        self.assertRaises(BlockingIOError, patient.accept)
        self.assertEqual(met, ["met"])

    def assertGuarded(self, endpoint: Any, family: int) -> None:
        """
        A port of Twisted's accepts as many as there is room for, and the
        others later.
        """
        made: list[Any] = []

        class Accepting(Protocol):
            def connectionMade(self) -> None:
                made.append(self)

        port: Any = self.successResultOf(
            endpoint.listen(Factory.forProtocol(Accepting))
        )
        system = System()
        Descriptors(Clock(), system).guard(port)
        clients = [socket.socket(family) for _ in range(3)]
        for client in clients:
            self.addCleanup(client.close)
            client.connect(port.socket.getsockname())
        counts = []
        for used in (100, 100 - FEWEST, 10):
            system.used = used
            port.doRead()
            counts.append((len(made), port in self.reactor.getReaders()))
            port.startReading()
        self.assertEqual(counts, [(0, False), (1, True), (3, True)])
        for protocol in made:
            protocol.transport.abortConnection()
        port.connectionLost(None)

    def test_ports(self) -> None:
        """
        That holds for TCP, for Unix sockets and for sockets that were
        inherited.
        """
        from twisted.internet.selectreactor import SelectReactor

        self.reactor: Any = SelectReactor()
        for description, family in (
            ("tcp:0:interface=127.0.0.1", socket.AF_INET),
            (f"unix:{os.path.relpath(self.mktemp())}", socket.AF_UNIX),
        ):
            endpoint = serverFromString(self.reactor, description)
            self.assertGuarded(endpoint, family)
        # It is the endpoint's to close.
        inherited = socket.create_server(("127.0.0.1", 0))
        inherited.setblocking(False)
        adopted = AdoptedStreamServerEndpoint(
            self.reactor, inherited.detach(), socket.AF_INET
        )
        self.assertGuarded(adopted, socket.AF_INET)
        for reader in [*self.reactor._internalReaders]:
            reader.connectionLost(None)

    def test_others(self) -> None:
        """
        A port of another kind stays as it is.
        """
        port = object()
        Descriptors(Clock(), System()).guard(port)


@implementer(IStreamClientEndpoint)
@define(eq=False)
class Endpoint:
    """
    Connects, or does not.

    @ivar answers: what becomes of each try.
    """

    answers: list[Any] = field(factory=list)

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        See L{IStreamClientEndpoint.connect}.
        """
        answer = self.answers.pop(0)
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


class PatientEndpointTests(SynchronousTestCase):
    """
    Tests for L{PatientEndpoint}.
    """

    def setUp(self) -> None:
        """
        Make one.
        """
        self.clock = Clock()
        self.system = System()
        self.descriptors = Descriptors(self.clock, self.system)
        self.inner = Endpoint()
        self.endpoint = PatientEndpoint(self.inner, self.descriptors, self.clock)

    def connect(self, *answers: Any) -> Deferred[Any]:
        """
        Connect.
        """
        self.inner.answers[:] = answers
        return self.endpoint.connect(Factory())

    def test_interface(self) -> None:
        """
        It is an endpoint.
        """
        verifyObject(IStreamClientEndpoint, self.endpoint)

    def test_connects(self) -> None:
        """
        What connects is connected, and what is refused is refused.
        """
        self.assertEqual(self.successResultOf(self.connect("it")), "it")
        self.failureResultOf(
            self.connect(ConnectionRefusedError()), ConnectionRefusedError
        )
        self.failureResultOf(self.connect(DNSLookupError()), DNSLookupError)

    def test_waits(self) -> None:
        """
        Without descriptors it tries again until there are some.
        """
        short = ConnectBindError(errno.EMFILE, "Too many open files")
        connecting = self.connect(short, OSError(errno.EMFILE, "no"), "it")
        self.assertNoResult(connecting)
        self.clock.advance(SOON)
        self.assertNoResult(connecting)
        self.clock.advance(EVERY)
        self.assertEqual(self.successResultOf(connecting), "it")

    def test_lookup(self) -> None:
        """
        While they are short, a name that is not found may be one that could
        not be looked up.
        """
        self.descriptors.met()
        self.clock.advance(SOON)
        connecting = self.connect(DNSLookupError(), "it")
        self.clock.advance(EVERY)
        self.assertEqual(self.successResultOf(connecting), "it")

    def test_tooLong(self) -> None:
        """
        It does not do so for ever, whether or not there seem to be some.
        """
        short = OSError(errno.ENFILE, "no")
        connecting = self.connect(*[short] * 1000)
        self.clock.pump([EVERY] * int(PATIENCE / EVERY + 2))
        self.failureResultOf(connecting, Overloaded)
        self.system.used = self.system.limit
        connecting = self.connect(short)
        self.clock.pump([EVERY] * int(PATIENCE / EVERY + 2))
        self.failureResultOf(connecting, Overloaded)

    def test_cancel(self) -> None:
        """
        Whoever does not want it any more is not connected.
        """
        connecting = self.connect(OSError(errno.EMFILE, "no"), "it")
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.clock.pump([EVERY] * 4)
        self.assertEqual(self.inner.answers, ["it"])
