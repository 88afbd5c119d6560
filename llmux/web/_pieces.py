# -*- test-case-name: llmux.test.test_web_pieces -*-
"""
A request body in a file, looked at without being copied, and the same body
with a few bytes exchanged.

Large bodies are files on disk: they are mapped into memory for a look, so the
system may drop their pages as it likes.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from mmap import ACCESS_COPY, ACCESS_READ, mmap
from typing import IO, Any

from attrs import frozen

__all__ = ()

#: Up to this size in bytes a body is read rather than mapped.
SMALL = 64 * 1024

#: How much of a body is in memory while it is read on, in bytes.
CHUNK = 64 * 1024


@frozen
class Slice:
    """
    Bytes of a body as it came, from C{start} up to but without C{stop}.
    """

    start: int
    stop: int


#: A body: what is new of it, and where the rest stands in the old one.
Pieces = Sequence[bytes | Slice]


#: Where bytes are to be exchanged: where they begin, where they end, and for
#: what.
Edit = tuple[int, int, bytes]


def edited(length: int, edits: Iterable[Edit]) -> Pieces:
    """
    A body with some of its bytes exchanged for others.

    @param length: the length of the whole body as it came.
    @param edits: what is exchanged; in any order, but nothing twice.
    """
    pieces: list[bytes | Slice] = []
    at = 0
    for start, stop, new in sorted(edits):
        if at < start:
            pieces.append(Slice(at, start))
        if new:
            pieces.append(new)
        at = stop
    if at < length:
        pieces.append(Slice(at, length))
    return tuple(pieces)


def replaced(length: int, start: int, stop: int, new: bytes) -> Pieces:
    """
    A body with some of its bytes exchanged for others.

    @param length: the length of the whole body as it came.
    @param start: where the bytes to exchange begin.
    @param stop: where they end.
    """
    return (Slice(0, start), new, Slice(stop, length))


def sizeOf(pieces: Pieces) -> int:
    """
    @return: the length of a body in bytes.
    """
    return sum(
        piece.stop - piece.start if isinstance(piece, Slice) else len(piece)
        for piece in pieces
    )


def piecesInJSON(pieces: Pieces) -> list[Any]:
    """
    A body, ready for JSON.
    """
    return [
        [piece.start, piece.stop]
        if isinstance(piece, Slice)
        else b64encode(piece).decode()
        for piece in pieces
    ]


def piecesFrom(pieces: list[Any]) -> Pieces:
    """
    What L{piecesInJSON} has made.
    """
    return tuple(
        b64decode(piece) if isinstance(piece, str) else Slice(*piece)
        for piece in pieces
    )


def chunks(pieces: Pieces, body: IO[bytes], size: int = CHUNK) -> Iterator[bytes]:
    """
    Read a body bit by bit.

    The file may be read or moved by others between two chunks.

    @param pieces: the body.
    @param body: the body as it came.
    @param size: the length of a chunk in bytes, at most.
    """
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        start = piece.start
        while start < piece.stop:
            body.seek(start)
            chunk = body.read(min(size, piece.stop - start))
            if not chunk:
                raise EOFError("a request body is shorter than it was")
            start += len(chunk)
            yield chunk


def viewed(body: IO[bytes], length: int) -> memoryview:
    """
    Look at a whole body as a buffer that cannot be written to, and that is to
    be released.

    @param body: its file, in memory or on disk.  Where it stands afterwards
        is not defined.
    @param length: its length in bytes.
    """
    if isinstance(body, BytesIO):
        return body.getbuffer()[:length].toreadonly()
    if length <= SMALL:
        body.seek(0)
        return memoryview(body.read(length))
    body.flush()
    # It is unmapped when the view, which is all that knows of it, is gone.
    return memoryview(mmap(body.fileno(), length, access=ACCESS_READ))


@contextmanager
def scratch(body: IO[bytes], length: int) -> Iterator[memoryview]:
    """
    Look at a whole body as a buffer that can be written to, with no effect on
    the body itself.  Of a large file only what is written is copied.
    """
    if isinstance(body, BytesIO) or length <= SMALL:
        body.seek(0)
        with memoryview(bytearray(body.read(length))) as view:
            yield view
    else:
        body.flush()
        with (
            mmap(body.fileno(), length, access=ACCESS_COPY) as file,
            memoryview(file) as view,
        ):
            yield view
