"""
Tests for L{llmux.web._chunks}.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._chunks import Chunks, chunked

BODY = b"5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"


def fed(chunks: Chunks, data: bytes, *cuts: int) -> list[bytes]:
    """
    What is given back for data that comes in pieces.
    """
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [chunks.feed(data[start:stop]) for start, stop in pairwise(edges)]


def taken(data: bytes) -> tuple[bytes, bool]:
    """
    The data of whole chunks, and whether the last one was the end.
    """
    found = b""
    while data:
        line, _, rest = data.partition(b"\r\n")
        size = int(line, 16)
        assert rest[size : size + 2] == b"\r\n", data
        if not size:
            assert rest == b"\r\n"
            return found, True
        found += rest[:size]
        data = rest[size + 2 :]
    return found, False


class ChunksTests(SynchronousTestCase):
    """
    Tests for L{Chunks}.
    """

    def test_asItCame(self) -> None:
        """
        Chunks that are written as llmux writes them are the very same bytes,
        alone, several at once, and with the end.
        """
        chunks = Chunks()
        for data in (b"1\r\nx\r\n", b"1\r\ny\r\n2\r\nzz\r\n", b"0\r\n\r\n"):
            self.assertFalse(chunks.done)
            self.assertIs(chunks.feed(data), data)
        self.assertTrue(chunks.done)
        self.assertFalse(chunks.excess or chunks.broken)

    def test_oddlyWritten(self) -> None:
        """
        Extensions, trailers, zeros in front and capitals are left out.
        """
        chunks = Chunks()
        given = b"00A;x=1\r\n0123456789\r\n0;y\r\nX-T: 1\r\nX-U: 2\r\n\r\n"
        self.assertEqual(chunks.feed(given), b"a\r\n0123456789\r\n0\r\n\r\n")
        self.assertTrue(chunks.done)

    def test_large(self) -> None:
        """
        Of a chunk that comes in parts each part is given back at once, as a
        chunk of its own.
        """
        chunks = Chunks()
        self.assertEqual(chunks.feed(b"a\r\n01234"), b"5\r\n01234\r\n")
        self.assertEqual(chunks.feed(b"56789"), b"5\r\n56789\r\n")
        self.assertEqual(chunks.feed(b"\r"), b"")
        self.assertEqual(chunks.feed(b"\n1\r\nx\r\n"), b"1\r\nx\r\n")

    def test_unframed(self) -> None:
        """
        Where another framing is written, it is the data that is given back.
        """
        chunks = Chunks(isFramed=False)
        self.assertEqual(fed(chunks, BODY, 7), [b"hell", b"o0123456789abcdef"])
        self.assertTrue(chunks.done)

    def test_excess(self) -> None:
        """
        What follows the end is noticed, and not passed on.
        """
        for end in (b"0\r\n\r\n", b"00\r\n\r\n"):
            chunks = Chunks()
            given = b"1\r\nx\r\n" + end + b"HTTP/1.1 200 OK\r\n"
            self.assertEqual(chunks.feed(given), b"1\r\nx\r\n0\r\n\r\n")
            self.assertTrue(chunks.done and chunks.excess)

    def test_broken(self) -> None:
        """
        What cannot be chunks is noticed as soon as that is certain, and what
        came before it is passed on.
        """
        for wrong in (
            b"x\r\n",
            b"x",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b"1 2\r\n",
            b"1\n",
            b"\r\n",
            b" 1\r\n",
            b"1;\x00\r\n",
            b"11111111111111111\r\n",
            b"1;" + b"x" * 1024,
            b"2\r\nabc",
            b"1\r\na\n",
            b"1\r\na\r\r",
            b"0\r\nX: " + b"x" * 65536,
        ):
            chunks = Chunks()
            passed = chunks.feed(b"1\r\nx\r\n" + wrong)
            self.assertTrue(passed.startswith(b"1\r\nx\r\n"), wrong)
            self.assertTrue(chunks.broken, wrong)
            self.assertFalse(chunks.done, wrong)

    def test_tooManyTrailers(self) -> None:
        """
        Trailers are not read without end, in however small pieces.
        """
        chunks = Chunks()
        chunks.feed(b"0\r\n")
        for _ in range(7000):
            chunks.feed(b"X: 012345\r\n")
        self.assertTrue(chunks.broken)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=40), max_size=6),
        st.lists(st.integers(0, 200), max_size=12),
        st.sampled_from([b"%x", b"%X", b"0%x", b"%x;e", b"%x \t"]),
    )
    @example([b"x"], [], b"%x")
    def test_anyPieces(self, parts: list[bytes], cuts: list[int], size: bytes) -> None:
        """
        However the bytes come in, what is given back is whole chunks at each
        moment, and in the end the same body.
        """
        sent = b"".join(size % len(p) + b"\r\n" + p + b"\r\n" for p in parts)
        chunks = Chunks()
        pieces = fed(chunks, sent + b"0\r\n\r\n", *cuts)
        for piece in pieces[:-1]:
            self.assertFalse(taken(piece)[1])
        self.assertEqual(taken(b"".join(pieces)), (b"".join(parts), True))
        self.assertTrue(chunks.done)
        self.assertFalse(chunks.broken or chunks.excess)
        raw = Chunks(isFramed=False)
        unframed = fed(raw, sent + b"0\r\n\r\n", *cuts)
        self.assertEqual(b"".join(unframed), b"".join(parts))
        self.assertTrue(raw.done)

    def test_chunked(self) -> None:
        """
        A chunk is what the protocol has for one.
        """
        self.assertEqual(chunked(b"x" * 17), b"11\r\n" + b"x" * 17 + b"\r\n")
