"""
llmux as a process, with model servers that are processes: switching, streams,
and what happens when either side goes away.
"""

from __future__ import annotations

import os
import signal
from http.client import HTTPException
from typing import Any

from llmux.demo import reply
from llmux.test._processes import eventually, freePort, isListening, needsPrograms
from llmux.test._service import ProcessTestCase

#: What L{llmux.test._service.chat} asks.
PROMPT = [{"role": "user", "content": "Hi"}]

#: Hooks that start and end a server.
STARTING_HOOKS = {
    "wake": """
        echo "$LLMUX_HOOK $LLMUX_MODEL" >>hooks.log
        curl -sf -o /dev/null "$LLMUX_URL/health" && exit 0
        "$PYTHON" -m llmux.demo --port "$LLMUX_PORT" --model "$LLMUX_MODEL" &
        echo "$!" >"$LLMUX_MODEL.pid"
        until curl -sf -o /dev/null "$LLMUX_URL/health"; do sleep 0.05; done
    """,
    "sleep": """
        echo "$LLMUX_HOOK $LLMUX_MODEL" >>hooks.log
        kill "$(cat "$LLMUX_MODEL.pid")" || exit 0
        while curl -s -o /dev/null "$LLMUX_URL/health"; do sleep 0.05; done
    """,
    "alive": 'curl -sf -o /dev/null "$LLMUX_URL/health"',
}


class SwitchingTests(ProcessTestCase):
    """
    Tests for two models, one of which is awake at a time.
    """

    skip = needsPrograms("curl")

    def setUp(self) -> None:
        """
        Start all three.
        """
        super().setUp()
        self.llama, self.mistral = self.backends("llama", "mistral")
        self.service = self.serve(self.settings(self.llama, self.mistral))

    def assertOneAwake(self) -> None:
        """
        Neither server may ever have seen a request while it was not awake,
        nor have been put to sleep while it spoke.
        """
        for backend in (self.llama, self.mistral):
            for seen in backend.seen():
                self.assertEqual(seen["state"], "awake", seen)
                self.assertIn(seen["end"], ("done", "left"), seen)

    def test_modelField(self) -> None:
        """
        The C{model} field alone decides who answers, and the other one sleeps
        meanwhile.
        """
        for one, other in (
            (self.llama, self.mistral),
            (self.mistral, self.llama),
            (self.llama, self.mistral),
        ):
            answer = self.service.chat(one.name, max_tokens=8)
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.said(), reply(one.name, PROMPT, 8))
            self.assertEqual(other.state(), "asleep")
        self.assertEqual(
            self.service.hooksRun(),
            [
                "wake llama",
                *("sleep llama", "wake mistral"),
                *("sleep mistral", "wake llama"),
            ],
        )

    def test_stream(self) -> None:
        """
        A stream comes event by event while it is being made, and is whole.
        """
        stream = self.service.stream("llama", tokens=10, rate=20)
        self.assertEqual(stream.status, 200)
        self.assertTrue(stream.headers["content-type"].startswith("text/event-stream"))
        self.assertIn("llama:", stream.next() + stream.next())
        # It had begun to come before the server had said all.
        self.assertEqual(self.llama.seen()[-1]["end"], "open")
        self.assertEqual(stream.rest()[-1], "[DONE]")

    def test_drain(self) -> None:
        """
        A stream that runs when the other model is asked for ends first, and
        whole.
        """
        stream = self.service.stream("llama", tokens=20, rate=20)
        stream.next()
        other = self.service.asked("mistral", max_tokens=4)
        events = stream.rest()
        self.assertEqual(events[-1], "[DONE]")
        self.assertEqual(other.reply().said(), reply("mistral", PROMPT, 4))
        self.assertOneAwake()

    def test_many(self) -> None:
        """
        Whoever asks for whichever model while it goes to and fro is answered,
        by the model that was asked.
        """
        asked = [
            (name, self.service.asked(name, max_tokens=4, n_th=number))
            for number in range(12)
            for name in ("llama", "mistral")
        ]
        for name, one in asked:
            answer = one.reply()
            self.assertEqual(answer.status, 200, answer.text())
            self.assertEqual(answer.said(), reply(name, PROMPT, 4))
        self.assertOneAwake()
        self.assertEqual(len(self.llama.seen()) + len(self.mistral.seen()), 24)
        eventually(
            lambda: all(
                self.service.metric(f'llmux_model_in_flight{{model="{name}"}}') == 0
                for name in ("llama", "mistral")
            ),
            "nothing is in flight",
        )

    def test_leaveWhileStreaming(self) -> None:
        """
        When a client leaves in the middle of its stream, the server is told,
        and the model can be switched.
        """
        stream = self.service.stream("llama", tokens=100_000, rate=50)
        stream.next()
        stream.close()
        eventually(lambda: self.llama.seen()[-1]["end"] == "left", "it is told")
        self.assertEqual(self.service.chat("mistral").status, 200)

    def test_leaveBeforeHead(self) -> None:
        """
        So it is when the server has not said anything yet.
        """
        asked = self.service.asked("llama", x_demo_delay=600)
        eventually(self.llama.seen, "the server has the request")
        asked.leave()
        eventually(lambda: self.llama.seen()[-1]["end"] == "left", "it is told")
        self.assertEqual(self.service.chat("mistral").status, 200)

    def test_leaveWhileQueued(self) -> None:
        """
        When a client leaves while it waits, no switch happens for it.
        """
        stream = self.service.stream("llama", tokens=100_000, rate=50)
        stream.next()
        waiting = self.service.asked("mistral")
        depth = 'llmux_request_queue_depth{model="mistral"}'
        eventually(lambda: self.service.metric(depth) == 1, "it waits")
        waiting.leave()
        eventually(lambda: self.service.metric(depth) == 0, "it is forgotten")
        stream.close()
        # The next one for the same model is served by whom is awake.
        self.assertEqual(self.service.chat("llama").status, 200)
        self.assertEqual(self.service.hooksRun(), ["wake llama"])

    def test_ownRoutes(self) -> None:
        """
        What llmux says of itself wakes nobody.
        """
        listed = self.service.get("/v1/models").json()
        self.assertEqual(
            [model["id"] for model in listed["data"]], ["llama", "mistral"]
        )
        self.assertEqual(self.service.get("/v1/models/llama").json()["id"], "llama")
        self.assertEqual(self.service.get("/v1/models/nobody").status, 404)
        self.assertEqual(self.service.get("/health").status, 200)
        self.assertIn("# TYPE llmux_", self.service.get("/metrics").text())
        self.assertEqual(self.service.hooksRun(), [])


