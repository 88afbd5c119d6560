"""
Tests for L{llmux.reload}, and for what a L{Program} makes of it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from llmux.config import Config, Limits, PolicyConfig
from llmux.errors import ConfigError, ShuttingDown
from llmux.interfaces import Changes
from llmux.reload import FAREWELL, INTERVAL, TRIES, Reloaded, Reloader, differences
from llmux.service import Multiplexer, Program
from llmux.tap import Options
from llmux.test._memory import FakeClient, makeAsked
from llmux.test.test_service import ServiceTestCase, ThreadedReactor
from llmux.testing import makeConfig
from llmux.web.control import Control


def logged(test: SynchronousTestCase) -> EventLoggingObserver:
    """
    What is logged from here on.
    """
    observer = EventLoggingObserver()
    globalLogPublisher.addObserver(observer)
    test.addCleanup(globalLogPublisher.removeObserver, observer)
    return observer


class DifferencesTests(SynchronousTestCase):
    """
    Tests for L{differences}.
    """

    def test_nothing(self) -> None:
        """
        Where there is no difference, nothing is said.
        """
        config = makeConfig("a")
        found = differences(config, config, makeConfig("a"), Changes())
        self.assertEqual(found, Reloaded(settings=[], restart=[]))
        self.assertEqual(str(found), "nothing has changed")

    def test_settings(self) -> None:
        """
        Settings that hold now are told from those that count when llmux
        starts, which are compared with what it was started with.
        """
        first = makeConfig("a", port=1)
        before = evolve(first, port=2)
        after = evolve(
            first,
            on_exit="sleep",
            policy=PolicyConfig(min_active_secs=3),
            listen=cast("Any", ("unix:/x",)),
        )
        changes = Changes(added=("b",), pending=("a",))
        found = differences(first, before, after, changes)
        self.assertEqual(
            found.document(),
            {
                "added": ["b"],
                "removed": [],
                "changed": [],
                "pending": ["a"],
                "settings": ["policy", "on_exit"],
                "restart": ["listen"],
            },
        )
        self.assertEqual(
            str(found),
            "added: b; pending: a; settings: policy, on_exit; restart: listen",
        )


class FileSource:
    """
    A file that holds the name of a model, and anything else if it is wrong.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.reads = 0

    def read(self) -> Config:
        """
        See L{llmux.reload.ISource.read}.
        """
        self.reads += 1
        with open(self.path, encoding="ascii") as file:
            name, *rest = file.read().split()
        if rest != [] and rest != ["watched"]:
            raise ConfigError.one("it is wrong", file=self.path)
        return makeConfig(name, watch=bool(rest))


class ReloaderCase(SynchronousTestCase):
    """
    With a file.
    """

    def setUp(self) -> None:
        self.reactor = ThreadedReactor()
        self.path = self.mktemp()
        self.write("a watched")
        self.source = FileSource(self.path)
        self.followed: list[str] = []
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.events = logged(self)

    def write(self, text: str) -> None:
        """
        Write the file, as another than it was.
        """
        with open(self.path, "w", encoding="ascii") as file:
            file.write(text)
        os.utime(self.path, ns=(0, getattr(self, "written", 0)))
        self.written = getattr(self, "written", 0) + 1

    def reloader(self, watches: bool = False) -> Reloader:
        """
        One that runs.
        """

        def follow(config: Config) -> Reloaded:
            self.followed.extend(config.models)
            return Reloaded()

        made = Reloader(self.source, follow, self.reactor, watches)
        made.startService()
        self.addCleanup(made.stopService)
        return made

    def of(self, event: str) -> list[Any]:
        """
        What was logged of a kind.
        """
        return [one for one in self.events if one.get("event") == event]


