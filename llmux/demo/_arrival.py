# -*- test-case-name: llmux.test.test_demo -*-
"""
How the toy takes requests in.
"""

from __future__ import annotations

from hashlib import sha256
from typing import IO, Any, cast

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartParser,
    parse_options_header,
)
from twisted.web.server import Request

from llmux.demo._answers import BadRequest
from llmux.demo._journal import Entry


def hexDigest(data: bytes) -> str:
    """
    SHA-256, as C{sha256sum} writes it.
    """
    return sha256(data).hexdigest()


class DemoRequest(Request):
    """
    A request that is noticed as soon as its head is there.

    @ivar entry: its line in the journal.
    """

    entry: Entry

    @property
    def _demo(self) -> Any:
        return cast(Any, self.channel).site.resource

    def gotLength(self, length: int | None) -> None:
        """
        The head is complete.
        """
        super().gotLength(length)  # type: ignore[no-untyped-call]
        self.entry = self._demo.opened()

    def handleContentChunk(self, data: bytes) -> None:
        """
        A part of the body has come.
        """
        super().handleContentChunk(data)  # type: ignore[no-untyped-call]
        if self._demo.state == "asleep":
            self.entry.asleep_bytes += len(data)
            # Summed up too, since a body that never ends gets no entry.
            self._demo.journal.counts["asleep_bytes"] += len(data)

    def describe(self) -> bytes:
        """
        Write down what has arrived.

        @return: the body.
        """
        assert self.content is not None
        body: bytes = self.content.read()
        self.content.seek(0)
        entry = self.entry
        entry.method = self.method.decode("ascii", "replace")
        entry.path = self.uri.decode("utf-8", "replace")
        entry.headers = {
            name.decode("ascii").lower(): [
                value.decode("utf-8", "replace") for value in values
            ]
            for name, values in self.requestHeaders.getAllRawHeaders()
        }
        entry.request_id = entry.headers.get("x-request-id", [None])[0]
        entry.bytes = len(body)
        entry.sha256 = hexDigest(body)
        return body


def heard(content: IO[bytes], contentType: str) -> tuple[str | None, bytes]:
    """
    Take a form with a sound file apart.

    @return: the model that it names, and the sound.

    @raise BadRequest: if it is not such a form.
    """
    kind, options = parse_options_header(contentType)
    if kind != "multipart/form-data" or "boundary" not in options:
        raise BadRequest("the body is not multipart/form-data")
    try:
        parts = MultipartParser(content, options["boundary"], disk_limit=2**40).parts()
    except MultipartError as wrong:
        raise BadRequest(f"the form is broken: {wrong}") from None
    files = [part for part in parts if part.name == "file"]
    models = [part.value for part in parts if part.name == "model"]
    if not files:
        raise BadRequest("file is missing")
    return (models[0] if models else None), files[0].raw
