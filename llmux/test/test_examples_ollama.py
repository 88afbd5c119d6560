"""
Tests for C{examples/ollama}, against a stand-in for Ollama: it keeps a list
of what is "loaded", as Ollama shows it, and no more.
"""

from __future__ import annotations

import sys

from llmux.test._examples import ExampleTestCase
from llmux.test._http import request
from llmux.test._processes import (
    Running,
    eventually,
    freePort,
    isListening,
    needsExamples,
    needsPrograms,
)

#: Takes its port as argument.
OLLAMA = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KNOWN = {"llama3.2:3b", "qwen3:4b", "plain:latest"}
loaded = {}


class Ollama(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        now = time.monotonic()
        models = [{"name": name, "model": name, "size": 1}
                  for name, until in list(loaded.items()) if now < until]
        if self.path == "/api/ps":
            return self.answer({"models": models})
        self.answer("Ollama is running")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["model"]
        name = name if ":" in name else name + ":latest"
        if name not in KNOWN:
            return self.answer({"error": f"model '{name}' not found"}, 404)
        if self.path == "/api/generate":
            # As Ollama: to unload is answered at once, and takes a while.
            loaded[name] = (1e9 if body["keep_alive"] < 0 else
                            time.monotonic() + 0.5 if name in loaded else 0)
            return self.answer({"model": name, "response": "", "done": True})
        loaded.setdefault(name, 1e9)
        self.answer({"choices": [{"message": {"content": name + " says hi"}}]})

    def answer(self, value, status=200):
        body = json.dumps(value, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Ollama).serve_forever()
"""


class OllamaTests(ExampleTestCase):
    """
    Tests for the hooks, and for llmux with them.
    """

    example = "ollama"
    skip = needsExamples() or needsPrograms("curl")

    llama = "llama3.2:3b"
    qwen = "qwen3:4b"

    def setUp(self) -> None:
        """
        Start the stand-in.
        """
        super().setUp()
        self.port = freePort()
        self.url = f"http://127.0.0.1:{self.port}"
        path = self.place / "config.yaml"
        text = path.read_text("utf-8").replace("http://127.0.0.1:11434", self.url)
        path.write_text(text, "utf-8")
        self.ollama = self.startOllama()

    def startOllama(self) -> Running:
        """
        Start the stand-in, and wait until it listens.
        """
        running = self.processes.start(sys.executable, "-c", OLLAMA, str(self.port))
        eventually(lambda: isListening(self.port), "the stand-in listens")
        return running

    def loaded(self) -> list[str]:
        """
        What the stand-in has loaded.
        """
        models = request(self.url, "GET", "/api/ps").json()["models"]
        return [model["name"] for model in models]

    def test_life(self) -> None:
        """
        C{wake} loads, C{alive} tells, and C{sleep} ends when the model is
        out of the memory.
        """
        self.assertAsleep(self.llama)
        self.assertHook("wake", self.llama)
        self.assertEqual(self.loaded(), [self.llama])
        self.assertHook("alive", self.llama)
        self.assertAsleep(self.qwen)
        self.assertHook("sleep", self.llama)
        self.assertEqual(self.loaded(), [])
        self.assertAsleep(self.llama)

    def test_idempotent(self) -> None:
        """
        Each hook may be run again.
        """
        for hook in ("sleep", "wake", "wake", "sleep", "sleep"):
            self.assertHook(hook, self.llama)

    def test_latest(self) -> None:
        """
        A name without a tag is found under the one that Ollama gives it.
        """
        plain = {"LLMUX_MODEL": "plain"}
        self.assertHook("wake", self.llama, plain)
        self.assertEqual(self.loaded(), ["plain:latest"])
        self.assertHook("alive", self.llama, plain)

    def test_unknown(self) -> None:
        """
        A model that Ollama does not have fails the wake, with its words.
        """
        status, output = self.hook("wake", self.llama, {"LLMUX_MODEL": "nobody"})
        self.assertNotEqual(status, 0)
        self.assertIn("not found", output)

    def test_down(self) -> None:
        """
        Without Ollama nothing is awake, nothing can be woken, and nothing
        needs to be put to sleep.
        """
        self.ollama.process.kill()
        self.ollama.wait()
        self.assertAsleep(self.llama)
        self.assertNotEqual(self.hook("wake", self.llama)[0], 0)
        self.assertHook("sleep", self.llama)

    def test_switch(self) -> None:
        """
        llmux switches between two models at one address.  What is sent on
        carries Ollama's name, also if the client used an alias.
        """
        service = self.serveExample()
        self.assertEqual(service.chat("llama").said(), f"{self.llama} says hi")
        self.assertEqual(self.loaded(), [self.llama])
        self.assertEqual(service.chat("qwen").said(), f"{self.qwen} says hi")
        self.assertEqual(self.loaded(), [self.qwen])
        listed = [model["id"] for model in service.get("/v1/models").json()["data"]]
        self.assertIn(self.llama, listed)
        self.assertEqual(service.chat(self.llama).said(), f"{self.llama} says hi")
