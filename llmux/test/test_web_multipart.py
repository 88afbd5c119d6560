"""
Tests for L{llmux.web._multipart}.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._errors import BadBody
from llmux.web._multipart import (
    LONGEST,
    PARTS,
    contentTypeOf,
    fieldIn,
    placeIn,
    withLength,
)

MODEL = b'Content-Disposition: form-data; name="model"\r\n\r\n'
FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


def form(*parts: bytes, boundary: bytes = b"line") -> bytes:
    """
    A form of parts, each with its headers.
    """
    joined = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return joined + b"--" + boundary + b"--\r\n"


def sliced(body: bytes, size: int) -> Iterator[bytes]:
    """
    A body in small pieces.
    """
    for start in range(0, len(body), size):
        yield body[start : start + size]


class FieldTests(SynchronousTestCase):
    """
    L{fieldIn}.
    """

    def check(self, body: bytes, expected: tuple[int, bytes] | None) -> None:
        """
        Assert what is found, in whatever pieces the body comes.
        """
        for size in (1, 7, len(body) or 1):
            self.assertEqual(fieldIn(sliced(body, size), b"line"), expected)

    def test_found(self) -> None:
        """
        The field is found before and after a file.
        """
        self.check(form(MODEL + b"whisper", FILE + b"\r\n--lin\r\n"), (0, b"whisper"))
        self.check(form(FILE + b"\0\r\n\r\n", MODEL + b"whisper"), (1, b"whisper"))

    def test_preamble(self) -> None:
        """
        What stands before and after the form does not matter.
        """
        body = b"preamble\r\n" + form(MODEL + b"x") + b"--line\r\nepilogue"
        self.check(body, (0, b"x"))
        self.check(form(FILE) + b"--line\r\nepilogue", None)

    def test_none(self) -> None:
        """
        A form without the field names nothing, and neither does a file of
        that name.
        """
        file = MODEL.replace(b"\r\n", b'; filename="m.bin"\r\n', 1)
        self.check(form(FILE + b"x", file + b"x"), None)

    def test_first(self) -> None:
        """
        Of several the first counts, and what follows is not looked at.
        """
        self.check(form(MODEL + b"a", MODEL + b"b"), (0, b"a"))
        self.check(form(MODEL + b"a")[:-10] + b"--line\r\nnonsense", (0, b"a"))

    def test_stops(self) -> None:
        """
        Nothing is read after the end of the field.
        """
        chunks = sliced(form(MODEL + b"a", FILE + b"x" * 1000), 100)
        self.assertEqual(fieldIn(chunks, b"line"), (0, b"a"))
        self.assertGreater(len(b"".join(chunks)), 900)

    def test_broken(self) -> None:
        """
        A body that is no form, or breaks off, is refused.
        """
        whole = form(FILE + b"x")
        for body in [
            b"",
            b"x",
            b'{"model":"x"}',
            whole[:-4],
            whole[:20],
            form(b"no header\r\n\r\nx"),
            form(b"X-A: b\r\n\r\nx"),
            form(b"Content-Disposition: form-data; name=\xff\r\n\r\nx"),
            form(FILE, boundary=b"other"),
            form(b"X-A: " + b"b" * 10_000 + b"\r\n" + MODEL),
        ]:
            error = self.assertRaises(BadBody, fieldIn, [body], b"line")
            self.assertIn("multipart/form-data", str(error))

    def test_noBoundary(self) -> None:
        """
        Without a boundary there is no form.
        """
        error = self.assertRaises(BadBody, fieldIn, [b"x"], b"")
        self.assertIn("boundary", str(error))

    def test_limits(self) -> None:
        """
        There are bounds to the length of the name and the number of parts.
        """
        error = self.assertRaises(
            BadBody, fieldIn, [form(MODEL + b"x" * (LONGEST + 1))], b"line"
        )
        self.assertEqual(error.param, "model")
        self.check(form(MODEL + b"x" * LONGEST), (0, b"x" * LONGEST))
        few, many = [FILE] * (PARTS - 1), [FILE] * PARTS
        self.assertIsNotNone(fieldIn([form(*few, MODEL + b"x")], b"line"))
        self.assertRaises(BadBody, fieldIn, [form(*many, MODEL + b"x")], b"line")

    @given(st.lists(st.binary()), st.binary(max_size=5))
    def test_anyBytes(self, chunks: list[bytes], boundary: bytes) -> None:
        """
        No body and no boundary raises anything but L{BadBody}.
        """
        for body in (chunks, [b"--", boundary, b"\r\n", *chunks]):
            with contextlib.suppress(BadBody):
                fieldIn([chunk for chunk in body if chunk], boundary)

    @given(
        st.text("abcXYZ012'()+_,-./:=?", min_size=1, max_size=20),
        st.lists(
            st.tuples(
                st.sampled_from(["model", "file", "a b"]),
                st.text("ab \r\n-:ü\0", max_size=30),
            ),
            min_size=1,
            max_size=5,
        ),
        st.integers(1, 100),
    )
    def test_agrees(
        self, boundary: str, fields: list[tuple[str, str]], size: int
    ) -> None:
        """
        The first field found is the one that the standard library's parser
        of mail finds, in whatever pieces the body comes, and its place is
        where it stands.
        """
        line = boundary.encode()
        parts = [
            b'Content-Disposition: form-data; name="%s"\r\n'
            b"Content-Transfer-Encoding: binary\r\n\r\n%s"
            % (name.encode(), value.encode())
            for name, value in fields
        ]
        if any(b"--" + line in part for part in parts):
            return
        body = form(*parts, boundary=line)
        header = f'multipart/form-data; boundary="{boundary}"'.encode()
        self.assertEqual(contentTypeOf(header), ("multipart/form-data", line))
        found = fieldIn(sliced(body, size), line)

        mail = BytesParser(policy=HTTP).parsebytes(
            b"Content-Type: " + header + b"\r\n\r\n" + body
        )
        expected = None
        for number, part in enumerate(mail.iter_parts()):
            if part.get_param("name", header="content-disposition") == "model":
                # That parser takes lines apart also where a lone CR or LF
                # stands, so what was written is compared.
                expected = (number, fields[number][1].encode())
                break
        self.assertEqual(found, expected)
        if found is not None:
            head, start, stop = placeIn(memoryview(body), line, found[0])
            self.assertEqual(body[start:stop], found[1])
            self.assertEqual(body[head:stop], parts[found[0]])


class PlaceTests(SynchronousTestCase):
    """
    L{placeIn}, where others have not tried it yet.
    """

    def test_preamble(self) -> None:
        """
        A part is found behind a preamble.
        """
        body = b"preamble\r\n" + form(FILE + b"x", MODEL + b"y")
        _, start, stop = placeIn(memoryview(body), b"line", 1)
        self.assertEqual(body[start:stop], b"y")

    def test_noHeaders(self) -> None:
        """
        Where a part is cut before its value, its value is where it begins.
        """
        body = b"--line\r\nX\r\n--line--"
        self.assertEqual(placeIn(memoryview(body), b"line", 0), (8, 8, 9))


class HeaderTests(SynchronousTestCase):
    """
    The headers of bodies and parts.
    """

    def test_contentType(self) -> None:
        """
        Type and boundary are found, and what is odd finds nothing.
        """
        for header, expected in [
            (None, ("", b"")),
            (b"", ("", b"")),
            (b"Text/Plain; charset=utf-8", ("text/plain", b"")),
            (b"multipart/form-data; boundary=a-b", ("multipart/form-data", b"a-b")),
            (b'multipart/form-data;BOUNDARY="a b"', ("multipart/form-data", b"a b")),
            (b"\xff;boundary=x", ("\xff", b"x")),
            (b'a/b; boundary="\xff"', ("a/b", b"\xff")),
        ]:
            self.assertEqual(contentTypeOf(header), expected)

    def test_length(self) -> None:
        """
        A part that says how long it is says so rightly, and every other
        header stays.
        """
        self.assertEqual(
            withLength(
                b"X-Content-Length: 5\r\ncontent-length : 5\r\nA: b\r\n\r\n", 12
            ),
            b"X-Content-Length: 5\r\ncontent-length : 12\r\nA: b\r\n\r\n",
        )
        self.assertEqual(withLength(MODEL, 12), MODEL)
