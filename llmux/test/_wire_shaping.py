"""
What every front end has to do with the parameters of requests.
"""

from __future__ import annotations

import json

from llmux.config import Alias
from llmux.test._wire import WireCase, post

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Shaping(WireCase):
    """
    Parameters that are set, filled in and taken out.
    """

    def shape(self) -> None:
        """
        Serve one model under three names.
        """
        self.start(
            {
                "a": {
                    "set_default": {"temperature": 0.5},
                    "aliases": (
                        "plain",
                        Alias("wild", set={"temperature": 2}, strip=("seed",)),
                    ),
                    "backend_model": "org/a",
                }
            }
        )

    async def test_shaped(self) -> None:
        """
        Each name has its parameters; the length is that of the new body, and
        the same connections go on.
        """
        self.shape()
        client = await self.connect()
        for body, shaped in (
            (b'{"model":"a"}', b'{"temperature":0.5,"model":"org/a"}'),
            (
                b'{"model":"plain","temperature":1}',
                b'{"model":"org/a","temperature":1}',
            ),
            (
                b'{ "seed":1, "temperature":1e0, "model":"wild", "n":1e400 }',
                b'{ "temperature":2, "model":"org/a", "n":1e400 }',
            ),
        ):
            client.send(post(body))
            if not self.backend.peers:
                server = await self.backend.connection()
            request = await server.takeRequest()
            self.assertEqual(request.body, shaped)
            self.assertEqual(request.headers["content-length"], str(len(shaped)))
            server.send(OK)
            self.assertEqual((await client.takeResponse()).body, b"ok")
        self.assertEqual(len(self.backend.peers), 1)

    async def test_shapedUpstream(self) -> None:
        """
        So have names in paths.
        """
        self.shape()
        client = await self.ask(post(b"{}", b"/upstream/wild/completion?x"))
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.assertEqual(request.line, "POST /completion?x HTTP/1.1")
        self.assertEqual(request.body, b'{"temperature":2}')
        server.send(OK)
        await client.takeResponse()

    async def test_shapedLarge(self) -> None:
        """
        A body that is too large for memory is shaped as well.
        """
        self.shape()
        text = b"\\n\\u0061" * 1_000_000
        client = await self.ask(
            post(b'{"seed":0,"model":"wild","prompt":["%b"]}' % text, b"/v1/x")
        )
        server = await self.backend.connection()
        request = await server.takeRequest()
        self.assertEqual(
            request.body, b'{"temperature":2,"model":"org/a","prompt":["%b"]}' % text
        )
        server.send(OK)
        await client.takeResponse()

    async def test_unshaped(self) -> None:
        """
        What is no JSON is an error as ever, and changes nothing.
        """
        self.shape()
        client = await self.ask(post(b'{"model":"wild",}'))
        response = await client.takeResponse()
        self.assertEqual(response.status, 400)
        self.assertEqual(self.errorIn(response.body)["code"], "invalid_body")
        self.assertEqual(json.loads(response.body)["error"]["type"], "llmux_error")
        self.assertEqual(self.inFlight(), 0)
