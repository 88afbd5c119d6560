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


class _Kind(NamedTuple):
    """
    One way of saying it.

    @ivar mark: the key by which it is found.
    @ivar before: how much before that the counts may stand, in bytes.
    @ivar prompt: what adds up to the prompt: some leave out what was cached.
    @ivar completion: what was written.
    """

    mark: bytes
    before: int
    prompt: frozenset[bytes]
    completion: frozenset[bytes]


def _kind(mark: bytes, before: int, prompt: bytes, completion: bytes) -> _Kind:
    return _Kind(
        b'"%b"' % mark,
        before,
        frozenset(prompt.split()),
        frozenset(completion.split()),
    )


#: How much behind a mark is looked at, in bytes.
_BEHIND = 512

_counts = re.compile(rb'"([a-z_]+)"\s*:\s*(\d{1,12})\b').findall


_KINDS = (
    # OpenAI's and Anthropic's.
    _kind(
        b"usage",
        0,
        b"prompt_tokens input_tokens cache_creation_input_tokens "
        b"cache_read_input_tokens",
        b"completion_tokens output_tokens",
    ),
    # llama.cpp's, which says it unasked.
    _kind(b"timings", 0, b"prompt_n cache_n", b"predicted_n"),
    # Ollama's.
    _kind(b"eval_count", 256, b"prompt_eval_count", b"eval_count"),
)


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
    usage = _tokens(end)
    if usage.prompt is None and usage.completion and b"message_start" in first:
        return Usage(_tokens(first).prompt, usage.completion)
    return usage


def _tokens(text: bytes) -> Usage:
    if b"\r\n" in text:
        text = _border.sub(b"", text)
    for kind in _KINDS:
        end = len(text)
        # The last that says something: it may be null, or count up, before.
        while (end := text.rfind(kind.mark, 0, end)) >= 0:
            prompt = completion = None
            seen = set()
            for name, count in _counts(text, max(0, end - kind.before), end + _BEHIND):
                if name in seen:
                    continue
                if name in kind.prompt:
                    prompt = (prompt or 0) + int(count)
                    seen.add(name)
                elif name in kind.completion:
                    completion = int(count)
                    seen.add(name)
            if seen:
                return Usage(prompt, completion)
    return _NOTHING
