"""
llmux as a process, with llama.cpp's real server behind it, started and ended
by real hooks, and models of random numbers.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

from llmux.test._http import Stream, open_, request
from llmux.test._llama import SERVER, needsLlama, writeModel
from llmux.test._processes import eventually, freePort, isListening
from llmux.test._service import ProcessTestCase, Service, chat

#: Wakes within the time that the model takes to load; goes to sleep by SIGTERM
#: alone, as a simple hook does.
HOOKS = {
    "wake": """
        "$PYTHON" "$SERVER" --model "$LLMUX_MODEL.gguf" --alias "$LLMUX_MODEL" \\
            --port "$LLMUX_PORT" --slots --sse-ping 1 --threads 1 \\
            --ctx-size 8192 \\
            >"$LLMUX_MODEL.log" 2>&1 &
        echo "$!" >"$LLMUX_MODEL.pid"
        until curl -sf -o /dev/null "$LLMUX_URL/health"; do sleep 0.05; done
    """,
    "sleep": """
        pid=$(cat "$LLMUX_MODEL.pid") || exit 0
        kill "$pid" || exit 0
        while [ -e "/proc/$pid" ] && ! grep -q "^State:.Z" "/proc/$pid/status"; do
            sleep 0.05
        done
    """,
    "alive": 'curl -sf -o /dev/null "$LLMUX_URL/health"',
}

#: Seconds that llama.cpp's server takes to end while it answers somebody.
SLOW_END = 30


class LlamaTests(ProcessTestCase):
    """
    Tests for two models, one of which is loaded at a time.
    """

    skip = needsLlama() or (
        None if sys.platform == "linux" else "its hooks look into /proc"
    )

    def serving(self, size: str = "tiny", **more: object) -> Service:
        """
        Make two models and start llmux.

        @param size: that of C{one}; C{two} is tiny.
        """
        writeModel(self.folder / "one.gguf", 1, size)
        writeModel(self.folder / "two.gguf", 2)
        self.ports = {"one": freePort(), "two": freePort()}
        models = {name: {"port": port, **HOOKS} for name, port in self.ports.items()}
        return self.serve(
            {"models": models, **more}, environment={"SERVER": str(SERVER)}
        )

    def slots(self, model: str) -> list[bool]:
        """
        Whether each of a server's slots is at work.
        """
        reply = request(f"http://127.0.0.1:{self.ports[model]}", "GET", "/slots")
        if reply.status == 503:
            # It is still loading.
            return []
        return [slot["is_processing"] for slot in reply.json()]

    def streaming(self, service: Service, tokens: int) -> Stream:
        """
        Begin a stream of a certain length.
        """
        body = chat("one", stream=True, max_tokens=tokens)
        stream = open_(service.url, "POST", "/v1/chat/completions", body)
        self.assertEqual(stream.status, 200)
        return stream

    def direct(self, model: str, **more: object) -> dict[str, Any]:
        """
        Ask a server, past llmux, and keep what does not change.
        """
        url = f"http://127.0.0.1:{self.ports[model]}"
        body = chat(model, max_tokens=12, temperature=0, **more)
        return self.lasting(request(url, "POST", "/v1/chat/completions", body).json())

    def lasting(self, answer: dict[str, Any]) -> dict[str, Any]:
        """
        What does not change from answer to answer.
        """
        return {name: answer[name] for name in ("choices", "model", "object")}

    def test_requestsLogged(self, lane: str = "on") -> None:
        """
        The line for each request says how many tokens the server counted, for
        answers in one piece and for streams whose client has not asked for it.
        """
        service = self.serving(access_log="access.log", lane=lane)
        self.assertEqual(service.chat("one", max_tokens=5).status, 200)
        stream = service.stream("one", max_tokens=7)
        self.assertEqual(stream.rest()[-1], "[DONE]")
        stream.close()
        service.stop()
        with (self.folder / "access.log").open() as log:
            first, second = (json.loads(line) for line in log)
        self.assertEqual((first["stream"], second["stream"]), (False, True))
        self.assertEqual(first["completion_tokens"], 5)
        self.assertEqual(second["completion_tokens"], 7)
        self.assertEqual(first["prompt_tokens"], second["prompt_tokens"])
        self.assertGreater(first["prompt_tokens"], 0)
        self.assertGreater(first["queue_secs"], 0)

    def test_requestsLoggedWithoutLane(self) -> None:
        """
        So it does for requests that take the usual way.
        """
        self.test_requestsLogged("off")

    def test_whoSpeaks(self) -> None:
        """
        Each model gives its own words, the same by llmux as without it, and
        only one server is there at a time.
        """
        service = self.serving()
        said = []
        for model, other in (("one", "two"), ("two", "one"), ("one", "two")):
            reply = service.chat(model, max_tokens=12, temperature=0)
            self.assertEqual(reply.status, 200, reply.text())
            self.assertEqual(self.lasting(reply.json()), self.direct(model))
            self.assertEqual(reply.json()["usage"]["completion_tokens"], 12)
            self.assertFalse(isListening(self.ports[other]))
            said.append(reply.said())
        self.assertEqual(said[0], said[2])
        self.assertNotEqual(said[0], said[1])

    def test_routes(self) -> None:
        """
        Routes that llmux has never heard of work, as a request names the
        model: Anthropic's, the plain completion, the server's own.
        """
        service = self.serving()
        message = request(
            service.url, "POST", "/v1/messages", chat("one", max_tokens=4)
        )
        self.assertEqual(message.json()["type"], "message")
        plain = request(
            service.url,
            "POST",
            "/v1/completions",
            {"model": "one", "prompt": "Hi", "max_tokens": 4},
        )
        self.assertEqual(plain.json()["usage"]["completion_tokens"], 4)
        tokens = request(
            service.url, "POST", "/upstream/one/tokenize", {"content": "hello"}
        )
        self.assertGreater(len(tokens.json()["tokens"]), 0)
        props = service.get("/props?model=one")
        self.assertEqual(props.status, 200)
        self.assertIn("chat_template", props.json())

    def test_drain(self) -> None:
        """
        A stream is finished before its server gets SIGTERM: the other model is
        there long before the 30 seconds that the server would need with the
        stream open, and nothing of the stream is lost.  What is loading
        meanwhile gets no request: no 503 of its server is seen.
        """
        service = self.serving("slow")
        stream = self.streaming(service, 30)
        events = [stream.next()]
        other = service.asked("two", max_tokens=4)
        events += stream.rest()
        ended = time.monotonic()
        self.assertEqual(events[-1], "[DONE]")
        self.assertIn('"finish_reason":"length"', events[-2] + events[-3])
        self.assertGreaterEqual(len(events), 30)
        self.assertEqual(other.reply().status, 200)
        self.assertLess(time.monotonic() - ended, SLOW_END / 2)

    def test_leave(self) -> None:
        """
        When a client leaves, the slot that worked for it is free at once, and
        its model can be put to sleep at once.
        """
        service = self.serving("slow")
        stream = self.streaming(service, 2000)
        stream.next()
        self.assertIn(True, self.slots("one"))
        stream.close()
        eventually(lambda: True not in self.slots("one"), "the slot is free", 10)
        left = time.monotonic()
        self.assertEqual(service.chat("two", max_tokens=2).status, 200)
        self.assertLess(time.monotonic() - left, SLOW_END / 2)

    def test_pings(self) -> None:
        """
        The comments by which the server keeps a quiet stream open come
        through, before there is an event.
        """
        service = self.serving("slow")
        body = chat("one", stream=True, max_tokens=2)
        # Takes several seconds to be read.
        body["messages"] = [{"role": "user", "content": "ba " * 3000}]
        stream = open_(service.url, "POST", "/v1/chat/completions", body)
        lines = list(stream.lines())
        self.assertEqual(stream.status, 200, lines)
        first = next(i for i, line in enumerate(lines) if line.startswith("data:"))
        self.assertTrue(
            any(line.startswith(":") for line in lines[:first]), lines[:first]
        )
        self.assertIn("data: [DONE]", lines)

    def test_shutdown(self) -> None:
        """
        SIGTERM to llmux lets the stream end; the server, which belongs to the
        user, goes on; and the next llmux finds it.
        """
        service = self.serving("slow", on_exit="leave")
        stream = self.streaming(service, 30)
        stream.next()
        service.running.signal(signal.SIGTERM)
        self.assertEqual(stream.rest()[-1], "[DONE]")
        self.assertEqual(service.running.wait(), -signal.SIGTERM)
        self.assertTrue(isListening(self.ports["one"]))
        before = (self.folder / "one.pid").read_text()
        again = self.serve(
            self.folder / "config.yaml", environment={"SERVER": str(SERVER)}
        )
        self.assertEqual(again.chat("one", max_tokens=2).status, 200)
        self.assertEqual((self.folder / "one.pid").read_text(), before)