class TroubleTests(ProcessTestCase):
    """
    Tests for servers that go away.
    """

    skip = needsPrograms("curl")

    def starting(self) -> dict[str, Any]:
        """
        A configuration whose hooks start and end the servers.
        """
        return {
            "models": {
                name: {"port": freePort(), **STARTING_HOOKS}
                for name in ("llama", "mistral")
            },
        }

    def pid(self, model: str) -> int:
        """
        The process that a wake hook has started.
        """
        return int((self.folder / f"{model}.pid").read_text())

    def test_killed(self) -> None:
        """
        When a server is killed while nothing is asked of it, the next request
        is answered as if nothing had been: the model is woken again.
        """
        settings = self.starting()
        port = settings["models"]["llama"]["port"]
        service = self.serve(settings)
        self.assertEqual(service.chat("llama").status, 200)
        os.kill(self.pid("llama"), signal.SIGKILL)
        eventually(lambda: not isListening(port), "it is gone")
        self.assertEqual(service.chat("llama").said(), reply("llama", PROMPT))
        self.assertEqual(service.hooksRun().count("wake llama"), 2)
        self.assertEqual(service.chat("mistral").status, 200)

    def test_killedWhileStreaming(self) -> None:
        """
        When a server is killed in the middle of a stream, the client sees
        that its answer is not whole, and the next one gets a whole one.
        """
        service = self.serve(self.starting())
        stream = service.stream("llama", tokens=100_000, rate=50)
        stream.next()
        os.kill(self.pid("llama"), signal.SIGKILL)
        events: list[str] = []
        with self.assertRaises((HTTPException, OSError)):
            events.extend(stream.events())
        self.assertNotIn("[DONE]", events)
        self.assertEqual(service.chat("llama").said(), reply("llama", PROMPT))

    def test_hung(self) -> None:
        """
        A server that hangs is noticed, ended by its hook and started again,
        and that is counted; whoever asks then is answered.
        """
        settings = self.starting()
        del settings["models"]["mistral"]
        llama = settings["models"]["llama"]
        llama["sleep"] = """
            echo "$LLMUX_HOOK $LLMUX_MODEL" >>hooks.log
            kill -9 "$(cat "$LLMUX_MODEL.pid")" || exit 0
            while curl -s -m 1 -o /dev/null "$LLMUX_URL/health"; do sleep 0.05; done
        """
        llama["timeouts"] = {"alive": 0.5}
        service = self.serve({**settings, "alive_interval_secs": 0.5})
        self.assertEqual(service.chat("llama").status, 200)
        os.kill(self.pid("llama"), signal.SIGSTOP)
        eventually(lambda: "sleep llama" in service.hooksRun(), "it is put to sleep")
        (model,) = service.get("/llmux/status").json()["models"]
        self.assertEqual(model["deaths"], 1)
        name = 'llmux_model_deaths_total{model="llama"}'
        self.assertEqual(service.metric(name), 1)
        self.assertEqual(service.chat("llama").said(), reply("llama", PROMPT))
        self.assertEqual(
            service.hooksRun(), ["wake llama", "sleep llama", "wake llama"]
        )

    def test_restart(self) -> None:
        """
        After a restart the model that was awake is found, and serves without
        being woken.
        """
        settings = self.settings(*self.backends("llama", "mistral"))
        service = self.serve(settings)
        self.assertEqual(service.chat("mistral").status, 200)
        service.stop()
        self.assertEqual(service.hooksRun(), ["wake mistral"])
        service = self.serve(settings)
        self.assertEqual(service.chat("mistral").said(), reply("mistral", PROMPT))
        self.assertEqual(service.hooksRun(), ["wake mistral"])
        self.assertEqual(service.chat("llama").status, 200)
        self.assertEqual(
            service.hooksRun(), ["wake mistral", "sleep mistral", "wake llama"]
        )

    def test_wakeFails(self) -> None:
        """
        A model that cannot be woken is a 503 that says when to come again,
        and neither the words of its hook nor the other model are touched.
        """
        llama, mistral = self.backends("llama", "mistral")
        settings = self.settings(llama, mistral)
        settings["models"]["llama"]["wake"] = "echo s3cret >&2; exit 3"
        service = self.serve(settings)
        answer = service.chat("llama")
        self.assertEqual((answer.status, answer.code()), (503, "wake_failed"))
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        self.assertNotIn("s3cret", answer.text())
        self.assertIn("s3cret", service.running.output())
        self.assertEqual(service.chat("mistral").status, 200)
