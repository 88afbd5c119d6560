"""
Tests for L{llmux.web._scan} and L{llmux.web._scanner}.
"""

from __future__ import annotations

import os
from io import BufferedReader, BytesIO
from tempfile import TemporaryFile
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from llmux.config import Shape
from llmux.test._memory import FakeClient, MemoryCase, makeAsked
from llmux.testing import makeConfig
from llmux.web import _looks, _naming, _plan, _scanner
from llmux.web._errors import BadBody
from llmux.web._looks import Look, Renaming, Shaping, Streaming, Translating
from llmux.web._ollamaasked import Route, Turned
from llmux.web._pieces import Slice, chunks
from llmux.web._plan import Asked, Plan, Steps
from llmux.web._scan import BODY as BODY_DESCRIPTOR
from llmux.web._scan import Apart, answered, read, seen, written
from llmux.web._scanner import PATIENCE, PROGRAMS, TRIES, Scanner
from llmux.web.exchange import Exchange

JSON = b"application/json"
BODY = b'{"model": "a", "max_tokens": 3, "top_k": 1}'
SHAPE = Shape({"x": b'"\xc3\xa4"'}, {"y": b"1"}, frozenset({"top_k"}))


def onDisk(body: bytes) -> Asked:
    """
    A request with a body in a file.
    """
    file = TemporaryFile()  # noqa: SIM115
    file.write(body)
    return evolve(makeAsked(body=body), body=file)


class LookTests(SynchronousTestCase):
    """
    Tests for L{Look}.
    """

    def test_written(self) -> None:
        """
        What is written of a look is read as the same look.
        """
        for look in (
            Look(None, None, 5),
            Look(JSON, b"gzip", 5),
            Renaming(JSON, None, 5, "\ud800 \xe4"),
            Shaping(JSON, None, 5, SHAPE, None),
            Shaping(b"\xff", None, 5, SHAPE, "b"),
            Translating(None, None, 5, Route.CHAT, "\ud800 \xe4"),
            Streaming(JSON, None, 5, (Slice(0, 3), b"\xff", Slice(4, 5))),
        ):
            self.assertEqual(read(written(look)), look)

    def test_answered(self) -> None:
        """
        What is written of what was seen is read as the same.
        """
        length = len(BODY)
        for look in (
            Look(JSON, None, length),
            Look(b"text/csv", b"gzip", length),
            Renaming(JSON, None, length, "b"),
            Shaping(JSON, None, length, SHAPE, "b"),
            Shaping(b"multipart/form-data", None, length, SHAPE, None),
            Streaming(JSON, None, length, (Slice(0, length),)),
            Streaming(JSON, None, length, (b'{"stream":true,', Slice(1, length))),
        ):
            self.assertEqual(
                seen(answered(look, BytesIO(BODY), BytesIO())), look.at(BytesIO(BODY))
            )

    def test_translated(self) -> None:
        """
        So is what a request of Ollama's is translated to, which has a file of
        its own.
        """
        for route, body in (
            (Route.CHAT, b'{"messages":[{"role":"user","content":"\xc3\xa4"}]}'),
            (Route.GENERATE, b'{"prompt":"x","raw":true,"stream":false}'),
            (Route.EMBED, b'{"input":["x"]}'),
            (Route.CHAT, b'{"messages":[]}'),
            (Route.CHAT, b'{"messages":[],"keep_alive":0}'),
        ):
            look = Translating(JSON, None, len(body), route, "a")
            here, made = look.at(BytesIO(body)), BytesIO()
            there: Turned = seen(answered(look, BytesIO(body), made), made)
            self.assertEqual(made.getvalue(), here.body.read())
            self.assertIs(there.body, made)
            for one in ("made", "length", "isEmpty", "isUnload"):
                self.assertEqual(getattr(there, one), getattr(here, one), one)

    def test_tooMany(self) -> None:
        """
        What would take much more memory than it is long is not translated.
        """
        body = b'{"messages":[],"x":[%b1]}' % (b"[]," * 10)
        look = Translating(JSON, None, len(body), Route.CHAT, "a")
        look.at(BytesIO(body))
        self.patch(_looks, "PARTS", 20)
        self.assertRaises(BadBody, look.at, BytesIO(body))

    def test_bad(self) -> None:
        """
        So is what is wrong with the body.
        """
        for body, param in ((b"{", None), (b'{"model": 1}', "model")):
            answer = answered(Look(JSON, None, len(body)), BytesIO(body), BytesIO())
            self.assertEqual(self.assertRaises(BadBody, seen, answer).param, param)


