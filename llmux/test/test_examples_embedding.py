"""
Tests for C{examples/embedding}, run as its README says.
"""

from __future__ import annotations

import shutil
import signal
import sys

from llmux.test._examples import ExampleTestCase
from llmux.test._http import Asked, Stream, open_, request
from llmux.test._processes import (
    EXAMPLES,
    Running,
    eventually,
    freePort,
    needsExamples,
    needsPrograms,
)
from llmux.test._service import chat


class EmbeddingTests(ExampleTestCase):
    """
    Tests for the program.
    """

    example = "embedding"
    skip = needsExamples() or needsPrograms("curl", "ps")

    def setUp(self) -> None:
        """
        Start it.
        """
        super().setUp()
        # Its hooks are those of the quick start.
        shutil.copytree(
            EXAMPLES / "quickstart",
            self.folder / "quickstart",
            ignore=shutil.ignore_patterns("run"),
        )
        self.movePorts()
        port = freePort()
        self.url = f"http://127.0.0.1:{port}"
        self.program_: Running = self.processes.start(
            *(sys.executable, self.place / "program.py"),
            *("--listen", f"tcp:{port}:interface=127.0.0.1"),
            environment={"DEMO_OPTIONS": "--tokens-per-second 20"},
        )
        eventually(
            lambda: self.program_.isRunning() and request(self.url, "GET", "/"),
            "the program answers",
        )

    def home(self) -> list[str]:
        """
        The lines of its own page.
        """
        return request(self.url, "GET", "/").text().splitlines()

    def stream(self, model: str) -> Stream:
        """
        Begin a stream that takes a second.
        """
        body = chat(model, stream=True, max_tokens=20)
        return open_(self.url, "POST", "/v1/chat/completions", body)

    def test_pages(self) -> None:
        """
        The program's pages and llmux's stand side by side.
        """
        asleep = ["chatty: asleep, 0 in flight", "judge: asleep, 0 in flight"]
        eventually(lambda: self.home() == asleep, "it knows what is awake")
        models = request(self.url, "GET", "/v1/models").json()["data"]
        self.assertEqual([model["id"] for model in models], ["chatty", "judge"])
        reply = request(
            self.url, "POST", "/v1/chat/completions", chat("chatty", max_tokens=2)
        )
        self.assertTrue(reply.said().startswith("chatty: "), reply)
        self.assertEqual(request(self.url, "GET", "/nothing").status, 404)

    def test_batch(self) -> None:
        """
        The batch waits for the stream of another model to end, has its
        questions answered by the one that it wants, and a request for the
        other waits until it is through.
        """
        stream = self.stream("chatty")
        stream.next()
        batch = Asked(self.url, "POST", "/judge", b"Wet?\nFar?\n")
        self.assertEqual(stream.rest()[-1], "[DONE]")
        eventually(lambda: "judge: awake, 1 in flight" in self.home(), "it holds it")
        after = Asked(
            self.url, "POST", "/v1/chat/completions", chat("chatty", max_tokens=2)
        )
        answers = batch.reply().json()
        self.assertEqual(len(answers), 2)
        for answer in answers:
            self.assertTrue(answer.startswith("judge: "), answer)
        self.assertTrue(after.reply().said().startswith("chatty: "))

    def test_leave(self) -> None:
        """
        A client that leaves takes its batch with it: the token is given back.
        """
        batch = Asked(self.url, "POST", "/judge", b"Wet?\n" * 100)
        eventually(lambda: "judge: awake, 1 in flight" in self.home(), "it holds it")
        batch.leave()
        eventually(lambda: "judge: awake, 0 in flight" in self.home(), "it is free")

    def test_stop(self) -> None:
        """
        On SIGTERM the program takes nothing new, and what is in flight ends.
        """
        stream = self.stream("chatty")
        stream.next()
        self.program_.signal(signal.SIGTERM)
        self.assertEqual(stream.rest()[-1], "[DONE]")
        self.program_.wait()
        self.assertNotIn("Traceback", self.program_.output())
