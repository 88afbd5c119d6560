"""
Tests for L{llmux.web._headers}.
"""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._headers import (
    DROPPED,
    PROTECTED,
    Pair,
    endToEnd,
    forBackend,
    forClient,
    keyIn,
    requestId,
)


def toBackend(*headers: Pair, **changed: bytes) -> list[Pair]:
    """
    What a model's server gets of a request with these headers.
    """
    known = {
        "host": b"127.0.0.1:8001",
        "peer": b"10.0.0.7",
        "scheme": b"http",
        "requestId": b"id1",
    }
    return forBackend(headers, **{**known, **changed})  # type: ignore[arg-type]


def valuesOf(headers: list[Pair], name: bytes) -> list[bytes]:
    """
    All values of a header.
    """
    return [value for key, value in headers if key.lower() == name.lower()]


class EndToEndTests(SynchronousTestCase):
    """
    What is passed on in both directions.
    """

    def test_kept(self) -> None:
        """
        End-to-end headers stay as they are: order, case, repetition, value.
        """
        headers = [
            (b"accept", b"a"),
            (b"X-Odd_name", b" b\t"),
            (b"ACCEPT", b"c"),
            (b"Set-Cookie", b"d=\xff"),
        ]
        self.assertEqual(endToEnd(headers), headers)

    def test_hopByHop(self) -> None:
        """
        What concerns one connection or frames a message is left out, in
        whatever case it is written.
        """
        for name in DROPPED:
            for spelled in (name, name.upper(), name.title()):
                self.assertEqual(endToEnd([(spelled, b"x")]), [], spelled)

    def test_listed(self) -> None:
        """
        What C{Connection} lists is left out, also what stands before it.
        """
        self.assertEqual(
            endToEnd(
                [
                    (b"X-A", b"1"),
                    (b"X-B", b"2"),
                    (b"Connection", b"close, x-a"),
                    (b"connection", b"\tX-C ,,"),
                    (b"X-c", b"3"),
                ]
            ),
            [(b"X-B", b"2")],
        )

    def test_protected(self) -> None:
        """
        C{Connection} cannot take away what tells how to read the message.
        """
        headers = [(name, b"x") for name in sorted(PROTECTED)]
        listing = (b"Connection", b", ".join(PROTECTED))
        self.assertEqual(endToEnd([listing, *headers]), headers)

    def test_breaks(self) -> None:
        """
        A value or a name that could end the head early never gets out.
        """
        for value in (b"a\r\nX-Evil: 1", b"a\nb", b"a\rb", b"a\0b"):
            self.assertEqual(endToEnd([(b"X-A", value)]), [], value)
        for name in (b"", b"X A", b"X:A", b"X\r\nA", b"X\xff", b"X-A\n"):
            self.assertEqual(endToEnd([(name, b"x")]), [], name)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([*sorted(DROPPED), b"X-A", b"x-b", b"Host", b"Via"])
                | st.binary(max_size=5),
                st.sampled_from([b"x-a, X-B", b"close", b"keep-alive,te"])
                | st.binary(max_size=8),
            )
        )
    )
    def test_property(self, headers: list[Pair]) -> None:
        """
        Whatever the headers are, no hop-by-hop one survives, in neither
        direction, none that C{Connection} lists, and no line break.
        """
        listed = {
            token.strip(b" \t").lower()
            for value in valuesOf(headers, b"connection")
            for token in value.split(b",")
        }
        ours = {b"host", b"via", b"x-request-id"}
        ours |= {b"x-forwarded-" + name for name in (b"for", b"host", b"proto")}
        for result in (toBackend(*headers), forClient(headers, requestId=b"i")):
            for name, value in result:
                self.assertNotIn(name.lower(), DROPPED)
                self.assertNotIn(name.lower(), listed - PROTECTED - ours)
                self.assertFalse(set(name + value) & set(b"\0\r\n"))
        kept = endToEnd(headers)
        self.assertEqual(kept, [pair for pair in headers if pair in kept])


