# -*- test-case-name: llmux.test.test_observe_usage -*-
"""
How many tokens a request took, as far as its answer says.

Answers are not parsed: they pass while they come, and it is looked only at how
they began and ended.  In text that a model wrote quotes are escaped, so that
what is found here are keys of the answer itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["KEPT", "Usage", "usageIn"]

#: How much of each part of an answer is looked at, in bytes.
KEPT = 4096

# The border between two chunks, if what is looked at is framed.
_border = re.compile(rb"\r\n[0-9a-fA-F]{1,8}\r\n")

_count = re.compile(
    rb'"((?:prompt|completion|(?:cache_creation_|cache_read_)?input|output)_tokens'
    rb'|prompt_n|cache_n|predicted_n|prompt_eval_count|eval_count)"\s*:\s*(\d{1,12})\b'
).findall

#: OpenAI and Anthropic; llama.cpp, which says it unasked; Ollama.
_MARKS = (b'"usage"', b'"timings"', b'"eval_count"')

#: What adds up to the prompt: Anthropic and llama.cpp leave out what was cached.
_PROMPT = (
    b"prompt_tokens",
    b"input_tokens",
    b"cache_creation_input_tokens",
    b"cache_read_input_tokens",
    b"prompt_n",
    b"cache_n",
    b"prompt_eval_count",
)
_COMPLETION = (b"completion_tokens", b"output_tokens", b"predicted_n", b"eval_count")


class Usage(NamedTuple):
    """
    Tokens, as far as they are known.
    """

    prompt: int | None = None
    completion: int | None = None


_NOTHING = Usage()


def usageIn(first: bytes, last: Iterable[bytes]) -> Usage:
    """
    Look for what an answer says of its tokens.

    @param first: how it began.  Anthropic's streams say there what the prompt
        took.
    @param last: how it ended, in parts.
    """
    end = b"".join(last)
    for mark in _MARKS:
        if mark in end:
            break
    else:
        return _NOTHING
    prompt, completion = _tokens(_border.sub(b"", end))
    if prompt is None and completion is not None and b"message_start" in first:
        prompt, _ = _tokens(_border.sub(b"", first))
    return Usage(prompt, completion)


def _tokens(text: bytes) -> Usage:
    # The last that says something: it may be null, or count up, before.
    for mark in _MARKS:
        before = len(text)
        while (place := text.rfind(mark, 0, before)) >= 0:
            start = place if mark != b'"eval_count"' else max(0, place - 256)
            counts: dict[bytes, int] = {}
            for name, count in _count(text, start, before + 256):
                counts.setdefault(name, int(count))
            prompt = [counts[name] for name in _PROMPT if name in counts]
            completion = [counts[name] for name in _COMPLETION if name in counts]
            if prompt or completion:
                return Usage(
                    sum(prompt) if prompt else None,
                    completion[0] if completion else None,
                )
            before = place
    return _NOTHING
