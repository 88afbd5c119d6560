"""
What clients get while they wait for a model, said in bytes over real sockets.
"""

from __future__ import annotations

import json

from twisted.internet.error import ConnectionDone

from llmux.config import PolicyConfig
from llmux.test._wire import Peer, Response, WireCase, pause, post

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#: Seconds between two heartbeats.
BEAT = 0.02

_STREAM = b'{"model": "b", "stream": true}'
_NO_STREAM = "The server of 'b' answered with something that is no stream (status 200)."
_EVENTS = b"data: 1\n\ndata: [DONE]\n\n"


def unchunked(data: bytes) -> tuple[bytes, bool]:
    """
    Take chunks apart, each of which must be whole.

    @return: what is in them, and whether the last was the last.
    """
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        found += data[:length]
        assert data[length : length + 2] == b"\r\n", data
        data = data[length + 2 :]
        if not length:
            assert not data, data
            return found, True
    return found, False


def withoutComments(body: bytes) -> bytes:
    """
    The events of a stream as they were sent.
    """
    parts = body.split(b"\n\n")
    return b"\n\n".join(part for part in parts if not part.startswith(b": llmux "))


class Waiting(WireCase):
    """
    Heartbeats, and what is said of a wait.
    """

    def setUp(self) -> None:
        """
        Start llmux with a quick heart.
        """
        super().setUp()
        self.start({}, loading_heartbeat_secs=BEAT)

    async def begin(self, request: bytes = post(_STREAM)) -> tuple[Peer, Response]:
        """
        Ask for a model that sleeps, and take the head that comes meanwhile
        and a comment.
        """
        client = await self.ask(request)
        await self.untilHook("a", "sleep")
        head = Response(await client.take(b"\r\n\r\n"))
        self.assertEqual(head.line, "HTTP/1.1 200 OK")
        self.assertTrue(head.headers["content-type"].startswith("text/event-stream"))
        await client.when(lambda: client.received.count(b": llmux ") > 1)
        return client, head

    async def wake(self) -> Peer:
        """
        Let the model wake, and take the request that it gets.
        """
        self.hooks.finish("a")
        self.hooks.finish("b")
        server = await self.backends["b"].connection()
        self.request = await server.takeRequest()
        return server

    async def whole(self, client: Peer) -> bytes:
        """
        Take the rest of a stream, which ends well.
        """
        await client.when(lambda: client.received.endswith(b"\r\n0\r\n\r\n"))
        body, isWhole = unchunked(client.received)
        self.assertTrue(isWhole)
        return body

    async def errorAtEnd(self, client: Peer) -> dict[str, object]:
        """
        Take the rest of a stream, which ends with an error and is seen to
        break off.
        """
        body, isWhole = unchunked(await client.end())
        self.assertFalse(isWhole)
        rest = withoutComments(body)
        self.assertTrue(rest.startswith(b"event: error\ndata: {"), rest)
        self.assertTrue(rest.endswith(b"}\n\n"))
        error: dict[str, object] = json.loads(rest.split(b"data: ")[1])["error"]
        await self.metrics.when(1)
        self.assertEqual(self.inFlight("b"), 0)
        return error

    async def test_heartbeat(self) -> None:
        """
        A client that waits and wants a stream gets a head and comments, then
        the answer as the server sends it, and can go on with its connection.
        """
        client, head = await self.begin()
        self.assertEqual(head.headers["x-llmux-queue-position"], "1")
        self.assertGreaterEqual(float(head.headers["x-llmux-queue-wait"]), BEAT)
        self.assertEqual(head.headers["x-accel-buffering"], "no")
        self.assertTrue(head.headers["x-request-id"])
        said, _ = unchunked(client.received)
        self.assertRegex(
            said.split(b"\n\n")[0],
            rb"^: llmux making room for b, \d+ s, about \d+ s left$",
        )
        self.hooks.finish("a")
        client.received = b""
        await client.when(lambda: b": llmux waking b, " in client.received)
        self.hooks.finish("b")
        server = await self.backends["b"].connection()
        await server.takeRequest()
        server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-A: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for size in (3, 8, 4, len(_EVENTS)):
            part = _EVENTS[:size]
            server.send(b"%x\r\n%b\r\n" % (len(part), part))
        server.send(b"0\r\nX-Trailer: 1\r\n\r\n")
        self.assertEqual(
            withoutComments(await self.whole(client)),
            _EVENTS[:3] + _EVENTS[:8] + _EVENTS[:4] + _EVENTS,
        )
        client.received = b""
        client.send(post(b'{"model": "b"}'))
        await server.takeRequest()
        server.send(OK)
        response = await client.takeResponse()
        self.assertEqual((response.status, response.body), (200, b"ok"))
        self.assertNotIn("x-llmux-queue-wait", response.headers)
        await self.metrics.when(2)
        self.assertEqual(self.metrics.finished, [("b", 200), ("b", 200)])
        self.assertEqual(self.inFlight("b"), 0)

    async def test_otherFraming(self) -> None:
        """
        It does not matter how the server frames its answer.
        """
        for given, closes in (
            (b"Content-Length: %d\r\n\r\n" % len(_EVENTS), False),
            (b"Connection: close\r\n\r\n", True),
        ):
            self.start({}, loading_heartbeat_secs=BEAT)
            client, _ = await self.begin()
            server = await self.wake()
            server.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + given
            )
            server.send(_EVENTS[:4])
            server.send(_EVENTS[4:])
            if closes:
                server.close()
            self.assertEqual(withoutComments(await self.whole(client)), _EVENTS)
            client.abort()
            if not closes:
                server.abort()

    async def test_waitHTTP10(self) -> None:
        """
        A client that knows no chunks gets none.
        """
        client = await self.ask(
            b"POST /v1/x HTTP/1.0\r\nContent-Length: %d\r\n"
            b"Content-Type: application/json\r\n\r\n%b" % (len(_STREAM), _STREAM)
        )
        await self.untilHook("a", "sleep")
        await client.when(lambda: client.received.count(b": llmux ") > 1)
        server = await self.wake()
        server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(_EVENTS), _EVENTS)
        )
        head, _, body = (await client.end()).partition(b"\r\n\r\n")
        self.assertNotIn(b"Transfer-Encoding", head)
        self.assertEqual(withoutComments(body), _EVENTS)
        self.assertIsInstance(client.reason, ConnectionDone)

    async def test_soon(self) -> None:
        """
        If the model wakes soon enough, the answer is the server's from the
        first byte on, and says that it has waited.
        """
        self.start({})
        client = await self.ask(post(_STREAM))
        await self.untilHook("a", "sleep")
        server = await self.wake()
        server.send(b"HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\nno")
        response = await client.takeResponse()
        self.assertEqual((response.line, response.body), ("HTTP/1.1 422 No", b"no"))
        self.assertEqual(response.headers["x-llmux-queue-position"], "1")
        self.assertRegex(response.headers["x-llmux-queue-wait"], r"^\d+\.\d{3}$")

    async def test_noStream(self) -> None:
        """
        Who does not ask for a stream of events, or asks where there is none,
        waits in silence; position and wait are said in the end.
        """
        form = (
            b'--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\n%b\r\n'
            b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nb\r\n--x--\r\n'
        )
        parts = b"Content-Type: multipart/form-data; boundary=x\r\n"
        clients = [
            await self.ask(request)
            for request in (
                post(b'{"model": "b"}'),
                post(b'{"model": "b", "stream": false}'),
                post(b'{"model": "b", "stream": "true"}'),
                post(b'{"model": "b", "x": {"stream": true}}'),
                post(_STREAM, path=b"/api/chat"),
                post(_STREAM, path=b"/upstream/b/api/generate?x"),
                post(form % b"false", headers=parts),
                b"GET /v1/x?model=b&stream=true HTTP/1.1\r\nHost: x\r\n\r\n",
            )
        ]
        # One that is last and does get something shows that time has passed.
        last = await self.ask(post(form % b"true", headers=parts))
        await last.when(lambda: last.received.count(b": llmux ") > 1)
        self.assertEqual([client.received for client in clients], [b""] * len(clients))
        self.hooks.finish("a")
        self.hooks.fail("b")
        # Then what was begun is cleaned up after.
        await self.untilHook("b", "sleep")
        self.hooks.finish("b")
        positions = set()
        for client in clients:
            response = await client.takeResponse()
            self.assertEqual(response.status, 503)
            positions.add(int(response.headers["x-llmux-queue-position"]))
            self.assertTrue(response.headers["x-llmux-queue-wait"])
            self.assertTrue(response.headers["retry-after"])
        self.assertEqual(positions, set(range(1, len(clients) + 1)))
        self.assertIn(b"event: error", await last.end())

    async def test_wakeFails(self) -> None:
        """
        If the model cannot be woken, that is an event.
        """
        client, _ = await self.begin()
        self.hooks.finish("a")
        self.hooks.fail("b")
        await self.untilHook("b", "sleep")
        self.hooks.finish("b")
        error = await self.errorAtEnd(client)
        self.assertEqual((error["code"], error["type"]), ("wake_failed", "llmux_error"))

    async def test_waitsTooLong(self) -> None:
        """
        So is it if it takes too long.
        """
        self.policy = PolicyConfig(name="fifo", request_timeout_secs=8 * BEAT)
        self.start({}, loading_heartbeat_secs=BEAT)
        client = await self.ask(post(_STREAM))
        await client.take(b"\r\n\r\n")
        self.assertEqual((await self.errorAtEnd(client))["code"], "switch_timeout")

    async def test_stopped(self) -> None:
        """
        So is it if llmux stops.
        """
        client, _ = await self.begin()
        self.switcher.stop()
        self.assertEqual((await self.errorAtEnd(client))["code"], "shutting_down")
        self.hooks.finish("a")

    async def test_serverRefuses(self) -> None:
        """
        An answer that is an error, or no stream of events, becomes an event:
        the error in the server's own words, if they are in the usual form.
        """
        error = b'{\n "error": {"message": "too long", "code": 7}}'
        for head, body, code, message in (
            (b"400 No\r\nContent-Type: application/json", error, 7, "too long"),
            (b"200 OK\r\nContent-Type: application/json", error, 7, "too long"),
            (
                b"500 No\r\nContent-Type: text/event-stream",
                b"secret",
                "backend_error",
                "The server of 'b' answered with an error (status 500).",
            ),
            (
                b"200 OK\r\nContent-Type: application/json",
                b'{"x": 1}',
                "backend_error",
                _NO_STREAM,
            ),
            (
                b"400 No\r\nContent-Type: application/json",
                b'{"error": "%b"}' % (b"x" * 100_000),
                "backend_error",
                "The server of 'b' answered with an error (status 400).",
            ),
            (
                b"200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip",
                b"data: 1\n\n",
                "backend_error",
                _NO_STREAM,
            ),
        ):
            self.start({}, loading_heartbeat_secs=BEAT)
            client, _ = await self.begin()
            server = await self.wake()
            server.send(
                b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (head, len(body))
            )
            server.send(body)
            said = await self.errorAtEnd(client)
            self.assertEqual((said["code"], said["message"]), (code, message))
            server.abort()

    async def test_waitNoBody(self) -> None:
        """
        An answer without a body is no stream either.
        """
        client, _ = await self.begin()
        server = await self.wake()
        server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertEqual((await self.errorAtEnd(client))["code"], "backend_error")

    async def test_serverBreaks(self) -> None:
        """
        A server that breaks off before its head, or in the middle of an
        event, makes an event.
        """
        begun = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n"
        )
        for said in (b"", begun):
            self.start({}, loading_heartbeat_secs=BEAT)
            client, _ = await self.begin()
            server = await self.wake()
            server.send(said)
            if said:
                await client.take(b"data: 1\r\n")
                client.received = b""
            server.close()
            body, isWhole = unchunked(await client.end())
            self.assertFalse(isWhole)
            events = withoutComments(body)
            self.assertEqual(events.startswith(b"\n\n"), bool(said))
            self.assertIn(b'event: error\ndata: {"error": {"message": "The s', events)

    async def test_encoding(self) -> None:
        """
        A server is not asked to compress an answer whose head is sent; it is
        otherwise.
        """
        headers = b"Content-Type: application/json\r\nAccept-Encoding: gzip\r\n"
        client, _ = await self.begin(post(_STREAM, headers=headers))
        server = await self.wake()
        self.assertNotIn("accept-encoding", self.request.headers)
        self.assertEqual(self.request.body, _STREAM)
        server.abort()
        client.abort()
        self.start({})
        client = await self.ask(post(_STREAM, headers=headers))
        await self.untilHook("a", "sleep")
        await self.wake()
        self.assertEqual(self.request.headers["accept-encoding"], "gzip")

    async def test_leaves(self) -> None:
        """
        A client that leaves is forgotten, and its demand with it.
        """
        client, _ = await self.begin()
        client.abort()
        await self.metrics.when(1)
        self.assertEqual(len(self.switcher.snapshot().models["b"].queue), 0)
        await pause(3 * BEAT)

    async def test_slowServer(self) -> None:
        """
        What has begun goes on until the server's head is here.
        """
        client, _ = await self.begin()
        server = await self.wake()
        client.received = b""
        await client.when(lambda: b": llmux waiting for b, " in client.received)
        server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Content-Length: 100\r\n\r\n"
        )
        # The head is here when its first event is.
        server.send(b"data: 1\n\n")
        await client.when(lambda: b"data: 1" in client.received)
        client.received = b""
        await pause(4 * BEAT)
        self.assertEqual(client.received, b"")

    async def test_reasoning(self) -> None:
        """
        A chat can have it as text to think by; other streams cannot.
        """
        self.start({}, loading_heartbeat_secs=BEAT, loading_text="reasoning")
        client = await self.ask(post(_STREAM))
        other = await self.ask(post(_STREAM, path=b"/v1/messages"))
        await client.when(lambda: client.received.count(b"data: ") > 1)
        await other.when(lambda: other.received.count(b": llmux ") > 1)
        server = await self.wake()
        server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(_EVENTS), _EVENTS)
        )
        await client.when(
            lambda: any(b"[DONE]" in peer.received for peer in (client, other))
        )
        said, _ = unchunked(client.received.partition(b"\r\n\r\n")[2])
        chunk = json.loads(said.split(b"\n\n")[0].removeprefix(b"data: "))
        self.assertEqual(chunk["object"], "chat.completion.chunk")
        self.assertEqual(chunk["model"], "b")
        (choice,) = chunk["choices"]
        self.assertIsNone(choice["finish_reason"])
        self.assertTrue(
            choice["delta"]["reasoning_content"].startswith("making room for b, ")
        )
        self.assertNotIn(b": llmux", said)
