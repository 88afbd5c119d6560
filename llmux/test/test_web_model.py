"""
Tests for L{llmux.web._model}.
"""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._errors import BadBody
from llmux.web._model import SEARCHED, Slice, chunks, nameInBody, sizeOf, withModel
from llmux.web._multipart import LONGEST

JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=line"
PART = b'--line\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
END = b"--line--\r\n"


def nameIn(
    kind: bytes | None, body: bytes, encoding: bytes | None = None
) -> str | None:
    """
    The name in a body, of which no view is left afterwards.
    """
    file = BytesIO(body)
    try:
        return nameInBody(kind, encoding, file, len(body))
    finally:
        file.close()


def renamed(
    kind: bytes | None, body: bytes, name: str, encoding: bytes | None = None
) -> bytes:
    """
    The same body with another name, after all that is promised of it has been
    checked.
    """
    file = BytesIO(body)
    pieces = withModel(kind, file, len(body), name, encoding)
    after = b"".join(chunks(pieces, file))
    file.close()
    assert sizeOf(pieces) == len(after)
    return after


class NameTests(SynchronousTestCase):
    """
    L{nameInBody}.
    """

    def test_json(self) -> None:
        """
        A body of any JSON type is taken at its word.
        """
        for kind in (
            JSON,
            b"Application/JSON; charset=utf-8",
            b"text/json",
            b"application/vnd.api+json",
        ):
            self.assertEqual(nameIn(kind, b'{"model":"llama"}'), "llama", kind)
            self.assertRaises(BadBody, nameIn, kind, b'{"model":"llama"')
            self.assertRaises(BadBody, nameIn, kind, b"model=llama")
            self.assertRaises(BadBody, nameIn, kind, b'{"model":1}')

    def test_empty(self) -> None:
        """
        No body is no error, whatever type it is said to be of.
        """
        for kind in (None, JSON, FORM, MULTIPART):
            self.assertIsNone(nameIn(kind, b""))
            self.assertEqual(renamed(kind, b"", "x"), b"")

    def test_form(self) -> None:
        """
        A form names a model in its field.
        """
        for body, name in [
            (b"model=org%2Fllama&a=b", "org/llama"),
            (b"a=b&model=a+b", "a b"),
            (b"model=&model=x", None),
            (b"a=b", None),
            (b"\xff\0&model=x", "x"),
            (b'["model=x"]', None),
        ]:
            self.assertEqual(nameIn(FORM, body), name, body)

    def test_longField(self) -> None:
        """
        A field that is too long for a name is refused.
        """
        for look in (nameIn, lambda k, b: renamed(k, b, "x")):
            error = self.assertRaises(
                BadBody, look, FORM, b"model=" + b"x" * (LONGEST + 1)
            )
            self.assertEqual(error.param, "model")

    def test_jsonByAnotherName(self) -> None:
        """
        A JSON object is one under whatever name it is sent, such as
        C{curl -d} gives it, as long as nobody says that it is something that
        it is not.
        """
        for kind in (None, b"", FORM, b"text/plain;charset=UTF-8", b"a/b"):
            self.assertEqual(nameIn(kind, b' {"model":"llama"}'), "llama", kind)
            self.assertIsNone(nameIn(kind, b'{"a":1}'), kind)
            self.assertIsNone(nameIn(kind, b'{"model":"llama"'), kind)
            self.assertIsNone(nameIn(kind, b'["model"]'), kind)
            error = self.assertRaises(BadBody, nameIn, kind, b'{"model":1}')
            self.assertEqual(error.param, "model")

    def test_formAfterAll(self) -> None:
        """
        A form that begins like JSON is a form.
        """
        self.assertEqual(nameIn(FORM, b"{&model=x"), "x")
        self.assertEqual(renamed(FORM, b"{&model=x", "y"), b"{&model=y")

    def test_opaque(self) -> None:
        """
        Only forms have form fields.
        """
        for kind in (None, b"text/plain", b"audio/wav", b"multipart/mixed; boundary=x"):
            self.assertIsNone(nameIn(kind, b"model=x"), kind)
            self.assertEqual(renamed(kind, b"model=x", "y"), b"model=x")

    def test_multipart(self) -> None:
        """
        A multipart form names a model in its field.
        """
        body = PART % (b"file", b'; filename="a"', b"\0" * 70_000)
        body += PART % (b"model", b"", "hören".encode())
        self.assertEqual(nameIn(MULTIPART, body + END), "hören")
        self.assertIsNone(nameIn(MULTIPART, PART % (b"model", b"", b"") + END))
        self.assertIsNone(nameIn(MULTIPART, END))
        for bad in (MULTIPART, b"multipart/form-data"):
            self.assertRaises(BadBody, nameIn, bad, b'{"model":"x"}')

    def test_compressed(self) -> None:
        """
        A compressed body names nothing, and nothing in it is exchanged.
        """
        body = b'{"model":"x"}'
        for encoding in (b"gzip", b"br", b"gzip, identity"):
            self.assertIsNone(nameIn(JSON, body, encoding))
            self.assertEqual(renamed(JSON, body, "y", encoding), body)
        for encoding in (b"identity", b" Identity ", b""):
            self.assertEqual(nameIn(JSON, body, encoding), "x")
            self.assertEqual(renamed(JSON, body, "y", encoding), b'{"model":"y"}')

    @given(
        st.sampled_from([None, JSON, FORM, MULTIPART, b"text/plain"]) | st.binary(),
        st.binary()
        | st.binary().map(b'{"model":'.__add__)
        | st.binary().map(b"model=".__add__)
        | st.binary().map(lambda b: PART % (b"model", b"", b)),
        st.none() | st.binary(max_size=3),
    )
    def test_anyBytes(
        self, kind: bytes | None, body: bytes, encoding: bytes | None
    ) -> None:
        """
        No body raises anything but L{BadBody}, and where one names a model,
        the same one with another name names that.
        """
        with contextlib.suppress(BadBody):
            name = nameIn(kind, body, encoding)
            after = renamed(kind, body, "new", encoding)
            if name is None:
                self.assertEqual(after, body)
            else:
                self.assertEqual(nameIn(kind, after, encoding), "new")


