"""
Both ways through llmux, the lane and the usual one, side by side: whatever a
client and a model's server send, what the other gets to see is the same.
"""

from __future__ import annotations

from attrs import frozen
from hypothesis import event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.test._memory import FakeClient
from llmux.test._ways import Way, cut

METHODS = [b"POST", b"POST", b"GET", b"HEAD", b"PUT", b"DELETE", b"get", b"M-SEARCH"]
TARGETS = [
    b"/v1/chat/completions",
    b"/v1/x?y=%2F&model=a",
    b"/x?model=a",
    b"/x?model=b&model=a",
    b"/upstream/a/v1/x?y",
    b"/upstream/a",
    b"/upstream/b/x",
    b"//x//?model=a",
    b"/v1/models",
    b"/v1/models/a",
    b"/health",
    b"/nothing",
    b"http://me/v1/x?model=a",
    b"*",
    b"/x y",
    b"",
]
HEADERS = [
    b"Content-Type: application/json",
    b"content-type: text/plain; charset=utf-8",
    b"Content-Type: application/x-www-form-urlencoded",
    b"X-Two: 1\r\nx-two: 2",
    b"Connection: close",
    b"connection: Keep-Alive",
    b"Connection: keep-alive, X-Two",
    b"Cookie: a=1",
    b"Via: 1.0 other",
    b"X-Forwarded-For: 1.2.3.4",
    b"Accept-Encoding: gzip",
    b"Authorization: Bearer abc",
    b"TE: trailers",
    b"Trailer: X",
    b"Keep-Alive: timeout=5",
    b"Empty:",
    b"Latin: \xe4\xf6",
    b"Tab:\ta\tb\t",
    # And what may well be refused.
    b"Host: other",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"no colon",
    b" folded: 1",
    b"Space : 1",
    b"Nul: a\x00b",
    b"Content-Length: 3",
    b"Content-Length: +3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Content-Encoding: gzip",
]
BODIES = [
    b"",
    b'{"model": "a"}',
    b'{"messages": [{"model": "b"}], "model": "a", "n": 1e400}',
    b'{"model": "b"}',
    b'{"model": 1}',
    b'{"model": "a"',
    b"model=a&x=y",
    b"x" * 3000,
]
NONSENSE = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
]
ANSWERS = [
    *NONSENSE,
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n"
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n"
    ),
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
    b"HTTP/1.1 204 No Content\r\nX-Two: 2\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 418 I am\r\nContent-Length: 0\r\n\r\n",
    (
        b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\nX-Secret: 1\r\n"
        b"Connection: X-Secret\r\n\r\nno"
    ),
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"SSH-2.0-nothing\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"",
]
places = st.lists(st.integers(0, 10_000), max_size=4)


@frozen
class Talk:
    """
    A request, and what is answered to it.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: list[bytes]
    body: bytes
    framing: str
    cuts: list[int]
    answer: bytes
    answerCuts: list[int]
    ending: str

    def request(self) -> bytes:
        """
        The bytes of the request.
        """
        lines = [b"%b %b HTTP/%b" % (self.method, self.target, self.version)]
        lines += [b"Host: llmux", *self.headers]
        body = self.body
        if self.framing == "length" and (body or self.method == b"POST"):
            lines.append(b"Content-Length: %d" % len(body))
        elif self.framing == "chunked" and body:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return b"\r\n".join([*lines, b"", b""]) + body


talks = st.builds(
    Talk,
    method=st.sampled_from(METHODS),
    target=st.sampled_from(TARGETS),
    version=st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"2.0"]),
    headers=st.lists(st.sampled_from(HEADERS), max_size=4),
    body=st.sampled_from(BODIES),
    framing=st.sampled_from(["length", "length", "length", "chunked", "none"]),
    cuts=places,
    answer=st.sampled_from(ANSWERS),
    answerCuts=places,
    ending=st.sampled_from(["stay", "close", "break"]),
)


class PathTests(SynchronousTestCase):
    """
    The same talks over both.
    """

    maxDiff = None

    def ways(self) -> list[Way]:
        """
        Both.
        """
        return [Way().build(isLane) for isLane in (True, False)]

    def test_surprised(self) -> None:
        """
        A client is answered and nothing stays in flight even if observers fail
        at every event and a model cannot be suspected.
        """

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        for way in self.ways():
            observer = FakeClient()
            observer.notify = fail  # type: ignore[attr-defined]
            way.switcher.addObserver(observer)  # type: ignore[arg-type]
            self.patch(way.switcher, "suspect", fail)
            way.receive(b"GET /x?model=a HTTP/1.1\r\nHost: llmux\r\n\r\n")
            way.answer([b"SSH-2.0-nothing\r\n"], "close")
            self.assertIn(b"HTTP/1.1 502 ", way.transport.value())
            self.assertEqual(way.inFlight(), 0)
            self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    @settings(max_examples=100, report_multiple_bugs=False)
    @given(st.lists(talks, min_size=1, max_size=3))
    def test_same(self, conversation: list[Talk]) -> None:
        """
        One request after the other over one connection, each answered in
        whatever way, ends the same over both ways, and with nothing in flight
        when the client is gone.
        """
        methods = [talk.method for talk in conversation]
        lane, usual = self.ways()
        for talk in conversation:
            for way in (lane, usual):
                for part in cut(talk.request(), talk.cuts):
                    way.receive(part)
                way.answer(cut(talk.answer, talk.answerCuts), talk.ending)
            seen = lane.seen(methods)
            self.assertEqual(seen, usual.seen(methods), conversation)
        event("served" if lane.heard else "refused")
        for way in (lane, usual):
            way.leave()
            way.settle()
            self.assertEqual(way.inFlight(), 0)
        self.assertEqual(lane.metrics.finished, usual.metrics.finished)
        self.flushLoggedErrors()
