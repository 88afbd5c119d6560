# -*- test-case-name: llmux.test.test_demo -*-
"""
What the toy says: nothing but a function of its name, the prompt and a seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from math import sqrt
from struct import unpack

WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heath",
    "inlet",
    "jetty",
    "knoll",
    "larch",
    "marsh",
    "north",
    "ocean",
    "pearl",
    "quartz",
    "river",
    "stone",
    "thorn",
    "umber",
    "vale",
    "willow",
    "yarrow",
)


def digest(*parts: object, size: int = 32) -> bytes:
    """
    @param parts: values that JSON can express; the order of keys in them does
        not matter, everything else does.

    @param size: bytes of the digest, at most 64.
    """
    text = json.dumps(parts, sort_keys=True)
    return blake2b(text.encode(), digest_size=size).digest()


def tokens(model: str, prompt: object, seed: int = 0) -> Iterator[str]:
    """
    The endless answer of a model, token by token.  The first names the model,
    so that an answer shows who gave it.

    @param prompt: what stands in the request as C{messages} or C{prompt}.
    """
    yield f"{model}:"
    start = int.from_bytes(digest(model, prompt, seed, size=8), "big")
    # A linear congruential generator: a hash per token would be most of the
    # cost of a stream.
    state = start
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield " " + WORDS[(state >> 33) % len(WORDS)]


def reply(model: str, prompt: object, length: int = 16, seed: int = 0) -> str:
    """
    What a demo server answers.

    @param model: the name under which it was started.

    @param prompt: what stands in the request as C{messages} or C{prompt}, as
        Python sees the JSON.

    @param length: in tokens.

    @param seed: its C{--seed}, or the request's C{seed}.
    """
    stream = tokens(model, prompt, seed)
    return "".join(next(stream) for _ in range(length))


def countTokens(prompt: object) -> int:
    """
    The size of a prompt: how many words it has once it is written as JSON.
    """
    text = prompt if isinstance(prompt, str) else json.dumps(prompt)
    return len(text.split())


def vector(model: str, text: object, dimensions: int) -> list[float]:
    """
    @return: a vector of length 1 that only this model gives to this text.
    """
    values: list[float] = []
    while len(values) < dimensions:
        raw = digest(model, text, len(values), size=64)
        values += [number / 2**31 for number in unpack(">16i", raw)]
    del values[dimensions:]
    norm = sqrt(sum(value * value for value in values))
    return [value / norm for value in values]
