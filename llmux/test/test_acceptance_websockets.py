"""
Real WebSockets, with a library at both ends and llmux between.
"""

from __future__ import annotations

import socket
from threading import Thread
from typing import Any

from twisted.internet.threads import deferToThread

from llmux.config import PolicyConfig
from llmux.test._wire import REACTOR, WireCase, post
from llmux.web.exchange import Context
from llmux.web.lane import Lane
from llmux.web.resource import ProxyResource
from llmux.web.site import ProxySite

try:
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect
    from websockets.sync.server import serve

    noWebSockets: str | None = None
except ImportError:
    noWebSockets = "PyPI's websockets is not installed (it is in llmux[real])"


class WebSocketTests(WireCase):
    """
    A server that says everything back.
    """

    skip = noWebSockets
    timeout = 60

    def frontEnd(self, context: Context) -> ProxySite:
        """
        See L{WireCase.frontEnd}: as the service builds it.
        """
        resource = ProxyResource(context)
        site = ProxySite(resource, REACTOR, context.config.limits)
        lane = Lane(context, resource.serves)
        self.addCleanup(lane.close)
        site.protocol = lane.protocol  # type: ignore[assignment]
        return site

    def serve(self, **settings: Any) -> None:
        """
        Have model C{a} be that server.
        """

        def echo(server: Any) -> None:
            try:
                for message in server:
                    server.send(message)
            except ConnectionClosed:
                pass

        self.socket = socket.create_server(("127.0.0.1", 0))
        self.server = serve(echo, sock=self.socket, max_size=None)
        thread = Thread(target=self.server.serve_forever, daemon=True)
        thread.start()

        async def stop() -> None:
            await deferToThread(self.server.shutdown)
            await deferToThread(thread.join)

        self.addCleanup(stop)
        self.backendPorts["a"] = self.socket.getsockname()[1]
        self.start({"a": settings})

    def open(self, path: str = "/v1/realtime?model=a", **more: Any) -> Any:
        """
        Open a WebSocket, in a thread.
        """
        url = f"ws://127.0.0.1:{self.port}{path}"
        return connect(url, max_size=None, open_timeout=20, **more)

    async def test_messages(self) -> None:
        """
        Texts and bytes of all sizes come back, compressed or not; the closing
        handshake reaches both ends.
        """
        self.serve()

        def talk(path: str, compression: str | None) -> tuple[list[bool], int]:
            with self.open(path, compression=compression) as client:
                same = []
                for message in ("", "hé", b"\0" * 70_000, "x" * 3_000_000):
                    client.send(message)
                    same.append(client.recv() == message)
                client.close(4001, "enough")
                assert client.close_code is not None
                return same, client.close_code

        for number, (path, compression) in enumerate(
            [("/v1/realtime?model=a", "deflate"), ("/upstream/a/ws", None)]
        ):
            said = await deferToThread(talk, path, compression)
            self.assertEqual(said, ([True] * 4, 4001))
            await self.metrics.when(number + 1)
        self.assertEqual(self.metrics.finished, [("a", 101)] * 2)
        self.assertEqual(self.inFlight(), 0)

    async def test_cut(self) -> None:
        """
        A client whose tunnel is cut by a drain sees that it was not closed in
        the proper way.
        """
        self.policy = PolicyConfig(drain_timeout_secs=0.2)
        self.serve()
        client = await deferToThread(self.open)
        self.assertEqual(self.inFlight(), 1)
        await self.ask(post(b'{"model": "b"}'))
        await self.untilHook("a", "sleep")

        def receive() -> tuple[object, object]:
            try:
                client.recv()
            except ConnectionClosed as error:
                return error.rcvd, error.sent
            raise AssertionError("there was something to receive")

        self.assertEqual((await deferToThread(receive))[0], None)
        await self.metrics.when(1)

    async def test_failsToWake(self) -> None:
        """
        A client whose model cannot be woken gets the status.
        """
        self.serve()

        def refused() -> tuple[int, bytes]:
            try:
                self.open("/upstream/b/ws")
            except InvalidStatus as error:
                body = error.response.body
                return error.response.status_code, bytes(body or b"")
            raise AssertionError("it was not refused")

        refusing = deferToThread(refused)
        await self.untilHook("a", "sleep")
        self.hooks.finish("a")
        await self.untilHook("b", "wake")
        self.hooks.fail("b")
        status, body = await refusing
        self.assertEqual(status, 503)
        self.assertEqual(self.errorIn(body)["code"], "wake_failed")
