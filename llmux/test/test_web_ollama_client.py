"""
Tests for L{llmux.web._ollamaclient}; what it does over real connections is in
L{llmux.test._wire_ollama}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.test._memory import FakeClient
from llmux.web import _ollamaclient
from llmux.web._ollamaanswer import Answering
from llmux.web._ollamaasked import Route, translated
from llmux.web._ollamaclient import OllamaClient
from llmux.web._relay import IClient

JSON = [(b"Content-Type", b"application/json")]


class ClientTests(SynchronousTestCase):
    """
    Tests for L{OllamaClient}.
    """

    def setUp(self) -> None:
        """
        A client that asks in a conversation.
        """
        self.inner = FakeClient()
        self.client = OllamaClient(self.inner)
        self.client.attach(lambda: None)

    def translate(self, **said: Any) -> None:
        """
        Have answers translated.
        """
        asked = translated(Route.CHAT, {"model": "m", **said})
        self.client.answering = Answering(asked, "m", lambda: 0.0)

    def said(self) -> Any:
        """
        What the client got.
        """
        return json.loads(self.body())

    def body(self) -> bytes:
        """
        The body that the client got.
        """
        return b"".join(one for one in self.inner.said if isinstance(one, bytes))

    def status(self) -> int:
        """
        The status that the client got.
        """
        status: int = self.inner.said[0][0]
        return status

    def test_interface(self) -> None:
        """
        It is a client.
        """
        self.assertTrue(verifyObject(IClient, self.client))

    def test_plain(self) -> None:
        """
        What needs no translation is passed on.
        """
        self.client.head(200, b"Fine", JSON, 2)
        self.client.write(b"{}")
        self.client.finish()
        self.assertEqual((self.status(), self.body()), (200, b"{}"))
        self.assertEqual(self.inner.said[-1], "finish")

    def test_error(self) -> None:
        """
        An error has Ollama's shape, and its own headers.
        """
        self.client.head(404, b"", [*JSON, (b"X-Request-Id", b"1")], 5)
        self.client.write(b'{"error": {"mess')
        self.client.write(b'age": "no"}}')
        self.client.finish()
        self.assertEqual(self.said(), {"error": "no"})
        self.assertEqual(self.status(), 404)
        self.assertEqual(self.inner.headers[b"X-Request-Id"], b"1")

    def test_otherError(self) -> None:
        """
        An error that has no such shape is passed on where nothing is
        translated, and replaced where it is.
        """
        self.client.head(500, b"", JSON, 2)
        self.client.write(b"{}")
        self.client.finish()
        self.assertEqual(self.said(), {})
        self.setUp()
        self.translate()
        self.client.head(500, b"", [(b"Content-Type", b"text/html")], 2)
        self.client.write(b"hm")
        self.client.finish()
        self.assertIn("status 500", self.said()["error"])

    def test_compressedError(self) -> None:
        """
        One that is compressed is passed on.
        """
        self.client.head(500, b"", [*JSON, (b"Content-Encoding", b"gzip")], 2)
        self.client.write(b"\x1f\x8b")
        self.assertEqual(self.body(), b"\x1f\x8b")

    def test_tooLong(self) -> None:
        """
        A whole answer that is too long is given up.
        """
        self.patch(_ollamaclient, "LONGEST", 10)
        self.translate(stream=False)
        self.client.head(200, b"", JSON, None)
        self.client.write(b"x" * 11)
        self.client.write(b"{}")
        self.client.finish()
        self.assertEqual(self.status(), 502)
        self.assertIn("too long", self.said()["error"])

    def test_wholeForStream(self) -> None:
        """
        A server that does not stream is forgiven.
        """
        self.translate()
        self.client.head(200, b"", JSON, None)
        self.client.write(b'{"choices": [{"message": {"content": "x"}}]}')
        self.client.finish()
        self.assertEqual(self.said()["message"]["content"], "x")
        self.assertEqual(self.inner.headers[b"Content-Type"], b"application/x-ndjson")

    def test_cutBefore(self) -> None:
        """
        A whole answer that breaks off is an error as a whole.
        """
        self.translate(stream=False)
        self.client.head(200, b"", JSON, 99)
        self.client.write(b"{")
        self.client.cut(b"")
        self.assertEqual(self.status(), 502)
        self.assertIn("broke off", self.said()["error"])
        self.assertEqual(self.inner.said[-1], "finish")

    def test_pressure(self) -> None:
        """
        Producers are the connection's.
        """
        producer = object()
        self.client.registerProducer(producer)  # type: ignore[arg-type]
        self.assertIs(self.inner.producer, producer)
        self.client.unregisterProducer()
        self.assertIsNone(self.inner.producer)
        self.client.abort()
        self.assertEqual(self.inner.said[-1], "abort")
