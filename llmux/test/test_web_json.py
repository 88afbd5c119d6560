"""
Tests for L{llmux.web._json}.
"""

from __future__ import annotations

import contextlib
import json
from io import BytesIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._errors import BadBody
from llmux.web._json import (
    LONGEST,
    MANY,
    Said,
    encoded,
    looksLikeObject,
    nameInJSON,
    placeInJSON,
    saidInJSON,
)


def nameIn(body: bytes) -> str | None:
    """
    The name in a body that is seen in a way that shows whether all of it was
    let go: a L{BytesIO} refuses to be closed while somebody looks into it.
    """
    file = BytesIO(body)
    try:
        with file.getbuffer() as whole, whole.toreadonly() as view:
            return nameInJSON(view)
    finally:
        file.close()


def renamed(body: bytes, name: str) -> bytes:
    """
    The same body with another name in it, if it has one.
    """
    file = BytesIO(body)
    try:
        with file.getbuffer() as view:
            place = placeInJSON(view)
            after = bytes(view)
    finally:
        file.close()
    assert after == body, "the body was not left as it was"
    if place is None:
        return body
    start, stop = place
    return body[:start] + encoded(name) + body[stop:]


#: JSON in which C{model} and its usual values stand in many places.
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["llama", "model", '"model":"llama"', '\\"', ":", "xx"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.just("model") | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)

#: Ways to write the key.
keys = st.sampled_from(['"model"', '"\\u006dodel"', '"m\\u006Fd\\u0065\\u006c"'])
gaps = st.sampled_from(["", " ", "\n\t", "\r\n  "])


@st.composite
def objects(draw: st.DrawFn) -> str:
    """
    Objects with any number of fields C{model}, the text of which is written
    in any way that JSON allows.
    """
    members = []
    for _ in range(draw(st.integers(0, 6))):
        key = draw(keys | st.text().map(json.dumps))
        value = json.dumps(
            draw(st.sampled_from(["llama", "ü", "x", '"', "\\"]) | values),
            ensure_ascii=draw(st.booleans()),
            indent=draw(st.none() | st.integers(0, 2)),
        )
        members.append(draw(gaps).join(["", key, ":", value, ""]))
    return draw(gaps) + "{" + ",".join(members) + "}" + draw(gaps)


class LimitTests(SynchronousTestCase):
    """
    What L{saidInJSON} finds of how long the answer may be.
    """

    def limit(self, body: bytes) -> int | None:
        """
        Look for it.
        """
        with memoryview(body) as view:
            said = saidInJSON(view)
        self.assertEqual(said.model, "m")
        return said.maxTokens

    def test_found(self) -> None:
        """
        It is found under every name that it has.
        """
        for key in (
            b"max_tokens",
            b"max_completion_tokens",
            b"max_output_tokens",
            b"n_predict",
        ):
            self.assertEqual(self.limit(b'{"%b": 512,"model":"m"}' % key), 512)
        self.assertEqual(
            self.limit(b'{"max_tokens":5,"model":"m","max_completion_tokens":6}'), 6
        )

    def test_options(self) -> None:
        """
        Ollama has it among the options; what stands beside them comes first.
        """
        options = b'"options":{"seed":1,"num_predict":9}'
        self.assertEqual(self.limit(b'{"model":"m",%b}' % options), 9)
        self.assertEqual(self.limit(b'{%b,"max_tokens":5,"model":"m"}' % options), 5)
        # Those that are so long that it would take time are not read again.
        for more in (0, 1):
            long = b'"' + b"x" * (LONGEST - len(b'{"num_predict":9,"x":""}') + more)
            body = b'{"model":"m","options":{"num_predict":9,"x":%b"}}' % long
            self.assertEqual(self.limit(body), None if more else 9)

    def test_noModel(self) -> None:
        """
        It is found beside no model, too, which may be named elsewhere.
        """
        for body in (b'{"max_tokens":5}', b'{"max_tokens":5,"model":""}'):
            with memoryview(body) as view:
                self.assertEqual(saidInJSON(view), Said(None, 5))

    def test_none(self) -> None:
        """
        What is no count is none, and no error of llmux.
        """
        self.assertIsNone(self.limit(b'{"model":"m"}'))
        for value in (b"null", b"-1", b"1.5", b'"5"', b"[1]", b"9" * 400, b"{}"):
            self.assertIsNone(self.limit(b'{"model":"m","max_tokens":%b}' % value))
            self.assertIsNone(
                self.limit(b'{"model":"m","options":{"num_predict":%b}}' % value)
            )
            self.assertIsNone(self.limit(b'{"model":"m","options":%b}' % value))
        self.assertIsNone(self.limit(b'{"model":"m","options":{"max_tokens":5}}'))
        self.assertEqual(
            self.limit(b'{"model":"m","max_completion_tokens":null,"max_tokens":7}'), 7
        )


