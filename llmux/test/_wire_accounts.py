"""
What every front end has to say of a request that is over.
"""

from __future__ import annotations

from llmux.config import Limits, PolicyConfig
from llmux.observe.account import Account
from llmux.observe.usage import Usage
from llmux.test._wire import Peer, WireCase, pause, post

USAGE = b'"usage": {"prompt_tokens": 5, "completion_tokens": 7}'
JSON = b'{"choices": [], %b}' % USAGE
EVENTS = (
    b'data: {"choices": [{}], "usage": null}\n\n',
    b'data: {"choices": [], %b}\n\n' % USAGE,
    b"data: [DONE]\n\n",
)
SSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """
    A chunk of a chunked body.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


class Accounting(WireCase):
    """
    Accounts.
    """

    async def serving(self, request: bytes = b"") -> tuple[Peer, Peer]:
        """
        Have a request, and nothing of its answer, at the server.

        @return: the client and the server.
        """
        client = await self.ask(request or post())
        server = await self.backend.connection()
        await server.takeRequest()
        return client, server

    async def account(self) -> Account:
        """
        What is said of the only request, once it is over.
        """
        await self.metrics.when(1)
        (account,) = self.metrics.accounts
        return account

    async def test_whole(self) -> None:
        """
        The size of an answer and the tokens are told, whether it comes at once
        or byte by byte.
        """
        for pieces in (
            [HEAD % len(JSON) + JSON],
            [HEAD % len(JSON), JSON[:-20], JSON[-20:]],
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
            + [chunk(JSON[at : at + 1]) for at in range(len(JSON) - 3)]
            + [chunk(JSON[-3:]) + b"0\r\n\r\n"],
        ):
            self.start({})
            client, server = await self.serving()
            for piece in pieces:
                server.send(piece)
                if len(pieces) == 3:
                    await pause()
            await client.takeResponse()
            account = await self.account()
            self.assertEqual((account.model, account.status), ("a", 200))
            self.assertEqual(account.size, len(JSON))
            self.assertFalse(account.isStream)
            self.assertEqual((account.aborted, account.retries), ("", 0))
            assert account.granted is not None and account.begun is not None
            self.assertLessEqual(account.arrived, account.granted)
            self.assertLessEqual(account.granted, account.begun)
            self.assertLessEqual(account.begun, account.ended)
            if len(pieces) < 4:
                self.assertEqual(account.usage, Usage(5, 7))

    async def test_stream(self) -> None:
        """
        So they are of a stream, with nothing of its framing counted.
        """
        for isTogether in (False, True):
            self.start({})
            client, server = await self.serving()
            chunks = [chunk(event) for event in EVENTS]
            server.send(SSE)
            for part in [b"".join(chunks)] if isTogether else chunks:
                server.send(part)
                await pause()
            server.send(b"0\r\n\r\n")
            await client.takeResponse()
            account = await self.account()
            self.assertTrue(account.isStream)
            self.assertEqual(account.size, len(b"".join(EVENTS)))
            self.assertEqual(account.usage, Usage(5, 7))
            self.assertEqual(account.aborted, "")

    async def test_untilClosed(self) -> None:
        """
        So they are where the end of the connection is that of the answer.
        """
        client, server = await self.serving()
        server.send(b"HTTP/1.1 200 OK\r\n\r\n" + JSON)
        server.close()
        await client.takeResponse()
        account = await self.account()
        self.assertEqual((account.size, account.usage), (len(JSON), Usage(5, 7)))

    async def test_requestTold(self) -> None:
        """
        An account knows the request: its method, target and id.
        """
        headers = b"Content-Type: application/json\r\nX-Request-Id: mine\r\n"
        request = post(headers=headers)
        client, server = await self.serving(request)
        server.send(HEAD % 0)
        await client.takeResponse()
        account = await self.account()
        self.assertEqual(account.request.method, b"POST")
        self.assertEqual(account.request.target, request.split(b" ")[1])
        self.assertEqual(account.request.requestId, b"mine")
        self.assertEqual(account.request.peer, b"127.0.0.1")

    async def test_refusedTold(self) -> None:
        """
        An error of llmux's own counts with its status and size, under no name
        that a client made up.
        """
        client = await self.ask(post(b'{"model": "zzz"}'))
        response = await client.takeResponse()
        account = await self.account()
        self.assertEqual((account.model, account.status), ("unknown", 404))
        self.assertEqual(account.size, len(response.body))
        self.assertEqual((account.granted, account.begun), (None, None))
        self.assertEqual(account.aborted, "")

    async def test_noAnswer(self) -> None:
        """
        A server that does not answer makes an error, and no answer that was
        cut short.
        """
        client, server = await self.serving()
        server.close()
        self.assertEqual((await client.takeResponse()).status, 502)
        account = await self.account()
        self.assertEqual((account.status, account.aborted), (502, ""))

    async def test_brokenTold(self) -> None:
        """
        An answer that breaks off is told, with what came of it.
        """
        for head in (SSE, HEAD % 99):
            self.start({})
            client, server = await self.serving()
            part = chunk(b"abc") if head is SSE else b"abc"
            server.send(head + part)
            await client.take(b"\nabc")
            server.close()
            await client.end()
            account = await self.account()
            self.assertEqual((account.status, account.size), (200, 3))
            self.assertEqual(account.aborted, "backend_error")

    async def test_left(self) -> None:
        """
        So is a client that leaves in the middle.
        """
        client, server = await self.serving()
        server.send(SSE + chunk(b"data: 1\n\n"))
        await client.take(b"data: 1\n\n")
        client.abort()
        account = await self.account()
        self.assertEqual((account.status, account.aborted), (200, "left"))
        self.assertEqual(account.size, len(b"data: 1\n\n"))

    async def test_leftBefore(self) -> None:
        """
        One that leaves before there is an answer has left, and no answer was
        cut short.
        """
        client, _ = await self.serving()
        client.abort()
        account = await self.account()
        self.assertEqual((account.status, account.aborted), (499, ""))

    async def test_stalled(self) -> None:
        """
        So is one that does not read.
        """
        self.start({}, limits=Limits(stall_secs=0.1))
        client, server = await self.serving()
        client.transport.pauseProducing()
        server.send(SSE)
        for _ in range(1000):
            server.send(chunk(b"x" * 32_000))
        self.assertEqual((await self.account()).aborted, "stalled")

    async def test_cutTold(self) -> None:
        """
        So is what llmux itself cuts off.
        """
        self.policy = PolicyConfig(name="fifo", drain_before_switch=False)
        self.start({})
        client, server = await self.serving()
        server.send(SSE + chunk(b"data: 1\n\n"))
        await client.take(b"data: 1\n\n")
        await self.ask(post(b'{"model": "b"}'))
        self.assertEqual((await self.account()).aborted, "cut")
