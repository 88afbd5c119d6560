"""
What every front end of llmux has to do, said in bytes over real sockets.

A front end is tested by a subclass of L{Conformance} that says how it is built.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.error import ConnectionDone

from llmux.config import Config, Limits, PolicyConfig
from llmux.interfaces import State
from llmux.policies.fifo import FirstComeFirstServed
from llmux.test._conformance_access import Access
from llmux.test._conformance_waiting import Waiting
from llmux.test._wire import MOMENT, Backend, Peer, WireCase, pause, post
from llmux.test._wire_accounts import Accounting
from llmux.test._wire_descriptors import Crowded
from llmux.test._wire_faults import Faults
from llmux.test._wire_ollama import OllamaAPI
from llmux.test._wire_shaping import Shaping
from llmux.test._wire_tunnel import Tunnelling
from llmux.web._scanner import LEAST

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    """
    A chunk of a chunked body.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


def memory() -> int:
    """
    How many bytes this process holds that are not pages of files.
    """
    status = Path("/proc/self/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


class Forwarding(WireCase):
    """
    What is passed on, and what is not.
    """

    async def test_request(self) -> None:
        """
        Method, target, body and end-to-end headers reach the server byte for
        byte, with the headers of a proxy and a framing of its own.
        """
        body = b'{ "model":"a",\t"n": 1e400, "x": "\\u00e9" }\n'
        client = await self.ask(
            b"M-SEARCH //v1/%%2F;x/?q=%%zz&&?#? HTTP/1.1\r\nHost: me:1\r\n"
            b"Content-Type: application/json\r\nX-Two: 1\r\nX-Two: 2\r\n"
            b"Connection: keep-alive, X-Secret\r\nX-Secret: 3\r\n"
            b"TE: trailers\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.assertEqual(request.line, "M-SEARCH //v1/%2F;x/?q=%zz&&?#? HTTP/1.1")
        self.assertEqual(request.body, body)
        self.assertIn(b"\r\nX-Two: 1\r\n", request.head)
        self.assertIn(b"\r\nX-Two: 2\r\n", request.head)
        self.assertEqual(request.headers["host"], f"127.0.0.1:{self.backendPorts['a']}")
        self.assertEqual(request.headers["x-forwarded-for"], "127.0.0.1")
        self.assertEqual(request.headers["x-forwarded-host"], "me:1")
        self.assertEqual(request.headers["via"], "1.1 llmux")
        for name in ("x-secret", "te", "upgrade", "connection", "accept-encoding"):
            self.assertNotIn(name, request.headers)
        server.send(OK)
        self.assertEqual((await client.takeResponse()).body, b"ok")

    async def test_lowerCaseMethod(self) -> None:
        """
        The method is passed on in the letters that it came in.
        """
        await self.ask(b"get /x?model=a HTTP/1.1\r\nHost: x\r\n\r\n")
        server = await self.backend.connection()
        self.assertEqual((await server.takeRequest()).line, "get /x?model=a HTTP/1.1")

    async def test_response(self) -> None:
        """
        Status, reason, end-to-end headers and the body reach the client; what
        concerns the server's connection does not.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(
            b"HTTP/1.1 418 I am, indeed\r\nServer: me\r\nSet-Cookie: a=1\r\n"
            b"Set-Cookie: b=2\r\nconnection: Close, x-secret\r\nX-Secret: 1\r\n"
            b"Keep-Alive: timeout=5\r\nContent-Length: 3\r\n\r\nabc"
        )
        response = await client.takeResponse()
        self.assertEqual(response.line, "HTTP/1.1 418 I am, indeed")
        self.assertEqual(response.body, b"abc")
        self.assertEqual(response.headers["server"], "me")
        self.assertEqual(response.headers["content-length"], "3")
        self.assertIn(b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n", response.head)
        for name in ("x-secret", "keep-alive", "connection", "content-type"):
            self.assertNotIn(name, response.headers)
        await server.end()

    async def test_chunkedRequest(self) -> None:
        """
        A chunked request body arrives with its length; trailers do not.
        """
        await self.ask(
            b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
            b'5;ext=1\r\n{"mod\r\n9\r\nel": "a"}\r\n0\r\nX-T: 1\r\n\r\n'
        )
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.assertEqual(request.body, b'{"model": "a"}')
        self.assertEqual(request.headers["content-length"], "14")
        self.assertNotIn("transfer-encoding", request.headers)
        self.assertNotIn("x-t", request.headers)

    async def test_chunkedResponse(self) -> None:
        """
        A chunked response is chunked for the client, each chunk is passed on
        at once, and trailers are dropped without harm.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(SSE)
        head = await client.take(b"\r\n\r\n")
        self.assertIn(b"Transfer-Encoding: chunked", head)
        self.assertNotIn(b"Content-Length", head)
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            server.send(chunk(event))
            self.assertEqual(await client.takeBytes(len(chunk(event))), chunk(event))
        server.send(b"0\r\nX-Trailer: 1\r\n\r\n")
        self.assertEqual(await client.takeBytes(5), b"0\r\n\r\n")
        await self.metrics.when(1)
        self.assertEqual(self.metrics.finished, [("a", 200)])
        self.assertEqual(self.inFlight(), 0)

    async def test_gzip(self) -> None:
        """
        A compressed body goes through untouched, and nobody is asked for one.
        """
        body = gzip.compress(b"x" * 1000)
        client = await self.ask(
            post(headers=b"Accept-Encoding: br, gzip\r\nCookie: c=1\r\n")
        )
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.assertEqual(request.headers["accept-encoding"], "br, gzip")
        self.assertEqual(request.head.lower().count(b"accept-encoding"), 1)
        server.send(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        response = await client.takeResponse()
        self.assertEqual(response.headers["content-encoding"], "gzip")
        self.assertEqual(response.headers["content-length"], str(len(body)))
        self.assertEqual(response.body, body)

    async def test_cookies(self) -> None:
        """
        A cookie that a server gives to one client is not sent for another.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(OK.replace(b"\r\n", b"\r\nSet-Cookie: s=1; Path=/\r\n", 1))
        await client.takeResponse()
        other = await self.ask(post())
        self.assertNotIn("cookie", (await server.takeRequest()).headers)
        server.send(OK)
        await other.takeResponse()

    async def test_redirect(self) -> None:
        """
        A redirect is the client's to follow.
        """
        client = await self.ask(b"GET /x?model=a HTTP/1.1\r\nHost: x\r\n\r\n")
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n")
        response = await client.takeResponse()
        self.assertEqual(response.status, 302)
        self.assertEqual(response.headers["location"], "/y")
        self.assertEqual(response.headers["content-length"], "0")

    async def test_interim(self) -> None:
        """
        Interim responses of a server are dropped.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(
            b"HTTP/1.1 100 Continue\r\n\r\n"
            b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + OK
        )
        response = await client.takeResponse()
        self.assertEqual((response.status, response.body), (200, b"ok"))

    async def test_head(self) -> None:
        """
        The response to C{HEAD} has the length that C{GET} would have, and no
        body; the connection goes on.
        """
        client = await self.ask(b"HEAD /x?model=a HTTP/1.1\r\nHost: x\r\n\r\n")
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        response = await client.takeResponse("HEAD")
        self.assertEqual(response.headers["content-length"], "1234")
        client.send(post())
        await server.takeRequest()
        server.send(OK)
        self.assertEqual((await client.takeResponse()).body, b"ok")

    async def test_noBody(self) -> None:
        """
        204 and 304 have no body, whatever their head says, and no length that
        the server did not give.
        """
        client = await self.connect()
        for status in (b"204 No Content", b"304 Not Modified"):
            client.send(post())
            if not self.backend.peers:
                server = await self.backend.connection()
            await server.takeRequest()
            server.send(b"HTTP/1.1 %b\r\nETag: x\r\n\r\n" % status)
            response = await client.takeResponse()
            self.assertEqual(response.line, f"HTTP/1.1 {status.decode()}")
            self.assertNotIn("content-length", response.headers)
            self.assertNotIn("transfer-encoding", response.headers)
        self.assertEqual(client.received, b"")

    async def test_unframed(self) -> None:
        """
        A response that ends with its connection is whole.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.0 200 OK\r\n\r\nhello")
        server.close()
        self.assertEqual((await client.takeResponse()).body, b"hello")

    async def test_http10(self) -> None:
        """
        A client that speaks HTTP/1.0 needs no C{Host}, gets no chunks, and
        the connection ends with the body.
        """
        client = await self.ask(
            b"POST /v1/x HTTP/1.0\r\nContent-Length: 14\r\n"
            b'Content-Type: application/json\r\n\r\n{"model": "a"}'
        )
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.assertEqual(request.headers["via"], "1.0 llmux")
        server.send(SSE + chunk(b"data: 1\n\n") + b"0\r\n\r\n")
        response = await client.takeResponse()
        self.assertNotIn("transfer-encoding", response.headers)
        self.assertEqual(response.body, b"data: 1\n\n")
        self.assertIsInstance(client.reason, ConnectionDone)

    async def test_expect(self) -> None:
        """
        A client that waits for C{100 Continue} gets it from llmux.
        """
        client = await self.ask(
            b"POST /v1/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\nContent-Length: 14\r\n\r\n"
        )
        self.assertEqual(
            await client.take(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n"
        )
        client.send(b'{"model": "a"}')
        server = await self.backend.connection()
        self.assertNotIn("expect", (await server.takeRequest()).headers)
        server.send(OK)
        self.assertEqual((await client.takeResponse()).body, b"ok")

    async def test_keepAlive(self) -> None:
        """
        Both connections serve one request after the other, also when a client
        does not wait for the response to the first.
        """
        client = await self.ask(post(b'{"model": "a", "n": 1}') + post())
        server = await self.backend.connection()
        self.assertIn(b"1", (await server.takeRequest()).body)
        await pause()
        self.assertEqual(server.received, b"")
        server.send(OK)
        self.assertEqual((await client.takeResponse()).body, b"ok")
        self.assertNotIn(b"1", (await server.takeRequest()).body)
        server.send(OK)
        self.assertEqual((await client.takeResponse()).body, b"ok")
        self.assertEqual(len(self.backend.peers), 1)

    async def test_connectionClose(self) -> None:
        """
        A client that wants its connection closed after the response gets that.
        """
        client = await self.ask(post(headers=b"Connection: Close\r\n"))
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(OK)
        response = await client.takeResponse()
        self.assertEqual(response.headers["connection"], "close")
        await client.end()

    async def test_upstreamPath(self) -> None:
        """
        C{/upstream/MODEL} is taken off the path.
        """
        await self.ask(b"GET /upstream/a/props?x HTTP/1.1\r\nHost: x\r\n\r\n")
        server = await self.backend.connection()
        self.assertEqual((await server.takeRequest()).line, "GET /props?x HTTP/1.1")

    async def test_absoluteTarget(self) -> None:
        """
        A target with scheme and host is taken without them.
        """
        await self.ask(b"GET http://llmux/x?model=a HTTP/1.1\r\nHost: llmux\r\n\r\n")
        server = await self.backend.connection()
        self.assertEqual((await server.takeRequest()).line, "GET /x?model=a HTTP/1.1")

    async def test_backendModel(self) -> None:
        """
        A server that knows the model by another name gets that, and else the
        body as it was.
        """
        self.start({"a": {"backend_model": "org/name"}})
        await self.ask(post(b'{"x" : 1, "model" : "a"}'))
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.assertEqual(request.body, b'{"x" : 1, "model" : "org/name"}')

    async def test_requestId(self) -> None:
        """
        The id that a client gives is that of its request and its response.
        """
        client = await self.ask(post(headers=b"X-Request-Id: r-1\r\n"))
        server = await self.backend.connection()
        self.assertEqual((await server.takeRequest()).headers["x-request-id"], "r-1")
        server.send(OK)
        self.assertEqual((await client.takeResponse()).headers["x-request-id"], "r-1")


class Failing(WireCase):
    """
    Servers that fail, and what clients see of it.
    """

    async def refused(self, client: Peer, status: int, code: str) -> str:
        """
        Take a response that says that a request failed.

        @return: its message.
        """
        response = await client.takeResponse()
        self.assertEqual(response.status, status)
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertTrue(response.headers["x-request-id"])
        error = self.errorIn(response.body)
        self.assertEqual(error["code"], code)
        return str(error["message"])

    async def test_broken(self) -> None:
        """
        A server that closes, or says something that is not HTTP, before its
        head is complete makes a 502.  Its connection is given up, and the
        client's serves the next request.
        """
        client = await self.connect()
        for said in (
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"garbage\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        ):
            client.send(post())
            server = await self.backend.connection()
            await server.takeRequest()
            server.send(said)
            if said in (b"", b"HTTP/1.1 200 OK\r\nContent-Le"):
                server.close()
            await self.refused(client, 502, "backend_error")
            await server.end()
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(self.stateOf("a"), State.AWAKE)

    async def test_endlessHead(self) -> None:
        """
        A server that sends headers for ever makes a 502, soon.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 100_000)
        message = await self.refused(client, 502, "backend_error")
        self.assertIn("too long", message)
        await server.end()

    async def test_endlessInterim(self) -> None:
        """
        So does one that sends interim responses for ever.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 10_000)
        await self.refused(client, 502, "backend_error")
        await server.end()

    async def test_neverAnswers(self) -> None:
        """
        A server that does not begin to answer within C{first_byte} seconds
        makes a 502, and its connection is closed.
        """
        self.start({"a": {"timeouts": self.timeouts(first_byte=0.05)}})
        client = await self.ask(post())
        server = await self.backend.connection()
        message = await self.refused(client, 502, "backend_error")
        self.assertIn("0.05 seconds", message)
        await server.end()

    async def test_fallsSilent(self) -> None:
        """
        A server that sends nothing for C{idle} seconds in the middle of its
        answer is given up.
        """
        self.start({"a": {"timeouts": self.timeouts(idle=0.05)}})
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(SSE + chunk(b"data: 1\n\n"))
        self.assertIn(b"event: error", await client.end())
        await server.end()

    async def test_truncatedLength(self) -> None:
        """
        A body that is shorter than its head said ends with the connection.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await client.take(b"\nabc")
        server.close()
        self.assertEqual(await client.end(), b"")
        await self.metrics.when(1)

    async def test_truncatedChunks(self) -> None:
        """
        So does a chunked one, without the chunk that would make it look whole.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        server.send(chunk(b"abc"))
        await client.take(b"abc\r\n")
        server.close()
        self.assertEqual(await client.end(), b"")

    async def test_malformedChunks(self) -> None:
        """
        Chunks that are none break a body off as well.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
        await client.take(b"\r\n\r\n")
        self.assertEqual(await client.end(), b"")

    async def test_truncatedUnframed(self) -> None:
        """
        A client that speaks HTTP/1.0 sees its connection reset, as its body
        has no other end than that of the connection.
        """
        client = await self.ask(b"GET /x?model=a HTTP/1.0\r\n\r\n")
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        server.send(chunk(b"abc"))
        await client.take(b"\nabc")
        server.close()
        await client.end()
        self.assertNotIsInstance(client.reason, ConnectionDone)

    async def test_resetUnframed(self) -> None:
        """
        A connection that breaks is no end of a body, even if the body has no
        other than that of its connection.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await client.take(b"abc\r\n")
        server.abort()
        self.assertEqual(await client.end(), b"")

    async def test_truncatedEvents(self) -> None:
        """
        A stream of events gets one more, that says what happened, and no end.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(SSE + chunk(b"data: 1\n\ndata: 2"))
        await client.take(b"data: 2\r\n")
        server.close()
        rest = await client.end()
        self.assertIn(b"\n\nevent: error\ndata: {", rest)
        self.assertIn(b'"code": "backend_error"', rest)
        self.assertNotIn(b"\r\n0\r\n", rest)

    async def test_truncatedEventsWithLength(self) -> None:
        """
        Nothing is added to a stream of events whose length was said.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Content-Length: 100\r\n\r\ndata: 1\n\n"
        )
        await client.take(b"data: 1\n\n")
        server.close()
        self.assertEqual(await client.end(), b"")

    async def test_refusedConnection(self) -> None:
        """
        If a server that is thought to be awake cannot be connected to, it is
        asked whether it lives; as it does not, it is woken, and the request is
        sent once more.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(OK)
        await client.takeResponse()
        server.abort()
        await self.stopListening(self.backendPorts["a"])
        self.hooks.awake.clear()
        client.send(post())
        await self.untilHook("a", "sleep")
        self.hooks.finish("a")
        await self.untilHook("a", "wake")
        backend = self.backends["again"] = Backend()
        self.hooks.finish("a", f"http://127.0.0.1:{self.listen(backend)}")
        server = await backend.connection()
        await server.takeRequest()
        server.send(OK)
        self.assertEqual((await client.takeResponse()).body, b"ok")

    async def test_refusedTwice(self) -> None:
        """
        A request is sent once more, and not for ever.
        """
        await self.stopListening(self.backendPorts["a"])
        client = await self.ask(post())
        message = await self.refused(client, 502, "backend_error")
        self.assertIn("could not be reached", message)
        self.assertEqual(self.inFlight(), 0)

    async def test_staleConnection(self) -> None:
        """
        A kept connection that the server closes as the next request comes is
        no reason to fail it.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(OK)
        await client.takeResponse()
        client.send(post())
        await server.takeRequest()
        server.abort()
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(OK)
        self.assertEqual((await client.takeResponse()).body, b"ok")
        # On a new connection it is the answer to this request.
        client.send(post())
        await server.takeRequest()
        server.abort()
        server = await self.backend.connection()
        await server.takeRequest()
        server.abort()
        await self.refused(client, 502, "backend_error")

    async def test_earlyAnswer(self) -> None:
        """
        A server may answer before it has read all of a request; the rest is
        not sent then.
        """
        body = b'{"model": "a", "x": "%b"}' % (b"x" * 20_000_000)
        client = await self.ask(post(body))
        server = await self.backend.connection()
        await server.take(b"\r\n\r\n")
        server.transport.pauseProducing()
        server.send(
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close"
            b"\r\n\r\nno"
        )
        response = await client.takeResponse()
        self.assertEqual((response.status, response.body), (413, b"no"))
        await self.metrics.when(1)
        server.keeps = False
        server.transport.resumeProducing()
        await server.end()
        self.assertLess(server.count, len(body))

    async def test_cut(self) -> None:
        """
        What is cut to let another model in ends so that its client sees it:
        with a status if there was none yet, else with a broken body.
        """
        self.policy = PolicyConfig(name="fifo", drain_before_switch=False)
        self.start({})
        streaming, waiting = await self.ask(post()), await self.ask(post())
        servers = [await self.backend.connection() for _ in range(2)]
        for server in servers:
            await server.takeRequest()
        first = servers[0]
        first.send(SSE + chunk(b"data: 1\n\n"))
        # It is not said which request went over which connection.
        await streaming.when(lambda: bool(streaming.received or waiting.received))
        if waiting.received:
            streaming, waiting = waiting, streaming
        other = await self.ask(post(b'{"model": "b"}'))
        await self.refused(waiting, 502, "backend_error")
        self.assertIn(b"event: error", await streaming.end())
        for server in servers:
            await server.end()
        self.hooks.finish("a")
        self.hooks.finish("b")
        server = await self.backends["b"].connection()
        await server.takeRequest()
        server.send(OK)
        self.assertEqual((await other.takeResponse()).body, b"ok")


class Leaving(WireCase):
    """
    Clients that leave, or that do not take what they asked for.
    """

    async def test_whileQueued(self) -> None:
        """
        A client that leaves while it waits for its model is forgotten.
        """
        client = await self.ask(post(b'{"model": "b"}'))
        await self.untilHook("a", "sleep")
        self.assertEqual(len(self.switcher.snapshot().models["b"].queue), 1)
        client.abort()
        await self.metrics.when(1)
        self.assertEqual(len(self.switcher.snapshot().models["b"].queue), 0)
        self.assertEqual(self.metrics.finished, [("b", 499)])

    async def test_whileQueuedWithMoreBehind(self) -> None:
        """
        That is noticed as well if it had sent many further requests, which are
        not kept.
        """
        client = await self.ask(post(b'{"model": "b"}') + post() * 5000)
        await self.untilHook("a", "sleep")
        await pause()
        client.abort()
        await self.metrics.when(1)
        self.assertEqual(self.metrics.finished, [("b", 499)])
        self.assertEqual(self.backend.peers, [])

    async def test_beforeAnswer(self) -> None:
        """
        A client that leaves before its answer has begun takes the request
        to the server with it.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        client.close()
        await server.end()
        await self.metrics.when(1)
        self.assertEqual(self.metrics.finished, [("a", 499)])
        self.assertEqual(self.inFlight(), 0)

    async def test_whileStreaming(self) -> None:
        """
        So does one that leaves in the middle of it.
        """
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(SSE + chunk(b"data: 1\n\n"))
        await client.take(b"data: 1\n\n")
        client.abort()
        await server.end()
        await self.metrics.when(1)
        self.assertEqual(self.metrics.finished, [("a", 200)])
        self.assertEqual(self.inFlight(), 0)

    async def test_whileSending(self) -> None:
        """
        A client that leaves before it has sent all of its request makes no
        request to any server.
        """
        client = await self.ask(post()[:-5])
        await pause()
        client.close()
        await pause()
        self.assertEqual(self.backend.peers, [])

    async def test_slowReader(self) -> None:
        """
        While a client does not read, its server is not read from; the token is
        held until the client has taken the last byte.
        """
        size = 64_000_000
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        client.keeps = False
        client.transport.pauseProducing()
        before = memory()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await self.flood(server, size)
        self.assertEqual(self.inFlight(), 1)
        self.assertLess(memory() - before, 8_000_000)
        client.transport.resumeProducing()
        await client.when(lambda: client.count >= size)
        await self.metrics.when(1)
        self.assertEqual(self.inFlight(), 0)

    async def test_lastByte(self) -> None:
        """
        The token is held for as long as a few bytes wait to be taken, although
        the server has sent everything and its connection is free.
        """
        client = self.connectNarrow()
        client.send(post())
        server = await self.backend.connection()
        await server.takeRequest()
        client.keeps = False
        filled = await self.fillSocket(server)
        self.assertEqual(self.inFlight(), 1)
        self.assertEqual(self.metrics.finished, [])
        client.transport.resumeProducing()
        await self.metrics.when(1)
        self.assertEqual(self.inFlight(), 0)
        await client.when(lambda: client.count >= filled)

    async def test_standsStill(self) -> None:
        """
        A client that takes nothing for C{stall_secs} is given up.
        """
        self.start({}, limits=Limits(stall_secs=0.1))
        client = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        client.transport.pauseProducing()
        server.send(SSE)
        for _ in range(1000):
            server.send(chunk(b"x" * 32_000))
        await self.metrics.when(1)
        self.assertEqual(self.inFlight(), 0)
        await server.end()

    async def test_standsStillAtTheEnd(self) -> None:
        """
        So is one that does not take the last bytes.
        """
        self.start({}, limits=Limits(stall_secs=0.5))
        client = self.connectNarrow()
        client.send(post())
        server = await self.backend.connection()
        await server.takeRequest()
        await self.fillSocket(server)
        self.assertEqual(self.inFlight(), 1)
        await self.metrics.when(1)
        self.assertEqual(self.inFlight(), 0)


class Bodies(WireCase):
    """
    Large bodies.
    """

    async def test_upload(self) -> None:
        """
        100 MB go through with little of it in memory, to a server that reads
        slowly, too.
        """
        size = 100_000_000
        head = (
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        )
        tail = b"\r\n--b--\r\n"
        before = memory()
        client = await self.ask(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(head) + size + len(tail), head)
        )
        await self.flood(client, size)
        client.send(tail)
        server = await self.backend.connection()
        await server.take(b"\r\n\r\n")
        server.keeps = False
        server.count, server.received = len(server.received), b""
        server.transport.pauseProducing()
        await pause()
        self.assertLess(memory() - before, 10_000_000)
        server.transport.resumeProducing()
        await server.when(lambda: server.count == len(head) + size + len(tail))
        self.assertLess(memory() - before, 10_000_000)
        server.send(OK)
        self.assertEqual((await client.takeResponse()).body, b"ok")

    async def test_chunkedUpload(self) -> None:
        """
        Nor is a large body kept in memory whose length is not known before.
        """
        before = memory()
        client = await self.ask(
            b"POST /upstream/a/x HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        await self.flood(client, 30_000_000, chunk)
        client.send(b"0\r\n\r\n")
        server = await self.backend.connection()
        server.keeps = False
        await server.when(lambda: server.count > 30_000_000)
        self.assertLess(memory() - before, 10_000_000)

    async def test_tooLarge(self) -> None:
        """
        A body that is too large is refused as soon as that is known, and the
        client gets to see it although it goes on sending.
        """
        self.start({}, limits=Limits(body_mb=1))
        for framing in (
            b"Content-Length: 1048577\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 1048577),
            b"Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n",
        ):
            client = await self.ask(
                b"POST /v1/x HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-1\r\n" + framing
            )
            client.send(b"x" * 3_000_000)
            response = await client.takeResponse()
            self.assertEqual(response.status, 413)
            self.assertEqual(response.headers["x-request-id"], "r-1")
            self.assertEqual(self.errorIn(response.body)["code"], "body_too_large")
            await client.end()
        self.assertEqual(self.backend.peers, [])

    async def test_limit(self) -> None:
        """
        One that is as large as it may be is not.
        """
        self.start({}, limits=Limits(body_mb=1))
        client = await self.ask(
            b"POST /upstream/a/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n"
        )
        client.send(b"x" * 1048576)
        server = await self.backend.connection()
        self.assertEqual(len((await server.takeRequest()).body), 1048576)


#: Requests that must not be passed on, and what they get.
HOSTILE = {
    "length and chunks": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        400,
    ),
    "chunks and length": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Length: 5\r\n\r\n0\r\n\r\n"
        ),
        400,
    ),
    "two lengths": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Content-Length: 6\r\n\r\nabcdef"
        ),
        400,
    ),
    "the same length twice": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Content-Length: 5\r\n\r\nabcde"
        ),
        400,
    ),
    "a list of lengths": (
        b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nabcde",
        400,
    ),
    "a signed length": (
        b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nabcde",
        400,
    ),
    "a length with an underscore": (
        b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\nabcde",
        400,
    ),
    "no length": (
        b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nabcde",
        400,
    ),
    "an unknown coding": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked"
            b"\r\n\r\n0\r\n\r\n"
        ),
        400,
    ),
    "two codings": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"
        ),
        400,
    ),
    "a list of codings": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked"
            b"\r\n\r\n0\r\n\r\n"
        ),
        400,
    ),
    "chunks in HTTP/1.0": (
        (
            b"POST /?model=a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked"
            b"\r\n\r\n0\r\n\r\n"
        ),
        400,
    ),
    "a chunk of an odd size": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
            b"\r\n\r\n0x1\r\na\r\n0\r\n\r\n"
        ),
        400,
    ),
    "a chunk that is too long": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
            b"\r\n\r\n1\r\nabc\r\n0\r\n\r\n"
        ),
        400,
    ),
    "a chunk extension with a line feed": (
        (
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
            b"\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n"
        ),
        400,
    ),
    "a space before the colon": (
        b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nabcde",
        400,
    ),
    "a folded header": (
        b"GET /?model=a HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
        400,
    ),
    "a folded first header": (b"GET /?model=a HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "line feeds only": (b"GET /?model=a HTTP/1.1\nHost: x\n\n\r\n\r\n", 400),
    "a line feed in a header": (
        b"GET /?model=a HTTP/1.1\r\nHost: x\r\nX-A: b\nX-B: c\r\n\r\n",
        400,
    ),
    "a carriage return in a header": (
        b"GET /?model=a HTTP/1.1\r\nHost: x\r\nX-A: b\rX-B: c\r\n\r\n",
        400,
    ),
    "a NUL in a header": (
        b"GET /?model=a HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n",
        400,
    ),
    "a header without a colon": (
        b"GET /?model=a HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n",
        400,
    ),
    "a header without a name": (
        b"GET /?model=a HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n",
        400,
    ),
    "no host": (b"GET /?model=a HTTP/1.1\r\nX: x\r\n\r\n", 400),
    "two hosts": (b"GET /?model=a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
    "a list of hosts": (b"GET /?model=a HTTP/1.1\r\nHost: x, y\r\n\r\n", 400),
    "no version": (b"GET /?model=a\r\n\r\n", 400),
    "another version": (b"GET /?model=a HTTP/2.0\r\nHost: x\r\n\r\n", 400),
    "a version of a kind": (b"GET /?model=a HTTP/1.1x\r\nHost: x\r\n\r\n", 400),
    "an odd method": (b"G(T /?model=a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two spaces": (b"GET  /?model=a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a space in the target": (b"GET /? model=a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a tab in the target": (b"GET /?\tmodel=a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a letter beyond ASCII": (b"GET /\xe9?model=a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a relative target": (b"GET x?model=a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "another scheme": (b"GET ftp://x/?model=a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a tunnel": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an asterisk": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "another protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a long target": (b"GET /?model=a&%b HTTP/1.1\r\n" % (b"x" * 70_000), 431),
    "a key of a megabyte": (
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        + b"k" * 1_000_000
        + b"\r\n\r\n",
        431,
    ),
    "a target without an end": (b"GET /?model=a&" + b"x" * 200_000, 431),
    "a long header": (
        b"GET /?model=a HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * 70_000),
        431,
    ),
    "many headers": (
        b"GET /?model=a HTTP/1.1\r\nHost: x\r\n%b\r\n" % (b"X: 1\r\n" * 20_000),
        431,
    ),
}


class Hostile(WireCase):
    """
    Requests of those who mean no good.
    """

    async def test_refused(self) -> None:
        """
        Each of L{HOSTILE} gets an answer that says so, then the connection is
        closed; nothing of it, nor of what comes behind it, reaches a server.
        """
        for name, (request, status) in HOSTILE.items():
            client = await self.ask(request + post())

            response = await client.takeResponse()
            self.assertEqual(response.status, status, name)
            self.assertEqual(response.headers["connection"], "close", name)
            self.assertTrue(response.headers["x-request-id"], name)
            self.assertEqual(self.errorIn(response.body)["type"], "llmux_error", name)
            self.assertEqual(await client.end(), b"", name)
        self.assertEqual(self.backend.peers, [])

    async def test_slowHead(self) -> None:
        """
        A head has to be here within C{head_secs}, even if a little of it keeps
        coming.
        """
        self.start({}, limits=Limits(head_secs=0.2))
        client = await self.ask(b"GET /?model=a HTTP/1.1\r\n")
        for _ in range(8):
            client.send(b"X: 1\r\n")
            await pause(0.03)
        response = await client.takeResponse()
        self.assertEqual(response.status, 408)
        await client.end()

    async def test_slowBody(self) -> None:
        """
        A body has to make progress: a byte now and then is none.
        """
        self.start({}, limits=Limits(stall_secs=0.2))
        client = await self.ask(
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        )
        for _ in range(8):
            client.send(b"x")
            await pause(0.03)
        response = await client.takeResponse()
        self.assertEqual(response.status, 408)
        await client.end()
        self.assertEqual(self.backend.peers, [])

    async def test_steadyBody(self) -> None:
        """
        One that takes long but gets on is waited for.
        """
        self.start({}, limits=Limits(stall_secs=0.1))
        client = await self.ask(
            b"POST /?model=a HTTP/1.1\r\nHost: x\r\nContent-Length: 15000\r\n\r\n"
        )
        for _ in range(10):
            client.send(b"x" * 1500)
            await pause(0.03)
        server = await self.backend.connection()
        self.assertEqual(len((await server.takeRequest()).body), 15000)

    async def test_emptyLine(self) -> None:
        """
        One empty line before a request is forgiven.
        """
        await self.ask(b"\r\n" + post())
        server = await self.backend.connection()
        await server.takeRequest()


class Refusals(WireCase):
    """
    What is answered without a server.
    """

    async def failing(self, request: bytes) -> tuple[int, str]:
        """
        Send a request that fails.

        @return: the status and the code.
        """
        client = await self.ask(request)
        response = await client.takeResponse()
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertTrue(response.headers["x-request-id"])
        error = self.errorIn(response.body)
        self.assertEqual(error["type"], "llmux_error")
        self.retryAfter = response.headers.get("retry-after")
        return response.status, str(error["code"])

    async def test_naming(self) -> None:
        """
        A request that names no model that there is gets told what is wrong.
        """
        for request, status, code in (
            (post(b'{"model": "nope"}'), 404, "model_not_found"),
            (
                b"GET /upstream/nope/ HTTP/1.1\r\nHost: x\r\n\r\n",
                404,
                "model_not_found",
            ),
            (b"GET /x?model=nope HTTP/1.1\r\nHost: x\r\n\r\n", 404, "model_not_found"),
            (post(b'{"model": "%b"}' % (b"x" * 10_000)), 404, "model_not_found"),
            (post(b'{"model": "a b\'/\\""}'), 404, "model_not_found"),
            (post(b"{}"), 400, "model_required"),
            (post(b"[]"), 400, "model_required"),
            (post(b""), 404, "not_found"),
            (post(b"{}", b"/x"), 404, "not_found"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
            (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
            (post(b'{"model": 1}'), 400, "invalid_body"),
            (post(b'{"model": "a"'), 400, "invalid_body"),
            (post(b"[" * 1_000_000), 400, "invalid_body"),
        ):
            self.assertEqual(await self.failing(request), (status, code), request[:80])
        self.assertEqual(self.backend.peers, [])
        self.assertEqual({model for model, _ in self.metrics.finished}, {"unknown"})

    async def test_wakeFailed(self) -> None:
        """
        A model that cannot be woken is a 503 that says when to try again.
        """
        client = await self.ask(post(b'{"model": "b"}'))
        await self.untilHook("a", "sleep")
        self.hooks.finish("a")
        self.hooks.fail("b")
        response = await client.takeResponse()
        self.assertEqual(response.status, 503)
        self.assertEqual(self.errorIn(response.body)["code"], "wake_failed")
        self.assertTrue(response.headers["retry-after"])

    async def test_queueFull(self) -> None:
        """
        A full queue is a 429 that says when to try again.
        """
        self.start({"b": {"max_queue": 1}})
        await self.ask(post(b'{"model": "b"}'))
        await self.untilHook("a", "sleep")
        self.assertEqual(
            await self.failing(post(b'{"model": "b"}')), (429, "queue_full")
        )
        self.assertTrue(self.retryAfter)

    async def test_waitedTooLong(self) -> None:
        """
        A request that waits for too long is a 504.
        """
        self.policy = PolicyConfig(name="fifo", request_timeout_secs=0.05)
        self.start({})
        self.assertEqual(
            await self.failing(post(b'{"model": "b"}')), (504, "switch_timeout")
        )

    async def test_shuttingDown(self) -> None:
        """
        A request to llmux while it stops is a 503.
        """
        await self.ask(post())
        await self.backend.connection()
        self.switcher.stop()
        self.assertEqual(await self.failing(post()), (503, "shutting_down"))
        self.assertTrue(self.retryAfter)

    async def test_noAddress(self) -> None:
        """
        A server that nobody has said where it is cannot be reached.
        """
        self.start({"a": {"port": None, "url": "nonsense"}})
        self.assertEqual(await self.failing(post()), (502, "backend_error"))

    async def test_next(self) -> None:
        """
        A connection whose request was refused serves the next one.
        """
        client = await self.ask(post(b"{}"))
        self.assertEqual((await client.takeResponse()).status, 400)
        client.send(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(OK)
        self.assertEqual((await client.takeResponse()).body, b"ok")


class Switching(WireCase):
    """
    Waiting for a model.
    """

    async def test_switch(self) -> None:
        """
        A request for a model that sleeps reaches its server when it has woken,
        and the other's connections do not outlive its own sleep.
        """
        first = await self.ask(post())
        old = await self.backend.connection()
        await old.takeRequest()
        old.send(OK)
        await first.takeResponse()
        second = await self.ask(post(b'{"model": "b"}'))
        await self.untilHook("a", "sleep")
        await old.end()
        self.hooks.finish("a")
        await pause(MOMENT)
        self.assertEqual(self.backends["b"].peers, [])
        self.hooks.finish("b")
        server = await self.backends["b"].connection()
        await server.takeRequest()
        server.send(OK)
        self.assertEqual((await second.takeResponse()).body, b"ok")

    async def waitsForOther(self, request: bytes, **settings: Any) -> str:
        """
        Have another name hold for a model while a request waits for it.

        @return: the body that its server gets.
        """
        self.start({"b": {"backend_model": "old", **settings}})
        self.switcher.whenReconfigured(self.follow)
        await self.ask(request)
        await self.untilHook("a", "sleep")
        config = self.context.config
        model = evolve(config.models["b"], backend_model="a/new", aliases=())
        other = evolve(config, models={**config.models, "b": model})
        self.switcher.reconfigure(other, FirstComeFirstServed())
        self.hooks.finish("a")
        await self.untilHook("b", "wake")
        self.hooks.finish("b")
        server = await self.backends["b"].connection()
        return (await server.takeRequest()).body.decode()

    def follow(self, whole: Config, served: Config) -> None:
        """
        Go by another configuration.
        """
        self.context.config = served

    async def test_renamed(self) -> None:
        """
        What waits while the model's server comes to know it by another name
        asks for it by that, whatever it has called it itself.
        """
        request = post(b'{"model": "alias", "n": 1}')
        body = await self.waitsForOther(request, aliases=("alias",))
        self.assertEqual(body, '{"model": "a/new", "n": 1}')

    async def test_renamedLarge(self) -> None:
        """
        That is so for a large body, too.
        """
        more = "m" * (LEAST + 1)
        request = post(b'{"model": "b", "prompt": "%b"}' % more.encode())
        body = await self.waitsForOther(request)
        self.assertTrue(body == f'{{"model": "a/new", "prompt": "{more}"}}')

    async def test_renamedTranslated(self) -> None:
        """
        And for a request that is translated.
        """
        request = post(b'{"model": "b", "prompt": "x"}', b"/api/generate")
        body = await self.waitsForOther(request)
        self.assertEqual(json.loads(body)["model"], "a/new")

    async def test_drain(self) -> None:
        """
        A model is not put to sleep before a client has had the end of its
        stream.
        """
        streaming = await self.ask(post())
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(SSE + chunk(b"data: 1\n\n"))
        await streaming.take(b"data: 1\n\n")
        await self.ask(post(b'{"model": "b"}'))
        await pause()
        self.assertEqual(self.stateOf("a"), State.DRAINING)
        self.assertEqual(self.hooks.ran, [])
        server.send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")
        await streaming.take(b"0\r\n\r\n")
        await self.untilHook("a", "sleep")


class Conformance(
    Forwarding,
    Failing,
    Leaving,
    Bodies,
    Hostile,
    Refusals,
    Switching,
    Shaping,
    Access,
    Accounting,
    Faults,
    Crowded,
    Tunnelling,
    OllamaAPI,
    Waiting,
):
    """
    All of it.
    """

    def test_noneHides(self) -> None:
        """
        No test stands before another of the same name.
        """
        names = Counter(
            name
            for kind in Conformance.__bases__
            for name in vars(kind)
            if name.startswith("test_")
        )
        self.assertEqual([name for name, count in names.items() if count > 1], [])
