"""
Tests for L{llmux.web.exchange}.
"""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from llmux.config import ApiKey, PolicyConfig, Timeouts
from llmux.observe.account import IAccountant
from llmux.test._memory import Connection, FakeClient, MemoryCase, makeAsked
from llmux.web.exchange import Exchange

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n"
)
FOR_B = b'{"model": "b"}'


class ExchangeTests(MemoryCase):
    """
    Tests for L{Exchange}.
    """

    def ask(self, takes: bool = True, **asked: Any) -> FakeClient:
        """
        Have a client ask for something.
        """
        client = FakeClient(takes)
        Exchange(self.context, client, makeAsked(**asked)).start()
        return client

    def accept(self) -> Connection:
        """
        Make the connection to the server.
        """
        return self.servers.accept()

    def assertRefused(self, client: FakeClient, status: int, code: str) -> None:
        """
        The client was told that, and nothing else.
        """
        (given, _, length), body, *rest = client.said
        self.assertEqual(given, status)
        self.assertIn(f'"code": "{code}"'.encode(), body)
        self.assertEqual(length, len(body))
        self.assertEqual(rest, ["finish"])
        self.assertEqual(client.headers[b"X-Request-Id"], b"r-1")

    def test_metrics(self) -> None:
        """
        This is what is told of requests.
        """
        self.assertTrue(verifyObject(IAccountant, self.metrics))

    def test_served(self) -> None:
        """
        A request to a model that is awake is sent, its response relayed, and
        its token given back when the client has taken the last byte.
        """
        client = self.ask(takes=False)
        connection = self.accept()
        self.assertEqual(self.inFlight(), 1)
        self.assertIn(b"X-Forwarded-For: 10.0.0.1\r\n", connection.received)
        self.clock.advance(2)
        connection.send(OK)
        self.assertEqual(client.said, [(200, b"OK", 2), b"ok", "finish"])
        self.assertEqual(client.headers[b"X-Request-Id"], b"r-1")
        self.clock.advance(1)
        self.assertEqual(self.inFlight(), 1)
        client.leave()
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(self.metrics.finished, [("a", 200, 3.0)])
        client.leave()
        self.assertEqual(len(self.metrics.finished), 1)

    def test_head(self) -> None:
        """
        The response to C{HEAD} keeps the length it was said to have, if it was.
        """
        for header, length in (
            (b"Content-Length: 9\r\n", 9),
            (b"", None),
        ):
            client = self.ask(method=b"HEAD", body=b"", target=b"/x?model=a")
            connection = self.servers.connections[-1]
            if connection.protocol is None:
                connection.accept()
            connection.send(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n")
            self.assertEqual(client.said, [(200, b"OK", length), "finish"])

    def test_noLength(self) -> None:
        """
        No length is made up for what can have none.
        """
        client = self.ask()
        self.accept().send(b"HTTP/1.1 304 Not Modified\r\n\r\n")
        self.assertEqual(client.said, [(304, b"Not Modified", None), "finish"])

    def test_queued(self) -> None:
        """
        A request to a model that sleeps is sent in the turn in which it is
        awake.
        """
        client = self.ask(body=FOR_B)
        self.assertEqual(self.servers.connections, [])
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.accept().send(OK)
        self.assertEqual(client.said[-1], "finish")
        self.assertEqual(self.metrics.finished[0][:2], ("b", 200))

    def test_priorityOfKey(self) -> None:
        """
        A key has a priority of its own, and may let its clients raise it.
        """
        key = ApiKey("me", "x", priority=2, max_priority=4)
        self.start(models={"a": {}, "b": {"priority": 10}}, api_keys={"me": key})
        headers = {
            b"Content-Type": b"application/json",
            b"Authorization": b"Bearer x",
        }
        for said, priority in ((None, 12), (b"3", 13), (b"9", 14), (b"-1", 9)):
            if said is not None:
                headers[b"X-LLMux-Priority"] = said
            client = self.ask(body=FOR_B, headers=headers)
            (waiting,) = self.switcher.snapshot().models["b"].queue
            self.assertEqual(waiting.priority, priority)
            client.leave()

    def test_priority(self) -> None:
        """
        A client may step back behind others, and not before them.
        """
        for asked, granted in ((b"-5", -5), (b"5", 0)):
            client = self.ask(body=FOR_B, headers={b"X-LLMux-Priority": asked})
            oldest = self.switcher.snapshot().models["b"].oldest
            assert oldest is not None
            self.assertEqual(oldest.priority, granted)
            client.leave()

    def test_maxTokens(self) -> None:
        """
        Whoever decides what to serve learns how long an answer may be.
        """
        self.ask(body=b'{"model":"a","max_tokens":7}')
        self.ask(body=b'{"model":"b","max_tokens":8}')
        models = self.switcher.snapshot().models
        self.assertEqual([one.maxTokens for one in models["a"].running], [7])
        self.assertEqual([one.maxTokens for one in models["b"].queue], [8])

    def test_leftWhileQueued(self) -> None:
        """
        A client that leaves while it waits is forgotten.
        """
        client = self.ask(body=FOR_B)
        self.assertEqual(self.waiting("b"), 1)
        client.leave()
        self.assertEqual(self.waiting("b"), 0)
        self.assertEqual(client.said, [])
        self.assertEqual(self.metrics.finished, [("b", 499, 0.0)])

    def test_leftWhileConnecting(self) -> None:
        """
        One that leaves while the server is connected to is, too.
        """
        client = self.ask()
        client.leave()
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(self.metrics.finished, [("a", 499, 0.0)])

    def test_leftWhileStreaming(self) -> None:
        """
        One that leaves in the middle of a response has the connection to the
        server closed in the same turn.
        """
        client = self.ask()
        connection = self.accept()
        connection.send(EVENTS)
        client.leave()
        self.assertTrue(connection.closed)
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(self.metrics.finished, [("a", 200, 0.0)])
        connection.lose()
        self.assertEqual(len(client.said), 2)

    def test_stopped(self) -> None:
        """
        It is enough if its producer is stopped.
        """
        client = self.ask()
        connection = self.accept()
        connection.send(EVENTS)
        assert client.producer is not None
        client.producer.stopProducing()
        self.assertTrue(connection.closed)
        self.assertEqual(self.inFlight(), 0)

    def test_unknown(self) -> None:
        """
        A request that names no configured model is counted as C{unknown}.
        """
        client = self.ask(body=b'{"model": "nope"}')
        self.assertRefused(client, 404, "model_not_found")
        self.assertEqual(self.metrics.finished, [("unknown", 404, 0.0)])

    def test_queueFull(self) -> None:
        """
        What the switcher refuses is refused.
        """
        self.start(models={"a": {}, "b": {"max_queue": 1}})
        self.ask(body=FOR_B)
        client = self.ask(body=FOR_B)
        self.assertRefused(client, 429, "queue_full")
        self.assertIn(b"Retry-After", client.headers)

    def test_waitedTooLong(self) -> None:
        """
        What it refuses later is, too.
        """
        self.start(policy=PolicyConfig(name="fifo", request_timeout_secs=5))
        client = self.ask(body=FOR_B)
        self.clock.advance(5)
        self.assertRefused(client, 504, "switch_timeout")

    def test_noAddress(self) -> None:
        """
        A model whose server is nobody knows where is a 502, also after a wait.
        """
        self.start(
            models={
                "a": {"port": None, "url": "nonsense"},
                "b": {"port": None, "url": "nonsense"},
            }
        )
        self.assertRefused(self.ask(), 502, "backend_error")
        self.start(
            models={"a": {}, "b": {"port": None, "url": "nonsense"}},
        )
        client = self.ask(body=FOR_B)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.assertRefused(client, 502, "backend_error")
        self.assertEqual(self.inFlight("b"), 0)

    def test_broken(self) -> None:
        """
        A server that breaks off before its head is a 502, and the token is
        given back whether or not the client takes that.
        """
        client = self.ask(takes=False)
        self.accept().lose()
        self.assertRefused(client, 502, "backend_error")
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(self.metrics.finished, [])
        client.leave()
        self.assertEqual(self.metrics.finished, [("a", 502, 0.0)])

    def test_truncated(self) -> None:
        """
        One that breaks off after its head has the response cut.
        """
        client = self.ask()
        connection = self.accept()
        connection.send(OK[:-1])
        connection.lose()
        self.assertEqual(client.said[2:], [("cut", b"")])
        self.assertEqual(self.inFlight(), 0)
        self.assertEqual(self.metrics.finished, [("a", 200, 0.0)])
        client.leave()
        self.assertEqual(len(self.metrics.finished), 1)

    def test_truncatedEvents(self) -> None:
        """
        A stream of events is told in its own words.
        """
        client = self.ask()
        connection = self.accept()
        connection.send(EVENTS)
        connection.lose()
        _, last = client.said[-1]
        self.assertTrue(last.startswith(b"\n\nevent: error\ndata: {"))

    def test_truncatedEventsCompressed(self) -> None:
        """
        Not in the middle of compressed bytes.
        """
        client = self.ask()
        connection = self.accept()
        connection.send(EVENTS.replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1))
        connection.lose()
        self.assertEqual(client.said[-1], ("cut", b""))

    def test_firstByte(self) -> None:
        """
        A server that does not begin to answer in time is a 502.
        """
        self.start(models={"a": {"timeouts": Timeouts(first_byte=5)}})
        client = self.ask()
        connection = self.accept()
        self.clock.advance(5)
        self.assertRefused(client, 502, "backend_error")
        self.assertTrue(connection.closed)

    def test_firstByteInTime(self) -> None:
        """
        One that does is left alone after that.
        """
        self.start(models={"a": {"timeouts": Timeouts(first_byte=5)}})
        client = self.ask()
        self.accept().send(EVENTS)
        self.clock.advance(100)
        self.assertEqual(client.said, [(200, b"OK", None), b"data: 1\n"])

    def prove(self) -> None:
        """
        Have the model answer once, so that it is known to have been awake.
        """
        self.ask()
        self.accept().send(OK)
        self.backends.close()
        self.metrics.finished.clear()

    def test_unreachable(self) -> None:
        """
        If its server cannot be connected to, the model is asked whether it
        lives; it does not, is woken again, and the request is sent.
        """
        self.prove()
        client = self.ask()
        self.hooks.awake.clear()
        self.servers.connections[-1].refuse()
        self.assertEqual(client.said, [])
        self.hooks.finish("a")
        self.assertEqual(self.hooks.ran[-1], ("a", "wake"))
        self.hooks.finish("a")
        self.accept().send(OK)
        self.assertEqual(client.said[-1], "finish")

    def test_unreachableTwice(self) -> None:
        """
        That is done once.
        """
        self.prove()
        client = self.ask()
        for connection in range(2):
            self.servers.connections[1 + connection].refuse()
        self.assertRefused(client, 502, "backend_error")
        self.assertEqual(self.inFlight(), 0)

    def test_cutBeforeAnswer(self) -> None:
        """
        What is cut before it is answered is a 502.
        """
        self.start(policy=PolicyConfig(name="fifo", drain_before_switch=False))
        client = self.ask()
        connection = self.accept()
        self.ask(body=FOR_B)
        self.assertRefused(client, 502, "backend_error")
        self.assertTrue(connection.closed)
        self.assertEqual(self.hooks.ran, [("a", "sleep")])

    def test_cutWhileStreaming(self) -> None:
        """
        What is cut after that is cut before the client.
        """
        self.start(policy=PolicyConfig(name="fifo", drain_before_switch=False))
        client = self.ask()
        self.accept().send(EVENTS)
        self.ask(body=FOR_B)
        kind, last = client.said[-1]
        self.assertEqual(kind, "cut")
        self.assertIn(b"out of service", last)

    def test_cutAtOnce(self) -> None:
        """
        A token that is cut in the very turn in which it is granted is no
        reason to send anything.
        """
        token = self.switcher.grant("a")
        assert token is not None
        token.cut("because")
        switcher: Any = self.switcher
        switcher.grant = lambda model, *rest, **more: token
        client = self.ask()
        self.assertRefused(client, 502, "backend_error")
        self.assertEqual(self.servers.connections, [])

    def test_answered(self) -> None:
        """
        The switcher is told that the model has begun to answer: if its server
        is gone later, its wake is not to blame, and it is woken again at once.
        """
        self.ask(body=FOR_B)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.accept().send(OK)
        self.backends.close()
        client = self.ask(body=FOR_B)
        self.hooks.awake.clear()
        self.servers.connections[-1].refuse()
        self.hooks.finish("b")
        self.assertEqual(client.said, [])
        self.assertEqual(self.hooks.ran[-1], ("b", "wake"))

    def test_surprised(self) -> None:
        """
        A fault in llmux itself is a 500, says nothing of it to the client, and
        is logged with its traceback.
        """

        def acquire(*arguments: Any, **more: Any) -> Any:
            raise RuntimeError("a secret")

        switcher: Any = self.switcher
        switcher.acquire = acquire
        client = self.ask(body=FOR_B)
        self.assertRefused(client, 500, "internal_error")
        self.assertNotIn(b"secret", client.said[1])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_surprisedLater(self) -> None:
        """
        So is one that happens later on.
        """

        self.servers.error = RuntimeError("a secret")
        client = self.ask(body=FOR_B)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.assertRefused(client, 500, "internal_error")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.inFlight("b"), 0)

    def test_surprisedAtTheEnd(self) -> None:
        """
        If the client is gone by then, it is logged and that is all.
        """

        class Leaver(FakeClient):
            def head(self, *head: Any) -> None:
                self.leave()
                raise RuntimeError()

        client = Leaver()
        Exchange(self.context, client, makeAsked()).start()
        self.accept().send(OK)
        self.assertEqual(client.said, [])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(self.metrics.finished), 1)