class RenameTests(SynchronousTestCase):
    """
    L{withModel}.
    """

    def test_json(self) -> None:
        """
        Of a JSON body only the name changes.
        """
        self.assertEqual(
            renamed(JSON, b'{ "a":1.0,"model" : "x" }', "o/ü"),
            b'{ "a":1.0,"model" : "o/\\u00fc" }',
        )
        self.assertEqual(renamed(FORM, b'{"model":"x"}', "y"), b'{"model":"y"}')

    def test_form(self) -> None:
        """
        Of a form only the field changes.
        """
        self.assertEqual(
            renamed(FORM, b"a=%20&model=x&model=z", "o/y"), b"a=%20&model=o%2Fy&model=z"
        )

    def test_multipart(self) -> None:
        """
        Of a multipart form only the value changes, also where other fields
        have the same value and files look like fields.
        """
        parts = [
            PART % (b"other", b"", b"x"),
            PART % (b"file", b'; filename="a"', (PART % (b"model", b"", b"x"))[1:]),
            PART % (b"model", b"", b"%s"),
            PART % (b"model", b"", b"x"),
        ]
        # The preamble must not be taken for a part.
        for body in (b"".join(parts) + END, b"pre\r\n" + b"".join(parts) + END):
            before = body.replace(b"%s", b"x")
            self.assertEqual(
                renamed(MULTIPART, before, "o/ü"), body.replace(b"%s", "o/ü".encode())
            )

    def test_partLength(self) -> None:
        """
        A part that says how long it is says so rightly afterwards.
        """
        part = (
            b"--line\r\nContent-Length: %d\r\n"
            b'Content-Disposition: form-data; name="model"\r\n\r\n%s\r\n'
        )
        self.assertEqual(
            renamed(MULTIPART, part % (1, b"x") + END, "longer"),
            part % (6, b"longer") + END,
        )

    def test_misleading(self) -> None:
        """
        Where headers look like the end of a part, so that the place of the
        name cannot be told, the request is refused rather than spoilt.
        """
        odd = PART % (b"a", b"\r\n--line: x", b"x")
        body = odd + PART % (b"model", b"", b"x") + END
        self.assertEqual(nameIn(MULTIPART, body), "x")
        error = self.assertRaises(BadBody, renamed, MULTIPART, body, "y")
        self.assertEqual(error.param, "model")

    def test_nothing(self) -> None:
        """
        A body without a name stays as it is.
        """
        for kind, body in [
            (JSON, b'{"a":1}'),
            (JSON, b'{"model":""}'),
            (FORM, b"model="),
            (FORM, b"a=b"),
            (MULTIPART, END),
            (MULTIPART, PART % (b"model", b"", b"") + END),
        ]:
            self.assertEqual(renamed(kind, body, "x"), body)

    @given(
        st.lists(st.tuples(st.sampled_from(["model", "a"]), st.text("x\r\n-:="))),
        st.text(min_size=1),
        st.sampled_from([b"", b'; filename="a"']),
    )
    def test_multipartProperty(
        self, fields: list[tuple[str, str]], name: str, extra: bytes
    ) -> None:
        """
        Whatever the fields are, only the bytes of the value change.
        """
        if "\r\n--line" in name:
            return
        values = [value.encode() for _, value in fields]
        keys = [key for key, _ in fields]

        def build() -> bytes:
            return b"".join(
                PART % (key.encode(), extra if key == "a" else b"", value)
                for key, value in zip(keys, values, strict=True)
            )

        before = build() + END
        if "model" in keys and values[keys.index("model")]:
            values[keys.index("model")] = name.encode()
        self.assertEqual(renamed(MULTIPART, before, name), build() + END)

    @given(
        st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())),
        st.text(min_size=1),
        st.text(st.characters()),
        st.integers(0, 3),
    )
    def test_jsonProperty(
        self, fields: dict[str, object], old: str, new: str, indent: int
    ) -> None:
        """
        Whatever the document is, the pieces are what stands before and after
        the name, and the new name.
        """
        body = json.dumps({**fields, "model": old}, indent=indent).encode()
        before, _, after = withModel(JSON, BytesIO(body), len(body), new)
        assert isinstance(before, Slice)
        assert isinstance(after, Slice)
        self.assertEqual((before.start, after.stop), (0, len(body)))
        self.assertEqual(json.loads(body[before.stop : after.start]), old)
        self.assertEqual(json.loads(renamed(JSON, body, new)), {**fields, "model": new})


