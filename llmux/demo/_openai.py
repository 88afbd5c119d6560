# -*- test-case-name: llmux.test.test_demo -*-
"""
Answers in the shape of OpenAI's API.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from struct import pack
from typing import Any

from attrs import frozen

from llmux.demo._answers import Answer, BadRequest, encode, event, limit
from llmux.demo._behaviour import Behaviour
from llmux.demo._text import countTokens, digest, tokens, vector

#: Answers to one request are the same bytes at any time, so they cannot tell
#: the time.
CREATED = 1_700_000_000

DONE = b"data: [DONE]\n\n"


@frozen
class _Speech:
    """
    One answer in words.

    @ivar prompt: what it answers.
    @ivar length: in tokens.
    @ivar cut: whether the request's limit, not the toy, ended it.
    """

    model: str
    prompt: object
    length: int
    cut: bool
    seed: int
    tokenBytes: int

    def words(self) -> Iterator[str]:
        """
        The tokens.
        """
        for token in islice(tokens(self.model, self.prompt, self.seed), self.length):
            yield token.ljust(self.tokenBytes, ".")

    @property
    def why(self) -> str:
        """
        The C{finish_reason}.
        """
        return "length" if self.cut else "stop"

    @property
    def usage(self) -> dict[str, int]:
        """
        What a customer would pay for.
        """
        asked = countTokens(self.prompt)
        return {
            "prompt_tokens": asked,
            "completion_tokens": self.length,
            "total_tokens": asked + self.length,
        }

    def identifier(self, prefix: str) -> str:
        """
        An id that only this answer has.
        """
        parts = digest(self.model, self.prompt, self.seed, self.length, size=12)
        return prefix + parts.hex()


def _speech(
    model: str, request: Mapping[str, Any], prompt: str, behaviour: Behaviour
) -> _Speech:
    if request.get(prompt) is None:
        raise BadRequest(f"{prompt} is missing")
    if request.get("n") not in (None, 1):
        raise BadRequest("this is a toy: n must be 1")
    length, cut = limit(
        request, behaviour.tokens, "max_completion_tokens", "max_tokens"
    )
    seed = request.get("seed")
    return _Speech(
        model,
        request[prompt],
        length,
        cut,
        behaviour.seed if seed is None else seed,
        behaviour.tokenBytes,
    )


def _withUsage(request: Mapping[str, Any]) -> bool:
    options = request.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


def chat(model: str, request: Mapping[str, Any], behaviour: Behaviour) -> Answer:
    """
    C{/v1/chat/completions}.
    """
    speech = _speech(model, request, "messages", behaviour)
    head: dict[str, Any] = {
        "id": speech.identifier("chatcmpl-"),
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
    }
    if request.get("stream"):
        head["object"] = "chat.completion.chunk"
        deltas = _deltas(speech)
        return Answer(events=_events(head, deltas, speech, _withUsage(request)))
    message = {"role": "assistant", "content": "".join(speech.words()), "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": speech.why,
    }
    body = encode({**head, "choices": [choice], "usage": speech.usage})
    return Answer(body, tokens=speech.length)


def _deltas(speech: _Speech) -> Iterator[dict[str, Any]]:
    delta: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    yield {"delta": delta, "finish_reason": None}
    for word in speech.words():
        yield {"delta": {"content": word}, "finish_reason": None}
    yield {"delta": {}, "finish_reason": speech.why}


def completion(model: str, request: Mapping[str, Any], behaviour: Behaviour) -> Answer:
    """
    C{/v1/completions}.
    """
    speech = _speech(model, request, "prompt", behaviour)
    head: dict[str, Any] = {
        "id": speech.identifier("cmpl-"),
        "object": "text_completion",
        "created": CREATED,
        "model": model,
    }
    if request.get("stream"):
        texts = _texts(speech)
        return Answer(events=_events(head, texts, speech, _withUsage(request)))
    choice = {
        "index": 0,
        "text": "".join(speech.words()),
        "logprobs": None,
        "finish_reason": speech.why,
    }
    body = encode({**head, "choices": [choice], "usage": speech.usage})
    return Answer(body, tokens=speech.length)


def _texts(speech: _Speech) -> Iterator[dict[str, Any]]:
    for word in speech.words():
        yield {"text": word, "finish_reason": None}
    yield {"text": "", "finish_reason": speech.why}


def _events(
    head: Mapping[str, Any],
    choices: Iterator[dict[str, Any]],
    speech: _Speech,
    withUsage: bool,
) -> Iterator[bytes]:
    tail = {"usage": None} if withUsage else {}
    for choice in choices:
        whole = {"index": 0, "logprobs": None, **choice}
        yield event({**head, "choices": [whole], **tail})
    if withUsage:
        yield event({**head, "choices": [], "usage": speech.usage})
    yield DONE


def embeddings(model: str, request: Mapping[str, Any], behaviour: Behaviour) -> Answer:
    """
    C{/v1/embeddings}.
    """
    given = request.get("input")
    if given is None or given == []:
        raise BadRequest("input is missing")
    # A list of numbers is one text in tokens, not many texts.
    single = isinstance(given, str) or isinstance(given[0], int)
    texts: Sequence[object] = [given] if single else given
    dimensions, _ = limit(request, 4096, "dimensions")
    if "dimensions" not in request:
        dimensions = 8
    data = []
    for index, text in enumerate(texts):
        numbers = vector(model, text, dimensions)
        value: object = numbers
        if request.get("encoding_format") == "base64":
            value = base64.b64encode(pack(f"<{dimensions}f", *numbers)).decode()
        data.append({"object": "embedding", "index": index, "embedding": value})
    size = sum(countTokens(text) for text in texts)
    usage = {"prompt_tokens": size, "total_tokens": size}
    return Answer(
        encode({"object": "list", "data": data, "model": model, "usage": usage})
    )


def models(names: Sequence[str]) -> bytes:
    """
    C{/v1/models}.
    """
    data = [
        {"id": name, "object": "model", "created": CREATED, "owned_by": "llmux-demo"}
        for name in names
    ]
    return encode({"object": "list", "data": data})


def error(status: int, message: str) -> dict[str, Any]:
    """
    An error.
    """
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {
        "error": {"message": message, "type": kind, "param": None, "code": "demo_error"}
    }
