# -*- test-case-name: llmux.test.test_web_control -*-
"""
A client in memory, for tests of what the web rooms send.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

from attrs import define, field
from zope.interface import implementer

from llmux.web._headers import Pair
from llmux.web._plan import Asked
from llmux.web._relay import IClient, withMore


def ask(method: bytes, target: bytes, *headers: Pair, body: bytes = b"") -> Asked:
    """
    A request.
    """
    given = [(b"Host", b"127.0.0.1:3000"), *headers]
    return Asked(
        method,
        target,
        given,
        BytesIO(body),
        len(body),
        b"127.0.0.1",
        b"http",
        b"1.1",
        b"id-1",
    )


@implementer(IClient)
@define(eq=False)
class FakeClient:
    """
    Takes note of what it is sent.
    """

    status: int = 0
    headers: dict[bytes, bytes] = field(factory=dict)
    length: int | None = None
    added: list[Pair] = field(factory=list)
    body: bytes = b""
    ended: str = ""
    producer: Any = None
    over: Callable[[], None] | None = None

    def attach(self, over: Callable[[], None]) -> None:
        """
        See L{IClient.attach}.
        """
        assert self.over is None, "attached twice"
        self.over = over

    def add(self, headers: list[Pair]) -> None:
        """
        See L{IClient.add}.
        """
        self.added += headers

    def head(
        self, status: int, phrase: bytes, headers: list[Pair], length: int | None
    ) -> None:
        """
        See L{IClient.head}.
        """
        assert not self.status, "two heads"
        self.status, self.length = status, length
        self.headers = dict(withMore(headers, self.added))

    def write(self, data: bytes) -> None:
        """
        See L{IClient.write}.
        """
        assert not self.ended, "written after the end"
        self.body += data

    def finish(self) -> None:
        """
        See L{IClient.finish}.
        """
        assert self.producer is None, "finished with a producer"
        self._end("finished")

    def cut(self, last: bytes) -> None:
        """
        See L{IClient.cut}.
        """
        self._end("cut")

    def abort(self) -> None:
        """
        See L{IClient.abort}.
        """
        self._end("aborted")

    def leave(self) -> None:
        """
        Be gone, by no will of the server's.
        """
        self._end("left")

    def registerProducer(self, producer: Any) -> None:
        """
        See L{IClient.registerProducer}.
        """
        self.producer = producer

    def unregisterProducer(self) -> None:
        """
        See L{IClient.unregisterProducer}.
        """
        self.producer = None

    def _end(self, how: str) -> None:
        assert not self.ended, "ended twice"
        self.ended = how
        assert self.over is not None
        self.over()

    def json(self) -> Any:
        """
        The body, as Python sees the JSON.
        """
        return json.loads(self.body)

    def code(self) -> str:
        """
        C{error.code} of the envelope.
        """
        return str(self.json()["error"]["code"])
