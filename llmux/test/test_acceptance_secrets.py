"""
What must not get out does not: keys, prompts, and what hooks print.
"""

from __future__ import annotations

import json

from llmux.test._http import Reply, open_, request
from llmux.test._processes import eventually, needsPrograms
from llmux.test._service import BACKEND_HOOKS, ProcessTestCase, Service

KEY = "sk-planted-client-key-5Q7"
OPERATOR = "sk-planted-operator-key-8W2"
WRONG = "sk-planted-wrong-key-3E9"
PROMPT = "planted prompt about a private matter"
SAID = "planted output of a hook"
ENVIRONMENT = "planted-environment-value"


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
        No key is in a log, a metric, a status, an event, an answer, a hook's
        environment, or in what a model's server gets; no prompt is in any of
        them but the last; what hooks print is for the log and for operators.
        """
        good, bad = self.backends("a", "b")
        settings = self.settings(
            good,
            bad,
            api_keys={
                "someone": {"key": "${env:CLIENT_KEY}"},
                "operator": {"key": "${env:OPERATOR_KEY}", "operator": True},
            },
        )
        models = settings["models"]
        models["a"]["wake"] = f"echo '{SAID}'\n{BACKEND_HOOKS['wake']}"
        models["b"]["wake"] = f"echo '{SAID}' >&2; exit 3"
        service = self.serve(
            settings,
            "--verbose",
            environment={
                "CLIENT_KEY": KEY,
                "OPERATOR_KEY": OPERATOR,
                "UNRELATED": ENVIRONMENT,
            },
        )
        events = open_(
            service.url, "GET", "/llmux/events", None, {"x-api-key": OPERATOR}
        )
        self.addCleanup(events.close)
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
        self.assertEqual({reply.status for reply in own.values()}, {200})
        self.assertIn(SAID, own.pop("/llmux/logs/b").text())
        feed: list[str] = []

        def heard() -> bool:
            # All of what b's failure is followed by, up to a being awake.
            feed.append(events.next())
            return '"a"' in feed[-1] and "awake" in feed[-1]

        eventually(heard, "an event of a being awake")
        self.assertIn('"b"', "".join(feed))
        log = service.running.output()
        seen = json.dumps(good.seen())
        places = {
            "the log": log,
            "what the server gets": seen,
            "a stream": cut.text(),
            "the feed of events": "\n".join(feed),
            **{f"answer {n}": self.told(one) for n, one in enumerate(answers)},
            **{path: self.told(reply) for path, reply in own.items()},
        }
        for place, text in places.items():
            for secret in (KEY, OPERATOR, WRONG, ENVIRONMENT):
                if place == "what the server gets" and secret == KEY:
                    # The client's own cookie, which is the client's business.
                    text = text.replace(f"key={KEY}", "")
                self.assertNotIn(secret, text, place)
            self.assertNotIn(PROMPT, text, place)
            if place != "the log":
                self.assertNotIn(SAID, text, place)
        self.assertIn(SAID, log)

    def told(self, reply: Reply) -> str:
        """
        All of an answer.
        """
        return f"{reply.headers} {reply.text()}"
