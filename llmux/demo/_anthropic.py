# -*- test-case-name: llmux.test.test_demo -*-
"""
Answers in the shape of Anthropic's API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from llmux.demo._answers import Answer, BadRequest, encode, event, limit
from llmux.demo._behaviour import Behaviour
from llmux.demo._text import countTokens, digest, tokens

ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def messages(model: str, request: Mapping[str, Any], behaviour: Behaviour) -> Answer:
    """
    C{/v1/messages}.
    """
    prompt = request.get("messages")
    if prompt is None:
        raise BadRequest("messages is missing")
    if "max_tokens" not in request:
        raise BadRequest("max_tokens is missing")
    length, cut = limit(request, behaviour.tokens, "max_tokens")
    why = "max_tokens" if cut else "end_turn"
    seed = behaviour.seed
    words = (
        word.ljust(behaviour.tokenBytes, ".")
        for word in islice(tokens(model, prompt, seed), length)
    )
    message: dict[str, Any] = {
        "id": "msg_" + digest(model, prompt, seed, length, size=12).hex(),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": countTokens(prompt), "output_tokens": 1},
    }
    if request.get("stream"):
        return Answer(events=_events(message, words, why, length))
    message["content"] = [{"type": "text", "text": "".join(words)}]
    message["stop_reason"] = why
    message["usage"]["output_tokens"] = length
    return Answer(encode(message), tokens=length)


def _events(
    message: Mapping[str, Any], words: Iterator[str], why: str, length: int
) -> Iterator[bytes]:
    def named(kind: str, **rest: object) -> bytes:
        return event({"type": kind, **rest}, kind)

    yield named("message_start", message=message)
    block = {"type": "text", "text": ""}
    yield named("content_block_start", index=0, content_block=block)
    yield named("ping")
    for word in words:
        delta = {"type": "text_delta", "text": word}
        yield named("content_block_delta", index=0, delta=delta)
    yield named("content_block_stop", index=0)
    ending = {"stop_reason": why, "stop_sequence": None}
    yield named("message_delta", delta=ending, usage={"output_tokens": length})
    yield named("message_stop")


def countRequest(
    model: str, request: Mapping[str, Any], behaviour: Behaviour
) -> Answer:
    """
    C{/v1/messages/count_tokens}.
    """
    if request.get("messages") is None:
        raise BadRequest("messages is missing")
    return Answer(encode({"input_tokens": countTokens(request["messages"])}))


def error(status: int, message: str) -> dict[str, Any]:
    """
    An error.
    """
    kind = ERRORS.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}
