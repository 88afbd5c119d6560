"""
Tests for L{llmux.web.resource}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from llmux.config import Alias, ApiKey, Limits
from llmux.test._memory import MemoryCase, Transport
from llmux.web._plan import Asked
from llmux.web.resource import ProxyResource


class _Control:
    """
    Routes of operators.
    """

    def serves(self, path: bytes) -> bool:
        """
        See L{Control.serves}.
        """
        return path == b"/running" or path.startswith(b"/api/models/unload")

    def serve(self, client: Any, asked: Asked) -> None:
        """
        See L{Control.serve}.
        """
        client.head(200, b"", [], 0)
        client.finish()


class ResourceTests(MemoryCase):
    """
    Tests for L{ProxyResource}, in a plain site.
    """

    def setUp(self) -> None:
        """
        Two models, one with a name that has a slash and with an alias.
        """
        self.start(models={"z": {}, "org/a": {"aliases": ("gpt",)}})
        self.fails: Exception | None = None
        self.resource = ProxyResource(self.context, self.metricsText, created=7)

    def metricsText(self) -> tuple[bytes, bytes]:
        """
        The metrics.
        """
        if self.fails is not None:
            raise self.fails
        return b"up 1\n", b"text/plain"

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes = b"",
        root: Any = None,
        key: str = "",
    ) -> tuple[int, dict[str, str], bytes]:
        """
        Send a request.

        @return: status, headers and body of the response.
        """
        site: Any = Site(root or self.resource, reactor=self.clock)
        channel = site.buildProtocol(None)
        self.transport = StringTransport()
        channel.makeConnection(self.transport)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
        if key:
            head += f"\r\nX-Api-Key: {key}"
        channel.dataReceived(head.encode("ascii") + b"\r\n\r\n" + body)
        said, _, answered = self.transport.value().partition(b"\r\n\r\n")
        if not said:
            return 0, {}, b""
        first, *lines = said.decode("ascii").split("\r\n")
        return int(first.split()[1]), dict(s.split(": ", 1) for s in lines), answered

    def code(self, path: str, **request: Any) -> tuple[int, str]:
        """
        Send a request that fails.

        @return: the status and the code.
        """
        status, headers, body = self.ask(path, **request)
        self.assertTrue(headers["X-Request-Id"])
        return status, json.loads(body)["error"]["code"]

    def test_interface(self) -> None:
        """
        It is a resource, without children.
        """
        self.assertTrue(verifyObject(IResource, self.resource))
        self.assertIs(self.resource.getChildWithDefault(b"x", None), self.resource)
        with self.assertRaises(NotImplementedError):
            self.resource.putChild(b"x", Resource())

    def test_tunnel(self) -> None:
        """
        In a plain site, too, a WebSocket becomes a tunnel, which holds its
        model and loses nothing that was sent early.
        """
        self.start()
        site: Any = Site(ProxyResource(self.context), reactor=self.clock)
        channel = site.buildProtocol(None)
        transport = Transport()
        channel.makeConnection(transport)
        channel.dataReceived(
            b"GET /x?model=a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\nearly"
        )
        server = self.servers.accept()
        server.transport.clear()
        server.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\n\r\nhi"
        )
        head, _, said = transport.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "))
        self.assertEqual((said, server.received), (b"hi", b"early"))
        self.assertIsNotNone(transport.producer)
        channel.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(server.received, b"earlyGET / HTTP/1.1\r\n\r\n")
        self.assertEqual(self.inFlight(), 1)
        channel.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(server.transport.aborting)
        server.lose()
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual([one[:2] for one in self.metrics.finished], [("a", 101)])
        self.clock.advance(1000)

    def test_models(self) -> None:
        """
        All names and aliases are listed, sorted.
        """
        for path in ("/v1/models", "/v1/models/", "/v1/models?limit=2"):
            status, headers, body = self.ask(path)
            self.assertEqual(status, 200)
            self.assertEqual(headers["Content-Type"], "application/json")
            self.assertTrue(headers["X-Request-Id"])
            listed = json.loads(body)
            self.assertEqual(listed["object"], "list")
            self.assertEqual([m["id"] for m in listed["data"]], ["gpt", "org/a", "z"])

    def test_model(self) -> None:
        """
        One can be asked for, also by an alias, and if its name has a slash.
        """
        for path, name in (
            ("z", "z"),
            ("gpt", "gpt"),
            ("org/a", "org/a"),
            ("org%2Fa", "org/a"),
        ):
            status, _, body = self.ask(f"/v1/models/{path}")
            self.assertEqual(status, 200)
            self.assertEqual(
                json.loads(body),
                {
                    "id": name,
                    "object": "model",
                    "created": 7,
                    "owned_by": "llmux",
                    "state": "asleep",
                },
            )
        self.assertEqual(self.code("/v1/models/x"), (404, "model_not_found"))

    def test_described(self) -> None:
        """
        What the configuration says of models is passed on, with what they are
        doing now; names that are not to be listed are not, but can be asked
        for.
        """
        self.start(
            models={
                "a": {
                    "description": "Large",
                    "context_length": 4096,
                    "capabilities": ("vision",),
                    "metadata": {"max_model_len": 4096, "meta": {"n": [1]}},
                    "aliases": (
                        Alias("a:new", description="Larger"),
                        Alias("a:old", unlisted=True),
                    ),
                },
                "b": {"unlisted": True, "aliases": ("bee",)},
            },
        )
        self.resource = ProxyResource(self.context, created=7)
        listed = json.loads(self.ask("/v1/models")[2])["data"]
        self.assertEqual([one["id"] for one in listed], ["a", "a:new", "bee"])
        self.assertEqual(
            listed[0],
            {
                "id": "a",
                "object": "model",
                "created": 7,
                "owned_by": "llmux",
                "state": "awake",
                "description": "Large",
                "context_length": 4096,
                "capabilities": ["vision"],
                "max_model_len": 4096,
                "meta": {"n": [1]},
            },
        )
        self.assertEqual(listed[1]["description"], "Larger")
        self.assertEqual(listed[1]["context_length"], 4096)
        self.assertEqual(listed[2]["state"], "asleep")
        for name, description in (("a:old", "Large"), ("a:new", "Larger")):
            one = json.loads(self.ask(f"/v1/models/{name}")[2])
            self.assertEqual((one["id"], one["description"]), (name, description))
        self.assertEqual(json.loads(self.ask("/v1/models/b")[2])["id"], "b")

    def test_health(self) -> None:
        """
        It says that it is up.
        """
        self.assertEqual(self.ask("/health")[0], 200)

    def test_metrics(self) -> None:
        """
        Metrics are whatever they are made to be, if there are any.
        """
        status, headers, body = self.ask("/metrics")
        self.assertEqual((status, body), (200, b"up 1\n"))
        self.assertEqual(headers["Content-Type"], "text/plain")
        self.resource = ProxyResource(self.context)
        self.assertEqual(self.code("/metrics"), (404, "not_found"))

    def test_metricsFail(self) -> None:
        """
        If they cannot be made, that is a 500 and logged.
        """
        self.fails = RuntimeError("a secret")
        self.assertEqual(self.code("/metrics"), (500, "internal_error"))
        self.assertNotIn(b"secret", self.transport.value())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_keys(self) -> None:
        """
        Own routes are for those with a key, some for those whose key is for
        that, and C{/health} and the page, which shows nothing by itself, are
        for all.
        """
        keys = (
            ApiKey("user", "u", models=("z",)),
            ApiKey("monitor", "m", metrics=True),
            ApiKey("operator", "o", operator=True),
        )
        self.start(
            models={"z": {}, "org/a": {"aliases": ("gpt",)}},
            api_keys={key.name: key for key in keys},
        )
        control: Any = _Control()
        self.resource = ProxyResource(self.context, self.metricsText, control=control)
        self.assertEqual(self.ask("/health")[0], 200)
        for page in ("/llmux", "/llmux/", "/llmux/page.js", "/llmux/page.css"):
            self.assertNotEqual(self.ask(page)[0], 401)
        self.assertEqual(len(json.loads(self.ask("/v1/models", key="u")[2])["data"]), 1)
        self.assertEqual(len(json.loads(self.ask("/v1/models", key="m")[2])["data"]), 3)
        for path, allowed in (
            ("/v1/models", "umo"),
            ("/v1/models/z", "umo"),
            ("/metrics", "mo"),
            ("/llmux/status", "o"),
            ("/llmux/x", "o"),
            ("/running", "o"),
            ("/api/models/unload", "o"),
            ("/api/models/unload/z", "o"),
        ):
            self.assertEqual(self.code(path), (401, "invalid_api_key"), path)
            for key in "umo":
                status, _, body = self.ask(path, key=key)
                refused = status == 403 and b'"permission_denied"' in body
                self.assertEqual(refused, key not in allowed, (path, key))

    def test_control(self) -> None:
        """
        There is nothing yet for control, and it is not passed on.
        """
        for path in ("/llmux", "/llmux/", "/llmux/x?model=z"):
            self.assertEqual(self.code(path, body=b'{"model": "z"}')[1], "not_found")

    def test_onlyRead(self) -> None:
        """
        Own routes can only be read, and do not look into a body for a model.
        """
        for path in (
            "/v1/models",
            "/v1/models/z",
            "/v1/models/none",
            "/health",
            "/metrics",
        ):
            for method in ("POST", "DELETE", "OPTIONS"):
                answer = self.code(path, method=method, body=b'{"model": "z"}')
                self.assertEqual(answer, (405, "method_not_allowed"))
                self.assertIn(b"\r\nAllow: GET, HEAD\r\n", self.transport.value())
        self.assertEqual(self.servers.connections, [])

    def test_head(self) -> None:
        """
        C{HEAD} gets the head that C{GET} gets.
        """
        _, expected, _ = self.ask("/v1/models")
        status, headers, body = self.ask("/v1/models", method="HEAD")
        self.assertEqual((status, body), (200, b""))
        self.assertEqual(headers["Content-Length"], expected["Content-Length"])

    def test_exchange(self) -> None:
        """
        All else is for the models.
        """
        self.hooks.awake.add("z")
        self.ask("/modelsx?model=z")
        self.assertEqual(self.waiting("z") + self.inFlight("z"), 1)
        self.assertEqual(self.code("/x"), (404, "not_found"))
        self.assertEqual(self.code("/x", method="OPTIONS"), (404, "not_found"))

    def test_prefix(self) -> None:
        """
        Below a prefix it is what it is at the root.
        """
        root = Resource()
        root.putChild(b"llm", ProxyResource(self.context, prefix=b"/llm/"))
        self.assertEqual(self.ask("/llm/v1/models", root=root)[0], 200)
        self.assertEqual(self.ask("/llm/health", root=root)[0], 200)

    def test_v1(self) -> None:
        """
        Below C{/v1} of another's site nothing is taken off.
        """
        root = Resource()
        root.putChild(b"v1", self.resource)
        self.assertEqual(self.ask("/v1/models/org/a", root=root)[0], 200)

    def test_tooLarge(self) -> None:
        """
        A body that another's site let in is refused if it is too large.
        """
        self.start(models={"z": {}}, limits=Limits(body_mb=1 / 1024))
        self.resource = ProxyResource(self.context)
        answer = self.code("/v1/x", method="POST", body=bytes(1025))
        self.assertEqual(answer, (413, "body_too_large"))