class ReloaderTests(ReloaderCase):
    """
    Tests for L{Reloader}.
    """

    def test_reload(self) -> None:
        """
        The file is read, and what is in it holds.
        """
        reloader = self.reloader()
        self.write("b")
        self.assertEqual(self.successResultOf(reloader.reload()), Reloaded())
        self.assertEqual(self.followed, ["b"])
        self.assertEqual(len(self.of("reloaded")), 1)

    def test_wrong(self) -> None:
        """
        What is wrong changes nothing, and is said.
        """
        reloader = self.reloader()
        self.write("b is wrong")
        self.failureResultOf(reloader.reload(), ConfigError)
        self.assertEqual(self.followed, [])
        self.assertIn("it is wrong", self.of("reload_failed")[0]["problem"])

    def test_signal(self) -> None:
        """
        SIGHUP has it read, in the reactor's thread; a file that is wrong does
        no harm then, and the next one is read.
        """
        self.reloader()
        for text in ("b", "c is wrong", "d"):
            self.write(text)
            os.kill(os.getpid(), signal.SIGHUP)
            (call,) = self.reactor.called
            self.reactor.called.clear()
            call()
        self.assertEqual(self.followed, ["b", "d"])

    def test_signalWhileStopping(self) -> None:
        """
        While llmux stops SIGHUP neither has it read nor ends llmux; then it
        is what it was before.
        """
        former = signal.getsignal(signal.SIGHUP)
        reloader = self.reloader()
        reloader.stopService()
        os.kill(os.getpid(), signal.SIGHUP)
        (call,) = self.reactor.called
        call()
        self.assertEqual(self.source.reads, 0)
        reloader.close()
        self.assertIs(signal.getsignal(signal.SIGHUP), former)

    def test_terminal(self) -> None:
        """
        If the terminal in which llmux was started is closed, which has the
        same signal sent, llmux ends as it would have otherwise.
        """
        killed: list[tuple[int, int]] = []
        isThere = True
        self.patch(os, "isatty", lambda number: isThere)
        self.reloader()
        kill = os.kill
        kill(os.getpid(), signal.SIGHUP)
        self.patch(os, "kill", lambda *both: killed.append(both))
        (call,) = self.reactor.called
        call()
        self.assertEqual((self.source.reads, killed), (1, []))
        isThere = False
        call()
        self.assertEqual(self.source.reads, 1)
        self.assertEqual(killed, [(os.getpid(), signal.SIGTERM)])

    def test_watched(self) -> None:
        """
        If that is configured, it is read when it has changed, once, and not
        before whoever writes it has come to an end.
        """
        self.reloader(watches=True)
        self.reactor.pump([INTERVAL] * 3)
        self.assertEqual(self.source.reads, 0)
        self.write("b watched")
        self.reactor.advance(INTERVAL)
        self.write("c watched")
        self.reactor.advance(INTERVAL)
        self.assertEqual(self.source.reads, 0)
        self.reactor.pump([INTERVAL] * 3)
        self.assertEqual(self.followed, ["c"])
        self.assertEqual(self.source.reads, 1)

    def test_noDescriptors(self) -> None:
        """
        If there are no file descriptors to read it with, it is read when there
        are; if there are none for long, that is said.
        """
        reloader = self.reloader()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        told = reloader.reload()
        self.reactor.pump([INTERVAL] * 3)
        self.assertNoResult(told)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        self.reactor.advance(INTERVAL)
        self.successResultOf(told)
        self.assertEqual(self.followed, ["a"])
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        told = reloader.reload()
        self.reactor.pump([INTERVAL] * TRIES)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        error = self.failureResultOf(told, ConfigError).value
        self.assertIn("no file descriptors", str(error))
        self.assertEqual(len(self.of("reload_failed")), 1)
        self.assertEqual(self.source.reads, 1)

    def test_stopWithoutDescriptors(self) -> None:
        """
        It does not keep llmux from stopping.
        """
        reloader = self.reloader()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        told = reloader.reload()
        stopped: Any = reloader.stopService()
        self.reactor.advance(INTERVAL)
        self.failureResultOf(told, ShuttingDown)
        self.reactor.advance(FAREWELL)
        self.successResultOf(stopped)

    def test_watchedWrong(self) -> None:
        """
        A file that is wrong is complained of once; one that is away for a
        moment, as editors have it, not at all.
        """
        self.reloader(watches=True)
        self.write("b is wrong")
        self.reactor.pump([INTERVAL] * 4)
        self.assertEqual(len(self.of("reload_failed")), 1)
        os.remove(self.path)
        self.reactor.pump([INTERVAL] * 4)
        self.write("c watched")
        self.reactor.pump([INTERVAL] * 4)
        self.assertEqual(len(self.of("reload_failed")), 1)
        self.assertEqual(self.followed, ["c"])

    def test_watchedNoMore(self) -> None:
        """
        Whether it is watched is itself something that changes.
        """
        reloader = self.reloader(watches=True)
        self.write("b")
        self.reactor.pump([INTERVAL] * 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.write("c watched")
        reloader.reload()
        self.write("d watched")
        self.reactor.pump([INTERVAL] * 2)
        self.assertEqual(self.followed, ["b", "c", "d"])
        reloader.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_pipe(self) -> None:
        """
        A pipe, which was read at the start, is not waited at for ever.
        """
        reloader = self.reloader()
        os.remove(self.path)
        os.mkfifo(self.path)
        # To read would be to wait.
        self.patch(FileSource, "read", lambda source: makeConfig("b"))
        why = self.failureResultOf(reloader.reload(), ConfigError)
        self.assertIn("a pipe cannot be read again", str(why.value))
        self.assertEqual(self.followed, [])

    def test_surprise(self) -> None:
        """
        What goes wrong in llmux itself is logged, and the next signal heeded.
        """
        self.reloader()
        os.remove(self.path)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            self.reactor.called.pop()()
            self.assertEqual(len(self.flushLoggedErrors(FileNotFoundError)), 1)


class Threads(ThreadedReactor):
    """
    A reactor with a thread that works when it is told to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.work: list[Callable[[], None]] = []

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        """
        See L{ThreadedReactor}.
        """
        self.called.append(partial(call, *arguments))

    def getThreadPool(self) -> Threads:
        """
        The pool.
        """
        return self

    def callInThreadWithCallback(
        self, told: Callable[[bool, Any], None], work: Callable[[], Any]
    ) -> None:
        """
        Work later.
        """

        def done() -> None:
            try:
                result = work()
            except Exception:
                told(False, Failure())
            else:
                told(True, result)

        self.work.append(done)

    def finish(self) -> None:
        """
        Have what was begun first done, and the reactor told.
        """
        self.work.pop(0)()
        self.called.pop(0)()


class ThreadTests(ReloaderCase):
    """
    Tests for L{Reloader} where there are threads.
    """

    def setUp(self) -> None:
        super().setUp()
        self.reactor: Threads = Threads()

    def test_elsewhere(self) -> None:
        """
        The file is read in a thread; what is in it holds when the reactor
        comes to it.
        """
        told = self.reloader().reload()
        self.assertEqual(self.source.reads, 0)
        self.reactor.work.pop()()
        self.assertEqual((self.source.reads, self.followed), (1, []))
        self.assertNoResult(told)
        self.reactor.called.pop()()
        self.assertEqual(self.followed, ["a"])
        self.assertEqual(self.successResultOf(told), Reloaded())

    def test_again(self) -> None:
        """
        Those who ask while the file is read have it read once more, and are
        told what came of that: nothing that was written before they asked is
        missed, and nothing is read twice at a time.
        """
        reloader = self.reloader()
        self.write("b is wrong")
        first = reloader.reload()
        self.reactor.work[0]()
        self.write("c")
        later = [reloader.reload() for _ in range(2)]
        os.kill(os.getpid(), signal.SIGHUP)
        self.reactor.called.pop()()
        self.assertEqual(len(self.reactor.work), 1)
        del self.reactor.work[0]
        self.reactor.called.pop()()
        self.failureResultOf(first, ConfigError)
        for one in later:
            self.assertNoResult(one)
        self.reactor.finish()
        for one in later:
            self.assertEqual(self.successResultOf(one), Reloaded())
        self.assertEqual((self.source.reads, self.followed), (2, ["c"]))
        self.assertEqual(self.reactor.work, [])
        reloader.stopService()

    def test_left(self) -> None:
        """
        Who asked and does not wait for the end changes nothing.
        """
        reloader = self.reloader()
        left, other = reloader.reload(), reloader.reload()
        left.cancel()
        self.failureResultOf(left, CancelledError)
        self.reactor.finish()
        self.reactor.finish()
        self.successResultOf(other)
        self.assertEqual(self.followed, ["a", "a"])

    def test_stopped(self) -> None:
        """
        A stop waits until nothing is read any more; nothing that was read
        holds then, and whoever has asked is told why, as are those who ask
        from then on.
        """
        reloader = self.reloader(watches=True)
        asked = [reloader.reload(), reloader.reload()]
        stopped = reloader.stopService()
        assert stopped is not None
        self.assertNoResult(stopped)
        asked.append(reloader.reload())
        self.reactor.finish()
        asked.append(reloader.reload())
        for one in asked:
            self.failureResultOf(one, ShuttingDown)
        # They are to hear of it yet.
        self.assertNoResult(stopped)
        self.reactor.advance(FAREWELL)
        self.successResultOf(stopped)
        self.assertEqual((self.source.reads, self.followed), (1, []))
        self.assertEqual(self.reactor.work, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.of("reload_failed"), [])

    def test_watched(self) -> None:
        """
        A file that changes while it is read is read once more.
        """
        self.reloader(watches=True)
        self.write("b watched")
        self.reactor.pump([INTERVAL] * 2)
        self.reactor.work[0]()
        self.write("c watched")
        self.reactor.pump([INTERVAL] * 2)
        del self.reactor.work[0]
        self.reactor.called.pop()()
        self.reactor.finish()
        self.assertEqual(self.followed, ["b", "c"])
        self.reactor.pump([INTERVAL] * 3)
        self.assertEqual(self.reactor.work, [])


class RealThreadTests(TestCase):
    """
    Tests for L{Reloader} with the threads of a real reactor.
    """

    async def test_stopped(self) -> None:
        """
        While the file is being read, others are served; no thread works on
        when the service has stopped.
        """
        from twisted.internet import reactor

        mayEnd, reading = Event(), Event()
        test = self

        class Slow(FileSource):
            def read(self) -> Config:
                """
                See L{FileSource.read}.
                """
                reading.set()
                test.assertTrue(mayEnd.wait(60))
                return makeConfig("a")

        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        followed: list[Config] = []
        follow: Any = followed.append
        reloader = Reloader(Slow(self.mktemp()), follow, reactor)
        reloader.startService()
        told = reloader.reload()
        while not reading.is_set():
            await deferLater(cast("Any", reactor), 0)
        stopped = reloader.stopService()
        assert stopped is not None
        self.assertNoResult(stopped)
        mayEnd.set()
        await stopped
        with self.assertRaises(ShuttingDown):
            await told
        self.assertEqual(followed, [])
        reloader.close()


class MultiplexerTests(ServiceTestCase):
    """
    Tests for L{Multiplexer.reconfigure}.
    """

    def controlOf(self, multiplexer: Multiplexer) -> Control:
        """
        The routes of operators.
        """
        control = multiplexer.resource._control
        assert control is not None
        return control

    def test_everybody(self) -> None:
        """
        All who go by the configuration go by the new one: names of models,
        keys, limits, metrics, the status.
        """
        multiplexer = self.multiplexer()
        multiplexer.startService()
        found = multiplexer.reconfigure(
            makeConfig(
                "b",
                models={"c": {"aliases": ["see"]}},
                limits=Limits(body_mb=1),
            )
        )
        self.assertEqual((found.added, found.removed), (("c",), ("a",)))
        self.assertEqual(found.settings, ["limits"])
        context = multiplexer.resource.context
        self.assertEqual(context.config.limits.body_mb, 1)
        self.assertIsNone(context.config.modelNamed("a"))
        self.assertIsNotNone(context.config.modelNamed("see"))
        self.assertIn('model="c"', multiplexer.metrics.render()[0].decode())
        client = FakeClient()
        self.controlOf(multiplexer).serve(
            client, makeAsked(b"", b"/llmux/status", b"GET", {})
        )
        document = json.loads(client.said[1])
        self.assertEqual([one["id"] for one in document["models"]], ["b", "c"])

    def test_policy(self) -> None:
        """
        A policy that is not there changes nothing; one that was given by the
        program stays.
        """
        own = Multiplexer(makeConfig("a"), self.reactor, hooks=self.hooks)
        with self.assertRaises(ConfigError):
            own.reconfigure(makeConfig("b", policy=PolicyConfig(name="none")))
        self.assertIsNotNone(own.resource.context.config.modelNamed("a"))
        own.reconfigure(makeConfig("a", policy=PolicyConfig(name="cost-aware")))
        given = self.multiplexer()
        given.reconfigure(makeConfig("a", policy=PolicyConfig(name="none")))

    def test_leaving(self) -> None:
        """
        A model that is leaving is still there for operators, and for nobody
        else.
        """
        multiplexer = self.multiplexer()
        self.hooks.awake.add("a")
        multiplexer.startService()
        token = self.successResultOf(multiplexer.switcher.acquire("a"))
        multiplexer.reconfigure(makeConfig("b"))
        control = self.controlOf(multiplexer)
        document: Any = json.loads(json.dumps(control._status.document()))
        self.assertEqual(
            [(one["id"], one["removed"]) for one in document["models"]],
            [("b", False), ("a", True)],
        )
        self.assertEqual(control._named("a"), "a")
        token.release()
        self.hooks.finish("a")
        self.assertEqual(list(control.config.models), ["b"])

    def test_stopping(self) -> None:
        """
        Nothing changes any more while it stops.
        """
        multiplexer = self.multiplexer()
        multiplexer.startService()
        multiplexer.stopService()
        with self.assertRaises(ShuttingDown):
            multiplexer.reconfigure(makeConfig("a"))


class ProgramTests(ServiceTestCase):
    """
    L{Program} with a file.
    """

    def setUp(self) -> None:
        super().setUp()
        self.path = f"{self.mktemp()}.yaml"
        self.write({})
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))

    def write(self, more: dict[str, Any]) -> None:
        """
        Write the configuration.
        """
        hooks = {"port": 8001, "wake": "true", "sleep": "true", "alive": "false"}
        text = json.dumps({"models": {"a": hooks}, **more})
        with open(self.path, "w", encoding="ascii") as file:
            file.write(text)

    def program(self, *arguments: str) -> Program:
        """
        What C{llmux} runs.
        """
        options = Options()
        options.parseOptions(["--config", self.path, *arguments])
        return Program(options.configuration, self.reactor, source=options.source)

    def reload(self, program: Program) -> tuple[int, Any]:
        """
        Have an operator ask for it.

        @return: the status and the body.
        """
        client = FakeClient()
        control = program.multiplexer.resource._control
        assert control is not None
        control.serve(client, makeAsked(b"", b"/llmux/reload", b"POST", {}))
        return client.said[0][0], json.loads(client.said[1])

    def test_reload(self) -> None:
        """
        What has changed is told; the command line goes before the file then,
        too.
        """
        program = self.program("--port", "4001")
        self.write({"port": 4002, "limits": {"body_mb": 1}, "on_exit": "sleep"})
        status, told = self.reload(program)
        self.assertEqual((status, told["restart"]), (200, []))
        self.assertEqual(told["settings"], ["limits", "on_exit"])
        self.assertEqual(program.multiplexer.config.on_exit, "sleep")
        self.assertEqual(program._site.bodyLimit, 1024**2)

    def test_restart(self) -> None:
        """
        What needs a restart is told.
        """
        program = self.program()
        self.write({"port": 4002})
        self.assertEqual(self.reload(program)[1]["restart"], ["port"])
        self.write({})
        self.assertEqual(self.reload(program)[1]["restart"], [])

    def test_wrong(self) -> None:
        """
        All that is wrong is told, with its line, and nothing has changed.
        """
        program = self.program()
        self.write({"prot": 4002, "limits": {"body_mb": -1}})
        status, told = self.reload(program)
        self.assertEqual((status, told["error"]["code"]), (400, "invalid_config"))
        self.assertIn(f"{self.path}:1: prot: unknown key", told["error"]["message"])
        self.assertIn("limits.body_mb", told["error"]["message"])
        self.assertEqual(program.multiplexer.config.limits, Limits())

    def test_noFile(self) -> None:
        """
        Where there is no file there is nothing to be read again.
        """
        program = Program(makeConfig("a"), self.reactor)
        status, told = self.reload(program)
        self.assertEqual((status, told["error"]["code"]), (409, "conflict"))

    def test_keys(self) -> None:
        """
        Keys hold at once; that llmux can be reached without any is warned of
        when it comes to be so.
        """
        self.write({"host": "0.0.0.0", "api_keys": ["a-key-of-some-length"]})
        events = logged(self)
        program = self.program()
        for listening in program._listening:
            listening.startService()

        def warnings() -> int:
            return sum(one.get("event") == "open_to_others" for one in events)

        self.assertEqual(warnings(), 0)
        self.write({"host": "0.0.0.0"})
        self.assertEqual(self.reload(program)[1]["settings"], ["api_keys"])
        self.assertEqual(warnings(), 1)
        access = program.multiplexer.resource.context.access
        access.admit(makeAsked(), FakeClient())
