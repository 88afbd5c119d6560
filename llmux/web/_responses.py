# -*- test-case-name: llmux.test.test_exchange -*-
"""
Responses: llmux's own, and what can be told of those of models' servers.
"""

from __future__ import annotations

from typing import Any

from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from llmux.web._answer import Answer
from llmux.web._headers import Pair

__all__ = ()


def sendAnswer(client: Any, answer: Answer, requestId: bytes) -> int:
    """
    Send the whole response that says that a request failed.

    @param client: provides L{IClient}.
    @return: the bytes of its body.
    """
    body = answer.body()
    headers = [
        (b"Content-Type", b"application/json"),
        (b"X-Request-Id", requestId),
        *answer.headers,
    ]
    client.head(answer.status, b"", headers, len(body))
    client.write(body)
    client.finish()
    return len(body)


def headersOf(response: IResponse) -> list[Pair]:
    """
    The headers of a response, in a row.
    """
    return [
        (name, value)
        for name, values in response.headers.getAllRawHeaders()
        for value in values
    ]


def lengthOf(response: IResponse, method: bytes) -> int | None:
    """
    The length that the response's head says, if it does.
    """
    if method == b"HEAD":
        given = response.headers.getRawHeaders(b"Content-Length", [b""])[0]
        return int(given) if given.isdigit() else None
    if response.code in (204, 304) or response.length is UNKNOWN_LENGTH:
        return None
    length: int = response.length
    return length
