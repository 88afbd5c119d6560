"""
Tests for C{examples/vllm-sleep}.  There is no vLLM here: stand-ins take its
place, and no more is claimed than that the hooks say the right things to them
and draw the right conclusions from what they hear.
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llmux.test._examples import ExampleTestCase
from llmux.test._http import request
from llmux.test._processes import (
    EXAMPLES,
    eventually,
    isListening,
    needsExamples,
    needsPrograms,
)

#: A C{vllm} that takes what the hooks give the real one, and serves by the
#: toy of the package, which has vLLM's routes for sleeping.
DEMO = f"""#!{sys.executable}
import os, sys
arguments = dict(zip(sys.argv[3:], sys.argv[4:]))
assert sys.argv[1] == "serve" and os.environ["VLLM_SERVER_DEV_MODE"] == "1"
assert "--enable-sleep-mode" in sys.argv and arguments["--host"] == "127.0.0.1"
assert arguments["--middleware"] == "guard.AdminGuard"
os.execv(sys.executable, [
    sys.executable, "-m", "llmux.demo", "--admin",
    "--port", arguments["--port"], "--model", arguments["--served-model-name"],
])
"""

#: A C{vllm} that writes down what it is asked, and does what it has to of it.
#: C{FAIL} names a path that it answers with 500, C{DEAF} one that it answers
#: well but does not follow.
RECORDER = f"""#!{sys.executable}
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

arguments = dict(zip(sys.argv[3:], sys.argv[4:]))
awake = {{"weights", "kv_cache"}}


