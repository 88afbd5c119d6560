"""
Tests for L{llmux.web._ollamaasked}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llmux.web._errors import BadBody
from llmux.web._ollamaasked import Route, isEmpty, isUnloading, read, translated


def chat(**said: Any) -> dict[str, Any]:
    """
    What is sent for a conversation.
    """
    return translated(Route.CHAT, {"model": "a", **said}).body


class TranslatedTests(SynchronousTestCase):
    """
    Tests for L{translated}.
    """

    def test_options(self) -> None:
        """
        Options have their names there, and are left out if nobody there knows
        them.
        """
        body = chat(
            options={
                "temperature": 0,
                "top_k": 3,
                "stop": ["x"],
                "repeat_penalty": 1.1,
                "num_predict": 9,
                "num_ctx": 1,
                "num_gpu": 99,
                "seed": None,
            }
        )
        for fixed in ("model", "messages", "stream", "stream_options"):
            del body[fixed]
        self.assertEqual(
            body,
            {
                "temperature": 0,
                "top_k": 3,
                "stop": ["x"],
                "repeat_penalty": 1.1,
                "repetition_penalty": 1.1,
                "max_tokens": 9,
            },
        )
        self.assertNotIn("max_tokens", chat(options={"num_predict": -1}))

    def test_stream(self) -> None:
        """
        An answer is streamed unless it is not to be, with what it took at the
        end.
        """
        self.assertEqual(chat()["stream_options"], {"include_usage": True})
        self.assertIs(chat(stream=None)["stream"], True)
        whole = chat(stream=False)
        self.assertIs(whole["stream"], False)
        self.assertNotIn("stream_options", whole)

    def test_format(self) -> None:
        """
        A format is any JSON, or one with a schema.
        """
        self.assertEqual(
            chat(format="json")["response_format"], {"type": "json_object"}
        )
        schema = {"type": "object"}
        self.assertEqual(
            chat(format=schema)["response_format"]["json_schema"]["schema"], schema
        )
        for none in ("", None):
            self.assertNotIn("response_format", chat(format=none))

    def test_thinking(self) -> None:
        """
        To think or not is the template's matter, how much a parameter.
        """
        for think in (True, False):
            self.assertEqual(
                chat(think=think)["chat_template_kwargs"], {"enable_thinking": think}
            )
        self.assertEqual(chat(think="high")["reasoning_effort"], "high")

    def test_images(self) -> None:
        """
        Images become parts of the message, with the type that they begin like.
        """
        (message,) = chat(
            messages=[{"role": "user", "content": "?", "images": ["iVBORx", "/9j/y"]}]
        )["messages"]
        text, png, jpeg = message["content"]
        self.assertEqual(text, {"type": "text", "text": "?"})
        self.assertEqual(png["image_url"]["url"], "data:image/png;base64,iVBORx")
        self.assertEqual(jpeg["image_url"]["url"], "data:image/jpeg;base64,/9j/y")

    def test_tools(self) -> None:
        """
        Calls of tools get ids, by which the tools' answers are told apart:
        each answers the first of its tool that is open, or the one it names.
        """
        tools = [{"type": "function", "function": {"name": "f"}}]
        called = [
            {"function": {"name": "f", "arguments": {"x": 1}}},
            {"function": {"name": "g", "arguments": {}}},
            {"id": "own", "function": {"name": "f", "arguments": '{"x":2}'}},
        ]
        body = chat(
            tools=tools,
            messages=[
                {"role": "assistant", "thinking": "hm", "tool_calls": called},
                {"role": "tool", "tool_name": "g", "content": "G"},
                {"role": "tool", "tool_call_id": "own", "content": "F2"},
                {"role": "tool", "content": "F1"},
                {"role": "tool", "content": "?"},
            ],
        )
        self.assertEqual(body["tools"], tools)
        first, *answers = body["messages"]
        self.assertEqual(first["reasoning_content"], "hm")
        self.assertEqual(
            [
                (c["id"], json.loads(c["function"]["arguments"]))
                for c in first["tool_calls"]
            ],
            [("call_0_0", {"x": 1}), ("call_0_1", {}), ("own", {"x": 2})],
        )
        self.assertEqual(
            [(one["tool_call_id"], one["content"]) for one in answers],
            [("call_0_1", "G"), ("own", "F2"), ("call_0_0", "F1"), ("call", "?")],
        )

    def test_generate(self) -> None:
        """
        A prompt is a conversation; raw, or with something to come behind, it is
        plain text.
        """
        made = translated(Route.GENERATE, {"model": "a", "prompt": "p", "system": "s"})
        self.assertEqual(made.target, b"/v1/chat/completions")
        self.assertEqual(
            made.body["messages"],
            [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "p"},
            ],
        )
        made = translated(Route.GENERATE, {"model": "a", "prompt": "p", "suffix": "s"})
        self.assertEqual(made.target, b"/v1/completions")
        self.assertEqual((made.body["prompt"], made.body["suffix"]), ("p", "s"))
        self.assertTrue(made.isRaw)

    def test_embed(self) -> None:
        """
        Texts to embed are passed on, and their vectors asked for as numbers.
        """
        made = translated(
            Route.EMBED, {"model": "a", "input": ["x"], "dimensions": 3, "truncate": 1}
        )
        self.assertEqual(
            made.body,
            {
                "model": "a",
                "input": ["x"],
                "encoding_format": "float",
                "dimensions": 3,
            },
        )
        self.assertFalse(made.isStream)

    def test_wrong(self) -> None:
        """
        What is not what it should be is said.
        """
        for route, said in (
            (Route.CHAT, {"messages": ["x"]}),
            (Route.CHAT, {"messages": [{"role": 1}]}),
            (Route.CHAT, {"messages": [{"role": "user", "images": [1]}]}),
            (Route.CHAT, {"messages": [{"tool_calls": 5}]}),
            (Route.CHAT, {"messages": [{"tool_calls": [{"function": []}]}]}),
            (Route.CHAT, {"stream": "yes"}),
            (Route.CHAT, {"options": []}),
            (Route.CHAT, {"format": "xml"}),
            (Route.CHAT, {"tools": "x"}),
            (Route.GENERATE, {"prompt": 1}),
            (Route.GENERATE, {"prompt": 1, "raw": True}),
            (Route.EMBED, {"input": [1]}),
            (Route.EMBED, {}),
            (Route.EMBED, {"input": "x", "dimensions": "3"}),
            (Route.EMBEDDINGS, {"prompt": []}),
        ):
            with self.assertRaises(BadBody, msg=said):
                translated(route, {"model": "a", **said})


class ReadTests(SynchronousTestCase):
    """
    Tests for L{read}, L{isEmpty} and L{isUnloading}.
    """

    def test_read(self) -> None:
        """
        A body is a JSON object.
        """
        self.assertEqual(read(b'{"a": "\xc3\xa9"}'), {"a": "é"})
        for body in (b"", b"[]", b'{"a": NaN}', b"\xff", b"[" * 100_000):
            self.assertRaises(BadBody, read, body)

    def test_empty(self) -> None:
        """
        A request may ask for nothing.
        """
        self.assertTrue(isEmpty(Route.CHAT, {}))
        self.assertTrue(isEmpty(Route.CHAT, {"messages": []}))
        self.assertFalse(isEmpty(Route.CHAT, {"messages": [1]}))
        self.assertTrue(isEmpty(Route.GENERATE, {"prompt": ""}))
        self.assertFalse(isEmpty(Route.GENERATE, {"images": ["x"]}))
        self.assertFalse(isEmpty(Route.EMBED, {}))

    def test_unloading(self) -> None:
        """
        A model is to be kept for no time at all.
        """
        for keep in (0, 0.0, "0", "0s", "0m"):
            self.assertTrue(isUnloading({"keep_alive": keep}), keep)
        others: list[object] = [None, 5, -1, "5m", "", "s", False, []]
        for other in others:
            self.assertFalse(isUnloading({"keep_alive": other}), other)
