"""
What every front end has to do when somebody who is only told of things, or
asked, fails: go on.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import LogEvent, globalLogPublisher

from llmux.config import PolicyConfig
from llmux.interfaces import State
from llmux.observe.account import Accounts
from llmux.policies.fifo import FirstComeFirstServed
from llmux.test._wire import WireCase, post

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Broken(Exception):
    """
    Nobody has to bear this.
    """


class Raising:
    """
    Whatever it is asked or told, it raises.
    """

    def _raise(self, *arguments: object) -> Any:
        raise Broken()

    __call__ = notify = requestFinished = begin = decide = _raise


RAISING: Any = Raising()


class Faults(WireCase):
    """
    Observers, accountants, traces, policies and logs that raise.
    """

    async def everything(self) -> None:
        """
        Have requests end in all the ways there are, each as it should.
        """
        # One after the other on the same connection.
        client = await self.ask(post())
        server = await self.backend.connection()
        for _ in range(2):
            await server.takeRequest()
            server.send(OK)
            self.assertEqual((await client.takeResponse()).body, b"ok")
            client.send(post())
        # Refused, by a server that is none.
        await server.takeRequest()
        server.send(b"nonsense\r\n\r\n")
        self.assertEqual((await client.takeResponse()).status, 502)
        # Unknown.
        client.send(post(b'{"model": "nobody"}'))
        self.assertEqual((await client.takeResponse()).status, 404)
        # Broken off.
        client.send(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
        await client.take(b"ok")
        server.close()
        await client.end()
        # Left alone.
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        client.close()
        await server.end()
        self.assertEqual(self.inFlight(), 0)

    async def switched(self) -> None:
        """
        Have the other model asked for, which is asleep.
        """
        client = await self.ask(post(b'{"model": "b"}'))
        await self.untilHook("a", "sleep")
        self.hooks.finish("a")
        await self.untilHook("b", "wake")
        self.hooks.finish("b")
        server = await self.backends["b"].connection()
        await server.takeRequest()
        server.send(OK)
        self.assertEqual((await client.takeResponse()).status, 200)
        self.assertEqual(self.inFlight("b"), 0)
        self.assertEqual(self.stateOf("b"), State.AWAKE)

    def failed(self) -> int:
        """
        How often something has failed, which has been logged.
        """
        return len(self.flushLoggedErrors(Broken))

    async def test_observer(self) -> None:
        """
        An observer of events raises.
        """
        self.switcher.addObserver(RAISING)
        await self.everything()
        await self.switched()
        self.assertGreater(self.failed(), 6)

    async def test_accountant(self) -> None:
        """
        One who is told of requests that are over raises; the others are told.
        """
        self.context.accountant = Accounts(RAISING, self.metrics)
        await self.everything()
        await self.switched()
        await self.metrics.when(7)
        self.assertEqual(
            sorted(status for _, status in self.metrics.finished),
            [200, 200, 200, 200, 404, 499, 502],
        )
        self.assertEqual(self.failed(), 7)

    async def test_traces(self) -> None:
        """
        No trace can be begun.
        """
        self.context.traces = RAISING
        await self.everything()
        self.assertEqual(self.failed(), 6)

    async def test_log(self) -> None:
        """
        What is logged can be shown by nobody.
        """
        told: list[LogEvent] = []
        remember: Any = told.append
        for observer in (RAISING, remember):
            globalLogPublisher.addObserver(observer)
            self.addCleanup(globalLogPublisher.removeObserver, observer)
        await self.everything()
        await self.switched()
        self.assertIn("backend_error", {event.get("event") for event in told})
        self.assertGreater(self.failed(), 0)

    async def test_policy(self) -> None:
        """
        The policy raises whenever it is asked: what is awake is served, who
        waits for something else is told after a while, or served when nobody
        may be made to wait for longer; and it may get better.
        """
        self.policy = PolicyConfig(name="fifo", request_timeout_secs=0.05)
        self.start({})
        self.switcher.reconfigure(self.context.config, RAISING)
        await self.everything()
        client = await self.ask(post(b'{"model": "b"}'))
        self.assertEqual((await client.takeResponse()).status, 504)
        self.policy = PolicyConfig(name="fifo", max_wait_secs=0.05)
        self.start({})
        self.switcher.reconfigure(self.context.config, RAISING)
        await self.switched()
        self.switcher.reconfigure(self.context.config, FirstComeFirstServed())
        self.assertGreater(self.failed(), 0)