class NameTests(SynchronousTestCase):
    """
    L{nameInJSON}.
    """

    def refused(self, body: bytes) -> BadBody:
        """
        Assert that a body is refused, and that nobody keeps looking into it.
        """
        error: BadBody = self.assertRaises(BadBody, nameIn, body)
        return error

    def test_found(self) -> None:
        """
        The top-level field counts, wherever it stands and however it is
        written.
        """
        for body, name in [
            (b'{"model":"llama"}', "llama"),
            (b' {"a":{"model":"b"}, "model" : "\\u00fc\\"\\n" }\r\n', 'ü"\n'),
            ('{"model":"ü"}'.encode(), "ü"),
            (b'{"m\\u006fdel":"x"}', "x"),
            (b'{"model":"\\ud83d\\ude00"}', "\U0001f600"),
            (b'{"a":%s,"model":"x"}' % (b"1" * 5000), "x"),
            (b'{"a":1e999,"model":"x"}', "x"),
            (b'{"a":"\xff","model":"x"}', "x"),
        ]:
            self.assertEqual(nameIn(body), name, body)

    def test_lastWins(self) -> None:
        """
        Of duplicates the last counts, whatever the others are.
        """
        self.assertEqual(nameIn(b'{"model":1,"model":"a","model":"b"}'), "b")
        self.refused(b'{"model":"a","model":1}')

    def test_none(self) -> None:
        """
        What has no name in it names none.
        """
        for body in [
            b"{}",
            b'{"model":null}',
            b'{"model":""}',
            b'{"Model":"x","a":{"model":"x"}}',
            b"[]",
            b'[{"model":"x"}]',
            b'"model"',
            b"1",
            b"null",
        ]:
            self.assertIsNone(nameIn(body), body)

    def test_notAString(self) -> None:
        """
        A model that is not a string is refused, and the field is named.
        """
        for value in (b"1", b"true", b"[]", b'{"a":1}', b'["llama"]'):
            error = self.refused(b'{"model":%s}' % value)
            self.assertEqual(
                (str(error), error.param), ("`model` must be a string", "model")
            )

    def test_notText(self) -> None:
        """
        A model that is not UTF-8 is refused, and the field is named.
        """
        for value in (b"\xff", b"\xed\xa0\x80"):
            self.assertEqual(self.refused(b'{"model":"%s"}' % value).param, "model")

    def test_notJSON(self) -> None:
        """
        What JSON does not allow is refused, and what is wrong is said.
        """
        for body in [
            b"",
            b" ",
            b"{",
            b'{"model":"llama"',
            b'{"model":"llama"} x',
            b'{"model":"llama",}',
            b"{'model':'llama'}",
            b'{"a":NaN,"model":"x"}',
            b'{"a":-Infinity,"model":"x"}',
            b'{"a":"\\ud800","model":"x"}',
            b'{"model":"\\ud800"}',
            b'{"a":"\n","model":"x"}',
            b'{"a":01,"model":"x"}',
            b"[1,",
            b"model=llama",
        ]:
            error = self.refused(body)
            self.assertIn("not valid JSON: ", str(error), body)
            self.assertIsNone(error.param)

    def test_deep(self) -> None:
        """
        Any depth of nesting is survived, and too deep a one is refused.
        """
        for opening in (b"[", b'{"a":', b'{"a":[', b'{"model":['):
            error = self.refused(opening * 300_000)
            self.assertIn("too deeply", str(error), opening)
        self.assertEqual(
            nameIn(b'{"a":%s,"model":"x"}' % (b"[" * 100 + b"]" * 100)), "x"
        )

    def test_byteOrderMark(self) -> None:
        """
        A mark of UTF-8 is no harm.
        """
        self.assertEqual(nameIn(b'\xef\xbb\xbf{"model":"x"}'), "x")

    def test_otherEncodings(self) -> None:
        """
        UTF-16 and UTF-32 are refused in words that say so.
        """
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"):
            error = self.refused('{"model":"x"}'.encode(encoding))
            self.assertIn("UTF-8", str(error), encoding)

    @given(st.binary() | st.binary().map(b'{"model":"'.__add__))
    def test_anyBytes(self, body: bytes) -> None:
        """
        No body raises anything but L{BadBody}, which leaves no view behind.
        """
        for look in (nameIn, lambda b: renamed(b, "x")):
            with contextlib.suppress(BadBody):
                look(body)

    @given(objects())
    def test_agrees(self, text: str) -> None:
        """
        The name is the one that the standard library finds.
        """
        model = json.loads(text).get("model")
        body = text.encode()
        if model is None or isinstance(model, str):
            self.assertEqual(nameIn(body), model or None)
        else:
            self.refused(body)

    @given(st.text())
    def test_agreesOnText(self, text: str) -> None:
        """
        What the standard library refuses is refused.
        """
        try:
            json.loads(text)
        except ValueError:
            if not text.startswith("\ufeff"):
                self.refused(text.encode())