class Recorder(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer({{"is_sleeping": len(awake) < 2}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        with open("calls.log", "a") as log:
            secret = self.headers.get("X-Admin-Secret", "")
            print(json.dumps([self.path, body, secret]), file=log)
        path, _, query = self.path.partition("?")
        if path == os.environ.get("FAIL"):
            return self.answer({{}}, 500)
        if path != os.environ.get("DEAF"):
            if path == "/sleep":
                awake.clear()
            if path == "/wake_up":
                tag = query.removeprefix("tags=")
                awake.update([tag] if tag else ["weights", "kv_cache"])
        self.answer({{}})

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("127.0.0.1", int(arguments["--port"])), Recorder).serve_forever()
"""

NEEDS = needsExamples() or needsPrograms("curl", "ps", "setsid")


class DemoTests(ExampleTestCase):
    """
    Tests against the toy of the package.
    """

    example = "vllm-sleep"
    skip = NEEDS

    def setUp(self) -> None:
        """
        Put the stand-in into PATH.
        """
        super().setUp()
        self.movePorts()
        self.program("vllm", DEMO)

    def pid(self, model: str) -> int:
        """
        The number of a model's engine.
        """
        return int((self.place / "run" / f"{model}.pid").read_text())

    def test_life(self) -> None:
        """
        The first wake starts the engine.  After that it sleeps and wakes, and
        it is always the same.
        """
        self.assertAsleep("llama")
        self.assertHook("wake", "llama")
        self.assertHook("alive", "llama")
        engine = self.pid("llama")
        self.assertHook("sleep", "llama")
        self.assertAsleep("llama")
        self.assertHook("wake", "llama")
        self.assertHook("alive", "llama")
        self.assertEqual(self.pid("llama"), engine)

    def test_idempotent(self) -> None:
        """
        Each hook may be run again.
        """
        self.assertHook("sleep", "llama")
        for hook in ("wake", "wake", "sleep", "sleep"):
            self.assertHook(hook, "llama")

    def test_crashed(self) -> None:
        """
        An engine that is gone counts as asleep, and is started anew.
        """
        self.assertHook("wake", "llama")
        os.kill(self.pid("llama"), signal.SIGKILL)
        eventually(lambda: not isListening(self.ports["llama"]), "it is gone")
        self.assertHook("sleep", "llama")
        self.assertHook("wake", "llama")
        self.assertHook("alive", "llama")

    def test_switch(self) -> None:
        """
        llmux switches between the two by these hooks, and lets a stream end
        before it puts its engine to sleep.
        """
        service = self.serveExample()
        self.assertIn("llama: ", service.chat("llama").said())
        stream = service.stream("llama", tokens=30, rate=30)
        self.assertEqual(stream.status, 200)
        stream.next()
        other = service.asked("qwen")
        self.assertEqual(stream.rest()[-1], "[DONE]")
        self.assertIn("qwen: ", other.reply().said())
        engine = f"http://127.0.0.1:{self.ports['llama']}"
        seen = request(engine, "GET", "/demo/seen").json()
        self.assertEqual(seen["state"], "asleep")
        self.assertEqual({entry["end"] for entry in seen["requests"]}, {"done"})


class RecorderTests(ExampleTestCase):
    """
    Tests against a recorder of calls.
    """

    example = "vllm-sleep"
    skip = NEEDS

    def setUp(self) -> None:
        """
        Put the stand-in into PATH.
        """
        super().setUp()
        self.movePorts()
        self.program("vllm", RECORDER)

    def calls(self) -> list[str]:
        """
        What was asked so far, each with the body if it had one.
        """
        log = self.place / "calls.log"
        if not log.exists():
            return []
        secret = (self.place / "run" / "admin-header").read_text().split()[1]
        found = []
        for line in log.read_text().splitlines():
            path, body, given = json.loads(line)
            self.assertEqual(given, secret, path)
            found.append(f"{path} {body}".strip())
        return found

    def running(self) -> bool:
        """
        Whether the engine's server listens.
        """
        return isListening(self.ports["llama"])

    def test_levelOne(self) -> None:
        """
        Level 1 is one call to sleep and one to wake.
        """
        for hook in ("wake", "sleep", "wake"):
            self.assertHook(hook, "llama")
        self.assertEqual(self.calls(), ["/sleep?level=1", "/wake_up"])

    def test_levelTwo(self) -> None:
        """
        Level 2 wakes in steps, and reads the weights in between.
        """
        self.assertHook("wake", "llama")
        self.assertHook("sleep", "llama", {"VLLM_SLEEP_LEVEL": "2"})
        # The level that counts is the one at which it was put to sleep.
        self.assertHook("wake", "llama", {"VLLM_SLEEP_LEVEL": "1"})
        self.assertEqual(
            self.calls(),
            [
                "/sleep?level=2",
                "/wake_up?tags=weights",
                '/collective_rpc {"method": "reload_weights"}',
                "/wake_up?tags=kv_cache",
                "/reset_prefix_cache",
            ],
        )

    def test_halfAwake(self) -> None:
        """
        After a wake that broke off half-way, when the engine says that it
        sleeps but holds memory, C{sleep} ends it.
        """
        self.variables["FAIL"] = "/collective_rpc"
        self.assertHook("wake", "llama")
        self.assertHook("sleep", "llama", {"VLLM_SLEEP_LEVEL": "2"})
        status, _ = self.hook("wake", "llama")
        self.assertNotEqual(status, 0)
        self.assertIn("half awake", self.assertHook("sleep", "llama"))
        self.assertFalse(self.running())
        del self.variables["FAIL"]
        self.assertHook("wake", "llama")
        self.assertHook("sleep", "llama")
        self.assertTrue(self.running())

    def test_refusesToSleep(self) -> None:
        """
        An engine that does not go to sleep is ended: the memory has to be
        free when the hook has succeeded.
        """
        self.variables["FAIL"] = "/sleep"
        self.assertHook("wake", "llama")
        self.assertIn("ended instead", self.assertHook("sleep", "llama"))
        self.assertFalse(self.running())

    def test_pretendsToSleep(self) -> None:
        """
        It is not enough that it says yes: it must say that it sleeps.
        """
        self.variables["DEAF"] = "/sleep"
        self.assertHook("wake", "llama")
        self.assertIn("ended instead", self.assertHook("sleep", "llama"))
        self.assertFalse(self.running())

    def test_secretIsPrivate(self) -> None:
        """
        Only its owner can read the secret, and it is made once.
        """
        self.assertHook("wake", "llama")
        path = self.place / "run" / "admin-header"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        before = path.read_text()
        self.assertRegex(before, r"^X-Admin-Secret: [0-9a-f]{64}\n$")
        self.assertHook("sleep", "llama")
        self.assertEqual(path.read_text(), before)

    def test_cannotStart(self) -> None:
        """
        An engine that ends while it starts fails the hook, which shows what
        it said.
        """
        self.program("vllm", "#!/bin/sh\necho no such GPU >&2\nexit 3\n")
        status, output = self.hook("wake", "llama")
        self.assertEqual(status, 1)
        self.assertIn("no such GPU", output)


class GuardTests(SynchronousTestCase):
    """
    Tests for C{guard.py}, as the ASGI application that it is.
    """

    skip = needsExamples()

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, kind: str = "http"
    ) -> list[str]:
        """
        Send a request through the guard.

        @return: the types of what came back; C{passed} alone if it came to
            the application behind.
        """
        guard: Any = runpy.run_path(str(Path(EXAMPLES, "vllm-sleep", "guard.py")))
        came: list[str] = []

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            came.append("passed")

        async def send(message: Mapping[str, Any]) -> None:
            status = f" {message['status']}" if "status" in message else ""
            came.append(f"{message['type']}{status}")

        async def receive() -> Mapping[str, Any]:
            raise AssertionError("the guard has no business with bodies")

        scope = {
            "type": kind,
            "path": path,
            "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        }
        asyncio.run(guard["AdminGuard"](behind)(scope, receive, send))
        return came

    def setUp(self) -> None:
        """
        Set the secret.
        """
        self.secret("s3cret")
        self.addCleanup(os.environ.pop, "LLMUX_ADMIN_SECRET", None)

    def secret(self, secret: str) -> None:
        """
        Set another.
        """
        os.environ["LLMUX_ADMIN_SECRET"] = secret

    def test_inference(self) -> None:
        """
        Clients reach what they need.
        """
        for path in ("/v1/chat/completions", "/v1/messages", "/health", "/metrics"):
            self.assertEqual(self.ask(path), ["passed"])

    def test_admin(self) -> None:
        """
        They reach nothing else, and are not told that there is anything.
        """
        refused = ["http.response.start 404", "http.response.body"]
        for path in (
            "/sleep",
            "/wake_up",
            "/collective_rpc",
            "/reset_prefix_cache",
            "/v1/load_lora_adapter",
            "/v1/chat/completions/../../sleep",
            "//sleep",
            "/SLEEP",
            "/",
        ):
            self.assertEqual(self.ask(path), refused, path)
            self.assertEqual(self.ask(path, {"x-admin-secret": "wrong"}), refused, path)

    def test_hooks(self) -> None:
        """
        The hooks, which know the secret, reach everything.
        """
        self.assertEqual(self.ask("/sleep", {"x-admin-secret": "s3cret"}), ["passed"])

    def test_noSecret(self) -> None:
        """
        Without a secret nobody is a hook, whatever is sent.
        """
        self.secret("")
        self.assertNotIn("passed", self.ask("/sleep", {"x-admin-secret": ""}))

    def test_webSocket(self) -> None:
        """
        The other doors are shut, too, and the application's own start and end
        are not in the way.
        """
        self.assertEqual(self.ask("/sleep", kind="websocket"), ["websocket.close"])
        self.assertEqual(self.ask("", kind="lifespan"), ["passed"])