class ApartTests(SynchronousTestCase):
    """
    Tests for L{Apart}.
    """

    def test_apart(self) -> None:
        """
        It is read like any file, and others who have it stand where they did.
        """
        with TemporaryFile() as file:
            file.write(bytes(range(200)) * 1000)
            file.flush()
            os.lseek(file.fileno(), 7, os.SEEK_SET)
            whole: Any = BufferedReader(Apart(file.fileno()))
            self.assertEqual(whole.read(3), b"\0\1\2")
            whole.seek(100)
            self.assertEqual(whole.read(), (bytes(range(200)) * 1000)[100:])
            self.assertEqual(whole.read(1), b"")
            self.assertEqual(whole.fileno(), file.fileno())
            self.assertEqual(os.lseek(file.fileno(), 0, os.SEEK_CUR), 7)


class Programs(Clock):
    """
    A reactor that starts programs, and leaves it to us how they end.
    """

    hasRoom = True

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Any] = []
        self.bodies: list[bytes] = []
        self.heard = b""
        self.killed = 0

    def spawnProcess(self, program: Any, *rest: Any, **more: Any) -> None:
        """
        Start a program.
        """
        if not self.hasRoom:
            raise OSError("no room")
        self.started.append(program)
        body = os.fdopen(os.dup(more["childFDs"][BODY_DESCRIPTOR]), "rb")
        with body:
            body.seek(0)
            self.bodies.append(body.read())
        program.makeConnection(self)

    def write(self, data: bytes) -> None:
        """
        It is told something.
        """
        self.heard += data

    def closeStdin(self) -> None:
        """
        That is all.
        """

    def signalProcess(self, name: str) -> None:
        """
        It is to end.
        """
        self.killed += 1


