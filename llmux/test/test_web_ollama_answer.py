"""
Tests for L{llmux.web._ollamaanswer}.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llmux.web import _ollamaanswer
from llmux.web._ollamaanswer import Answering, Broken, errorIn, timeOf
from llmux.web._ollamaasked import Route, translated


def event(data: Any, end: str = "\n") -> bytes:
    """
    An event of a stream.
    """
    text = data if isinstance(data, str) else json.dumps(data)
    return f"data: {text}{end}{end}".encode()


def delta(finish: str | None = None, **parts: Any) -> bytes:
    """
    An event with a part of a message.
    """
    return event({"choices": [{"delta": parts, "finish_reason": finish}]})


class AnsweringTests(SynchronousTestCase):
    """
    Tests for L{Answering}.
    """

    def setUp(self) -> None:
        """
        Ask in a conversation.
        """
        self.clock = Clock()
        self.answering = self.ask(Route.CHAT)

    def ask(self, route: Route, **said: Any) -> Answering:
        """
        Ask for something.
        """
        asked = translated(route, {"model": "m", "input": "x", **said})
        return Answering(asked, "m", self.clock.seconds)

    def feed(self, *parts: bytes) -> list[Any]:
        """
        Lines of a stream.
        """
        made = b"".join(map(self.answering.feed, parts))
        return [json.loads(line) for line in made.splitlines()]

    def end(self) -> list[Any]:
        """
        The lines at its end.
        """
        return [json.loads(line) for line in self.answering.end().splitlines()]

    def test_durations(self) -> None:
        """
        The time up to the first word, and that from there on, are told.
        """
        self.clock.advance(2)
        (line,) = self.feed(delta(content="x"))
        self.assertEqual(line["created_at"], "1970-01-01T00:00:02.000000Z")
        self.clock.advance(3)
        (last,) = self.feed(delta("stop"), event("[DONE]"))
        self.assertEqual(last["total_duration"], 5_000_000_000)
        self.assertEqual(last["prompt_eval_duration"], 2_000_000_000)
        self.assertEqual(last["eval_duration"], 3_000_000_000)
        self.assertEqual(self.end(), [])
        self.assertTrue(self.answering.isDone)
        self.assertFalse(self.answering.isBroken)

    def test_thinking(self) -> None:
        """
        Thoughts are told as such, by whatever name.
        """
        lines = self.feed(delta(reasoning_content="h"), delta(reasoning="m"))
        self.assertEqual([line["message"]["thinking"] for line in lines], ["h", "m"])

    def test_tools(self) -> None:
        """
        Calls of tools, which come in pieces, are told when they are whole.
        """

        def call(index: int, **parts: str) -> bytes:
            return delta(tool_calls=[{"index": index, "function": parts}])

        self.assertEqual(
            self.feed(
                call(0, name="f", arguments=""),
                call(0, arguments='{"x"'),
                call(0, arguments=":1}"),
                call(1, name="g", arguments=""),
            ),
            [],
        )
        (line,) = self.feed(delta("tool_calls"))
        self.assertEqual(
            line["message"]["tool_calls"],
            [
                {"function": {"name": "f", "arguments": {"x": 1}}},
                {"function": {"name": "g", "arguments": {}}},
            ],
        )
        (last,) = self.feed(event("[DONE]"))
        self.assertNotIn("tool_calls", last["message"])

    def test_badTools(self) -> None:
        """
        A call with arguments that are none ends the answer with an error.
        """
        call = [{"index": 0, "function": {"name": "f", "arguments": "{"}}]
        lines = self.feed(delta(tool_calls=call), delta("tool_calls"))
        self.assertEqual(list(lines[0]), ["error"])
        self.assertTrue(self.answering.isBroken)
        self.assertEqual(self.feed(delta(content="x")), [])
        self.assertEqual(self.end(), [])

    def test_comment(self) -> None:
        """
        A comment, which keeps a connection alive, becomes a line that does.
        """
        (line,) = self.feed(b": waking, 12 s\n\n")
        self.assertEqual(line["message"], {"role": "assistant", "content": ""})
        self.assertIs(line["done"], False)
        self.feed(event("[DONE]"))
        self.assertEqual(self.feed(b": more\n\n"), [])

    def test_error(self) -> None:
        """
        An error of the server's ends it, behind what came before.
        """
        for error in ({"message": "oh"}, "oh"):
            self.answering = self.ask(Route.CHAT)
            lines = self.feed(
                delta(content="x") + b"event: error\n" + event({"error": error})
            )
            self.assertEqual(lines[0]["message"]["content"], "x")
            self.assertEqual(lines[1], {"error": "oh"})

    def test_unfinished(self) -> None:
        """
        A stream that ends before the answer does is broken; one that ends
        without its mark, but behind the reason, is whole.
        """
        self.feed(delta(content="x"))
        (error,) = self.end()
        self.assertEqual(list(error), ["error"])
        self.assertTrue(self.answering.isBroken)
        self.answering = self.ask(Route.CHAT)
        self.feed(delta("length", content="x"))
        (last,) = self.end()
        self.assertEqual((last["done"], last["done_reason"]), (True, "length"))

    def test_nonsense(self) -> None:
        """
        What is no event of this kind is an error.
        """
        for data in ("{", [1], {"choices": [1]}, {"choices": [{"delta": 5}]}, "1"):
            self.answering = self.ask(Route.CHAT)
            (line,) = self.feed(event(data))
            self.assertEqual(list(line), ["error"], data)

    def test_tooLong(self) -> None:
        """
        An event that does not end is given up.
        """
        self.patch(_ollamaanswer, "LONGEST", 100)
        self.assertEqual(self.feed(b"data: " + b"x" * 90), [])
        (line,) = self.feed(b"x" * 10)
        self.assertIn("too long", line["error"])

    def test_generate(self) -> None:
        """
        An answer to a prompt is told as such, raw or not.
        """
        self.answering = self.ask(Route.GENERATE, prompt="p")
        (line,) = self.feed(delta(content="x", reasoning="h"))
        self.assertEqual((line["response"], line["thinking"]), ("x", "h"))
        self.answering = self.ask(Route.GENERATE, prompt="p", raw=True)
        (line,) = self.feed(event({"choices": [{"text": "x"}]}))
        self.assertEqual(line["response"], "x")

    def test_whole(self) -> None:
        """
        What is there as a whole is translated, or is nothing.
        """
        for body in (b"x", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}'):
            self.assertRaises(Broken, self.answering.whole, body)
        embed = self.ask(Route.EMBED)
        self.assertRaises(Broken, embed.whole, b'{"data": [{}]}')
        line = json.loads(embed.whole(b'{"data": [{"embedding": [1]}]}'))
        self.assertEqual(line["embeddings"], [[1]])

    def test_vectors(self) -> None:
        """
        Vectors are in the order of the texts, and each number is as the
        model's server has written it.
        """
        said = b"""{
            "data": [{"index": 1, "embedding": [1.50, -1e-07]},
                     {"index": 0, "embedding": [0.10, 2], "object": "embedding"}],
            "usage": {"prompt_tokens": 7, "total_tokens": 7}, "model": "x"
        }"""
        made = self.ask(Route.EMBED).whole(said)
        self.assertIn(b"[[0.10, 2], [1.50, -1e-07]]", made)
        self.assertTrue(made.endswith(b"}\n"))
        line = json.loads(made)
        self.assertEqual((line["model"], line["prompt_eval_count"]), ("m", 7))
        self.assertEqual(
            self.ask(Route.EMBEDDINGS).whole(said), b'{"embedding": [0.10, 2]}\n'
        )

    def test_noVectors(self) -> None:
        """
        What is no answer of that kind is none.
        """
        for route in (Route.EMBED, Route.EMBEDDINGS):
            for body, words in (
                (b"{", "in JSON"),
                (b"\xff", "in JSON"),
                (b'{"data": [], "usage": {"\xff": 1}}', "in JSON"),
                (b"[]", "something else"),
                (b'{"data": {}}', "something else"),
                (b'{"data": [{"embedding": [1], "index": "x"}]}', "something else"),
                (b'{"data": [{"embedding": [1]}], "usage": 1}', "something else"),
            ):
                error = self.assertRaises(Broken, self.ask(route).whole, body)
                self.assertIn(words, str(error))
        self.assertRaises(Broken, self.ask(Route.EMBEDDINGS).whole, b'{"data": []}')

    @given(st.lists(st.integers(0, 400), max_size=8), st.sampled_from(["\n", "\r\n"]))
    def test_anyPieces(self, cuts: list[int], end: str) -> None:
        """
        It does not matter in which pieces a stream comes.
        """
        stream = (
            b": comment"
            + end.encode() * 2
            + event({"choices": [{"delta": {"content": "é"}}]}, end)
            + event({"choices": [{"delta": {}, "finish_reason": "stop"}]}, end)
            + event("[DONE]", end)
        )
        self.answering = self.ask(Route.CHAT)
        bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        lines = self.feed(*(stream[a:b] for a, b in pairwise(bounds)))
        self.assertEqual([line["message"]["content"] for line in lines], ["", "é", ""])
        self.assertTrue(self.answering.isDone)


class WordsTests(SynchronousTestCase):
    """
    Tests for L{errorIn} and L{timeOf}.
    """

    def test_errorIn(self) -> None:
        """
        The words are found in OpenAI's shape only.
        """
        self.assertEqual(errorIn(b'{"error": {"message": "x"}}'), "x")
        for body in (b"", b"[]", b'{"error": "x"}', b'{"error": {"message": 1}}'):
            self.assertIsNone(errorIn(body))

    def test_timeOf(self) -> None:
        """
        Times are in UTC.
        """
        self.assertEqual(timeOf(1.5), "1970-01-01T00:00:01.500000Z")
