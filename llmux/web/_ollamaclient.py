# -*- test-case-name: llmux.test.test_web_ollama_client,llmux.test.test_wire -*-
"""
Clients that speak Ollama's API, as an exchange sees them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from llmux.web._headers import Pair, isPlainEventStream
from llmux.web._ollamaanswer import UNFINISHED, Answering, Broken, errorIn
from llmux.web._ollamaasked import inJSON
from llmux.web._relay import IClient

__all__ = ()

#: The longest answer that is translated as a whole, in bytes.
LONGEST = 64 * 1024 * 1024

_LINES: Pair = (b"Content-Type", b"application/x-ndjson")
_WHOLE: Pair = (b"Content-Type", b"application/json; charset=utf-8")

#: Headers that are of the body as it came.
_OF_BODY = frozenset({b"content-type", b"content-encoding", b"content-md5", b"digest"})


@implementer(IClient)
class OllamaClient:
    """
    Gives a client what it gets in the words of Ollama's API: answers, if
    something is set to translate them, and errors in any case.

    @ivar answering: translates the answer; L{None} if there is no need.
    """

    answering: Answering | None = None
    _status = 200
    _phrase = b""
    _headers: list[Pair]
    # What is kept of a body that is translated as a whole.
    _kept: list[bytes] | None = None
    _size = 0
    _hasLines = False
    _isTranslated = False
    _last = b"\n"

    def __init__(self, client: Any) -> None:
        """
        @param client: provides L{IClient}.
        """
        self._client = client

    def attach(self, over: Callable[[], None]) -> None:
        """
        See L{IClient.attach}.
        """
        self._client.attach(over)

    def add(self, headers: list[Pair]) -> None:
        """
        See L{IClient.add}.
        """
        self._client.add(headers)

    def head(
        self, status: int, phrase: bytes, headers: list[Pair], length: int | None
    ) -> None:
        """
        See L{IClient.head}.
        """
        kind = b"".join(v for n, v in headers if n.lower() == b"content-type").lower()
        isError = (
            status >= 400
            and kind.startswith(b"application/json")
            and not any(name.lower() == b"content-encoding" for name, _ in headers)
        )
        if self.answering is None and not isError:
            self._hasLines = kind.startswith(b"application/x-ndjson")
            self._client.head(status, phrase, headers, length)
            return
        self._status, self._phrase = status, phrase
        self._headers = [pair for pair in headers if pair[0].lower() not in _OF_BODY]
        if status < 300 and length is None and isPlainEventStream(headers):
            self._hasLines = self._isTranslated = True
            self._client.head(status, phrase, [*self._headers, _LINES], None)
        else:
            self._kept = []

    def write(self, data: bytes) -> None:
        """
        See L{IClient.write}.
        """
        if self._kept is not None:
            self._size += len(data)
            if self._size <= LONGEST:
                self._kept.append(data)
            else:
                self._kept.clear()
            return
        if self._isTranslated:
            assert self.answering is not None
            data = self.answering.feed(data)
        if data:
            self._last = data[-1:]
            self._client.write(data)

    def finish(self) -> None:
        """
        See L{IClient.finish}.
        """
        if self._kept is not None:
            self._say(*self._whole(b"".join(self._kept)))
            return
        if self._isTranslated:
            assert self.answering is not None
            wasDone = self.answering.isDone
            last = self.answering.end()
            if not wasDone and self.answering.isBroken:
                self._client.cut(last)
                return
            if last:
                self._client.write(last)
        self._client.finish()

    def cut(self, last: bytes) -> None:
        """
        See L{IClient.cut}.
        """
        if self._kept is not None:
            # Nothing has been said yet.
            self._say(502, inJSON({"error": UNFINISHED}))
            return
        if self._isTranslated:
            assert self.answering is not None
            last = self.answering.feed(last) + self.answering.broken(UNFINISHED)
        elif self._hasLines:
            line = b"" if self._last == b"\n" else b"\n"
            last = line + inJSON({"error": UNFINISHED})
        self._client.cut(last)

    def abort(self) -> None:
        """
        See L{IClient.abort}.
        """
        self._client.abort()

    def registerProducer(self, producer: IPushProducer) -> None:
        """
        See L{IClient.registerProducer}.
        """
        self._client.registerProducer(producer)

    def unregisterProducer(self) -> None:
        """
        See L{IClient.unregisterProducer}.
        """
        self._client.unregisterProducer()

    def _whole(self, body: bytes) -> tuple[int, bytes]:
        status = self._status
        if status >= 300:
            words = errorIn(body)
            if words is None and (self.answering is not None or not body):
                words = f"the model's server answered with status {status}"
            return status, body if words is None else inJSON({"error": words})
        assert self.answering is not None
        try:
            if self._size > LONGEST:
                raise Broken("the answer of the model's server is too long")
            return status, self.answering.whole(body)
        except Broken as error:
            return 502, inJSON({"error": str(error)})

    def _say(self, status: int, body: bytes) -> None:
        self._kept = None
        answering = self.answering
        isLines = status < 300 and answering is not None and answering.isStream
        headers = [*self._headers, _LINES if isLines else _WHOLE]
        phrase = self._phrase if status == self._status else b""
        self._client.head(status, phrase, headers, len(body))
        self._client.write(body)
        self._client.finish()
