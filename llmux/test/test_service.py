"""
Tests for L{llmux.service}.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
from typing import Any

from twisted.application.service import IService
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

import llmux
from llmux.config import ApiKey, Config, PolicyConfig
from llmux.errors import ConfigError, ShuttingDown
from llmux.interfaces import StateChanged
from llmux.listening import BACKLOG, CannotListen, endpointOf, isLocal
from llmux.pace import Collections
from llmux.policies.fifo import FirstComeFirstServed
from llmux.service import Multiplexer, Program, TwistProgram
from llmux.testing import FakeHooks, Recorder, makeConfig
from llmux.web._channel import ProxyChannel
from llmux.web.lane import LaneChannel


class ThreadedReactor(MemoryReactorClock):
    """
    A reactor in memory that can be called from signal handlers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.called: list[Any] = []

    def callFromThread(self, call: Any) -> None:
        """
        See L{twisted.internet.interfaces.IReactorFromThreads}.
        """
        self.called.append(call)


class ServiceTestCase(SynchronousTestCase):
    """
    With a reactor in memory and hooks that end when the test says so.
    """

    def setUp(self) -> None:
        self.reactor = ThreadedReactor()
        self.hooks = FakeHooks(self.reactor)
        self.recorder = Recorder()

    def multiplexer(self, **settings: Any) -> Multiplexer:
        """
        One with fakes below it.
        """
        return Multiplexer(
            makeConfig("a", "b", **settings),
            self.reactor,
            policy=FirstComeFirstServed(),
            hooks=self.hooks,
            observers=[self.recorder],
        )


class MultiplexerTests(ServiceTestCase):
    """
    Tests for L{Multiplexer}.
    """

    def test_loaded(self) -> None:
        """
        What only the usual way of a request takes, and takes long to load, is
        not loaded before one goes that way.
        """
        script = (
            "import sys\n"
            "from twisted.internet.task import Clock\n"
            "from llmux.service import Multiplexer\n"
            "from llmux.testing import makeConfig\n"
            "Multiplexer(makeConfig(), Clock())\n"
            "print(*sorted({'treq', 'httptools', 'opentelemetry'} & set(sys.modules)))"
        )
        argv = [sys.executable, "-c", script]
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.assertEqual((done.stdout, done.stderr), ("httptools\n", ""))

    def test_interfaces(self) -> None:
        """
        It is a service with a resource.
        """
        multiplexer = self.multiplexer()
        verifyObject(IService, multiplexer)
        verifyObject(IResource, multiplexer.resource)

    def test_start(self) -> None:
        """
        It asks what is awake when it starts, and the caller's observers are
        told.
        """
        self.hooks.awake = {"a"}
        self.multiplexer().startService()
        self.assertEqual([call.hook.value for call in self.hooks.calls], ["alive"] * 2)
        self.assertEqual(self.recorder.of(StateChanged)[0].model, "a")

    def test_token(self) -> None:
        """
        Python code may hold a model awake.
        """
        multiplexer = self.multiplexer()
        multiplexer.startService()
        ready = multiplexer.switcher.acquire("a")
        self.hooks.finish("a")
        self.successResultOf(ready).release()

    def test_stop(self) -> None:
        """
        It stops when what is in flight is over, and leaves models awake.
        """
        multiplexer = self.multiplexer()
        multiplexer.startService()
        ready = multiplexer.switcher.acquire("a")
        self.hooks.finish("a")
        token = self.successResultOf(ready)
        stopped = multiplexer.stopService()
        self.assertNoResult(stopped)
        self.failureResultOf(multiplexer.switcher.acquire("a"), ShuttingDown)
        token.release()
        self.successResultOf(stopped)
        self.assertEqual(self.hooks.ran, [("a", "wake")])

    def test_sleepOnExit(self) -> None:
        """
        With C{on_exit: sleep} it puts them to sleep.
        """
        self.hooks.awake = {"a"}
        multiplexer = self.multiplexer(on_exit="sleep")
        multiplexer.startService()
        stopped = multiplexer.stopService()
        self.hooks.finish("a")
        self.successResultOf(stopped)
        self.assertEqual(self.hooks.ran, [("a", "sleep")])

    def test_hurry(self) -> None:
        """
        It can be made to stop at once.
        """
        multiplexer = self.multiplexer()
        multiplexer.startService()
        ready = multiplexer.switcher.acquire("a")
        self.hooks.finish("a")
        self.successResultOf(ready)
        stopped = multiplexer.stopService()
        multiplexer.hurry()
        self.successResultOf(stopped)

    def test_shellHooks(self) -> None:
        """
        Without hooks of the caller's it runs the configuration's, and leaves
        none behind.
        """
        multiplexer = Multiplexer(
            makeConfig(policy=PolicyConfig(name="fifo")), self.reactor, environment={}
        )
        self.successResultOf(multiplexer.stopService())
        multiplexer.hurry()

    def test_unknownPolicy(self) -> None:
        """
        A policy that is not there is an error of the configuration.
        """
        error = self.assertRaises(
            ConfigError,
            Multiplexer,
            makeConfig("a", policy=PolicyConfig(name="fifi")),
            self.reactor,
        )
        self.assertIn('did you mean "fifo"?', str(error))

    def test_metrics(self) -> None:
        """
        Its metrics are its own.
        """
        multiplexer = self.multiplexer()
        body, kind = multiplexer._renderMetrics()
        self.assertIn(b"llmux_model_in_flight", body)
        self.assertIn(b"\nllmux_descriptors_short 0.0\n", body)
        multiplexer.descriptors.met()
        self.reactor.advance(1)
        self.assertTrue(multiplexer.descriptors.isShort)
        body, _ = multiplexer._renderMetrics()
        self.assertIn(b"\nllmux_descriptors_short 1.0\n", body)
        self.assertTrue(kind.startswith(b"text/plain"))

    def test_public(self) -> None:
        """
        What the package promises is there, and nothing else.
        """
        for name in llmux.__all__:
            self.assertTrue(hasattr(llmux, name), name)
        self.assertRaises(AttributeError, getattr, llmux, "nonsense")


