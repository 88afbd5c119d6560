"""
llmux as a process, spoken to by Ollama's own client.
"""

from __future__ import annotations

from typing import Any

from llmux.demo import reply
from llmux.test._processes import eventually, needsPrograms
from llmux.test._service import ProcessTestCase

try:
    import ollama
except ImportError:
    noOllama: str | None = "PyPI's ollama is not installed (it is in llmux[real])"
else:
    noOllama = None

PROMPT: Any = [{"role": "user", "content": "Hi"}]


class OllamaTests(ProcessTestCase):
    """
    Two models of which the servers speak OpenAI's API.
    """

    skip = noOllama or needsPrograms("curl")

    def setUp(self) -> None:
        """
        Start all.
        """
        super().setUp()
        self.llama, self.mistral = self.backends("llama", "mistral")
        settings = self.settings(
            self.llama, self.mistral, model={"context_length": 4096}
        )
        settings["models"]["broken"] = {
            "port": 9,
            "wake": "exit 1",
            "sleep": "true",
            "alive": "false",
        }
        settings["models"]["llama"]["aliases"] = {
            "llama:cut": {"unlisted": True, "set": {"x_demo_cut_after": 5}},
            "llama:endless": {
                "unlisted": True,
                "set": {"x_demo_tokens": 100_000, "x_demo_tokens_per_second": 50},
            },
        }
        self.service = self.serve(settings)
        self.client = ollama.Client(host=self.service.url, timeout=60)

    def test_models(self) -> None:
        """
        What models there are, and which is awake.
        """
        client = self.client
        names = [model.model for model in client.list().models]
        self.assertEqual(names, ["broken", "llama", "mistral"])
        shown = client.show("llama")
        self.assertEqual(shown.capabilities, ["completion"])
        assert shown.modelinfo is not None
        self.assertEqual(shown.modelinfo["llmux.context_length"], 4096)
        self.assertEqual(client.ps().models, [])
        client.generate(model="llama")
        (running,) = client.ps().models
        self.assertEqual((running.model, running.context_length), ("llama", 4096))

    def test_chat(self) -> None:
        """
        Conversations, whole and streamed, with models taking turns.
        """
        for model in ("llama", "mistral"):
            done = self.client.chat(model, PROMPT, options={"num_predict": 6})
            self.assertEqual(done.message.content, reply(model, PROMPT, 6))
            self.assertEqual((done.done, done.done_reason), (True, "length"))
            self.assertEqual(done.eval_count, 6)
        parts = list(
            self.client.chat("llama", PROMPT, options={"num_predict": 14}, stream=True)
        )
        words = [part.message.content or "" for part in parts]
        self.assertEqual("".join(words), reply("llama", PROMPT, 14))
        self.assertGreater(len(words), 10)
        self.assertEqual((parts[-1].done, parts[-1].eval_count), (True, 14))

    def test_generate(self) -> None:
        """
        Answers to prompts.
        """
        parts = list(
            self.client.generate("llama", "Hi", options={"num_predict": 5}, stream=True)
        )
        self.assertEqual(
            "".join(part.response or "" for part in parts), reply("llama", PROMPT, 5)
        )
        done = self.client.generate("llama", "Hi", raw=True, options={"num_predict": 5})
        self.assertEqual(done.eval_count, 5)

    def test_embed(self) -> None:
        """
        Vectors of texts.
        """
        made = self.client.embed("llama", ["x", "y"])
        self.assertEqual(len(made.embeddings), 2)
        self.assertNotEqual(made.embeddings[0], made.embeddings[1])
        one = self.client.embeddings("llama", "x")
        self.assertEqual(list(one.embedding), list(made.embeddings[0]))

    def test_errors(self) -> None:
        """
        Errors are Ollama's, with their statuses.
        """
        for model, status, words in (
            ("nobody", 404, "No model named 'nobody'"),
            ("broken", 503, "could not be woken"),
        ):
            with self.assertRaises(ollama.ResponseError) as caught:
                self.client.chat(model, PROMPT)
            self.assertEqual(caught.exception.status_code, status)
            self.assertIn(words, caught.exception.error)

    def test_broken(self) -> None:
        """
        A stream that breaks raises an error.
        """
        words: list[object] = []
        with self.assertRaises(ollama.ResponseError) as caught:
            words.extend(self.client.chat("llama:cut", PROMPT, stream=True))
        self.assertGreater(len(words), 0)
        self.assertIn("broke off", caught.exception.error)

    def test_left(self) -> None:
        """
        A client that leaves has the server stop.
        """
        stream = self.client.chat("llama:endless", PROMPT, stream=True)
        next(iter(stream))
        stream.close()  # type: ignore[attr-defined]
        eventually(lambda: self.llama.seen()[-1]["end"] == "left", "it is told")
