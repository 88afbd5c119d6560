# -*- test-case-name: llmux.test.test_web_cost -*-
"""
How long it takes to look at a body, told without a look at what it means.

Most large bodies are long texts, which are passed over fast.  What takes long
is many small parts: a MiB of empty lists has a third of a million of them.  They
are counted by the bytes that begin them, which takes less than a millisecond for
each MiB, and all is told in milliseconds, as more than was measured of the worst
bodies that could be thought of.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log2

from llmux.web._json import MANY

__all__ = ()

_MEBIBYTE = 1 << 20

#: How much is counted at a time, in bytes, so that it stays in the cache.
_CHUNK = 1 << 16


def skimming(text: memoryview) -> float:
    """
    What it takes to see what a body says of itself.
    """
    return 1.5 * _size(text) + 7e-6 * _openings(text) + 3.5e-6 * _others(text)


def renaming(text: memoryview) -> float:
    """
    What it takes to find the place of the model's name.
    """
    # Some letters of the key may be written as numbers.
    names = sum(
        chunk.count(b"model") + chunk.count(b"\\u00") for chunk in _chunks(text, 4)
    )
    rounds = 3.0 + log2(1 + min(MANY, names))
    return rounds * skimming(text) + _size(text) + 10e-6 * _others(text)


def shaping(text: memoryview) -> float:
    """
    What it takes to find the places of parameters.
    """
    most = 10.0  # for as many members as are looked through
    return most + 3.5 * _size(text) + 450e-6 * _openings(text) + 20e-6 * _others(text)


def translating(text: memoryview) -> float:
    """
    What it takes to translate a request of Ollama's.
    """
    values = 650e-6 * _openings(text) + 80e-6 * _count(text, b",")
    return 3.0 * _size(text) + values + 20e-6 * _others(text)


def parts(text: memoryview) -> int:
    """
    How many values there can be in it.
    """
    return _count(text, b"[{,")


def _size(text: memoryview) -> float:
    return len(text) / _MEBIBYTE


def _openings(text: memoryview) -> int:
    """
    How many lists and objects can begin in it.
    """
    return _count(text, b"[{")


def _others(text: memoryview) -> int:
    """
    How many quotes and backslashes there are in it.
    """
    return _count(text, b'"\\')


def _count(text: memoryview, bytes_: bytes) -> int:
    left = sum(len(chunk.translate(None, bytes_)) for chunk in _chunks(text))
    return len(text) - left


def _chunks(text: memoryview, again: int = 0) -> Iterator[bytes]:
    """
    @param again: how many bytes of each are in the next one, too.
    """
    for start in range(0, len(text), _CHUNK):
        yield bytes(text[start : start + _CHUNK + again])
