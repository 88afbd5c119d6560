"""
What must not get out does not: keys, prompts, and what hooks print.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
from importlib.util import find_spec
from pathlib import Path

from llmux.test._http import Reply, collector, open_, request
from llmux.test._processes import eventually, needsPrograms
from llmux.test._service import BACKEND_HOOKS, ProcessTestCase, Service, chat

KEY = "sk-planted-client-key-5Q7"
OPERATOR = "sk-planted-operator-key-8W2"
WRONG = "sk-planted-wrong-key-3E9"
PROMPT = "planted prompt about a private matter"
SAID = "planted output of a hook"
ENVIRONMENT = "planted-environment-value"

hasTraces = bool(find_spec("opentelemetry") and find_spec("opentelemetry.sdk"))


class SecretsTests(ProcessTestCase):
    """
    Everything that llmux says, to anybody, after all kinds of requests.
    """

    skip = needsPrograms("curl")

    def ask(self, service: Service, model: str, key: str, **more: object) -> Reply:
        """
        A request with a prompt in it.
        """
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
        headers = {"Authorization": f"Bearer {key}", "Cookie": f"key={key}"}
        path = "/v1/chat/completions"
        return request(service.url, "POST", path, {**body, **more}, headers)

    def test_nothingGetsOut(self) -> None:
        """
        No key is in a log, a metric, a status, an event, a trace, the page, an
        answer, a file, or in what a model's server gets; no prompt is in any of
        them but the last; what hooks print is for the log and for operators.
        """
        good, bad = self.backends("a", "b")
        settings = self.settings(
            good,
            bad,
            access_log="access.log",
            traces="otlp" if hasTraces else "off",
            loading_heartbeat_secs=0.05,
            api_keys={
                "someone": {"key": "${env:CLIENT_KEY}"},
                "operator": {"key": "${env:OPERATOR_KEY}", "operator": True},
            },
        )
        models = settings["models"]
        models["a"]["wake"] = f"echo '{SAID}'\nsleep 0.3\n{BACKEND_HOOKS['wake']}"
        models["b"]["wake"] = f"echo '{SAID}' >&2; exit 3"
        place = self.folder / "temporary"
        place.mkdir()
        collected, spans = collector(self.addCleanup)
        service = self.serve(
            settings,
            *("--verbose", "--record", str(self.folder / "record.jsonl")),
            environment={
                "CLIENT_KEY": KEY,
                "OPERATOR_KEY": OPERATOR,
                "UNRELATED": ENVIRONMENT,
                "TMPDIR": str(place),
                "OTEL_EXPORTER_OTLP_ENDPOINT": collected,
                "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            },
        )
        events = open_(
            service.url, "GET", "/llmux/events", None, {"x-api-key": OPERATOR}
        )
        # Nothing has been printed yet, so that it begins with a comment.
        quiet = open_(
            service.url, "GET", "/llmux/logs/a?follow=1", None, {"x-api-key": OPERATOR}
        )
        comment = next(quiet.lines())
        self.assertTrue(comment.startswith(":"), comment)
        for stream in (quiet, events):
            self.addCleanup(stream.close)
        waiting = open_(
            service.url,
            "POST",
            f"/v1/chat/completions?key={KEY}",
            {**chat("a", stream=True), "user": PROMPT},
            {"x-api-key": KEY},
        )
        waited = list(waiting.lines())
        self.assertTrue(waited[0].startswith(": llmux "), waited)
        answers = [
            self.ask(service, "a", WRONG),
            self.ask(service, "nothing", KEY),
            self.ask(service, "b", KEY),
            self.ask(service, "a", KEY, x_demo_garbage="head"),
            self.ask(service, "a", KEY, x_demo_status=500),
            request(
                service.url,
                "POST",
                "/v1/x",
                f'{{"{PROMPT}'.encode(),
                {
                    "Content-Type": "application/json",
                    "x-api-key": KEY,
                },
            ),
            request(service.url, "GET", f"/llmux/status?key={WRONG}"),
        ]
        self.assertEqual(
            [answer.status for answer in answers], [401, 404, 503, 502, 500, 400, 401]
        )
        whole = self.ask(service, "a", KEY)
        self.assertEqual(whole.status, 200)
        cut = self.ask(service, "a", KEY, stream=True, x_demo_error_after=2)
        own = {
            path: request(service.url, "GET", path, None, {"x-api-key": OPERATOR})
            for path in ("/metrics", "/llmux/status", "/v1/models", "/llmux/logs/b")
        }
        own |= {
            path: request(service.url, "GET", f"{path}?key={WRONG}")
            for path in ("/llmux/", "/llmux/page.js", "/llmux/page.css")
        }
        self.assertEqual({reply.status for reply in own.values()}, {200})
        self.assertIn(SAID, own.pop("/llmux/logs/b").text())
        feed: list[str] = []
        for line in events.lines():
            # All up to what b's failure is followed by.
            feed.append(line)
            if '"a"' in line and '"awake"' in line and '"b"' in "".join(feed):
                break
        self.keepsPrivate(service, place)
        log = service.running.output()
        seen = json.dumps(good.seen())
        places = {
            "the log": log,
            "what the server gets": seen,
            "a stream": cut.text(),
            "the feed of events": "\n".join(feed),
            "a comment in a feed": comment,
            "what comes to those who wait": "\n".join(waited),
            **{f"answer {n}": self.told(one) for n, one in enumerate(answers)},
            **{path: self.told(reply) for path, reply in own.items()},
        }
        service.stop()
        self.assertEqual(list(place.iterdir()), [])
        if hasTraces:
            places["the traces"] = b"".join(spans).decode("latin-1")
            self.assertIn("first byte", places["the traces"])
        for name, word in (("access.log", '"key":"someone"'), ("record.jsonl", '"a"')):
            places[name] = (self.folder / name).read_text()
            self.assertIn(word, places[name])
            self.assertEqual((self.folder / name).stat().st_mode & 0o007, 0)
        for what, text in places.items():
            for secret in (KEY, OPERATOR, WRONG, ENVIRONMENT):
                if what == "what the server gets" and secret == KEY:
                    # The client's own cookie and query, which are its business.
                    text = text.replace(f"key={KEY}", "")
                self.assertNotIn(secret, text, what)
            self.assertNotIn(PROMPT, text, what)
            if what != "the log":
                self.assertNotIn(SAID, text, what)
        self.assertIn(SAID, log)

    def keepsPrivate(self, service: Service, place: Path) -> None:
        """
        See that what llmux keeps in files while it runs, a body that is being
        received among it, is nobody's but its own.
        """
        head = (
            "POST /v1/x?model=a HTTP/1.1\r\nHost: localhost\r\n"
            f"x-api-key: {KEY}\r\nContent-Length: 9000000\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(head.encode() + PROMPT.encode() * 100_000)
            descriptors = Path(f"/proc/{service.running.pid}/fd")

            def kept() -> list[Path]:
                found = []
                for one in descriptors.iterdir():
                    with contextlib.suppress(OSError):
                        if os.readlink(one).startswith(f"{place}/"):
                            found.append(one)
                return found

            eventually(kept, "the body is in a file")
            for one in kept():
                self.assertIn("(deleted)", os.readlink(one))
                self.assertEqual(stat.S_IMODE(one.stat().st_mode) & 0o077, 0)
            for path in place.iterdir():
                self.assertTrue(path.is_dir())
                self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0)
        eventually(lambda: not kept(), "the body is gone")

    def told(self, reply: Reply) -> str:
        """
        All of an answer.
        """
        return f"{reply.headers} {reply.text()}"