class ProgramTestCase(ServiceTestCase):
    """
    With what a program changes put back.
    """

    kind = Program

    def setUp(self) -> None:
        super().setUp()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def program(self, config: Config | None = None) -> Program:
        """
        A program.
        """
        return self.kind(makeConfig() if config is None else config, self.reactor)

    def logged(self, event: str) -> list[Any]:
        """
        The log events of a name.
        """
        return [one for one in self.log if one.get("event") == event]


class ProgramTests(ProgramTestCase):
    """
    Tests for L{Program}.
    """

    def test_port(self) -> None:
        """
        It listens on the loopback interface, unless told otherwise.
        """
        self.program().startService()
        ((port, _, _, interface),) = self.reactor.tcpServers
        self.assertEqual((port, interface), (3000, "127.0.0.1"))

    def test_endpoints(self) -> None:
        """
        Endpoint strings are listened on instead.
        """
        self.program(makeConfig(listen=("unix:a.sock", "tcp:80"))).startService()
        self.assertEqual(len(self.reactor.unixServers), 1)
        self.assertEqual(self.reactor.tcpServers[0][0], 80)

    def test_lane(self) -> None:
        """
        Plain requests take the lane, unless it is off.
        """
        for setting, kind in (("on", LaneChannel), ("off", ProxyChannel)):
            self.program(makeConfig(lane=setting)).startService()
            site = self.reactor.tcpServers.pop()[1]
            self.assertIs(
                type(site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))), kind
            )

    def test_openToOthers(self) -> None:
        """
        It warns of an address that others can reach.
        """
        self.program(makeConfig(host="0.0.0.0")).startService()
        self.assertEqual(len(self.logged("open_to_others")), 1)

    def test_openWithKeys(self) -> None:
        """
        It does not if they need a key.
        """
        keys = {"1": ApiKey("1", "x")}
        self.program(makeConfig(host="0.0.0.0", api_keys=keys)).startService()
        self.assertEqual(self.logged("open_to_others"), [])

    def test_badEndpoint(self) -> None:
        """
        A string that is none is an error of the configuration.
        """
        self.assertRaises(
            ConfigError, self.program, makeConfig(listen=("tcp:port=x:y",))
        )

    def test_taken(self) -> None:
        """
        An address that is not to be had is an error that names it.
        """

        def listenTCP(port: int, *args: Any, **named: Any) -> None:
            raise CannotListenError("127.0.0.1", port, OSError("in use"))

        self.patch(self.reactor, "listenTCP", listenTCP)
        error = self.assertRaises(CannotListen, self.program().startService)
        self.assertEqual(
            str(error), "cannot listen on tcp:3000:interface=127.0.0.1: in use"
        )

    def test_backlog(self) -> None:
        """
        Many may come at once, wherever llmux listens, unless the string of
        the endpoint says how many.
        """
        listen = ("tcp:1:interface=127.0.0.1", "tcp6:2", "tcp:3:backlog=7")
        self.program(makeConfig(listen=listen)).startService()
        backlogs = [server[2] for server in self.reactor.tcpServers]
        self.assertEqual(backlogs, [BACKLOG, BACKLOG, 7])

    def test_secondSignal(self) -> None:
        """
        While it stops, a signal makes it hurry.
        """
        program = self.program()
        program.startService()
        self.successResultOf(program.stopService())
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(self.reactor.called, [program.multiplexer.hurry])

    def test_closesPorts(self) -> None:
        """
        It closes its ports and waits until they are closed.
        """
        program = self.program()
        program.startService()
        closed: Deferred[None] = Deferred()
        (listening, _) = list(program)
        self.patch(listening._ports[0], "stopListening", lambda: closed)
        stopped = program.stopService()
        self.assertNoResult(stopped)
        closed.callback(None)
        self.successResultOf(stopped)


