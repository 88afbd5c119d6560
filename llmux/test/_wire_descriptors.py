# mypy: allow-untyped-calls
"""
What every front end has to do when there are no file descriptors left.
"""

from __future__ import annotations

from errno import EMFILE
from typing import Any

from attrs import define
from twisted.internet.tcp import Client

from llmux.descriptors import Descriptors, _keeper
from llmux.interfaces import State
from llmux.test._wire import WireCase, post

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@define
class Full:
    """
    A system with no descriptors left, or with some.
    """

    left: int = 0

    def spare(self, own: int) -> tuple[int, int]:
        """
        See L{llmux.descriptors.OpenFiles.spare}.
        """
        return self.left, 100


class Crowded(WireCase):
    """
    No descriptors.
    """

    def without(self, times: int) -> None:
        """
        Have no socket to be had for a connection to a server, so many times.
        """
        make: Any = Client.createInternetSocket
        left = [None] * times

        def createInternetSocket(client: Any) -> Any:
            if left:
                left.pop()
                raise OSError(EMFILE, "Too many open files")
            return make(client)

        self.patch(Client, "createInternetSocket", createInternetSocket)

    @property
    def descriptors(self) -> Descriptors:
        """
        What sees to them.
        """
        return self.context.backends.descriptors

    async def test_noDescriptor(self) -> None:
        """
        If there is none for a connection to a server, the request waits for
        one.  The server is not suspected for that, and connections are not
        kept as long as descriptors are short.
        """
        asked = list(self.hooks.ran)
        client = await self.connect()
        self.without(3)
        client.send(post())
        server = await self.backend.connection()
        await server.takeRequest()
        self.assertTrue(self.descriptors.isShort)
        self.assertEqual(len(self.descriptors.clients), 1)
        self.assertEqual(self.descriptors.servers, 1)
        server.send(OK)
        await server.end()
        second = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(OK)
        response = await second.takeResponse()
        self.assertEqual((response.status, response.body), (200, b"ok"))
        self.assertEqual(response.headers["connection"], "close")
        await second.end()
        self.assertEqual((await client.takeResponse()).status, 200)
        self.assertEqual(self.hooks.ran, asked)

    async def test_noDescriptorForLong(self) -> None:
        """
        If it waits too long, its client is told so, and nothing is held
        against the server.
        """
        self.start({"a": {"timeouts": self.timeouts(first_byte=0.4)}})
        asked = list(self.hooks.ran)
        client = await self.connect()
        self.without(1000)
        client.send(post())
        response = await client.takeResponse()
        self.assertEqual(response.status, 503)
        self.assertEqual(self.errorIn(response.body)["code"], "overloaded")
        self.assertEqual(response.headers["retry-after"], "1")
        self.assertEqual(self.stateOf("a"), State.AWAKE)
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(self.hooks.ran, asked)
        self.assertEqual(self.metrics.accounts[-1].retries, 0)

    async def test_idleClients(self) -> None:
        """
        Clients that ask nothing are closed, those that are served are not;
        what they get is the last that comes over their connections.
        """
        self.patch(_keeper, "YOUNG", 0.0)
        silent = await self.connect()
        idle = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(OK)
        self.assertEqual((await idle.takeResponse()).body, b"ok")
        busy = await self.ask(post())
        await server.takeRequest()
        self.patch(self.descriptors, "_system", Full())
        self.descriptors.met()
        await silent.end()
        await idle.end()
        self.assertEqual(len(self.descriptors.clients), 1)
        server.send(OK)
        response = await busy.takeResponse()
        self.assertEqual(response.body, b"ok")