class ScannerTests(SynchronousTestCase):
    """
    Tests for L{Scanner}.
    """

    def setUp(self) -> None:
        """
        All bodies are long.
        """
        if os.name != "posix":
            self.skipTest("no programs look at bodies here")
        for kind in (Look, Streaming):
            self.patch(kind, "most", 0)
        self.events = EventLoggingObserver()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)
        self.reactor = Programs()
        self.scanner = Scanner(self.reactor)
        self.config = makeConfig("a")

    def of(self, event: str) -> list[Any]:
        """
        What was logged of a kind.
        """
        return [one for one in self.events if one.get("event") == event]

    def plan(self, body: bytes = BODY) -> Deferred[Plan]:
        """
        Plan for a request.
        """
        return self.scanner.plan(_plan.planning(self.config, onDisk(body)))

    def end(self, number: int, answer: bytes, error: Exception | None = None) -> None:
        """
        Have a program answer and end.
        """
        program = self.reactor.started[number]
        program.outReceived(answer)
        program.errReceived(b"dear me")
        program.processEnded(Failure(error or ProcessDone(0)))

    def test_planned(self) -> None:
        """
        A plan is made of what a program has seen in a body.
        """
        planning = self.plan()
        self.assertEqual(read(self.reactor.heard), Look(JSON, None, len(BODY)))
        self.assertNoResult(planning)
        self.end(0, b'{"said": ["a", 3]}')
        plan = self.successResultOf(planning)
        self.assertEqual((plan.model.name, plan.maxTokens), ("a", 3))

    def test_bad(self) -> None:
        """
        What it says to be wrong with the body is wrong with the request.
        """
        planning = self.plan()
        self.end(0, b'{"bad": ["is bad", null]}')
        self.assertEqual(str(self.failureResultOf(planning, BadBody).value), "is bad")

    def test_failed(self) -> None:
        """
        If it cannot do its work, what it should have done is done here, and
        that is said.
        """
        planning = self.plan()
        self.end(0, b"", ProcessTerminated(1))
        self.assertEqual(self.successResultOf(planning).model.name, "a")
        (event,) = self.of("scan_not_started")
        self.assertIn("dear me", event["problem"])

    def test_killed(self) -> None:
        """
        If it is killed, another one is tried; if that is killed as well, the
        request fails, as the body may be what has them killed.  That is not
        the client's fault.
        """
        planning = self.plan()
        self.end(0, b"", ProcessTerminated(signal=9))
        self.end(1, b'{"said": ["a", null]}')
        self.assertEqual(self.successResultOf(planning).model.name, "a")
        self.assertEqual(len(self.of("scan_killed")), 1)
        planning = self.plan()
        for number in range(2, 2 + TRIES):
            self.end(number, b"", ProcessTerminated(signal=9))
        why = self.failureResultOf(planning, RuntimeError).value
        self.assertIn("dear me", str(why))
        self.assertEqual(len(self.reactor.started), 2 + TRIES)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_hung(self) -> None:
        """
        If it hangs it is killed after a time, which is longer for a longer
        body, and another one is tried; its place is free then.
        """
        self.patch(_scanner, "MORE", 2.0 * (1 << 20) / len(BODY))
        plans = [self.plan() for _ in range(PROGRAMS + 1)]
        self.reactor.advance(PATIENCE + 1.9)
        self.assertEqual(self.reactor.killed, 0)
        self.reactor.advance(0.2)
        self.assertEqual(self.reactor.killed, PROGRAMS)
        self.assertIn("12 s", self.of("scan_killed")[0]["problem"])
        for number in range(PROGRAMS):
            self.end(number, b"", ProcessTerminated(signal=9))
        for number in range(PROGRAMS, 2 * PROGRAMS + 1):
            self.end(number, b'{"said": ["a", null]}')
        for planning in plans:
            self.successResultOf(planning)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_few(self) -> None:
        """
        There are few programs at once, and others come to their turn.
        """
        plans = [self.plan() for _ in range(PROGRAMS + 2)]
        self.assertEqual(len(self.reactor.started), PROGRAMS)
        plans[-1].cancel()
        self.failureResultOf(plans.pop())
        for number in range(PROGRAMS + 1):
            self.end(number, b'{"said": ["a", null]}')
        for planning in plans:
            self.successResultOf(planning)
        self.assertEqual(len(self.reactor.started), PROGRAMS + 1)

    def test_cancelled(self) -> None:
        """
        A program for whose answer nobody waits any more is killed, and makes
        room for others.
        """
        for number in range(PROGRAMS * 2):
            planning = self.plan()
            planning.cancel()
            self.failureResultOf(planning)
            self.assertEqual(self.reactor.killed, number + 1)
            self.end(number, b"", ProcessTerminated(signal=9))

    def test_noRoom(self) -> None:
        """
        If no program can be started, bodies are looked at all the same.
        """
        self.reactor.hasRoom = False
        for _ in range(PROGRAMS + 1):
            self.assertEqual(self.successResultOf(self.plan()).model.name, "a")

    def test_inMemory(self) -> None:
        """
        A body that is in memory is put into a file for the program.
        """
        self.scanner.plan(_plan.planning(self.config, makeAsked(body=BODY)))
        self.assertEqual(self.reactor.bodies, [BODY])

    def test_cost(self) -> None:
        """
        It is what a body has in it, rather than its size, that has a program
        look at it; and what is done here is done over several turns.
        """
        self.patch(Look, "most", 1 << 20)
        config = makeConfig(models={"a": {"set": {"x": 1}}})
        size = 900_000
        text = b'{"model":"a","x":"%b"}' % (b"x" * size)
        planning = self.scanner.plan(_plan.planning(config, makeAsked(body=text)))
        self.assertEqual(self.successResultOf(planning).model.name, "a")
        self.assertEqual(self.reactor.started, [])
        lists = b'{"model":"a","x":[%b1]}' % (b"[]," * (size // 3))
        planning = self.scanner.plan(_plan.planning(config, makeAsked(body=lists)))
        self.assertNoResult(planning)
        self.assertEqual(len(self.reactor.started), 1)
        self.assertIsInstance(read(self.reactor.heard), Shaping)

    def test_turns(self) -> None:
        """
        Looks that take too long together are made in a turn each.
        """
        self.patch(Look, "most", 1 << 20)
        self.patch(Look, "worst", _scanner.TURN * (1 << 20) / len(BODY))
        self.patch(Renaming, "worst", Look.worst)
        self.patch(Renaming, "most", Look.most)
        config = makeConfig(models={"a": {"backend_model": "org/a"}})
        planning = self.scanner.plan(_plan.planning(config, onDisk(BODY)))
        self.assertNoResult(planning)
        self.reactor.advance(0)
        self.assertEqual(len(self.successResultOf(planning).pieces), 3)
        self.assertEqual(self.reactor.started, [])
        left = self.scanner.plan(_plan.planning(config, onDisk(BODY)))
        left.cancel()
        self.failureResultOf(left)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_look(self) -> None:
        """
        A look may be had by itself: here if it is short, and by a program
        otherwise.
        """
        look = Streaming(JSON, None, len(BODY), (Slice(0, len(BODY)),))
        looking = self.scanner.look(look, BytesIO(BODY))
        self.assertEqual(read(self.reactor.heard), look)
        self.end(0, b'{"wants": true}')
        self.assertIs(self.successResultOf(looking), True)
        self.patch(Streaming, "most", len(BODY))
        looking = self.scanner.look(look, BytesIO(BODY))
        self.assertIs(self.successResultOf(looking), False)

    def test_short(self) -> None:
        """
        No program is started for what does not take long.
        """
        self.patch(Look, "most", len(BODY))
        self.assertEqual(self.successResultOf(self.plan()).model.name, "a")
        self.assertEqual(self.reactor.started, [])


class ProgramTests(TestCase):
    """
    Tests for the program.
    """

    async def test_same(self) -> None:
        """
        It sees what is seen here, and leaves the file as it is.
        """
        from twisted.internet import reactor

        if os.name != "posix":
            self.skipTest("no programs look at bodies here")
        models = {"a": {"backend_model": "org/a"}}
        config = makeConfig(models=models)
        body = BODY + b" " * (1 << 20)
        asked = onDisk(body)
        here = await Scanner(Clock()).plan(_plan.planning(config, asked))
        for kind in (Look, Renaming):
            self.patch(kind, "most", 0)
        there = await Scanner(reactor).plan(_plan.planning(config, asked))
        self.assertEqual(there, here)
        self.assertEqual(
            b"".join(chunks(there.pieces, asked.body)), body.replace(b'"a"', b'"org/a"')
        )
        # Forms are read, which moves the place in the file of whoever reads.
        form = (
            b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--x--\r\n'
        )
        asked = evolve(
            onDisk(form),
            headers=[(b"Content-Type", b"multipart/form-data; boundary=x")],
        )
        asked.body.flush()
        os.lseek(asked.body.fileno(), 5, os.SEEK_SET)
        there = await Scanner(reactor).plan(_plan.planning(config, asked))
        self.assertEqual(os.lseek(asked.body.fileno(), 0, os.SEEK_CUR), 5)
        self.assertEqual(there.model.name, "a")
        with self.assertRaises(BadBody):
            await Scanner(reactor).plan(_plan.planning(config, onDisk(b"{")))


class ExchangeTests(MemoryCase):
    """
    Tests for L{_naming.Naming}, of requests for which there is no plan yet.
    """

    def ask(self) -> FakeClient:
        """
        Have a client ask for something large.
        """
        self.patch(_naming.Naming, "_least", 0)
        self.cancelled = 0

        def cancelled(planning: Deferred[Plan]) -> None:
            self.cancelled += 1

        self.planning: Deferred[Plan] = Deferred(cancelled)
        scanner: Any = self
        self.context.scanner = scanner
        client = FakeClient()
        Exchange(self.context, client, makeAsked()).start()
        return client

    def plan(self, steps: Steps) -> Deferred[Plan]:
        """
        See L{Scanner.plan}.
        """
        self.made = Scanner(self.clock).plan(steps)
        return self.planning

    def found(self) -> None:
        """
        There is a plan.
        """
        self.planning.callback(self.successResultOf(self.made))

    def test_served(self) -> None:
        """
        When there is a plan the request is served.
        """
        client = self.ask()
        self.assertEqual(self.inFlight(), 0)
        self.found()
        self.assertEqual(self.inFlight(), 1)
        self.assertEqual(client.said, [])

    def test_left(self) -> None:
        """
        A client that leaves before that has asked for nothing.
        """
        client = self.ask()
        client.leave()
        self.assertEqual(self.cancelled, 1)
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(client.said, [])
        self.assertEqual(len(self.metrics.finished), 1)

    def test_bad(self) -> None:
        """
        A client whose body is bad is told so.
        """
        client = self.ask()
        self.planning.errback(BadBody("is bad"))
        self.assertEqual(client.said[0][0], 400)
        self.assertIn(b"Is bad", client.said[1])

    def test_stopping(self) -> None:
        """
        So is one whose plan is made when llmux ends.
        """
        client = self.ask()
        self.switcher.stop()
        self.found()
        self.assertEqual(client.said[0][0], 503)

    def test_removed(self) -> None:
        """
        And one whose model is not configured any more.
        """
        client = self.ask()
        self.switcher.reconfigure(makeConfig("b"))
        self.found()
        self.assertEqual(client.said[0][0], 404)

    def test_surprise(self) -> None:
        """
        What goes wrong in llmux itself is logged, and is no client's fault.
        """
        client = self.ask()
        self.planning.errback(RuntimeError("dear me"))
        self.assertEqual(client.said[0][0], 500)
        self.assertNotIn(b"dear me", client.said[1])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
