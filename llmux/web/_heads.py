# -*- test-case-name: llmux.test.test_web_heads -*-
"""
Heads of requests and of responses, read by llhttp.

Of requests only those that are beyond doubt are read: what is taken has to be
valid to L{llmux.web._channel} as well as to llhttp.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from attrs import frozen
from httptools import (
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from llmux.errors import LLMuxError
from llmux.web._channel import isHost
from llmux.web._headers import Pair, requestId

__all__ = ()

#: The longest head that a model's server may send, in bytes: all of its
#: interim responses included.
LONGEST_HEAD = 64 * 1024

statusLine = re.compile(
    rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?\r?\n"
).match
blankLine = re.compile(rb"\n\r?\n").search

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_plainRequest = re.compile(
    rb"(" + _TOKEN + rb") (/[\x21-\x7e]*) HTTP/1\.1\r\n"
    rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n"
).fullmatch

#: Headers of requests that are none for the lane.
_ODD = frozenset({b"expect", b"http2-settings", b"transfer-encoding", b"upgrade"})

#: The beginning that all responses have, and the longest first line of one.
_BEGINNING = b"HTTP/1."
_LONGEST_LINE = 8192

#: How many heads are known again, of each kind, and how long they may be.
KNOWN = 256
LONGEST_KNOWN = 4096

#: What is said of a head that llhttp does not take, or that is ambiguous.
_NO_HEAD = "broke off in the head of its answer, or it was not HTTP"

#: The first length that a head says.
_length = re.compile(
    rb"\n(?i:content-length)[ \t]*:[ \t]*([0-9]{1,18})[ \t]*\r?\n"
).search

_lineEnd = re.compile(rb"\r?\n(?:[ \t]+)?")

#: What begins like the rest of a folded line, where none can be.
_foldedStatus = re.compile(rb"[^\n]*\n[ \t]").match


class _Headers:
    # What llhttp finds.

    __slots__ = ("pairs", "phrase")

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.phrase = b""

    def on_status(self, phrase: bytes) -> None:
        self.phrase = phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value.strip(b" \t")))


@frozen(eq=False)
class RequestHead:
    """
    The head of a request, but for the length of its body.

    @ivar headers: without C{Content-Length}.
    @ivar closes: whether the connection is to be closed after the response.
    @ivar requestId: that of the client, if it has a good one.
    """

    method: bytes
    target: bytes
    path: bytes
    headers: tuple[Pair, ...]
    closes: bool
    requestId: bytes


def readRequest(data: bytes, limit: int) -> tuple[RequestHead, int, int] | None:
    """
    Read the head of a request.

    @param data: what begins with one.
    @param limit: its greatest length in bytes.
    @return: the head, its size and the length of the body that follows;
        L{None} if it is not complete, or in any way out of the ordinary.
    """
    size = data.find(b"\r\n\r\n") + 4
    if not 4 <= size <= limit:
        return None
    text, length = _withoutLength(data[:size])
    read = _knownRequest if size <= LONGEST_KNOWN else _readRequest
    head = read(text)
    return None if head is None else (head, size, length or 0)


def _withoutLength(head: bytes) -> tuple[bytes, int | None]:
    # Clients and servers send the same heads again and again, but for this.
    # There may be further lengths: then the head is refused, whatever they
    # say.
    found = _length(head)
    if found is None:
        return head, None
    start, end = found.span(1)
    return head[:start] + b"0" + head[end:], int(found[1])


def _readRequest(text: bytes) -> RequestHead | None:
    first = _plainRequest(text)
    if first is None:
        return None
    found = _Headers()
    try:
        HttpRequestParser(found).feed_data(text)
    except (HttpParserError, HttpParserUpgrade):
        return None
    values: dict[bytes, list[bytes]] = {}
    for name, value in found.pairs:
        values.setdefault(name.lower(), []).append(value)
    if not _ODD.isdisjoint(values):
        return None
    hosts = values.get(b"host", ())
    if len(hosts) != 1 or isHost(hosts[0]) is None:
        return None
    if values.get(b"content-length", [b"0"]) != [b"0"]:
        return None
    connection = [value.lower() for value in values.get(b"connection", ())]
    if connection not in ([], [b"close"], [b"keep-alive"]):
        return None
    pairs = tuple(pair for pair in found.pairs if pair[0].lower() != b"content-length")
    target = first[2]
    return RequestHead(
        first[1],
        target,
        target.partition(b"?")[0],
        pairs,
        connection == [b"close"],
        requestId(pairs, lambda: b""),
    )


_knownRequest = lru_cache(KNOWN)(_readRequest)


class BadResponse(LLMuxError):
    """
    What a model's server sends is no response.  Says what it did.
    """


@frozen(eq=False)
class ResponseHead:
    """
    The head of a response.

    @ivar hasLength: whether the length of the body is said.
    @ivar isChunked: whether the body is chunked.
    @ivar keeps: whether the connection may be used again.
    """

    status: int
    phrase: bytes
    headers: tuple[Pair, ...]
    hasLength: bool
    isChunked: bool
    keeps: bool


def readResponse(data: bytes) -> tuple[ResponseHead, int, int | None] | None:
    """
    Read the head of a response.

    @param data: what begins with one, or with interim responses.
    @return: the head, its size with the interim responses before it, and the
        length of the body, if it is said; L{None} if it is not complete.
    @raise BadResponse: if it is no response, or never complete.
    """
    start = 0
    while True:
        line = statusLine(data, start)
        end = None if line is None else blankLine(data, line.end() - 1)
        if line is None or end is None:
            _judge(data[start:], line is not None)
            if len(data) > LONGEST_HEAD:
                raise BadResponse("sent a head that is too long")
            return None
        if line[1][:1] != b"1":
            break
        if line[1] == b"101":
            raise BadResponse("changed the protocol without being asked")
        # An interim response concerns this connection only.
        start = end.end()
    size = end.end()
    if size > LONGEST_HEAD:
        raise BadResponse("sent a head that is too long")
    text, length = _withoutLength(data[start:size])
    read = _knownResponse if len(text) <= LONGEST_KNOWN else _readResponse
    head = read(text)
    return head, size, length if head.hasLength else None


def _judge(data: bytes, hasLine: bool) -> None:
    # The start of a head, which may be completed or be none.
    begins = data.startswith(_BEGINNING[: len(data)])
    if not begins or (not hasLine and (b"\n" in data or len(data) > _LONGEST_LINE)):
        raise BadResponse("answered with something that is not HTTP")


def _parsed(head: bytes) -> _Headers:
    found = _Headers()
    try:
        HttpResponseParser(found).feed_data(head)
    except (HttpParserError, HttpParserUpgrade):
        # Servers may fold lines, and end them as they like.
        found = _Headers()
        try:
            HttpResponseParser(found).feed_data(unfolded(head))
        except (HttpParserError, HttpParserUpgrade):
            raise BadResponse(_NO_HEAD) from None
    return found


def unfolded(head: bytes) -> bytes:
    """
    A head each of whose headers is in one line.
    """
    return _lineEnd.sub(_joined, head)


def _joined(end: Any) -> bytes:
    return b"\r\n" if end[0].endswith(b"\n") else b" "


def _readResponse(text: bytes) -> ResponseHead:
    if _foldedStatus(text) is not None:
        # Some take it for more of the status line, others for a header.
        raise BadResponse(_NO_HEAD)
    found = _parsed(text)
    hasLength, isChunked, keeps = False, False, text[7:8] == b"1"
    for name, value in found.pairs:
        name = name.lower()
        if name == b"content-length":
            if value != b"0" or hasLength:
                raise BadResponse(_NO_HEAD)
            hasLength = True
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked" or isChunked:
                raise BadResponse(_NO_HEAD)
            isChunked = True
        elif name == b"connection":
            words = [word.strip(b" \t") for word in value.lower().split(b",")]
            keeps = b"close" not in words and (keeps or b"keep-alive" in words)
    return ResponseHead(
        int(text[9:12]),
        found.phrase,
        tuple(found.pairs),
        hasLength,
        isChunked,
        keeps,
    )


_knownResponse = lru_cache(KNOWN)(_readResponse)