class TwistProgramTests(ProgramTestCase):
    """
    Tests for L{TwistProgram}.
    """

    kind = TwistProgram

    def test_collections(self) -> None:
        """
        It chooses when all objects are looked at for garbage, while it runs.
        """
        before = gc.get_threshold()
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *before)
        program = self.program()
        program.startService()
        self.assertEqual(gc.get_threshold(), (*before[:2], Collections.NEVER))
        program.stopService()
        self.assertEqual(gc.get_threshold(), before)

    def test_taken(self) -> None:
        """
        An address that is not to be had is a line, and an exit status.
        """

        def listenTCP(port: int, *args: Any, **named: Any) -> None:
            raise CannotListenError("127.0.0.1", port, OSError("in use"))

        self.patch(self.reactor, "listenTCP", listenTCP)
        err = io.StringIO()
        self.patch(sys, "stderr", err)
        error = self.assertRaises(SystemExit, self.program().startService)
        self.assertEqual(error.code, 69)
        self.assertEqual(len(err.getvalue().splitlines()), 1)

    def test_noAccessLog(self) -> None:
        """
        So is a file for requests that cannot be opened.
        """
        err = io.StringIO()
        self.patch(sys, "stderr", err)
        program = self.program(makeConfig(access_log="/dev/null/requests.log"))
        error = self.assertRaises(SystemExit, program.startService)
        self.assertEqual(error.code, 69)
        self.assertIn("access_log: cannot open", err.getvalue())


class AddressTests(SynchronousTestCase):
    """
    Tests for L{isLocal} and L{endpointOf}.
    """

    def test_isLocal(self) -> None:
        """
        The loopback interface and Unix sockets are this machine's only.
        """
        for address, local in (
            (IPv4Address("TCP", "127.0.0.1", 1), True),
            (IPv4Address("TCP", "127.3.2.1", 1), True),
            (IPv4Address("TCP", "0.0.0.0", 1), False),
            (IPv6Address("TCP", "::1", 1), True),
            (IPv6Address("TCP", "::", 1), False),
            (IPv4Address("TCP", "gpu2", 1), False),
            (UNIXAddress("/run/llmux.sock"), True),
        ):
            self.assertEqual(isLocal(address), local, address)

    def test_endpointOf(self) -> None:
        """
        Host and port are a string for Twisted, whichever protocol they are.
        """
        self.assertEqual(
            endpointOf(makeConfig(host="::1", port=1)), "tcp6:1:interface=\\:\\:1"
        )
