"""
Tests for C{examples/llama-cpp}, with llama.cpp's real server.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from llmux.test._examples import ExampleTestCase
from llmux.test._http import open_, request
from llmux.test._llama import SERVER, needsLlama, writeModel
from llmux.test._processes import eventually, isListening
from llmux.test._service import chat


class LlamaCppTests(ExampleTestCase):
    """
    Tests for the hooks.
    """

    example = "llama-cpp"
    skip = needsLlama()

    def setUp(self) -> None:
        """
        Make the models.
        """
        super().setUp()
        self.movePorts()
        for seed, model in enumerate(self.ports):
            writeModel(self.place / "models" / f"{model}.gguf", seed)
        self.program(
            "llama-server", f'#!/bin/sh\nexec "{sys.executable}" "{SERVER}" "$@"\n'
        )

    def url(self, model: str) -> str:
        """
        Where a model's server is.
        """
        return f"http://127.0.0.1:{self.ports[model]}"

    def pid(self, model: str) -> int:
        """
        The number of a model's server.
        """
        return int((self.place / "run" / f"{model}.pid").read_text())

    def test_life(self) -> None:
        """
        A model is loaded when C{wake} has ended, and its server is gone when
        C{sleep} has.
        """
        self.assertAsleep("llama")
        self.assertHook("wake", "llama")
        self.assertHook("alive", "llama")
        reply = request(
            self.url("llama"),
            "POST",
            "/v1/chat/completions",
            chat("llama", max_tokens=5),
        )
        self.assertEqual(reply.json()["usage"]["completion_tokens"], 5)
        self.assertHook("sleep", "llama")
        self.assertAsleep("llama")
        self.assertEqual(self.processes.alive(), {})

    def test_idempotent(self) -> None:
        """
        Each hook may be run again; a server that runs is left alone.
        """
        self.assertHook("sleep", "llama")
        self.assertHook("wake", "llama")
        first = self.pid("llama")
        self.assertHook("wake", "llama")
        self.assertEqual(self.pid("llama"), first)
        self.assertHook("sleep", "llama")
        self.assertHook("sleep", "llama")

    def test_noModel(self) -> None:
        """
        A file that is not there fails the wake, with the server's own words.
        """
        (self.place / "models" / "llama.gguf").unlink()
        status, output = self.hook("wake", "llama")
        self.assertEqual(status, 1)
        self.assertIn("ended while it loaded", output)
        self.assertIn("llama.gguf", output)

    def test_killed(self) -> None:
        """
        A server that was killed is started anew.
        """
        self.assertHook("wake", "llama")
        os.kill(self.pid("llama"), signal.SIGKILL)
        eventually(lambda: not isListening(self.ports["llama"]), "it is gone")
        self.assertHook("wake", "llama")
        self.assertHook("alive", "llama")

    def test_leavingClient(self) -> None:
        """
        The hook waits for the slot of a client that is just leaving, rather
        than for the 30 seconds that the server takes to end otherwise.
        """
        self.assertHook("wake", "llama")
        stream = open_(
            self.url("llama"),
            "POST",
            "/v1/chat/completions",
            chat("llama", stream=True, max_tokens=100_000),
        )
        stream.next()
        stream.close()
        started = time.monotonic()
        self.assertHook("sleep", "llama")
        self.assertLess(time.monotonic() - started, 9)
        self.assertFalse(isListening(self.ports["llama"]))
