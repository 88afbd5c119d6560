"""
Tests for L{llmux.web._pieces}.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from io import BytesIO
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO

from twisted.trial.unittest import SynchronousTestCase

from llmux.web._pieces import (
    SMALL,
    Slice,
    chunks,
    edited,
    replaced,
    scratch,
    sizeOf,
    viewed,
)


class ChunkTests(SynchronousTestCase):
    """
    Bodies that are read bit by bit.
    """

    def test_replaced(self) -> None:
        """
        Bytes in the middle are exchanged, and the rest is read from the file.
        """
        pieces = replaced(10, 3, 5, b"xyz")
        self.assertEqual(sizeOf(pieces), 11)
        self.assertEqual(
            list(chunks(pieces, BytesIO(b"0123456789"), 4)),
            [b"012", b"xyz", b"5678", b"9"],
        )

    def test_edited(self) -> None:
        """
        So are bytes in several places, which may touch, and be none.
        """
        body = BytesIO(b"0123456789")
        for edits, after in (
            ([], b"0123456789"),
            ([(8, 10, b""), (0, 2, b"ab"), (2, 3, b"")], b"ab34567"),
            ([(4, 4, b"x"), (4, 6, b"")], b"0123x6789"),
            ([(0, 10, b"")], b""),
        ):
            pieces = edited(10, edits)
            self.assertEqual(b"".join(chunks(pieces, body)), after)
            self.assertEqual(sizeOf(pieces), len(after))

    def test_moved(self) -> None:
        """
        It does not matter what else is done to the file meanwhile.
        """
        body = BytesIO(b"0123456789")
        reading = chunks([Slice(2, 8)], body, 3)
        self.assertEqual(next(reading), b"234")
        body.seek(0)
        self.assertEqual(list(reading), [b"567"])

    def test_shorter(self) -> None:
        """
        A file that does not hold what it should is no shorter body.
        """
        self.assertRaises(EOFError, list, chunks([Slice(0, 5)], BytesIO(b"012")))


class ViewTests(SynchronousTestCase):
    """
    Bodies that are looked at as a whole.
    """

    def bodies(self, data: bytes) -> list[IO[bytes]]:
        """
        The same body in each kind of file.
        """
        files = ExitStack()
        self.addCleanup(files.close)
        found: list[IO[bytes]] = [BytesIO(data)]
        with ExitStack() as files:
            found.append(files.enter_context(TemporaryFile()))
            found.append(files.enter_context(SpooledTemporaryFile(max_size=SMALL)))
            self.addCleanup(files.pop_all().close)
        for file in found:
            # In two parts, so that the second waits in a buffer of Python's.
            file.write(data[:-1])
            file.write(data[-1:])
        return found

    def check(
        self, look: Callable[[IO[bytes], int], AbstractContextManager[memoryview]]
    ) -> None:
        """
        Assert that each kind of file is seen as it is, small or large, and
        can be closed afterwards even if the look ended badly.
        """
        for size in (1, SMALL, SMALL + 1, 3 * SMALL):
            data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            for body in self.bodies(data):
                with look(body, size) as view:
                    self.assertEqual(bytes(view), data)
                self.assertRaises(ZeroDivisionError, self.lookBadly, look, body, size)
                body.close()

    def lookBadly(
        self,
        look: Callable[[IO[bytes], int], AbstractContextManager[memoryview]],
        body: IO[bytes],
        size: int,
    ) -> None:
        """
        A look that ends in an exception.
        """
        with look(body, size):
            raise ZeroDivisionError

    def test_viewed(self) -> None:
        """
        A body can be seen.
        """
        self.check(viewed)

    def test_readOnly(self) -> None:
        """
        A view cannot be written to.
        """
        for size in (10, 2 * SMALL):
            for body in self.bodies(b"x" * size):
                with viewed(body, size) as view:
                    self.assertTrue(view.readonly)

    def test_scratch(self) -> None:
        """
        A copy can be seen.
        """
        self.check(scratch)

    def test_scratchIsApart(self) -> None:
        """
        What is written into a scratch copy is not written into the body.
        """
        for size in (10, 2 * SMALL):
            for body in self.bodies(b"x" * size):
                with scratch(body, size) as view:
                    view[0:3] = b"abc"
                    self.assertEqual(bytes(view[:4]), b"abcx")
                body.seek(0)
                self.assertEqual(body.read(), b"x" * size)