class PlaceTests(SynchronousTestCase):
    """
    L{placeInJSON}.
    """

    def test_only(self) -> None:
        """
        Only the name changes: not order, spaces, numbers or escapes.
        """
        for before, after in [
            (b'{"model":"llama"}', b'{"model":"o/l"}'),
            (
                b' { "a" : 1.0e0, "model"\t:\n"\\u006clama" , "b":"\\/"} ',
                b' { "a" : 1.0e0, "model"\t:\n"o/l" , "b":"\\/"} ',
            ),
            (b'{"\\u006Dodel":"x"}', b'{"\\u006Dodel":"o/l"}'),
            (b'\xef\xbb\xbf{"model":"y"}', b'\xef\xbb\xbf{"model":"o/l"}'),
        ]:
            self.assertEqual(renamed(before, "o/l"), after)

    def test_decoys(self) -> None:
        """
        The same field elsewhere in the document stays as it is.
        """
        inner = b'{"model":"x","b":[{"model":"x"}],"c\\"model":"x"}'
        for template in (
            b'{"model":"%s","a":' + inner + b"}",
            b'{"a":' + inner + b',"model":"%s"}',
            b'{"a":' + inner + b',"model":"%s","b":' + inner + b"}",
            b'{"a":"\\"model\\":\\"x\\"","c\\"model":"x","model":"%s"}',
            b'{"model":"x","model":"%s"}',
        ):
            self.assertEqual(renamed(template % b"x", "new"), template % b"new")

    def test_nothing(self) -> None:
        """
        Where there is no name, there is no place for one.
        """
        for body in (b"{}", b'{"model":""}', b'{"model":null}', b"[]"):
            self.assertEqual(renamed(body, "x"), body)

    def test_tooMany(self) -> None:
        """
        A body that hides the field among thousands of the same is refused.
        """
        decoy = b'{"model":"x"},'
        body = b'{"a":[%s1],"model":"x"}'
        self.assertIn(b'"model":"new"', renamed(body % (decoy * (MANY - 1)), "new"))
        error = self.assertRaises(BadBody, renamed, body % (decoy * MANY), "new")
        self.assertIn("too many places", str(error))

    @given(objects(), st.text(st.characters()))
    def test_property(self, text: str, name: str) -> None:
        """
        The renamed document is the same but for its model.
        """
        expected: dict[str, Any] = json.loads(text)
        model = expected.get("model")
        if model is not None and not isinstance(model, str):
            return
        if model:
            expected["model"] = name
        self.assertEqual(json.loads(renamed(text.encode(), name)), expected)


class LooksTests(SynchronousTestCase):
    """
    L{looksLikeObject}.
    """

    def test_looks(self) -> None:
        """
        A brace, after spaces at most, looks like an object.
        """
        for body in (b"{", b' \r\n\t{"a":1}', b"\xef\xbb\xbf{}"):
            self.assertTrue(looksLikeObject(memoryview(body)), body)
        for body in (b"", b"[{}]", b"model=x", b"a{", b" " * 65 + b"{"):
            self.assertFalse(looksLikeObject(memoryview(body)), body)
