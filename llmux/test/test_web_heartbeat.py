"""
Tests for L{llmux.web._heartbeat}; what it is on the wire is tested there.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from llmux.test._memory import FakeClient, MemoryCase, makeAsked
from llmux.web._heartbeat import lookForEvents
from llmux.web._late import errorIn
from llmux.web._looks import Look, Streaming
from llmux.web._plan import MEBIBYTE, makePlan
from llmux.web.exchange import Exchange

STREAM = b'{"model": "b", "stream": true}'
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Content-Length: 9\r\n\r\ndata: 1\n\n"
)


class HeartbeatCase(MemoryCase):
    """
    With a client.
    """

    def ask(self, **asked: Any) -> FakeClient:
        """
        Have a client ask for a stream.
        """
        client = FakeClient()
        Exchange(self.context, client, makeAsked(**{"body": STREAM, **asked})).start()
        return client


class HeartbeatTests(HeartbeatCase):
    """
    When it beats, and what it says.
    """

    def test_usual(self) -> None:
        """
        It beats every 15 seconds, and says what is going on, for how long the
        client has waited, and about how long it still will.
        """
        client = self.ask()
        self.clock.advance(14.9)
        self.assertEqual(client.said, [])
        self.clock.advance(0.1)
        self.assertEqual(
            client.said,
            [
                (200, b"", None),
                b": llmux making room for b, 15 s, about 10 s left\n\n",
            ],
        )
        self.assertEqual(client.headers[b"X-LLMux-Queue-Wait"], b"15.000")
        self.hooks.finish("a")
        self.clock.advance(5)
        self.assertEqual(len(client.said), 2)
        self.clock.advance(10)
        self.assertEqual(client.said[2], b": llmux waking b, 30 s\n\n")
        self.hooks.finish("b")
        self.servers.accept().send(EVENTS)
        self.assertEqual(client.said[3:], [b"data: 1\n\n", "finish"])
        self.clock.advance(100)
        self.assertEqual(len(client.said), 5)

    def test_never(self) -> None:
        """
        With 0 it never does.
        """
        self.start(loading_heartbeat_secs=0)
        client = self.ask()
        self.clock.advance(1000)
        self.assertEqual(client.said, [])

    def test_awake(self) -> None:
        """
        It does not while a model that is awake takes long to answer.
        """
        client = self.ask(body=STREAM.replace(b'"b"', b'"a"'))
        self.servers.accept()
        self.clock.advance(1000)
        self.assertEqual(client.said, [])

    def test_grantedBefore(self) -> None:
        """
        Once the model has the request the answer is the model's, unless
        there has been a beat.
        """
        client = self.ask()
        self.clock.advance(10)
        self.hooks.finish("a")
        self.hooks.finish("b")
        connection = self.servers.accept()
        self.clock.advance(1000)
        self.assertEqual(client.said, [])
        connection.send(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(client.said[0], (400, b"No", 0))
        self.assertEqual(client.headers[b"X-LLMux-Queue-Wait"], b"10.000")

    def test_noTimers(self) -> None:
        """
        Nothing is left of it when its client has gone.
        """
        for seconds in (1, 20):
            client = self.ask()
            self.clock.advance(seconds)
            self.assertTrue(self.clock.getDelayedCalls())
            client.leave()
            self.hooks.finish("a")
            # What is left is the model's.
            self.clock.advance(1000)
            self.assertEqual(client.said[2:], [])
            self.start()

    def test_account(self) -> None:
        """
        How often a client was told is counted; one that leaves after that has
        left in the middle of an answer, one that leaves before it has not.
        """
        for seconds, status, beats, aborted in (
            (1, 499, 0, ""),
            (40, 200, 2, "left"),
        ):
            self.start()
            client = self.ask()
            self.clock.pump([1] * seconds)
            client.leave()
            account = self.metrics.accounts[-1]
            self.assertEqual((account.model, account.status), ("b", status))
            self.assertEqual((account.heartbeats, account.aborted), (beats, aborted))

    def test_position(self) -> None:
        """
        Clients are told which in the queue they were.
        """
        clients = [self.ask() for _ in range(3)]
        self.clock.advance(15)
        positions = [client.headers[b"X-LLMux-Queue-Position"] for client in clients]
        self.assertEqual(positions, [b"1", b"2", b"3"])


class LargeTests(HeartbeatCase):
    """
    Of a large body it takes a while to find out whether a stream is wanted.
    """

    def large(self) -> FakeClient:
        """
        Have a client ask, and look until it is time to.
        """
        self.cancelled = 0
        scanner: Any = self
        self.context.scanner = scanner
        client = self.ask()
        self.clock.advance(15)
        self.assertIsInstance(self.asked, Streaming)
        self.assertEqual(client.said, [])
        return client

    def look(self, look: Look, body: object) -> Deferred[bool]:
        """
        See L{llmux.web._scanner.Scanner.look}.
        """

        def cancelled(looking: Deferred[bool]) -> None:
            self.cancelled += 1

        self.asked = look
        self.looking: Deferred[bool] = Deferred(cancelled)
        return self.looking

    def test_wanted(self) -> None:
        """
        It begins when that is known.
        """
        client = self.large()
        self.clock.advance(60)
        self.assertEqual(client.said, [])
        self.looking.callback(True)
        self.assertEqual(len(client.said), 2)
        self.clock.advance(15)
        self.assertEqual(len(client.said), 3)

    def test_notWanted(self) -> None:
        """
        It does not begin if none is.
        """
        client = self.large()
        self.looking.callback(False)
        self.clock.advance(60)
        self.assertEqual(client.said, [])

    def test_over(self) -> None:
        """
        When the model's server is asked, or the client has left, nobody wants
        to know it any more.
        """
        client = self.large()
        client.leave()
        self.assertEqual(self.cancelled, 1)
        self.large()
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.assertEqual(self.cancelled, 1)
        self.servers.accept().send(EVENTS)

    def test_failed(self) -> None:
        """
        If it cannot be found out, that is logged, and there is no beat.
        """
        client = self.large()
        self.looking.errback(RuntimeError("dear me"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.clock.advance(60)
        self.assertEqual(client.said, [])


class StreamTests(MemoryCase):
    """
    Who wants a stream of events.
    """

    def wants(self, **asked: Any) -> bool:
        """
        Whether a request does.
        """
        made = makeAsked(**{"body": STREAM, **asked})
        look = lookForEvents(made, makePlan(self.config, made))
        return look is not None and look.at(made.body)

    def test_json(self) -> None:
        """
        Those that say so at the top of a JSON body.
        """
        self.assertTrue(self.wants())
        self.assertTrue(self.wants(headers={}))
        self.assertTrue(self.wants(body=b'\xef\xbb\xbf{"model":"b","stream":true }'))
        for body in (
            b'{"model": "b"}',
            b'{"model": "b", "stream": false}',
            b'{"model": "b", "stream": 1}',
            b'{"model": "b", "stream": [true]}',
            b'{"model": "b", "x": {"stream": true}}',
            b'{"model": "b", "stream": true, "stream": null}',
        ):
            self.assertFalse(self.wants(body=body), body)

    def test_others(self) -> None:
        """
        Not those at whose paths other things are streamed, nor other methods,
        nor bodies that are compressed, too large or none.
        """
        target = b"/v1/x?model=b"
        for path in (b"/api/chat", b"/api/generate?x", b"/v1/audio/speech"):
            self.assertFalse(self.wants(target=path), path)
        self.assertTrue(self.wants(target=b"/api/chat/completions"))
        self.assertFalse(self.wants(method=b"PUT"))
        self.assertFalse(self.wants(body=b"", target=target))
        headers = {b"Content-Encoding": b"gzip"}
        self.assertFalse(self.wants(headers=headers, target=target))
        self.assertFalse(self.wants(body=b"x", target=b"/upstream/b/x"))
        large = STREAM[:-1] + b', "x": "%b"}' % (b"x" * 64 * MEBIBYTE)
        self.assertFalse(self.wants(body=large))

    def test_form(self) -> None:
        """
        Those that say so in a form with parts.
        """
        headers = {b"Content-Type": b"multipart/form-data; boundary=x"}
        part = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        for value, wants in ((b"true", True), (b"True", True), (b"false", False)):
            body = part % (b"model", b"b") + part % (b"stream", value) + b"--x--\r\n"
            self.assertEqual(self.wants(body=body, headers=headers), wants)
        self.assertFalse(
            self.wants(body=b"--x", headers=headers, target=b"/upstream/b/x")
        )

    def test_shaped(self) -> None:
        """
        What counts is what the model's server is going to be asked.
        """
        self.start(models={"a": {}, "b": {"set": {"stream": False}}})
        self.assertFalse(self.wants())
        self.start(models={"a": {}, "b": {"set": {"stream": True}}})
        self.assertTrue(self.wants(body=b'{"model": "b"}'))


class LateTests(MemoryCase):
    """
    Errors of servers.
    """

    def test_errorIn(self) -> None:
        """
        They are said on one line, if they are errors in the usual form.
        """
        self.assertEqual(errorIn(b'{"error":\n "\xc3\xa9"}'), b'{"error": "\\u00e9"}')
        for body in (b"", b"x", b"[1]", b'{"error": null}', b'{"x": 1}', b"[" * 9999):
            self.assertEqual(errorIn(body), b"")
