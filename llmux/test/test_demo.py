"""
Tests for L{llmux.demo}.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from struct import unpack
from typing import Any
from unittest import skipIf

from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from llmux.demo import reply
from llmux.demo.__main__ import main, makeDemo, parser
from llmux.demo._behaviour import BadKnob, Behaviour
from llmux.demo._journal import Journal
from llmux.demo._sending import BURST
from llmux.demo._server import Demo, makeSite
from llmux.demo._text import vector

try:
    import anthropic
    import openai
except ImportError:  # pragma: no cover
    anthropic = openai = None  # type: ignore[assignment]

NO_HEADERS: Mapping[str, str] = {}

MESSAGES = [{"role": "user", "content": "Say something"}]


class Connection:
    """
    One client's connection to a demo server, in memory.
    """

    def __init__(self, demo: Demo) -> None:
        self.transport: Any = StringTransport()
        self.protocol = makeSite(demo).buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        assert self.protocol is not None
        self.protocol.makeConnection(self.transport)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        """
        Send one request.
        """
        lines = [f"{method} {path} HTTP/1.1", "Host: demo"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.raw("\r\n".join(lines).encode() + body)

    def raw(self, data: bytes) -> None:
        """
        Send bytes.
        """
        self.protocol.dataReceived(data)

    def leave(self) -> None:
        """
        Close the connection, as the client.
        """
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def head(self) -> str:
        """
        Status line and headers of the answer.
        """
        return str(self.transport.value().partition(b"\r\n\r\n")[0], "ascii")

    @property
    def status(self) -> int:
        """
        The status of the answer.
        """
        return int(self.head.split()[1])

    @property
    def body(self) -> bytes:
        """
        The body of the answer, as far as it has come, without its framing.
        """
        rest: bytes = self.transport.value().partition(b"\r\n\r\n")[2]
        if "chunked" not in self.head:
            return rest
        whole = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            whole += rest[:length]
            rest = rest[length + 2 :]
        return whole

    @property
    def ended(self) -> bool:
        """
        Whether a chunked answer is whole.
        """
        return bool(self.transport.value().endswith(b"0\r\n\r\n"))

    @property
    def events(self) -> list[str]:
        """
        What follows C{data:} in each event so far.
        """
        return [
            line.removeprefix("data: ")
            for line in self.body.decode().split("\n")
            if line.startswith("data: ")
        ]

    @property
    def json(self) -> Any:
        """
        The body as JSON.
        """
        return json.loads(self.body)


class DemoTestCase(SynchronousTestCase):
    """
    What the tests below share.
    """

    def setUp(self) -> None:
        """
        Count crashes instead of crashing.
        """
        self.clock = Clock()
        self.crashes: list[None] = []

    def demo(self, *arguments: str) -> Demo:
        """
        A server for the given command line.
        """
        options = parser().parse_args(["--model", "llama", *arguments])
        demo = makeDemo(options, self.clock, lambda: self.crashes.append(None))
        demo.start(options.asleep)
        return demo

    def get(self, demo: Demo, path: str, method: str = "GET") -> Any:
        """
        Ask one of the toy's own routes.
        """
        connection = Connection(demo)
        connection.send(method, path)
        self.clock.advance(0)
        return connection.json

    def post(
        self,
        demo: Demo,
        path: str,
        headers: Mapping[str, str] = NO_HEADERS,
        **fields: object,
    ) -> Connection:
        """
        Send a request with a JSON body, and let the toy answer as far as it
        can without time going by.
        """
        connection = Connection(demo)
        connection.send("POST", path, json.dumps(fields).encode(), headers)
        self.settle()
        return connection

    def chat(self, demo: Demo, **fields: object) -> Connection:
        """
        Send a chat request.
        """
        given = {"model": "llama", "messages": MESSAGES, **fields}
        return self.post(demo, "/v1/chat/completions", **given)  # type: ignore[arg-type]

    def settle(self) -> None:
        """
        Let all happen that needs no time.
        """
        for _ in range(20):
            self.clock.advance(0)

    def seen(self, demo: Demo) -> dict[str, Any]:
        """
        The newest request in the journal.
        """
        newest: dict[str, Any] = self.get(demo, "/demo/seen")["requests"][-1]
        return newest


class TextTests(DemoTestCase):
    """
    Tests for what the toy says.
    """

    def test_reply(self) -> None:
        """
        A reply names the model, is the same each time, and is another one for
        another model, prompt or seed.
        """
        first = reply("llama", MESSAGES, 16)
        self.assertTrue(first.startswith("llama: "))
        self.assertEqual(first, reply("llama", MESSAGES, 16))
        others = [
            reply("qwen", MESSAGES, 16),
            reply("llama", "Say something", 16),
            reply("llama", MESSAGES, 16, seed=1),
        ]
        rest = {text.partition(" ")[2] for text in [first, *others]}
        self.assertEqual(4, len(rest))

    def test_longer(self) -> None:
        """
        A longer reply begins as the shorter one does.
        """
        self.assertTrue(reply("a", "b", 200).startswith(reply("a", "b", 100)))

    def test_vector(self) -> None:
        """
        A vector is of length 1 whatever its dimensions, and only one text's.
        """
        for dimensions in (1, 8, 16, 17, 100):
            numbers = vector("llama", "text", dimensions)
            self.assertEqual(dimensions, len(numbers))
            self.assertAlmostEqual(1.0, sum(n * n for n in numbers))
        self.assertNotEqual(vector("a", "x", 4), vector("a", "y", 4))
        self.assertNotEqual(vector("a", "x", 4), vector("b", "x", 4))


class BehaviourTests(SynchronousTestCase):
    """
    Tests for L{Behaviour}.
    """

    def test_bodyWins(self) -> None:
        """
        A knob is found in headers and body in any spelling; the body, which
        proxies leave alone, wins.
        """
        behaviour = Behaviour().forRequest(
            [("X-Demo-Tokens", "3"), ("x-demo-delay", "0.5"), ("Host", "x")],
            {"x_demo_tokens": 4, "tokens": 9, "X-Demo-Hang": True},
        )
        self.assertEqual(Behaviour(tokens=4, delay=0.5, hang=True), behaviour)

    def test_wrong(self) -> None:
        """
        An unknown knob and a value that is none for its knob are named.
        """
        for knob, value, said in [
            ("nope", 1, "no knob 'nope'"),
            ("tokens", "-1", "'-1' is no value for tokens"),
            ("delay", "nan", "delay"),
            ("delay", -1, "delay"),
            ("hang", "maybe", "hang"),
            ("garbage", "tail", "garbage"),
        ]:
            with self.assertRaises(BadKnob) as caught:
                Behaviour().having([(knob, value)])
            self.assertIn(said, str(caught.exception))

    def test_values(self) -> None:
        """
        Each kind of value is understood.
        """
        knobs = [("garbage", "body"), ("drop", "no"), ("token_bytes", 7)]
        self.assertEqual(
            Behaviour(garbage="body", tokenBytes=7), Behaviour().having(knobs)
        )


class OpenAITests(DemoTestCase):
    """
    Tests for answers in the shape of OpenAI's API.
    """

    def test_chat(self) -> None:
        """
        A chat completion carries the deterministic text, its usage and why it
        ended.
        """
        answer = self.chat(self.demo()).json
        self.assertEqual("chat.completion", answer["object"])
        self.assertEqual("llama", answer["model"])
        [choice] = answer["choices"]
        self.assertEqual(reply("llama", MESSAGES), choice["message"]["content"])
        self.assertEqual("stop", choice["finish_reason"])
        self.assertEqual(16, answer["usage"]["completion_tokens"])
        self.assertEqual(
            answer["usage"]["total_tokens"], answer["usage"]["prompt_tokens"] + 16
        )

    def test_limit(self) -> None:
        """
        A request's own limit shortens the answer, which then says so, and
        does not lengthen it.
        """
        demo = self.demo()
        answer = self.chat(demo, max_completion_tokens=3, max_tokens=9).json
        [choice] = answer["choices"]
        self.assertEqual(reply("llama", MESSAGES, 3), choice["message"]["content"])
        self.assertEqual("length", choice["finish_reason"])
        [choice] = self.chat(demo, max_tokens=99).json["choices"]
        self.assertEqual("stop", choice["finish_reason"])

    def test_identical(self) -> None:
        """
        The same request gets the same bytes, another seed other ones.
        """
        demo = self.demo("--seed", "5")
        first = self.chat(demo).body
        self.assertEqual(first, self.chat(demo).body)
        self.assertEqual(first, self.chat(demo, seed=5).body)
        self.assertNotEqual(first, self.chat(demo, seed=6).body)

    def test_stream(self) -> None:
        """
        A stream has OpenAI's chunks: the role first, then the words, then why
        it ended, then C{[DONE]}.
        """
        connection = self.chat(self.demo(), stream=True, max_tokens=4)
        self.assertIn("content-type: text/event-stream", connection.head.lower())
        *chunks, done = connection.events
        self.assertEqual("[DONE]", done)
        parsed = [json.loads(chunk) for chunk in chunks]
        self.assertEqual({"chat.completion.chunk"}, {c["object"] for c in parsed})
        deltas = [c["choices"][0]["delta"] for c in parsed]
        self.assertEqual("assistant", deltas[0]["role"])
        text = "".join(delta.get("content", "") for delta in deltas)
        self.assertEqual(reply("llama", MESSAGES, 4), text)
        reasons = [c["choices"][0]["finish_reason"] for c in parsed]
        self.assertEqual([None] * 5 + ["length"], reasons)
        self.assertNotIn("usage", parsed[0])
        self.assertTrue(connection.ended)

    def test_streamUsage(self) -> None:
        """
        Asked for, the usage comes in a chunk of its own without choices.
        """
        options = {"include_usage": True}
        connection = self.chat(self.demo(), stream=True, stream_options=options)
        *chunks, last, _ = connection.events
        self.assertIsNone(json.loads(chunks[0])["usage"])
        self.assertEqual([], json.loads(last)["choices"])
        self.assertEqual(16, json.loads(last)["usage"]["completion_tokens"])

    def test_completion(self) -> None:
        """
        Plain completions answer with text, whole and as a stream.
        """
        demo = self.demo()
        plain = self.post(demo, "/v1/completions", prompt="Once").json
        self.assertEqual("text_completion", plain["object"])
        self.assertEqual(reply("llama", "Once"), plain["choices"][0]["text"])
        stream = self.post(demo, "/v1/completions", prompt="Once", stream=True)
        *chunks, done = stream.events
        texts = [json.loads(chunk)["choices"][0]["text"] for chunk in chunks]
        self.assertEqual(reply("llama", "Once"), "".join(texts))
        self.assertEqual("[DONE]", done)

    def test_embeddings(self) -> None:
        """
        Each text gets its vector, as numbers or packed, of the size asked for.
        """
        demo = self.demo()
        answer = self.post(demo, "/v1/embeddings", input=["a", "b"]).json
        found = [item["embedding"] for item in answer["data"]]
        self.assertEqual([vector("llama", text, 8) for text in ("a", "b")], found)
        packed = self.post(
            demo, "/v1/embeddings", input="a", dimensions=3, encoding_format="base64"
        ).json
        raw = base64.b64decode(packed["data"][0]["embedding"])
        for one, other in zip(unpack("<3f", raw), vector("llama", "a", 3), strict=True):
            self.assertAlmostEqual(one, other, places=5)
        tokens = self.post(demo, "/v1/embeddings", input=[1, 2, 3]).json
        self.assertEqual(1, len(tokens["data"]))

    def test_models(self) -> None:
        """
        All models of the server are listed, in order.
        """
        listed = self.get(self.demo("--model", "qwen"), "/v1/models")["data"]
        self.assertEqual(["llama", "qwen"], [item["id"] for item in listed])

    def test_speaker(self) -> None:
        """
        A server of several models speaks as the one that is named, and as its
        first for any other name, or refuses that one if it is strict.
        """
        demo = self.demo("--model", "qwen")
        self.assertEqual("qwen", self.chat(demo, model="qwen").json["model"])
        self.assertEqual("llama", self.chat(demo, model="gpt").json["model"])
        strict = self.chat(self.demo("--strict"), model="gpt")
        self.assertEqual(404, strict.status)
        self.assertIn("llama", strict.json["error"]["message"])

    def test_badRequests(self) -> None:
        """
        Requests that make no sense get a 400 that says why, and routes that
        there are not a 404.
        """
        demo = self.demo()
        for body, said in [
            (b"{", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"[]", "not a JSON object"),
            (b"{}", "messages is missing"),
            (b'{"messages": [], "n": 2}', "n must be 1"),
            (b'{"messages": [], "max_tokens": 0}', "max_tokens"),
            (b'{"messages": [], "max_tokens": true}', "max_tokens"),
            (b'{"messages": [], "x_demo_nope": 1}', "no knob"),
        ]:
            connection = Connection(demo)
            connection.send("POST", "/v1/chat/completions", body)
            self.settle()
            self.assertEqual(400, connection.status)
            self.assertIn(said, connection.json["error"]["message"])
        self.assertEqual(400, self.post(demo, "/v1/embeddings").status)
        self.assertEqual(404, self.post(demo, "/v1/nothing").status)
        connection = Connection(demo)
        connection.send("GET", "/v1/chat/completions")
        self.assertEqual(404, connection.status)
        self.assertEqual("done", self.seen(demo)["end"])

    def test_tokenBytes(self) -> None:
        """
        Tokens can be padded, so that a stream is as large as a test needs.
        """
        text = self.chat(self.demo("--token-bytes", "100")).json["choices"][0]
        self.assertEqual(1600, len(text["message"]["content"]))


class AudioTests(DemoTestCase):
    """
    Tests for transcriptions.
    """

    def transcribe(self, body: bytes, kind: str) -> Connection:
        """
        Send a form.
        """
        connection = Connection(self.demo())
        headers = {"Content-Type": kind}
        connection.send("POST", "/v1/audio/transcriptions", body, headers)
        self.settle()
        return connection

    def form(self, *names: str) -> bytes:
        """
        A form with these fields, each of five bytes.
        """
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nllama\r\n'
            for name in names
        ]
        return "".join([*parts, "--x--\r\n"]).encode()

    def test_size(self) -> None:
        """
        The answer says how many bytes there were to hear.
        """
        for fields in (["model", "file"], ["file"]):
            form = self.form(*fields)
            answer = self.transcribe(form, "multipart/form-data; boundary=x").json
            self.assertEqual(5, answer["bytes"])
            self.assertEqual("llama: heard 5 bytes", answer["text"])

    def test_badForms(self) -> None:
        """
        What is no form, is broken or has no file gets a 400.
        """
        for body, kind in [
            (self.form("file"), "text/plain"),
            (self.form("file"), "multipart/form-data"),
            (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
            (self.form("model"), "multipart/form-data; boundary=x"),
        ]:
            self.assertEqual(400, self.transcribe(body, kind).status)


class AnthropicTests(DemoTestCase):
    """
    Tests for answers in the shape of Anthropic's API.
    """

    def test_message(self) -> None:
        """
        A message carries the text, its usage and why it ended.
        """
        demo = self.demo()
        answer = self.post(demo, "/v1/messages", messages=MESSAGES, max_tokens=4).json
        self.assertEqual("message", answer["type"])
        [block] = answer["content"]
        self.assertEqual(reply("llama", MESSAGES, 4), block["text"])
        self.assertEqual("max_tokens", answer["stop_reason"])
        self.assertEqual(4, answer["usage"]["output_tokens"])

    def test_stream(self) -> None:
        """
        A stream has Anthropic's events, in their order, each named.
        """
        connection = self.post(
            self.demo(), "/v1/messages", messages=MESSAGES, max_tokens=99, stream=True
        )
        parsed = [json.loads(data) for data in connection.events]
        names = [
            line.removeprefix("event: ")
            for line in connection.body.decode().split("\n")
            if line.startswith("event: ")
        ]
        self.assertEqual([item["type"] for item in parsed], names)
        self.assertEqual(
            ["message_start", "content_block_start", "ping"]
            + ["content_block_delta"] * 16
            + ["content_block_stop", "message_delta", "message_stop"],
            names,
        )
        text = "".join(i["delta"]["text"] for i in parsed[3:19])
        self.assertEqual(reply("llama", MESSAGES), text)
        self.assertEqual("end_turn", parsed[-2]["delta"]["stop_reason"])

    def test_countTokens(self) -> None:
        """
        A prompt's tokens are counted.
        """
        demo = self.demo()
        path = "/v1/messages/count_tokens"
        few = self.post(demo, path, messages=MESSAGES).json["input_tokens"]
        many = self.post(demo, path, messages=MESSAGES * 2).json["input_tokens"]
        self.assertEqual(2 * few, many)

    def test_errors(self) -> None:
        """
        Errors have Anthropic's shape.
        """
        demo = self.demo()
        for path, fields in [
            ("/v1/messages", {"max_tokens": 1}),
            ("/v1/messages", {"messages": MESSAGES}),
            ("/v1/messages/count_tokens", {}),
        ]:
            answer = self.post(demo, path, **fields)  # type: ignore[arg-type]
            self.assertEqual(400, answer.status)
            self.assertEqual("invalid_request_error", answer.json["error"]["type"])


class PaceTests(DemoTestCase):
    """
    Tests for when things are sent.
    """

    def test_rate(self) -> None:
        """
        Events keep the rate, and late calls do not add up.
        """
        connection = self.chat(self.demo("--tokens-per-second", "10"), stream=True)
        self.assertEqual([], connection.events)
        self.assertEqual(200, connection.status)
        self.clock.pump([0.15, 0.01, 0.04])
        self.assertEqual(2, len(connection.events))
        self.clock.pump([0.1] * 30)
        self.assertEqual("[DONE]", connection.events[-1])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_whole(self) -> None:
        """
        An answer that is not a stream takes as long as its tokens do.
        """
        connection = self.chat(self.demo("--tokens-per-second", "10"))
        self.clock.pump([0.1] * 15)
        self.assertEqual(b"", connection.transport.value())
        self.clock.pump([0.1] * 2)
        self.assertEqual(200, connection.status)

    def test_delay(self) -> None:
        """
        The first byte can be delayed.
        """
        connection = self.chat(self.demo(), stream=True, x_demo_delay=2)
        self.clock.advance(1.9)
        self.assertEqual(b"", connection.transport.value())
        self.clock.advance(0.1)
        self.settle()
        self.assertTrue(connection.ended)

    def test_slowReader(self) -> None:
        """
        A client that does not read is not sent more, at any pace, and gets
        the rest when it reads again.
        """
        for rate in ("0", "1000"):
            demo = self.demo("--tokens", str(BURST * 50), "--tokens-per-second", rate)
            connection = self.chat(demo, stream=True)
            self.clock.advance(0.001)
            connection.transport.producer.pauseProducing()
            self.clock.pump([0.001] * 5)
            sent = len(connection.events)
            self.clock.pump([0.1] * 50)
            self.assertEqual(sent, len(connection.events))
            connection.transport.producer.resumeProducing()
            self.clock.pump([0.001] * 4000)
            self.assertEqual("[DONE]", connection.events[-1])

    def test_gone(self) -> None:
        """
        A client that leaves while it does not read leaves nothing behind.
        """
        demo = self.demo("--tokens", "10000")
        connection = self.chat(demo, stream=True)
        producer = connection.transport.producer
        producer.pauseProducing()
        self.settle()
        connection.leave()
        producer.resumeProducing()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_closedTwice(self) -> None:
        """
        What is told twice that a request is over counts it once.
        """
        journal = Journal()
        entry = journal.open(0.0, "awake")
        journal.close(entry, "cut")
        journal.close(entry, "left")
        self.assertEqual(("cut", {"cut": 1}), (entry.end, dict(journal.counts)))

    def test_resumedTwice(self) -> None:
        """
        A client that pauses and resumes at once does not make it go faster.
        """
        connection = self.chat(self.demo("--tokens-per-second", "1"), stream=True)
        connection.transport.producer.pauseProducing()
        connection.transport.producer.resumeProducing()
        self.clock.advance(1)
        self.assertEqual(1, len(connection.events))


class FaultTests(DemoTestCase):
    """
    Tests for what can go wrong on purpose.
    """

    def test_cut(self) -> None:
        """
        A cut stream has had its events and has no end.
        """
        demo = self.demo()
        connection = self.chat(demo, stream=True, x_demo_cut_after=2)
        self.assertEqual(2, len(connection.events))
        self.assertFalse(connection.ended)
        self.assertTrue(connection.transport.disconnecting)
        seen = self.seen(demo)
        self.assertEqual(("cut", 2), (seen["end"], seen["chunks"]))

    def test_cutWhole(self) -> None:
        """
        An answer that is no stream is cut half-way.
        """
        whole = self.chat(self.demo()).body
        connection = self.chat(self.demo(), x_demo_cut_after=0)
        self.assertEqual(whole[: len(whole) // 2], connection.body)
        self.assertTrue(connection.transport.disconnecting)
        self.assertIn(f"Content-Length: {len(whole)}", connection.head)

    def test_endAfter(self) -> None:
        """
        A stream can end as if it were whole, without its last events.
        """
        connection = self.chat(self.demo(), stream=True, x_demo_end_after=2)
        self.assertEqual(2, len(connection.events))
        self.assertTrue(connection.ended)

    def test_errorAfter(self) -> None:
        """
        A stream can end with an error.
        """
        connection = self.chat(self.demo(), stream=True, x_demo_error_after=1)
        self.assertIn("error", json.loads(connection.events[1]))
        self.assertTrue(connection.ended)

    def test_stallAfter(self) -> None:
        """
        A stream can stand still for ever, until the client leaves.
        """
        demo = self.demo()
        connection = self.chat(demo, stream=True, x_demo_stall_after=3)
        self.clock.advance(1000)
        self.assertEqual(3, len(connection.events))
        self.assertFalse(connection.ended)
        connection.leave()
        self.assertEqual("left", self.seen(demo)["end"])

    def test_crash(self) -> None:
        """
        The server dies after so many events, or with so many requests.
        """
        connection = self.chat(self.demo("--crash-after", "2"), stream=True)
        self.assertEqual(2, len(connection.events))
        self.assertEqual(1, len(self.crashes))
        demo = self.demo("--crash-after", "2requests")
        self.assertEqual(200, self.chat(demo).status)
        self.assertEqual(b"", self.chat(demo).transport.value())
        self.assertEqual(2, len(self.crashes))

    def test_status(self) -> None:
        """
        Any status can be had, with a C{Retry-After}.
        """
        fields = {"x_demo_status": 429, "x_demo_retry_after": 7}
        answer = self.chat(self.demo(), **fields)
        self.assertEqual(429, answer.status)
        self.assertIn("Retry-After: 7", answer.head)
        self.assertIn("error", answer.json)

    def test_refuse(self) -> None:
        """
        A server that refuses answers 503.
        """
        demo = self.demo("--refuse")
        self.assertEqual(503, self.chat(demo, stream=True).status)
        self.assertEqual(503, self.seen(demo)["status"])

    def test_hang(self) -> None:
        """
        A server that hangs never answers.
        """
        connection = self.chat(self.demo("--hang"))
        self.clock.advance(10_000)
        self.assertEqual(b"", connection.transport.value())

    def test_drop(self) -> None:
        """
        A connection can be closed without a byte.
        """
        connection = self.chat(self.demo(), x_demo_drop=True)
        self.assertEqual(b"", connection.transport.value())
        self.assertTrue(connection.transport.disconnecting)

    def test_garbage(self) -> None:
        """
        Nonsense comes in place of a head, of JSON or of events.
        """
        demo = self.demo()
        nonsense = self.chat(demo, x_demo_garbage="head").transport.value()
        self.assertFalse(nonsense.startswith(b"HTTP"))
        self.assertTrue(nonsense)
        for stream in (True, False):
            answer = self.chat(demo, x_demo_garbage="body", stream=stream)
            self.assertEqual(200, answer.status)
            self.assertNotIn(b"llama", answer.body)

    def test_header(self) -> None:
        """
        A header steers a request as a field does.
        """
        demo = self.demo()
        path = "/v1/chat/completions"
        answer = self.post(demo, path, {"X-Demo-Status": "500"}, messages=MESSAGES)
        self.assertEqual(500, answer.status)

    def test_leave(self) -> None:
        """
        A client that leaves ends its stream, and no timer is left behind.
        """
        demo = self.demo("--tokens-per-second", "1")
        connection = self.chat(demo, stream=True)
        self.clock.advance(1)
        connection.leave()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual("left", self.seen(demo)["end"])


class StateTests(DemoTestCase):
    """
    Tests for starting, sleeping and waking.
    """

    def test_starting(self) -> None:
        """
        While it starts, a server is reachable and says 503 to everything.
        """
        demo = self.demo("--start-delay", "5")
        self.assertEqual("starting", self.get(demo, "/health")["status"])
        answer = self.chat(demo)
        self.assertEqual(503, answer.status)
        self.assertIn("Retry-After", answer.head)
        self.clock.advance(5)
        self.assertEqual("ok", self.get(demo, "/health")["status"])
        self.assertEqual(200, self.chat(demo).status)
        counts = self.get(demo, "/demo/seen")["counts"]
        self.assertEqual((2, 1), (counts["requests"], counts["while_starting"]))

    def test_noAdmin(self) -> None:
        """
        Without C{--admin} nobody can put it to sleep.
        """
        demo = self.demo()
        self.assertEqual(404, self.post(demo, "/sleep").status)
        self.assertEqual("awake", demo.state)

    def test_sleepAndWake(self) -> None:
        """
        C{/sleep} and C{/wake_up} answer when it is done, and can be repeated.
        """
        demo = self.demo("--admin", "--sleep-delay", "1", "--wake-delay", "2")
        for _ in range(2):
            sleep = self.post(demo, "/sleep?level=1")
            self.assertEqual({"is_sleeping": True}, self.get(demo, "/is_sleeping"))
            self.assertEqual(b"", sleep.transport.value())
            self.clock.advance(1)
            self.assertEqual(200, sleep.status)
        for _ in range(2):
            wake = self.post(demo, "/wake_up")
            self.clock.advance(0.5)
            self.assertEqual("waking", demo.state)
        self.clock.advance(2)
        self.assertEqual("awake", demo.state)
        self.assertEqual(200, wake.status)
        self.assertEqual(200, self.post(demo, "/wake_up").status)

    def test_impatient(self) -> None:
        """
        Nothing goes wrong if whoever asked for sleep does not wait.
        """
        demo = self.demo("--admin", "--sleep-delay", "1")
        self.post(demo, "/sleep").leave()
        self.clock.advance(1)
        self.assertEqual("asleep", demo.state)

    def test_requestWhileAsleep(self) -> None:
        """
        A request to a sleeping model is refused and is in the books.
        """
        demo = self.demo("--asleep")
        self.assertEqual("asleep", self.get(demo, "/health")["status"])
        self.assertEqual(503, self.chat(demo).status)
        seen = self.seen(demo)
        self.assertEqual("asleep", seen["state"])
        self.assertEqual(seen["bytes"], seen["asleep_bytes"])
        counts = self.get(demo, "/demo/seen")["counts"]
        self.assertEqual(1, counts["while_asleep"])

    def test_bytesWhileAsleep(self) -> None:
        """
        Even half a body that reaches a sleeping model is in the books, and a
        request that began before is one that came while it slept.
        """
        demo = self.demo("--admin")
        connection = Connection(demo)
        connection.raw(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123"
        )
        self.post(demo, "/sleep")
        before = self.get(demo, "/demo/seen")["counts"]["asleep_bytes"]
        connection.raw(b"45")
        counts = self.get(demo, "/demo/seen")["counts"]
        self.assertEqual(2, counts["asleep_bytes"] - before)
        connection.raw(b"6789")
        self.assertEqual("asleep", self.seen(demo)["state"])

    def test_sleepWhileSpeaking(self) -> None:
        """
        Put to sleep in the middle of a stream, it breaks that, as real
        engines do, and the books say so.
        """
        demo = self.demo("--admin", "--tokens-per-second", "1")
        connection = self.chat(demo, stream=True)
        self.clock.advance(1)
        self.post(demo, "/sleep")
        self.assertFalse(connection.ended)
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual("slept", self.seen(demo)["end"])
        self.clock.advance(10)
        self.assertEqual([], self.clock.getDelayedCalls())


class JournalTests(DemoTestCase):
    """
    Tests for C{/demo/seen}.
    """

    def test_entry(self) -> None:
        """
        An entry says what came, from whom and how it ended.
        """
        demo = self.demo()
        self.post(
            demo,
            "/v1/chat/completions?a=b",
            {"X-Request-ID": "abc", "Via": "1.1 llmux"},
            model="llama",
            messages=MESSAGES,
            stream=True,
        )
        seen = self.seen(demo)
        self.assertEqual("/v1/chat/completions?a=b", seen["path"])
        self.assertEqual("abc", seen["request_id"])
        self.assertEqual(["1.1 llmux"], seen["headers"]["via"])
        self.assertEqual("llama", seen["model"])
        self.assertEqual(
            ("done", 200, 19), (seen["end"], seen["status"], seen["chunks"])
        )
        self.assertEqual(64, len(seen["sha256"]))

    def test_forget(self) -> None:
        """
        The books can be emptied.
        """
        demo = self.demo()
        self.chat(demo)
        self.get(demo, "/demo/seen", "DELETE")
        self.assertEqual([], self.get(demo, "/demo/seen")["requests"])

    def test_bounded(self) -> None:
        """
        Only the newest are kept, all are counted.
        """
        demo = self.demo()
        demo.journal = Journal(size=3)
        for _ in range(5):
            self.chat(demo)
        report = self.get(demo, "/demo/seen")
        self.assertEqual(
            [3, 4, 5], [entry["number"] for entry in report["requests"]][:3]
        )
        self.assertEqual(5, report["counts"]["requests"])

    def test_pipelined(self) -> None:
        """
        Requests that come at once are answered in their order.
        """
        demo = self.demo()
        connection = Connection(demo)
        for prompt in ("one", "two"):
            body = json.dumps({"prompt": prompt}).encode()
            connection.send("POST", "/v1/completions", body)
        self.settle()
        value = connection.transport.value().decode()
        first, second = (value.find(reply("llama", p)) for p in ("one", "two"))
        self.assertTrue(0 < first < second)


class FakeReactor(Clock):
    """
    Enough of a reactor to start on.
    """

    def __init__(self, listen: Callable[..., Any]) -> None:
        super().__init__()
        self.listenTCP = listen
        self.callWhenRunning = partial(self.callLater, 0)

    def run(self) -> None:
        """
        Do what is due, and return.
        """
        self.advance(0)


class FakePort:
    """
    A port that the system chose.
    """

    def getHost(self) -> IPv4Address:
        """
        Where it is.
        """
        return IPv4Address("TCP", "127.0.0.1", 4711)


class MainTests(SynchronousTestCase):
    """
    Tests for the command.
    """

    def run_(self, listen: Callable[..., Any], *arguments: str) -> tuple[int, str, str]:
        """
        Run it.
        """
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            status = main(arguments, FakeReactor(listen))
        return status, out.getvalue(), err.getvalue()

    def test_listens(self) -> None:
        """
        It listens on the loopback interface only and prints where.
        """
        calls = []

        def listen(port: int, factory: object, **rest: object) -> FakePort:
            calls.append((port, rest["interface"]))
            return FakePort()

        status, out, _ = self.run_(listen, "--port", "0")
        self.assertEqual([(0, "127.0.0.1")], calls)
        self.assertEqual((0, "demo (a toy) on http://127.0.0.1:4711\n"), (status, out))

    def test_taken(self) -> None:
        """
        A port that is taken is one line and a status.
        """

        def listen(port: int, factory: object, **rest: object) -> FakePort:
            raise CannotListenError("127.0.0.1", port, OSError("in use"))

        status, _, err = self.run_(listen)
        self.assertEqual(1, status)
        self.assertIn("127.0.0.1:8001: in use; choose another --port", err)

    def test_badOptions(self) -> None:
        """
        A wrong value is refused with the option's name.
        """
        for option, value in [("--tokens", "x"), ("--crash-after", "3dogs")]:
            with redirect_stderr(StringIO()) as err:
                self.assertRaises(SystemExit, parser().parse_args, [option, value])
            self.assertIn(option, err.getvalue())


class ProcessTests(SynchronousTestCase):
    """
    The real thing: a process, sockets, and the vendors' own clients.
    """

    def setUp(self) -> None:
        """
        Start a server and wait until it says where it is.
        """
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmux.demo", "--port", "0", "--model", "llama"],
            stdout=subprocess.PIPE,
            text=True,
            # Trial changes the working folder, from which this may be run.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self.process.stdout is not None
        self.addCleanup(self.process.stdout.close)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        self.url = self.process.stdout.readline().split()[-1]

    @skipIf(openai is None, "needs openai and anthropic: pip install llmux[real]")
    def test_clients(self) -> None:
        """
        OpenAI's and Anthropic's clients understand it, whole answers, streams
        and errors.
        """
        messages: Any = MESSAGES
        text = reply("llama", MESSAGES)
        with openai.OpenAI(base_url=f"{self.url}/v1", api_key="none") as client:
            chat = client.chat.completions.create(model="llama", messages=messages)
            self.assertEqual(text, chat.choices[0].message.content)
            stream = client.chat.completions.create(
                model="llama",
                messages=messages,
                stream=True,
                stream_options={"include_usage": True},
            )
            *chunks, last = stream
            parts = [chunk.choices[0].delta.content or "" for chunk in chunks]
            self.assertEqual(text, "".join(parts))
            assert last.usage is not None
            self.assertEqual(16, last.usage.completion_tokens)
            found = client.embeddings.create(model="llama", input="a")
            for one, other in zip(
                found.data[0].embedding, vector("llama", "a", 8), strict=True
            ):
                self.assertAlmostEqual(one, other, places=5)
            heard = client.audio.transcriptions.create(
                model="llama", file=("a.wav", bytes(1234))
            )
            self.assertEqual("llama: heard 1234 bytes", heard.text)
            self.assertEqual(["llama"], [model.id for model in client.models.list()])
            with self.assertRaises(openai.APIError):
                broken = client.with_options(max_retries=0).completions.create(
                    model="llama",
                    prompt="a",
                    stream=True,
                    extra_body={"x_demo_error_after": 2},
                )
                list(broken)
        with anthropic.Anthropic(base_url=self.url, api_key="none") as other_client:
            message = other_client.messages.create(
                model="llama", max_tokens=16, messages=messages
            )
            block: Any = message.content[0]
            self.assertEqual(text, block.text)
            with other_client.messages.stream(
                model="llama", max_tokens=16, messages=messages
            ) as events:
                self.assertEqual(text, "".join(events.text_stream))
            counted = other_client.messages.count_tokens(
                model="llama", messages=messages
            )
            self.assertEqual(message.usage.input_tokens, counted.input_tokens)
            with self.assertRaises(anthropic.RateLimitError):
                other_client.with_options(max_retries=0).messages.create(
                    model="llama",
                    max_tokens=1,
                    messages=messages,
                    extra_headers={"X-Demo-Status": "429"},
                )

    def test_term(self) -> None:
        """
        A signal ends it in good order.
        """
        os.kill(self.process.pid, signal.SIGTERM)
        self.assertEqual(0, self.process.wait(10))
