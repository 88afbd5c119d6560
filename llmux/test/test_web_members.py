"""
Tests for L{llmux.web._members}.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.test._members import Pair, objects
from llmux.web import _members
from llmux.web._errors import BadBody
from llmux.web._members import membersIn


def found(text: bytes, *names: str) -> list[tuple[int, str, bytes]]:
    """
    The members of some names: their numbers, names and values.
    """
    with memoryview(text) as view:
        members = membersIn(view, 0, names)
        return [
            (one.number, one.name, text[one.value : one.stop]) for one in members.found
        ]


class MembersTests(SynchronousTestCase):
    """
    Tests for L{membersIn}.
    """

    def test_found(self) -> None:
        """
        Members are found at the top level only, each as often as it is there,
        whatever their values, and however their names are spelt.
        """
        text = (
            rb' {"a" : "\\\"a\":}" ,"n":{"a":1,"x":[{"a":2}]},"a":[[],{},"]"],'
            b'"\\u0061":-1.5e9,"\xc3\xa9":tru' + b'e\n,"\\u00e9":{},"aa":1,"":null}'
        )
        self.assertEqual(
            found(text, "a", "é", ""),
            [
                (0, "a", rb'"\\\"a\":}"'),
                (2, "a", b'[[],{},"]"]'),
                (3, "a", b"-1.5e9"),
                (4, "é", b"true"),
                (5, "é", b"{}"),
                (7, "", b"null"),
            ],
        )

    def test_places(self) -> None:
        """
        The places around a member are known.
        """
        text = b'{ "x": 1 , "a" : 2 , "y": 3 }'
        with memoryview(text) as view:
            members = membersIn(view, 0, ["a", "x", "y"])
        x, a, y = members.found
        self.assertEqual((members.start, members.count), (1, 3))
        self.assertEqual(text[a.start : a.stop], b'"a" : 2')
        self.assertEqual(text[a.before : a.start], b" , ")
        self.assertEqual(text[a.stop : a.after], b" , ")
        self.assertEqual((x.before, y.after), (1, len(text) - 1))

    def test_empty(self) -> None:
        """
        An empty object has none.
        """
        for text in (b"{}", b" {\n} "):
            self.assertEqual(found(text, "a"), [])

    def test_long(self) -> None:
        """
        Texts with many escapes, and lists with many texts, are passed over.
        """
        text = (
            b'{"t":"' + b'\\"\\n' * 5000 + b'","l":[' + b'"x",' * 5000 + b'"\\"'
            b'","' + b"\\\\" * 5000 + b'"],"a":1}'
        )
        json.loads(text)
        self.assertEqual(found(text, "a"), [(2, "a", b"1")])

    def test_bounds(self) -> None:
        """
        A body with more parts than can be looked at, or with a member too
        often, is refused.
        """
        self.patch(_members, "PARTS", 10)
        self.assertRaises(BadBody, found, b'{"x":[' + b"[]," * 10 + b"1]}", "a")
        self.assertRaises(BadBody, found, b"{" + b'"x":[1],' * 10 + b'"x":[]}', "a")
        members = b",".join(b'"x":1' for _ in range(5))
        self.assertEqual(found(b"{%b}" % members, "a"), [])
        self.patch(_members, "MEMBERS", 4)
        self.assertRaises(BadBody, found, b"{%b}" % members, "a")
        self.patch(_members, "MANY", 2)
        self.assertRaises(BadBody, found, b'{"a":1,"a":2,"a":3}', "a")

    @given(objects(), st.sampled_from(["a", "é", "😀", "model"]))
    def test_any(self, written: tuple[bytes, list[Pair]], name: str) -> None:
        """
        What was written at the top level is what is found.
        """
        text, pairs = written
        self.assertEqual(
            found(text, name),
            [
                (number, name, pair.value.encode("utf-8", "surrogatepass"))
                for number, pair in enumerate(pairs)
                if pair.name == name
            ],
        )