class BackendTests(SynchronousTestCase):
    """
    What a model's server gets.
    """

    def test_all(self) -> None:
        """
        The server gets its own C{Host} first, what the client sent, and who
        the client is.
        """
        self.assertEqual(
            toBackend(
                (b"Host", b"llm.example"),
                (b"Accept", b"*/*"),
                (b"Content-Length", b"5"),
                (b"Expect", b"100-continue"),
                (b"Transfer-Encoding", b"chunked"),
            ),
            [
                (b"Host", b"127.0.0.1:8001"),
                (b"Accept", b"*/*"),
                (b"X-Forwarded-For", b"10.0.0.7"),
                (b"X-Forwarded-Proto", b"http"),
                (b"X-Forwarded-Host", b"llm.example"),
                (b"Via", b"1.1 llmux"),
                (b"X-Request-Id", b"id1"),
            ],
        )

    def test_appended(self) -> None:
        """
        What proxies before us, or somebody who plays one, have said stands
        first, and what we know stands last.
        """
        headers = toBackend(
            (b"x-forwarded-for", b"1.2.3.4"),
            (b"X-Forwarded-For", b"5.6.7.8, 9.9.9.9"),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-Host", b"outer.example"),
            (b"X-Forwarded-Host", b" "),
            (b"Host", b"inner.example"),
            (b"Via", b"2 nginx"),
            version=b"1.0",
        )
        for name, value in [
            (b"X-Forwarded-For", b"1.2.3.4, 5.6.7.8, 9.9.9.9, 10.0.0.7"),
            (b"X-Forwarded-Proto", b"https, http"),
            (b"X-Forwarded-Host", b"outer.example, inner.example"),
            (b"Via", b"2 nginx, 1.0 llmux"),
        ]:
            self.assertEqual(valuesOf(headers, name), [value])

    def test_listedForwarded(self) -> None:
        """
        A client cannot have our own words dropped by listing them.
        """
        headers = toBackend(
            (b"Connection", b"X-Forwarded-For, Via, X-Request-Id, Host"),
            (b"X-Forwarded-For", b"1.2.3.4"),
        )
        self.assertEqual(valuesOf(headers, b"x-forwarded-for"), [b"10.0.0.7"])
        self.assertEqual(valuesOf(headers, b"via"), [b"1.1 llmux"])
        self.assertEqual(valuesOf(headers, b"x-request-id"), [b"id1"])
        self.assertEqual(valuesOf(headers, b"host"), [b"127.0.0.1:8001"])

    def test_noHost(self) -> None:
        """
        Where the client sent no C{Host}, or sits on a UNIX socket, nothing is
        made up.
        """
        headers = toBackend(peer=b"")
        self.assertEqual(valuesOf(headers, b"x-forwarded-host"), [])
        self.assertEqual(valuesOf(headers, b"x-forwarded-for"), [b"unknown"])

    def test_requestId(self) -> None:
        """
        There is one request id, whatever the client sent.
        """
        headers = toBackend((b"X-Request-ID", b"a"), (b"x-request-id", b"b"))
        self.assertEqual(valuesOf(headers, b"x-request-id"), [b"id1"])

    def test_ownKey(self) -> None:
        """
        A key to llmux is not passed on, wherever it stands; one that the
        model's server may want is.
        """

        def send(*headers: Pair) -> list[Pair]:
            return [
                pair
                for pair in forBackend(
                    headers,
                    host=b"h",
                    peer=b"",
                    scheme=b"http",
                    requestId=b"i",
                    isOwnKey=b"ours".__eq__,
                )
                if pair in headers
            ]

        for own in [
            (b"Authorization", b"Bearer ours"),
            (b"authorization", b" bearer   ours "),
            (b"X-Api-Key", b"ours"),
            (b"api-key", b" ours"),
            (b"Authorization", b"Basic " + b64encode(b"me:ours")),
            (b"Authorization", b"basic " + b64encode(b"ours")),
        ]:
            self.assertEqual(send(own), [], own)
        others = [
            (b"Authorization", b"Bearer theirs"),
            (b"Authorization", b"Basic ours"),
            (b"Authorization", b"Digest ours"),
            (b"Authorization", b"Basic " + b64encode(b"ours:theirs")),
            (b"x-api-key", b"theirs"),
        ]
        self.assertEqual(send(*others), others)

    def test_keysByDefault(self) -> None:
        """
        Where llmux has no keys, every key is the model server's.
        """
        key = (b"Authorization", b"Bearer x")
        self.assertIn(key, toBackend(key))


class ClientTests(SynchronousTestCase):
    """
    What a client gets.
    """

    def test_all(self) -> None:
        """
        The client gets the end-to-end headers, where they have been, and the
        id of its request.
        """
        self.assertEqual(
            forClient(
                [
                    (b"Content-Type", b"text/plain"),
                    (b"Connection", b"X-Hop"),
                    (b"X-Hop", b"1"),
                    (b"Via", b"1.1 inner"),
                    (b"X-Request-Id", b"theirs"),
                    (b"Set-Cookie", b"a\nb"),
                ],
                requestId=b"ours",
                version=b"1.0",
            ),
            [
                (b"Content-Type", b"text/plain"),
                (b"Via", b"1.1 inner, 1.0 llmux"),
                (b"X-Request-Id", b"ours"),
            ],
        )


class RequestIdTests(SynchronousTestCase):
    """
    The id of a request.
    """

    def idOf(self, *values: bytes) -> bytes:
        """
        The id of a request with these values of C{X-Request-Id}.
        """
        return requestId([(b"x-request-ID", v) for v in values], lambda: b"new")

    def test_kept(self) -> None:
        """
        A harmless id of the client's is kept.
        """
        for value in (b"a", b"req_1/2:3.4-5=", b"x" * 128):
            self.assertEqual(self.idOf(value), value)

    def test_replaced(self) -> None:
        """
        One that is missing, ambiguous, too long or odd is not.
        """
        self.assertEqual(self.idOf(), b"new")
        self.assertEqual(self.idOf(b"a", b"b"), b"new")
        for value in (b"", b"x" * 129, b"a b", b'a"', b"a\n", b"\xff", b"<a>", b"a,b"):
            self.assertEqual(self.idOf(value), b"new", value)

    def test_made(self) -> None:
        """
        New ids differ and would be kept by the next proxy.
        """
        first, second = requestId([]), requestId([])
        self.assertNotEqual(first, second)
        self.assertEqual(self.idOf(first), first)


class KeyTests(SynchronousTestCase):
    """
    L{keyIn}.
    """

    def test_key(self) -> None:
        """
        A key is found where one may stand, and nowhere else.
        """
        for name, value, key in [
            (b"authorization", b"Bearer x", b"x"),
            (b"authorization", b"Basic x", b""),
            (b"authorization", b"x", b""),
            (b"x-api-key", b" x ", b"x"),
            (b"cookie", b"x", b""),
        ]:
            self.assertEqual(keyIn(name, value), key)
