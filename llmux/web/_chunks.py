# -*- test-case-name: llmux.test.test_web_chunks -*-
"""
Chunked bodies of responses, checked as they pass.
"""

from __future__ import annotations

import re

__all__ = ()

#: The longest line with the size of a chunk, and all trailers, in bytes.
_LONGEST_LINE = 1024
_LONGEST_TRAILERS = 64 * 1024

_END = b"0\r\n\r\n"

# As L{chunked} writes it, and as it may be written.
_plainSize = re.compile(rb"([1-9a-f][0-9a-f]{0,7})\r\n").match
_anySize = re.compile(
    rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?"
).fullmatch
_digits = re.compile(rb"[0-9A-Fa-f]{0,16}(?:[ \t;].*|\r)?", re.DOTALL).fullmatch


def chunked(data: bytes) -> bytes:
    """
    A chunk.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


class Chunks:
    """
    The chunked body of one response.

    What it gives back is always a row of whole chunks, so that one more can be
    written behind it.  If that is what came, it is given back as it is;
    extensions and trailers are left out.  Or else it gives back the data.

    @ivar done: whether the end of the body has been seen.
    @ivar broken: whether what came cannot be a chunked body.
    @ivar size: the bytes of the body so far, without its framing.
    @ivar excess: whether something came behind the end.
    """

    __slots__ = (
        "_isFramed",
        "_kept",
        "_left",
        "_step",
        "_trailers",
        "broken",
        "done",
        "excess",
        "size",
    )

    def __init__(self, isFramed: bool = True) -> None:
        """
        @param isFramed: whether chunks are given back, rather than their data.
        """
        self._isFramed = isFramed
        self.done = self.broken = self.excess = False
        self.size = 0
        self._kept = b""
        self._left = 0
        self._trailers = 0
        self._step = self._size

    def feed(self, data: bytes) -> bytes:
        """
        Take a part of the body.

        @return: what can be passed on of it: nothing, if it is not whole yet.
        """
        start = 0
        if self._isFramed and not self._kept and self._step == self._size:
            size = _plainSize(data)
            while size is not None:
                length = int(size[1], 16)
                stop = size.end() + length + 2
                if data[stop - 2 : stop] != b"\r\n":
                    break
                self.size += length
                if stop == len(data):
                    return data
                start = stop
                size = _plainSize(data, start)
            if data[start:] == _END:
                self.done = True
                return data
        return self._rebuilt(data, start)

    def _rebuilt(self, data: bytes, start: int) -> bytes:
        passed = [data[:start]]
        rest = self._kept + data[start:]
        self._kept = b""
        while rest and not self.done and not self.broken:
            taken = self._step(rest, passed)
            if not taken:
                self._kept = rest
                break
            rest = rest[taken:]
        if self.done and rest:
            self.excess = True
        return b"".join(passed)

    # Each step takes what it can of the bytes, and says how many these are.

    def _size(self, data: bytes, passed: list[bytes]) -> int:
        end = data.find(b"\r\n", 0, _LONGEST_LINE)
        if end < 0:
            self.broken = len(data) >= _LONGEST_LINE or _digits(data) is None
            return 0
        size = _anySize(data[:end])
        if size is None:
            self.broken = True
            return 0
        self._left = int(size[1], 16)
        self._step = self._data if self._left else self._trailer
        return end + 2

    def _data(self, data: bytes, passed: list[bytes]) -> int:
        part = data[: self._left]
        passed.append(chunked(part) if self._isFramed else part)
        self._left -= len(part)
        self.size += len(part)
        if not self._left:
            self._step = self._dataEnd
        return len(part)

    def _dataEnd(self, data: bytes, passed: list[bytes]) -> int:
        if not b"\r\n".startswith(data[:2]):
            self.broken = True
            return 0
        if len(data) < 2:
            return 0
        self._step = self._size
        return 2

    def _trailer(self, data: bytes, passed: list[bytes]) -> int:
        end = data.find(b"\r\n")
        size = len(data) if end < 0 else end + 2
        if self._trailers + size > _LONGEST_TRAILERS:
            self.broken = True
            return 0
        if end < 0:
            return 0
        self._trailers += size
        if end == 0:
            self.done = True
            if self._isFramed:
                passed.append(_END)
        return size