class LargeTests(SynchronousTestCase):
    """
    Bodies on disk.
    """

    def peak(self, body: IO[bytes], work: Callable[[int], object]) -> int:
        """
        How many bytes were in use at once while something was done with the
        body of a length.
        """
        length = body.tell()
        tracemalloc.start()
        try:
            work(length)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def check(self, kind: bytes, body: IO[bytes]) -> None:
        """
        Assert that a name is found and exchanged while much less than the
        body is in memory.
        """

        def work(length: int) -> None:
            self.assertEqual(nameInBody(kind, None, body, length), "x")
            pieces = withModel(kind, body, length, "longer")
            self.assertEqual(sizeOf(pieces), length + 5)
            tail = b"".join(chunks(pieces[1:], body))
            self.assertIn(b"longer", tail)

        self.assertLess(self.peak(body, work), 1 << 20)

    def test_json(self) -> None:
        """
        A large JSON document is not read into memory.
        """
        with TemporaryFile() as body:
            body.write(b'{"a":"' + b"a" * (8 << 20) + b'","model":"x"}')
            self.check(JSON, body)

    def test_multipart(self) -> None:
        """
        A large upload is not read into memory.
        """
        with TemporaryFile() as body:
            body.write(PART % (b"file", b'; filename="a"', b"\r\n--lin" * (1 << 20)))
            body.write(PART % (b"model", b"", b"x") + END)
            self.check(MULTIPART, body)

    def test_form(self) -> None:
        """
        A large form is not read into memory.
        """
        with TemporaryFile() as body:
            body.write(b"model=x&a=" + b"b" * (8 << 20))

            def work(length: int) -> None:
                self.assertEqual(nameInBody(FORM, None, body, length), "x")
                before, name, after = withModel(FORM, body, length, "longer")
                self.assertEqual(name, b"longer")
                self.assertEqual(sizeOf([before, after]), length - 1)

            self.assertLess(self.peak(body, work), 1 << 20)

    def test_longForm(self) -> None:
        """
        A form is searched up to a bound, and no name is cut in two there.
        """
        for form, name in [
            (b"a=" + b"b" * (SEARCHED - 16) + b"&model=x&", "x"),
            (b"a=" + b"b" * (SEARCHED - 10) + b"&model=xy", None),
            (b"a=" + b"b" * SEARCHED + b"&model=x", None),
        ]:
            self.assertEqual(nameIn(FORM, form + b"&c" * 10), name)
            self.assertEqual(renamed(FORM, form, "x"), form)

    def test_brackets(self) -> None:
        """
        Fifty million brackets are refused without being looked at.
        """
        with TemporaryFile() as body:
            for _ in range(50):
                body.write(b"[" * 1_000_000)
            for look in (
                lambda length: nameInBody(JSON, None, body, length),
                lambda length: withModel(JSON, body, length, "x"),
            ):
                self.assertRaises(BadBody, self.peak, body, look)
