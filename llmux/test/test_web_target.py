"""
Tests for L{llmux.web._target}.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._target import (
    Named,
    nameInQuery,
    nameInTarget,
    originForm,
    withModelInQuery,
)

KNOWN = {"llama", "org/llama", "org/llama/v1", "a b", "org", "Ü", "100%"}


class TargetTests(SynchronousTestCase):
    """
    C{/upstream/MODEL/...}.
    """

    def check(self, target: bytes, model: str | None, path: bytes) -> None:
        """
        Assert what a target says.
        """
        found = nameInTarget(target, KNOWN.__contains__)
        self.assertEqual(found, Named(model, path))

    def test_prefix(self) -> None:
        """
        The prefix is removed, and the rest is as it was, byte for byte.
        """
        self.check(b"/upstream/llama/v1/chat", "llama", b"/v1/chat")
        self.check(
            b"/upstream/llama/%7eA/../b//c;d?x=%2F&model=y?&",
            "llama",
            b"/%7eA/../b//c;d?x=%2F&model=y?&",
        )
        self.check(b"/upstream/llama//evil/x", "llama", b"//evil/x")

    def test_bare(self) -> None:
        """
        With nothing behind the name, the server's root is meant.
        """
        self.check(b"/upstream/llama", "llama", b"/")
        self.check(b"/upstream/llama/", "llama", b"/")
        self.check(b"/upstream/llama?a=b", "llama", b"/?a=b")

    def test_otherPaths(self) -> None:
        """
        Any other path names nothing and stays.
        """
        for target in (b"/", b"/v1/chat", b"/upstream", b"/upstreams/x", b"*", b""):
            self.check(target, None, target)
        self.check(b"/v1/x?a=/upstream/llama/", None, b"/v1/x?a=/upstream/llama/")

    def test_longest(self) -> None:
        """
        Names may contain slashes; the longest known one is meant.
        """
        self.check(b"/upstream/org/x", "org", b"/x")
        self.check(b"/upstream/org/llama/x", "org/llama", b"/x")
        self.check(b"/upstream/org/llama/v1/x", "org/llama/v1", b"/x")
        self.check(b"/upstream/org/llama/v1", "org/llama/v1", b"/")

    def test_decoded(self) -> None:
        """
        Names are percent-decoded once, encoded slashes included.
        """
        self.check(b"/upstream/org%2Fllama/x", "org/llama", b"/x")
        self.check(b"/upstream/a%20b/x", "a b", b"/x")
        self.check(b"/upstream/%C3%9C/x", "Ü", b"/x")
        self.check(b"/upstream/100%25/x", "100%", b"/x")
        self.check(b"/upstream/a+b/x", "a+b", b"/x")

    def test_encodedSeparators(self) -> None:
        """
        An encoded slash never ends a name, and nothing is decoded twice.
        """
        self.check(b"/upstream/llama%2Fv1/x", "llama/v1", b"/x")
        self.check(b"/upstream/org%252Fllama/x", "org%2Fllama", b"/x")
        self.check(b"/upstream/llama%3Fa/x", "llama?a", b"/x")

    def test_unknown(self) -> None:
        """
        If no name is known, the first segment is the unknown one.
        """
        self.check(b"/upstream/nobody/v1/x?y", "nobody", b"/v1/x?y")
        self.check(b"/upstream/", "", b"/")
        self.check(b"/upstream//llama/x", "", b"/llama/x")
        self.check(b"/upstream/%ff%00/x", "\ufffd\0", b"/x")

    def test_manySegments(self) -> None:
        """
        A target of thousands of slashes is looked up a bounded number of
        times, and a name of sixteen segments is still found.
        """
        asked = []

        def isKnown(name: str) -> bool:
            asked.append(name)
            return False

        nameInTarget(b"/upstream/" + b"a/" * 30_000, isKnown)
        self.assertEqual(len(asked), 16)
        for name in ("/".join("a" * 16), "a" * 10_000):
            target = b"/upstream/" + name.encode()
            for rest in (b"", b"/x"):
                self.assertEqual(
                    nameInTarget(target + rest, name.__eq__), Named(name, rest or b"/")
                )

    @given(st.text(min_size=1), st.binary(max_size=10), st.booleans())
    def test_anyName(self, name: str, query: bytes, slashes: bool) -> None:
        """
        Whatever a model is called, its encoded name is found.
        """
        target = quote(name, safe="/" if slashes else "").encode()
        found = nameInTarget(
            b"/upstream/" + target + b"/v1?" + query, {name}.__contains__
        )
        if name.count("/") < 16 or not slashes:
            self.assertEqual(found, Named(name, b"/v1?" + query))

    @given(st.binary())
    def test_anyBytes(self, junk: bytes) -> None:
        """
        No target raises.
        """
        for start in (b"", b"/upstream/"):
            nameInTarget(start + junk, KNOWN.__contains__)
            nameInQuery(start + junk)
            withModelInQuery(start + junk, "x")
            originForm(start + junk)


class OriginFormTests(SynchronousTestCase):
    """
    Targets with a host in front.
    """

    def test_absolute(self) -> None:
        """
        Scheme and host are taken off.
        """
        for target, expected in [
            (b"http://x:80/v1?y", b"/v1?y"),
            (b"HTTPS://x", b"/"),
            (b"http://x?y", b"/?y"),
        ]:
            self.assertEqual(originForm(target), expected)

    def test_origin(self) -> None:
        """
        Any other target stays.
        """
        for target in (b"/http://x/", b"*", b"", b"//x/y"):
            self.assertEqual(originForm(target), target)


class QueryTests(SynchronousTestCase):
    """
    C{?model=}.
    """

    def test_found(self) -> None:
        """
        The first field of that name counts, decoded.
        """
        for query, name in [
            (b"model=llama", "llama"),
            (b"a=b&model=org%2Fllama&c", "org/llama"),
            (b"model=a+b&model=c", "a b"),
            (b"%6dodel=x", "x"),
            (b"a&m%6Fdel=x=y", "x=y"),
            (b"model=%ff", "\ufffd"),
        ]:
            self.assertEqual(nameInQuery(b"/v1/x?" + query), name, query)

    def test_notFound(self) -> None:
        """
        Without a value, there is no name.
        """
        for target in (
            b"/v1",
            b"/model=x",
            b"/?",
            b"/?model",
            b"/?model=",
            b"/?model=&model=x",
            b"/?xmodel=x",
            b"/?models=x",
            b"/?a=model=x",
            b"/?Model=x",
        ):
            self.assertIsNone(nameInQuery(target), target)

    def test_replaced(self) -> None:
        """
        Another name is put in its place, and nothing else changes.
        """
        self.assertEqual(
            withModelInQuery(b"/v1?a=%20&model=llama&b=model=llama&", "o/l +ü"),
            b"/v1?a=%20&model=o%2Fl%20%2B%C3%BC&b=model=llama&",
        )
        self.assertEqual(withModelInQuery(b"/v1?a=b", "x"), b"/v1?a=b")

    @given(
        st.lists(
            st.tuples(st.sampled_from(["model", "a", "xmodel"]) | st.text(), st.text())
        ),
        st.text(min_size=1),
    )
    def test_agrees(self, fields: list[tuple[str, str]], new: str) -> None:
        """
        The name is the one that the standard library finds, before and after
        it is replaced, and no other field changes.
        """
        query = "&".join(f"{quote(k)}={quote(v)}" for k, v in fields)
        target = b"/x?" + query.encode()
        parsed = parse_qsl(query, keep_blank_values=True)
        names = [value for key, value in parsed if key == "model"]
        self.assertEqual(nameInQuery(target), (names or [""])[0] or None)
        changed = withModelInQuery(target, new).decode()[3:]
        if names:
            place = [key for key, _ in parsed].index("model")
            parsed[place] = ("model", new)
        self.assertEqual(parse_qsl(changed, keep_blank_values=True), parsed)
