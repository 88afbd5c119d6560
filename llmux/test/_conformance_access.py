"""
Who is let in, said in bytes over real sockets.
"""

from __future__ import annotations

from base64 import b64encode

from llmux.config import ApiKey
from llmux.test._wire import Peer, WireCase, pause, post

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#: Alice may do all, Bob may not ask C{a} and has one request at a time, Carol
#: is an operator.
KEYS = {
    "alice": ApiKey("alice", "alice-key"),
    "bob": ApiKey("bob", "bob-key", models=("b",), max_in_flight=1),
    "carol": ApiKey("carol", "carol-key", operator=True),
}

_JSON = b"Content-Type: application/json\r\n"


class Access(WireCase):
    """
    Keys, hosts, and pages of other sites.
    """

    async def said(self, request: bytes, status: int, code: str) -> dict[str, str]:
        """
        A request is refused in such a way.

        @return: the headers of the answer.
        """
        client = await self.ask(request)
        response = await client.takeResponse()
        self.assertEqual((response.status, response.body[:9]), (status, b'{"error":'))
        self.assertEqual(self.errorIn(response.body)["code"], code)
        self.assertNotIn(b"-key", response.body)
        return response.headers

    async def served(self, *requests: bytes) -> list[str]:
        """
        Requests reach the server of C{a} and are answered.

        @return: their heads there.
        """
        client: Peer | None = None
        server: Peer | None = None
        heads = []
        for request in requests:
            client = client or await self.connect()
            client.send(request)
            server = server or await self.backend.connection()
            heads.append((await server.takeRequest()).head.decode("latin-1"))
            server.send(OK)
            self.assertEqual((await client.takeResponse()).status, 200)
        return heads

    async def test_noKey(self) -> None:
        """
        A key that is missing or wrong is a 401, by whatever way it comes, and
        nothing reaches a model.
        """
        self.start({}, api_keys=KEYS)
        for header in (
            b"",
            b"Authorization: Bearer\r\n",
            b"Authorization: Bearer alice-kez\r\n",
            b"Authorization: Bearer alice-key x\r\n",
            b"Authorization: alice-key\r\n",
            b"Authorization: Basic !!\r\n",
            b"Authorization: Basic %b\r\n" % b64encode(b"alice-key:x"),
            b"X-Api-Key: %b\r\n" % (b"k" * 60_000),
            b"X-Api-Key: \xff\xfe\r\n",
            b"X-Key: alice-key\r\n",
        ):
            headers = await self.said(
                post(headers=_JSON + header), 401, "invalid_api_key"
            )
            self.assertEqual(headers["www-authenticate"], "Bearer")
        await self.said(
            b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 401, "invalid_api_key"
        )
        self.assertEqual(self.backend.peers, [])
        self.assertEqual({model for model, _ in self.metrics.finished}, {"unknown"})

    async def test_noKeyForMuch(self) -> None:
        """
        Who has no key is not even listened to if there is much to come, and
        is not told to go on; who has one is.
        """
        self.start({}, api_keys=KEYS)
        for framing in (b"Content-Length: 9000000", b"Transfer-Encoding: chunked"):
            head = b"POST /x?model=a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            client = await self.ask(head + framing + b"\r\n\r\n")
            response = await client.takeResponse()
            self.assertEqual(response.status, 401)
            self.assertEqual(self.errorIn(response.body)["code"], "invalid_api_key")
            client.close()
            client = await self.ask(
                head + framing + b"\r\nX-Api-Key: alice-key\r\n\r\n"
            )
            self.assertIn(b" 100 ", await client.take(b"\r\n\r\n"))

    async def test_keys(self) -> None:
        """
        A key is taken as any client sends one, and goes no further; what else
        looks like a key is the model's.
        """
        self.start({}, api_keys=KEYS)
        basic = b64encode(b"me:alice-key")
        heads = await self.served(
            *(
                post(headers=_JSON + header)
                for header in (
                    b"Authorization: Bearer alice-key\r\n",
                    b"authorization: bearer   alice-key \r\n",
                    b"x-api-key: alice-key\r\nAuthorization: Bearer theirs\r\n",
                    b"Authorization: Basic %b\r\n" % basic,
                    b"Authorization: Basic %b\r\n" % b64encode(b"alice-key:"),
                    b"api-key: alice-key\r\nX-API-Key: carol-key\r\n",
                )
            )
        )
        for head in heads:
            self.assertNotIn("alice-key", head)
            self.assertNotIn("carol-key", head)
            self.assertNotIn(basic.decode(), head)
        self.assertIn("\r\nAuthorization: Bearer theirs\r\n", heads[2])

    async def test_withoutKeys(self) -> None:
        """
        If llmux has no keys, what looks like one is the model's.
        """
        (head,) = await self.served(
            post(headers=_JSON + b"Authorization: Bearer alice-key\r\n")
        )
        self.assertIn("\r\nAuthorization: Bearer alice-key\r\n", head)

    async def test_models(self) -> None:
        """
        Models that are not for a key are not there for it, whichever way they
        are asked for.
        """
        self.start({"a": {"aliases": ("gpt",)}}, api_keys=KEYS)
        key = b"Authorization: Bearer bob-key\r\n"
        for name in (b"a", b"gpt", b"nobody"):
            for request in (
                post(b'{"model": "%b"}' % name, headers=_JSON + key),
                b"GET /upstream/%b/x HTTP/1.1\r\nHost: x\r\n%b\r\n" % (name, key),
                b"GET /x?model=%b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (name, key),
                b"GET /v1/models/%b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (name, key),
            ):
                await self.said(request, 404, "model_not_found")
        client = await self.ask(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n%b\r\n" % key)
        listed = (await client.takeResponse()).body
        self.assertIn(b'"id": "b"', listed)
        self.assertNotIn(b'"id": "a"', listed)
        self.assertNotIn(b'"id": "gpt"', listed)
        self.assertEqual(self.backend.peers, [])

    async def test_atOnce(self) -> None:
        """
        More requests with a key than may be there at once get a 429, until
        one is over.
        """
        self.start({}, api_keys=KEYS)
        asks = post(b'{"model": "b"}', headers=_JSON + b"X-Api-Key: bob-key\r\n")
        first = await self.ask(asks)
        await self.untilHook("a", "sleep")
        headers = await self.said(asks, 429, "too_many_in_flight")
        self.assertTrue(headers["retry-after"].isdigit())
        first.abort()
        await self.metrics.when(2)
        second = await self.ask(asks)
        while not self.switcher.snapshot().models["b"].queue:
            await pause(0.01)
        self.hooks.finish("a")
        self.hooks.finish("b")
        server = await self.backends["b"].connection()
        await server.takeRequest()
        server.send(OK)
        self.assertEqual((await second.takeResponse()).status, 200)

    async def test_health(self) -> None:
        """
        That llmux is up is told to everyone.
        """
        self.start({}, api_keys=KEYS, allowed_hosts=())
        client = await self.ask(b"GET /health HTTP/1.1\r\nHost: evil\r\n\r\n")
        self.assertEqual((await client.takeResponse()).status, 200)

    async def test_hosts(self) -> None:
        """
        On a loopback address llmux answers to names of that, and to those that
        are listed, whatever the port: any other may have been made to lead
        here by a page of that name.
        """
        self.start({}, allowed_hosts=("llm.example.com",))
        for host in (
            b"evil.example",
            b"evil.example:3000",
            b"localhost.evil.example",
            b"127.0.0.1.evil.example",
            b"localhost:80:80",
            b"[::1].evil",
            b"10.0.0.1",
            b"xllm.example.com",
        ):
            request = post().replace(b"Host: llmux", b"Host: " + host)
            await self.said(request, 403, "host_not_allowed")
            await self.said(
                b"GET /v1/models HTTP/1.1\r\nHost: %b\r\n\r\n" % host,
                403,
                "host_not_allowed",
            )
        self.assertEqual(self.backend.peers, [])
        await self.served(
            *(
                post().replace(b"Host: llmux", b"Host: " + host)
                for host in (
                    b"localhost",
                    b"LocalHost:3000",
                    b"127.0.0.1:1",
                    b"127.1.2.3",
                    b"[::1]:3000",
                    b"llm.example.com:443",
                    b"LLM.example.com.",
                    b"",
                )
            )
        )

    async def test_foreignPages(self) -> None:
        """
        No request that a browser sends for a page of another site is heard,
        unless its user followed a link; those of llmux's own pages, of
        programs that show pages of their own, and of all that are no browsers
        are.
        """
        url = b"Host: 127.0.0.1:3000\r\n"
        for headers in (
            b"Origin: https://evil.example\r\n",
            b"Origin: http://127.0.0.1:3001\r\n",
            b"Origin: http://127.0.0.1:3000\r\nSec-Fetch-Site: cross-site\r\n",
            b"Origin: null\r\n",
            b"Origin: http://[\r\n",
            b"Origin: \r\n",
            b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
        ):
            request = post(headers=_JSON + headers).replace(b"Host: llmux\r\n", url)
            headers_ = await self.said(request, 403, "foreign_origin")
            self.assertNotIn("access-control-allow-origin", headers_)
        self.assertEqual(self.backend.peers, [])
        await self.served(
            *(
                post(headers=_JSON + headers).replace(b"Host: llmux\r\n", url)
                for headers in (
                    b"Origin: http://127.0.0.1:3000\r\nSec-Fetch-Site: same-origin\r\n",
                    b"Origin: http://127.0.0.1:3000\r\n",
                    # Behind a proxy that asks by another name.
                    b"Origin: https://llm.example\r\nSec-Fetch-Site: same-origin\r\n",
                    b"Origin: app://obsidian.md\r\n",
                    b"Sec-Fetch-Site: none\r\n",
                )
            ),
            b"GET /?model=a HTTP/1.1\r\n" + url + b"Sec-Fetch-Site: cross-site\r\n"
            b"Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n",
        )

    async def test_listedPages(self) -> None:
        """
        Pages that are listed get to see answers, errors included, whatever a
        model's server says that they may; for credentials that a browser has
        by itself there is no leave.
        """
        self.start({}, cors_origins=("https://chat.example",), api_keys=KEYS)
        origin = b"Origin: https://chat.example\r\n"
        headers = await self.said(post(headers=_JSON + origin), 401, "invalid_api_key")
        self.assertEqual(headers["access-control-allow-origin"], "https://chat.example")
        client = await self.ask(
            post(headers=_JSON + origin + b"Authorization: Bearer alice-key\r\n")
        )
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(
            b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nX-A: 1\r\n"
            b"access-control-allow-credentials: true\r\nContent-Length: 2\r\n\r\nok"
        )
        response = await client.takeResponse()
        self.assertEqual(response.head.lower().count(b"access-control-allow-origin"), 1)
        self.assertNotIn(b"credentials", response.head)
        self.assertEqual(response.headers["vary"], "Origin")
        self.assertEqual(response.headers["x-a"], "1")
        # It is for that request only.
        client.send(post(headers=_JSON + b"x-api-key: alice-key\r\n"))
        await server.takeRequest()
        server.send(OK)
        self.assertNotIn(b"Access-Control", (await client.takeResponse()).head)

    async def test_everyPage(self) -> None:
        """
        C{*} is every page.
        """
        self.start({}, cors_origins=("*",))
        client = await self.ask(post(headers=_JSON + b"Origin: null\r\n"))
        server = await self.backend.connection()
        await server.takeRequest()
        server.send(OK)
        response = await client.takeResponse()
        self.assertEqual(response.headers["access-control-allow-origin"], "*")

    async def test_preflight(self) -> None:
        """
        What a browser asks first is answered by llmux, without a key, and not
        by a model.
        """
        self.start({}, cors_origins=("https://chat.example",), api_keys=KEYS)

        def preflight(target: bytes, origin: bytes) -> bytes:
            return (
                b"OPTIONS %b HTTP/1.1\r\nHost: x\r\nOrigin: %b\r\n"
                b"Access-Control-Request-Method: POST\r\n"
                b"Access-Control-Request-Headers: authorization,content-type\r\n\r\n"
                % (target, origin)
            )

        for target in (b"/v1/chat/completions", b"/upstream/a/x", b"/v1/models"):
            client = await self.ask(preflight(target, b"https://chat.example"))
            response = await client.takeResponse()
            self.assertEqual(response.status, 204)
            allowed = response.headers
            self.assertEqual(
                allowed["access-control-allow-origin"], "https://chat.example"
            )
            self.assertIn("POST", allowed["access-control-allow-methods"])
            self.assertEqual(
                allowed["access-control-allow-headers"], "authorization,content-type"
            )
            await self.said(
                preflight(target, b"https://evil.example"), 403, "foreign_origin"
            )
        # What is no preflight is for a model.
        await self.served(
            b"OPTIONS /x?model=a HTTP/1.1\r\nHost: x\r\nX-Api-Key: alice-key\r\n\r\n"
        )
