# -*- test-case-name: llmux.test.test_demo -*-
"""
What an answer is made of, whichever API it is for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen


class BadRequest(ValueError):
    """
    A request that makes no sense; its text is for the client.
    """


@frozen
class Answer:
    """
    What to send.

    @ivar body: the whole answer, if it is not a stream.
    @ivar events: server-sent events, framed, if it is one.
    @ivar tokens: how many tokens it took to think of C{body}.
    """

    body: bytes = b""
    events: Iterator[bytes] | None = None
    tokens: int = 0


def encode(value: object) -> bytes:
    """
    JSON as servers write it: without needless spaces.
    """
    return json.dumps(value, separators=(",", ":")).encode()


def event(data: object, name: str = "") -> bytes:
    """
    One server-sent event.
    """
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + encode(data) + b"\n\n"


def parse(body: bytes) -> dict[str, Any]:
    """
    @raise BadRequest: if the body is not a JSON object.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object")
    return value


def limit(request: Mapping[str, Any], most: int, *names: str) -> tuple[int, bool]:
    """
    How long an answer may be.

    @param most: how many tokens the toy would say of its own accord.

    @param names: fields of the request that may bound it, the first one that
        is there counts.

    @return: the number of tokens, and whether the request bounded it.

    @raise BadRequest: if the bound is not a whole number above 0.
    """
    for name in names:
        value = request.get(name)
        if value is not None:
            if type(value) is not int or value < 1:
                raise BadRequest(f"{name} must be a whole number above 0")
            return min(value, most), value < most
    return most, False
