"""
llmux with hardly any file descriptors.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from fcntl import F_DUPFD, fcntl
from itertools import count

from attrs import define, field

from llmux.test._processes import eventually, freePort, needsPrograms
from llmux.test._service import ProcessTestCase, Service, chat
from llmux.web._channel import KEPT

#: How many descriptors llmux may have.
LIMIT = 64

#: How many of them are left to hooks and to all else; see
#: L{llmux.descriptors}.  A hook takes a few while it is started.
RESERVE = LIMIT // 4
HOOK = 8

#: Seconds in which all have to be served: fewer than those after which a
#: connection that says nothing is closed in any case.
SOON = KEPT - 10

#: How many clients there are.
MANY = 60


class Unanswered(Exception):
    """
    A connection was closed before there was an answer.
    """


@define(eq=False)
class Client:
    """
    A client that keeps its connection.
    """

    port: int
    _pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(
        default=None, init=False
    )

    async def ask(self, body: Mapping[str, object]) -> tuple[int, bytes]:
        """
        @return: the status and the body.

        @raise Unanswered: there is none.
        """
        while True:
            isNew = self._pair is None
            if self._pair is None:
                self._pair = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                return await self._asked(*self._pair, json.dumps(body).encode())
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                self.close()
                if isNew or (
                    isinstance(error, asyncio.IncompleteReadError) and error.partial
                ):
                    raise Unanswered(repr(error)) from None
                # It was closed before it was asked, or just then.

    async def _asked(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> tuple[int, bytes]:
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        got = b""
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                got += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            got = await reader.readexactly(int(length))
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head.split()[1]), got

    def close(self) -> None:
        """
        Close the connection.
        """
        if self._pair is not None:
            self._pair[1].close()
            self._pair = None


class FewDescriptorsTests(ProcessTestCase):
    """
    Tests for llmux where a process may have few open files.
    """

    if (missing := needsPrograms("curl")) is not None:
        skip = missing

    def few(self, lane: str) -> Service:
        """
        Start llmux with two models, and few descriptors.
        """
        settings = self.settings(
            *self.backends("llama", "mistral"),
            lane=lane,
            policy={"name": "fifo"},
            loading_heartbeat_secs=0,
        )
        port = freePort()
        # One that somebody has left open, whose number is beyond the limit.
        left = fcntl(0, F_DUPFD, 2 * LIMIT)
        self.addCleanup(os.close, left)
        running = self.processes.start(
            *("sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh"),
            *(sys.executable, "-m", "twisted", "--log-format=text", "llmux"),
            *("--config", str(self.configuration(settings)), "--port", str(port)),
            keep=[left],
        )
        service = Service(port, running)
        self.untilServing(service)
        return service

    async def crowd(self, service: Service) -> tuple[Counter[int], int]:
        """
        Many clients, each with a connection that it keeps, ask both models for
        short answers and for streams, among more who ask nothing.

        @return: what they got, and how many descriptors llmux had open at most.
        """
        got: Counter[int] = Counter()
        silent = [
            await asyncio.open_connection("127.0.0.1", service.port) for _ in range(20)
        ]

        async def one(number: int) -> None:
            client = Client(service.port)
            model = ("llama", "mistral")[number % 2]
            for turn in range(2):
                isStream = (number + turn) % 3 == 0
                body = chat(model, stream=isStream, x_demo_tokens=8)
                if isStream:
                    body["x_demo_tokens_per_second"] = 40
                status, answer = await client.ask(body)
                if status == 200 and isStream and b"[DONE]" not in answer:
                    raise Unanswered("the stream is not whole")
                got[status] += 1
                await asyncio.sleep(0.05 * (number % 5))
            client.close()

        most = 0
        asking = asyncio.gather(*(one(number) for number in range(MANY)))
        while not asking.done():
            most = max(most, len(service.running.openFiles()))
            await asyncio.wait({asking}, timeout=0.01)
        await asking
        for _, writer in silent:
            writer.close()
        return got, most

    def assertServed(self, lane: str) -> Service:
        """
        All are served in the end, hooks run meanwhile, and when all have left
        everything is as it was.
        """
        service = self.few(lane)
        descriptors = len(service.running.openFiles())
        got, most = asyncio.run(asyncio.wait_for(self.crowd(service), SOON))
        said = service.running.output()
        self.assertEqual(got, {200: 2 * MANY}, said)
        self.assertLess(most, LIMIT - RESERVE + HOOK)
        self.assertGreater(most, LIMIT // 2)
        self.assertIn("wake llama", service.hooksRun())
        self.assertIn("wake mistral", service.hooksRun())
        self.assertIn("hardly any", said)
        self.assertNotIn("EMFILE", said)
        self.assertNotIn("Too many open files", said)
        self.assertNotIn("Traceback", said)
        eventually(
            lambda: len(service.running.openFiles()) <= descriptors + 4,
            "all connections are closed",
        )
        self.assertEqual(service.chat("llama").status, 200)
        return service

    def test_lane(self) -> None:
        """
        Many more clients than there are descriptors are all served, one after
        the other.
        """
        service = self.assertServed("on")
        eventually(
            lambda: "enough file descriptors again" in service.running.output(),
            "it is over",
        )

    def test_usualWay(self) -> None:
        """
        The same holds for requests that go the usual way.
        """
        self.assertServed("off")

    def assertWaits(self, lane: str) -> None:
        """
        While none are left, what is asked for waits: for the hook that wakes
        its model, for the connection to that, and for the file to read.
        """
        (backend,) = self.backends("llama")
        settings = self.settings(backend, lane=lane, loading_heartbeat_secs=0)
        service = self.serve(settings)
        eventually(
            lambda: (
                service.get("/llmux/status").json()["models"][0]["state"] == "asleep"
            ),
            "it is known that the model sleeps",
        )
        limits = resource.prlimit(service.running.pid, resource.RLIMIT_NOFILE)

        async def asked() -> tuple[int, bytes]:
            client = Client(service.port)
            status, _ = await client.ask(chat("nobody"))
            self.assertEqual(status, 404)
            taken = service.running.openFiles()
            lowest = next(number for number in count() if number not in taken)
            few = (lowest, limits[1])
            resource.prlimit(service.running.pid, resource.RLIMIT_NOFILE, few)
            asking = asyncio.ensure_future(client.ask(chat("llama")))
            while "descriptors left" not in service.running.output():
                await asyncio.sleep(0.02)
            service.running.signal(signal.SIGHUP)
            new = asyncio.ensure_future(Client(service.port).ask(chat("llama")))
            done, _ = await asyncio.wait({asking, new}, timeout=1.5)
            self.assertEqual(done, set())
            self.assertEqual(service.hooksRun(), [])
            resource.prlimit(service.running.pid, resource.RLIMIT_NOFILE, limits)
            self.assertEqual((await new)[0], 200)
            return await asking

        status, _ = asyncio.run(asyncio.wait_for(asked(), SOON))
        self.assertEqual(status, 200)
        self.assertEqual(service.hooksRun(), ["wake llama"])
        eventually(lambda: "Read " in service.running.output(), "it is read")
        said = service.running.output()
        for word in ("failed", "dead", "Traceback", "EMFILE", "Too many open files"):
            self.assertNotIn(word, said)
        service.stop()

    def test_waits(self) -> None:
        """
        A model is woken, and asked, when there are descriptors for that.
        """
        self.assertWaits("on")

    def test_waitsUsualWay(self) -> None:
        """
        The same holds for requests that go the usual way.
        """
        self.assertWaits("off")

    if not hasattr(resource, "prlimit"):
        why = "only Linux lets limits of others be changed"
        test_waits.skip = test_waitsUsualWay.skip = why  # type: ignore[attr-defined]
