# -*- test-case-name: llmux.test.test_lane -*-
"""
Heads of requests and of responses, read by llhttp.

Of requests only those that are beyond doubt are read: what is taken has to be
valid to L{llmux.web._channel} as well as to llhttp.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import define, frozen
from httptools import HttpParserError, HttpRequestParser, HttpResponseParser

from llmux.errors import LLMuxError
from llmux.web._channel import isHost
from llmux.web._guard import LONGEST_HEAD, blankLine, statusLine
from llmux.web._headers import Pair

__all__ = ()

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_plainRequest = re.compile(
    rb"(" + _TOKEN + rb") (/[\x21-\x7e]*) HTTP/1\.1\r\n"
    rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n"
).match

#: Headers of requests that are none for the lane.
_ODD = frozenset({b"expect", b"http2-settings", b"transfer-encoding", b"upgrade"})

#: The beginning that all responses have, and the longest first line of one.
_BEGINNING = b"HTTP/1."
_LONGEST_LINE = 8192

_lineEnd = re.compile(rb"\r?\n(?:[ \t]+)?")


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


@define(eq=False)
class RequestHead:
    """
    The head of a request.

    @ivar length: the length of the body that follows.
    @ivar closes: whether the connection is to be closed after the response.
    @ivar size: the length of the head itself.
    """

    method: bytes
    target: bytes
    headers: list[Pair]
    length: int
    closes: bool
    size: int


def readRequest(data: bytes, limit: int) -> RequestHead | None:
    """
    Read the head of a request.

    @param data: what begins with one.
    @param limit: its greatest length in bytes.
    @return: L{None} if it is not complete, or in any way out of the ordinary.
    """
    head = _plainRequest(data)
    if head is None or head.end() > limit:
        return None
    found = _Headers()
    try:
        HttpRequestParser(found).feed_data(head[0])
    except HttpParserError:
        return None
    pairs = found.pairs
    names = [name.lower() for name, _ in pairs]
    if not _ODD.isdisjoint(names) or names.count(b"host") != 1:
        return None
    if isHost(pairs[names.index(b"host")][1]) is None:
        return None
    length, closes = 0, False
    if b"content-length" in names:
        value = pairs[names.index(b"content-length")][1]
        if names.count(b"content-length") > 1 or not value.isdigit() or len(value) > 9:
            return None
        length = int(value)
    if b"connection" in names:
        value = pairs[names.index(b"connection")][1].lower()
        if names.count(b"connection") > 1 or value not in (b"close", b"keep-alive"):
            return None
        closes = value == b"close"
    return RequestHead(head[1], head[2], pairs, length, closes, head.end())


class BadResponse(LLMuxError):
    """
    What a model's server sends is no response.  Says what it did.
    """


@frozen(eq=False)
class ResponseHead:
    """
    The head of a response.

    @ivar length: the length of the body, if it is said.
    @ivar isChunked: whether the body is chunked.
    @ivar keeps: whether the connection may be used again.
    @ivar size: the length of the head, with the interim responses before it.
    """

    status: int
    phrase: bytes
    headers: list[Pair]
    length: int | None
    isChunked: bool
    keeps: bool
    size: int

    def header(self, name: bytes) -> bytes:
        """
        The first header of a name, or the empty string.

        @param name: in lower case.
        """
        for given, value in self.headers:
            if given.lower() == name:
                return value
        return b""


def readResponse(data: bytes) -> ResponseHead | None:
    """
    Read the head of a response.

    @param data: what begins with one, or with interim responses.
    @return: L{None} if it is not complete.
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
    if end.end() > LONGEST_HEAD:
        raise BadResponse("sent a head that is too long")
    found = _parsed(data[start : end.end()])
    return _read(int(line[1]), data[start + 7 : start + 8], found, end.end())


def _judge(data: bytes, hasLine: bool) -> None:
    # The start of a head, which may be completed or be none.
    begins = data.startswith(_BEGINNING[: len(data)])
    if not begins or (not hasLine and (b"\n" in data or len(data) > _LONGEST_LINE)):
        raise BadResponse("answered with something that is not HTTP")


def _parsed(head: bytes) -> _Headers:
    found = _Headers()
    try:
        HttpResponseParser(found).feed_data(head)
    except HttpParserError:
        # Servers may fold lines, and end them as they like.
        found = _Headers()
        try:
            HttpResponseParser(found).feed_data(_lineEnd.sub(_unfolded, head))
        except HttpParserError:
            raise BadResponse(
                "broke off in the head of its answer, or it was not HTTP"
            ) from None
    return found


def _unfolded(end: Any) -> bytes:
    return b"\r\n" if end[0].endswith(b"\n") else b" "


def _read(status: int, minor: bytes, found: _Headers, size: int) -> ResponseHead:
    length: int | None = None
    isChunked, keeps = False, minor == b"1"
    for name, value in found.pairs:
        name = name.lower()
        if name == b"content-length":
            if not value.isdigit() or length is not None:
                raise BadResponse("sent a head that is not valid")
            length = int(value)
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked" or isChunked:
                raise BadResponse("sent a head that is not valid")
            isChunked = True
        elif name == b"connection":
            words = [word.strip(b" \t") for word in value.lower().split(b",")]
            keeps = b"close" not in words and (keeps or b"keep-alive" in words)
    return ResponseHead(
        status, found.phrase, found.pairs, length, isChunked, keeps, size
    )
