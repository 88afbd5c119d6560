"""
Tests for L{llmux.web._shaping}.
"""

from __future__ import annotations

import json
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.config import Shape
from llmux.test._members import Pair, objects
from llmux.web import _members
from llmux.web._errors import BadBody
from llmux.web._pieces import SMALL, Slice, chunks
from llmux.web._shaping import shaped


def reshaped(
    text: bytes,
    always: dict[str, object] | None = None,
    default: dict[str, object] | None = None,
    never: str = "",
    model: str | None = None,
    body: IO[bytes] | None = None,
) -> bytes | None:
    """
    A body with other parameters.  It is seen in a way that shows whether all
    of it was let go: a L{BytesIO} refuses to be closed while somebody looks
    into it.
    """
    shape = Shape(
        {name: json.dumps(value).encode() for name, value in (always or {}).items()},
        {name: json.dumps(value).encode() for name, value in (default or {}).items()},
        frozenset(never.split()),
    )
    file = BytesIO(text) if body is None else body
    try:
        pieces = shaped(file, len(text), shape, model)
        return None if pieces is None else b"".join(chunks(pieces, file))
    finally:
        file.close()


class ShapedTests(SynchronousTestCase):
    """
    Tests for L{shaped}.
    """

    def test_always(self) -> None:
        """
        A parameter is set where it stands, or in front; of several, one is
        left.
        """
        for text, after in (
            (b'{ "a" : 1 , "b":2}', b'{ "a" : 9 , "b":2}'),
            (b'{ "b":2 }', b'{"a":9, "b":2 }'),
            (b"{}", b'{"a":9}'),
            (b"{ }", b'{"a":9 }'),
            (b'{"a":{"a":1},"b":{"a":2}}', b'{"a":9,"b":{"a":2}}'),
            (b'{"a":1, "b":2, "a":3}', b'{"b":2, "a":9}'),
            (b'{"a":1,"a":2}', b'{"a":9}'),
            (b'{"\\u0061":"x"}', b'{"\\u0061":9}'),
            (b'\xef\xbb\xbf{"a":1}', b'\xef\xbb\xbf{"a":9}'),
        ):
            self.assertEqual(reshaped(text, {"a": 9}), after)

    def test_default(self) -> None:
        """
        A parameter that the client gives stays as it is; C{null} is none.
        """
        for text, after in (
            (b'{"a":1}', b'{"a":1}'),
            (b'{"a":null,"a":1}', b'{"a":null,"a":1}'),
            (b'{"b":{"a":1}}', b'{"a":9,"b":{"a":1}}'),
            (b'{"a": null }', b'{"a": 9 }'),
            (b'{"a":1,"a":null}', b'{"a":9}'),
        ):
            self.assertEqual(reshaped(text, default={"a": 9}), after)

    def test_never(self) -> None:
        """
        A parameter is taken out with one comma, wherever it stands, and as
        often as it does.
        """
        for text, after in (
            (b'{ "a":1 , "b":2 }', b'{ "b":2 }'),
            (b'{ "b":2 , "a":1 }', b'{ "b":2 }'),
            (b'{"b":2,"a":1,"c":3}', b'{"b":2,"c":3}'),
            (b'{"a":1,"b":2,"a":[1],"c":3,"a":{}}', b'{"b":2,"c":3}'),
            (b'{"a":1,"x":1,"b":2}', b'{"b":2}'),
            (b'{"b":2,"a":1,"x":1}', b'{"b":2}'),
            (b'{ "a":1 }', b"{  }"),
            (b'{"a":1 , "x":2}', b"{}"),
            (b'{"b":{"a":1}}', b'{"b":{"a":1}}'),
        ):
            self.assertEqual(reshaped(text, never="a x"), after)

    def test_allAtOnce(self) -> None:
        """
        All of it is done in one go, with the model's name.
        """
        text = b'{"x":1,"model":"m","a":1,"n":2.50,"model":"me"}'
        self.assertEqual(
            reshaped(text, {"a": "é", "c": {}}, {"n": 1, "d": 1}, "x", "org/m"),
            b'{"c":{},"d":1,"model":"m","a":"\\u00e9","n":2.50,"model":"org/m"}',
        )
        self.assertEqual(reshaped(b'{"x":1}', {"a": 1}, never="x"), b'{"a":1}')

    def test_otherBodies(self) -> None:
        """
        What is no JSON object is not touched.
        """
        for text in (b"[1]", b"x", b'{"a":1', b'{"a":1}}', b"1", b"\xff\xfe{}", b"{,}"):
            self.assertIsNone(reshaped(text, {"a": 9}), text)
        self.assertIsNone(reshaped(b"[" * 100_000, {"a": 9}))

    def test_tooMany(self) -> None:
        """
        A body that cannot be looked through is refused, and let go.
        """
        self.patch(_members, "PARTS", 3)
        self.assertRaises(BadBody, reshaped, b'{"x":[[[[1]]]]}', {"a": 9})

    def test_large(self) -> None:
        """
        Of a large body in a file, only what is new is in memory.
        """
        body = b'{"image":"' + b"x" * (2 * SMALL) + b'","a":1}'
        shape = Shape({"a": b"9"}, {}, frozenset())
        with TemporaryFile() as file:
            file.write(body)
            pieces = shaped(file, len(body), shape, None)
            assert pieces is not None
            kept = b"".join(piece for piece in pieces if not isinstance(piece, Slice))
            self.assertEqual(kept, b"9")
            self.assertEqual(b"".join(chunks(pieces, file)), body[:-2] + b"9}")

    @given(objects(), st.booleans())
    def test_any(self, written: tuple[bytes, list[Pair]], isNamed: bool) -> None:
        """
        What a parser sees afterwards is what it saw before, but for what was
        to be done; and all else is there letter for letter.
        """
        text, pairs = written
        if any(
            "\\ud" in pair.value and "\\ud83d\\ude" not in pair.value for pair in pairs
        ):
            return  # A lone surrogate, which is no valid JSON.
        model = "m" if isNamed else None
        after = reshaped(text, {"a": 9}, {"é": 8}, "b 😀", model)
        assert after is not None
        names = [pair.name for pair in pairs]
        wanted = [
            (pair.name, pair.value)
            for number, pair in enumerate(pairs)
            if pair.name not in ("b", "😀")
            and not (pair.name == "a" and "a" in names[number + 1 :])
        ]
        values = dict(wanted)
        if values.get("é", "null") == "null":
            wanted = [one for one in wanted if one[0] != "é"]
            values["é"] = "8"
        values["a"] = "9"
        if model is not None and "model" in values:
            values["model"] = '"m"'
        seen = json.loads(after, object_pairs_hook=_Pairs)
        self.assertEqual(
            {name: _plain(value) for name, value in seen},
            {name: json.loads(value) for name, value in values.items()},
        )
        counts = [name for name, _ in seen]
        self.assertEqual((counts.count("a"), counts.count("b")), (1, 0))
        rest = after.decode("utf-8", "surrogatepass")
        for name, value in wanted:
            if name == "x":
                self.assertIn(value, rest)
                rest = rest.partition(value)[2]


class _Pairs(list[tuple[str, object]]):
    """
    An object with all of its members.
    """


def _plain(value: object) -> object:
    """
    A value as it would have been read otherwise.
    """
    if isinstance(value, _Pairs):
        return {key: _plain(inner) for key, inner in value}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value
