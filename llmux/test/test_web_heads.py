"""
Tests for L{llmux.web._heads}.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._heads import (
    LONGEST_HEAD,
    LONGEST_KNOWN,
    BadResponse,
    RequestHead,
    ResponseHead,
    readRequest,
    readResponse,
)

REQUEST = b"POST /v1/x?y HTTP/1.1\r\nHost: me\r\nContent-Length: 12\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Two: 2\r\n\r\n"


def request(*lines: bytes, first: bytes = b"POST /x HTTP/1.1") -> bytes:
    """
    The head of a request.
    """
    return b"\r\n".join((first, b"Host: me", *lines, b"", b""))


def response(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """
    The head of a response.
    """
    return b"\r\n".join((first, *lines, b"", b""))


class RequestTests(SynchronousTestCase):
    """
    Tests for L{readRequest}.
    """

    def read(self, data: bytes) -> tuple[RequestHead, int, int]:
        """
        Read what is a head.
        """
        read = readRequest(data, 65536)
        assert read is not None, data
        return read

    def test_head(self) -> None:
        """
        All parts of a head are found.
        """
        head, size, length = self.read(REQUEST + b"rest")
        self.assertEqual((size, length), (len(REQUEST), 12))
        self.assertEqual(head.method, b"POST")
        self.assertEqual((head.target, head.path), (b"/v1/x?y", b"/v1/x"))
        self.assertEqual(head.headers, ((b"Host", b"me"),))
        self.assertFalse(head.closes)
        self.assertEqual(head.requestId, b"")

    def test_again(self) -> None:
        """
        A head that differs from an earlier one in the length alone is known
        again, and has its own length.
        """
        first, _, _ = self.read(REQUEST)
        again = REQUEST.replace(b"12", b"3456")
        head, size, length = self.read(again)
        self.assertIs(head, first)
        self.assertEqual((size, length), (len(again), 3456))
        other, _, _ = self.read(REQUEST.replace(b"me", b"you"))
        self.assertEqual(other.headers, ((b"Host", b"you"),))

    def test_long(self) -> None:
        """
        Long heads are read as well, but not kept.
        """
        long = request(b"X: " + b"x" * LONGEST_KNOWN, b"Content-Length: 1")
        first, size, length = self.read(long)
        self.assertEqual((size, length), (len(long), 1))
        self.assertIsNot(self.read(long)[0], first)

    def test_headers(self) -> None:
        """
        Names stay as they are, values are stripped, and repeated ones kept.
        """
        head, _, length = self.read(
            request(b"x-TWO: \t a b \t", b"x-two:", b"CONTENT-length:\t7 ")
        )
        self.assertEqual(
            head.headers, ((b"Host", b"me"), (b"x-TWO", b"a b"), (b"x-two", b""))
        )
        self.assertEqual(length, 7)

    def test_connection(self) -> None:
        """
        It is known whether the connection is to be closed.
        """
        for value, closes in ((b"close", True), (b"Close", True), (b"keep-alive", 0)):
            head, _, _ = self.read(request(b"Connection: " + value))
            self.assertEqual(head.closes, bool(closes))

    def test_requestId(self) -> None:
        """
        An id that the client gave is taken if it is harmless, and the only
        one.
        """
        for lines, found in (
            ([b"X-Request-Id: abc"], b"abc"),
            ([b"X-Request-Id: a b"], b""),
            ([b"X-Request-Id: a", b"X-Request-Id: b"], b""),
        ):
            self.assertEqual(self.read(request(*lines))[0].requestId, found)

    def test_incomplete(self) -> None:
        """
        What is not complete is no head, at whatever byte it ends.
        """
        for end in range(len(REQUEST)):
            self.assertIsNone(readRequest(REQUEST[:end], 65536))

    def test_tooLong(self) -> None:
        """
        What is longer than it may be is no head.
        """
        self.assertIsNotNone(readRequest(REQUEST, len(REQUEST)))
        self.assertIsNone(readRequest(REQUEST, len(REQUEST) - 1))

    def test_outOfTheOrdinary(self) -> None:
        """
        Everything that there may be doubt about is left to others.
        """
        for odd in (
            request(first=b"POST /x HTTP/1.0"),
            request(first=b"POST /x HTTP/2.0"),
            request(first=b"POST http://me/x HTTP/1.1"),
            request(first=b"OPTIONS * HTTP/1.1"),
            request(first=b"CONNECT me:1 HTTP/1.1"),
            request(first=b"POST  /x HTTP/1.1"),
            request(first=b"POST /x  HTTP/1.1"),
            request(first=b"POST /x y HTTP/1.1"),
            request(first=b"POST /\xe9 HTTP/1.1"),
            request(first=b"POST /x HTTP/1.1 "),
            request(first=b" POST /x HTTP/1.1"),
            request(first=b"\r\nPOST /x HTTP/1.1"),
            request(first=b"P@ST /x HTTP/1.1"),
            b"POST /x HTTP/1.1\r\n\r\n",
            b"POST /x HTTP/1.1\r\nX: y\r\n\r\n",
            REQUEST.replace(b"\r\n", b"\n"),
            REQUEST.replace(b"me\r\n", b"me\n"),
            request(b"Host: me"),
            request(b"HOST: you"),
            request().replace(b"me", b"a b"),
            request().replace(b"me", b"a,b"),
            request(b"X : y"),
            request(b": y"),
            request(b"X"),
            request(b"X: y", b" z"),
            request(b"X: a\x00b"),
            request(b"X: a\rb"),
            request(b"X: a\x7fb"),
            request(b"Content-Length: 1", b"Content-Length: 1"),
            request(b"Content-Length: 1", b"Content-Length: 2"),
            request(b"Content-Length: 1, 1"),
            request(b"Content-Length: +1"),
            request(b"Content-Length: -1"),
            request(b"Content-Length: 0x1"),
            request(b"Content-Length:"),
            request(b"Content-Length:", b"Content-Length: 5"),
            request(b"Content-Length: 5", b"Content-Length:"),
            request(b"Content-Length: " + b"1" * 19),
            request(b"Content-Length : 1"),
            request(b"Transfer-Encoding: chunked"),
            request(b"Transfer-Encoding: identity", b"Content-Length: 1"),
            request(b"Expect: 100-continue"),
            request(b"Upgrade: websocket", b"Connection: Upgrade"),
            request(b"HTTP2-Settings: x"),
            request(b"Connection: close, X"),
            request(b"Connection: keep-alive", b"Connection: close"),
        ):
            self.assertIsNone(readRequest(odd, 65536), odd)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_anything(self, data: bytes) -> None:
        """
        No bytes whatever are an error, alone or in place of a header.
        """
        for what in (data, request(b"X: " + data), request(data), data + request()):
            read = readRequest(what, 65536)
            self.assertTrue(read is None or read[0].method == b"POST")


class ResponseTests(SynchronousTestCase):
    """
    Tests for L{readResponse}.
    """

    def read(self, data: bytes) -> tuple[ResponseHead, int, int | None]:
        """
        Read what is a head.
        """
        read = readResponse(data)
        assert read is not None, data
        return read

    def test_head(self) -> None:
        """
        All parts of a head are found.
        """
        head, size, length = self.read(RESPONSE + b"rest")
        self.assertEqual((size, length), (len(RESPONSE), 12))
        self.assertEqual((head.status, head.phrase), (200, b"OK"))
        self.assertIn((b"X-Two", b"2"), head.headers)
        self.assertFalse(head.isChunked)
        self.assertTrue(head.keeps)

    def test_again(self) -> None:
        """
        A head that differs from an earlier one in the length alone is known
        again, and has its own length.
        """
        first, _, _ = self.read(RESPONSE)
        again = RESPONSE.replace(b"12", b"3" * 18)
        head, size, length = self.read(again)
        self.assertIs(head, first)
        self.assertEqual((size, length), (len(again), int(b"3" * 18)))

    def test_noLength(self) -> None:
        """
        A length that is not said is not made up.
        """
        self.assertEqual(self.read(response())[1:], (19, None))
        self.assertEqual(self.read(response(b"Content-Length: 0"))[2], 0)

    def test_chunked(self) -> None:
        """
        It is known whether the body is chunked.
        """
        for value in (b"chunked", b"Chunked"):
            head, _, _ = self.read(response(b"Transfer-Encoding: " + value))
            self.assertTrue(head.isChunked)

    def test_phrase(self) -> None:
        """
        The phrase may be missing, and may have any letters.
        """
        for first, phrase in (
            (b"HTTP/1.1 200", b""),
            (b"HTTP/1.1 200 ", b""),
            (b"HTTP/1.1 299 So \xe4t", b"So \xe4t"),
        ):
            self.assertEqual(self.read(response(first=first))[0].phrase, phrase)

    def test_keeps(self) -> None:
        """
        It is known whether the connection can be used again.
        """
        for first, lines, keeps in (
            (b"HTTP/1.1 200 OK", (), True),
            (b"HTTP/1.1 200 OK", (b"connection: Close",), False),
            (b"HTTP/1.1 200 OK", (b"Connection: x , CLOSE",), False),
            (b"HTTP/1.0 200 OK", (), False),
            (b"HTTP/1.0 200 OK", (b"Connection: Keep-Alive",), True),
        ):
            self.assertEqual(self.read(response(*lines, first=first))[0].keeps, keeps)

    def test_interim(self) -> None:
        """
        Interim responses are passed over.
        """
        interim = response(first=b"HTTP/1.1 100 Continue") + response(
            b"Link: x", first=b"HTTP/1.1 103 Early Hints"
        )
        head, size, length = self.read(interim + RESPONSE)
        self.assertEqual(head.status, 200)
        self.assertEqual((size, length), (len(interim + RESPONSE), 12))
        self.assertIsNone(readResponse(interim))

    def test_sloppy(self) -> None:
        """
        Lines may end in a bare line feed, and be folded.
        """
        head, _, length = self.read(
            b"HTTP/1.1 200 OK\nContent-Length: 3\nX: a\r\n b\n\tc\n\n"
        )
        self.assertEqual(length, 3)
        self.assertEqual(head.headers[-1], (b"X", b"a b c"))

    def test_incomplete(self) -> None:
        """
        What may still become a head is waited for.
        """
        for end in range(len(RESPONSE)):
            self.assertIsNone(readResponse(RESPONSE[:end]))

    def test_bad(self) -> None:
        """
        What is no head is refused.
        """
        for bad in (
            b"x",
            b"HTTP/2 200 OK\r\n",
            b"HTTP/1.2 200 OK\r\n",
            b"HTTP/1.1 2000 OK\r\n",
            b"HTTP/1.1 020 OK\r\n",
            b"HTTP/1.1 200 a\x00\r\n",
            b"HTTP/1." + b"x" * 10000,
            response(first=b"HTTP/1.1 101 Switching Protocols"),
            response(b"Content-Length: 1", b"Content-Length: 1"),
            response(b"Content-Length: 1", b"Content-Length: 2"),
            response(b"Content-Length: 1, 1"),
            response(b"Content-Length: -1"),
            response(b"Content-Length:"),
            response(b"Content-Length: 1", b" 2"),
            response(b"Transfer-Encoding: gzip"),
            response(b"Transfer-Encoding: gzip, chunked"),
            response(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            response(b"no colon"),
            response(b"X: " + b"x" * LONGEST_HEAD),
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * LONGEST_HEAD,
        ):
            self.assertRaises(BadResponse, readResponse, bad)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200), st.lists(st.integers(0, 400), max_size=3))
    def test_anything(self, data: bytes, cuts: list[int]) -> None:
        """
        Whatever bytes there are, they are a head, or part of one, or refused;
        and what is refused is so with more behind it.
        """
        whole = response(b"X: " + data)
        edges = [*sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
        refused = [self.isRefused(whole[:edge]) for edge in edges]
        self.assertNotIn((True, False), pairwise(refused))

    def isRefused(self, data: bytes) -> bool:
        """
        Whether it is not, and never becomes, a response.
        """
        try:
            readResponse(data)
        except BadResponse:
            return True
        return False
