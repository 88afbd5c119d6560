"""
Tests for L{llmux.web.control} and L{llmux.web._origin}.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llmux.hooks import HookOutput
from llmux.observe.status import Status
from llmux.observe.timeline import Timeline
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.switcher import Switcher
from llmux.test._readers import FakeClient, ask
from llmux.testing import FakeHooks, makeConfig
from llmux.web import control
from llmux.web._headers import Pair
from llmux.web._live import PAUSE
from llmux.web.control import Control


class ControlTestCase(SynchronousTestCase):
    """
    A test of routes, with models that a test wakes.
    """

    def setUp(self) -> None:
        """
        Three models: one with an alias, one with a slash in its name, and one
        that is pinned.
        """
        self.clock = Clock()
        self.hooks = FakeHooks(self.clock)
        config = makeConfig(
            resources={"gpu": 3.0},
            models={
                "a": {"aliases": ("gpt",), "needs": {"gpu": 1.0}, "ttl_secs": 90.5},
                "org/b": {"needs": {"gpu": 1.0}},
                "p": {"pin": True, "needs": {"gpu": 1.0}},
            },
        )
        self.switcher = Switcher(config, self.hooks, FirstComeFirstServed(), self.clock)
        self.output = HookOutput(self.clock)
        status = Status(config, self.switcher.snapshot, self.clock)
        timeline = Timeline(self.switcher.snapshot, self.clock)
        self.control = Control(
            config, self.switcher, status, timeline, self.output, self.clock
        )
        self.switcher.addObserver(status)
        self.switcher.addObserver(timeline)
        self.switcher.addObserver(self.control.feed)
        self.switcher.start()

    def get(self, path: str, *headers: Pair, method: bytes = b"GET") -> FakeClient:
        """
        Ask for something.
        """
        client = FakeClient()
        asked = ask(method, path.encode("ascii"), *headers)
        self.assertTrue(self.control.serves(asked.target.partition(b"?")[0]))
        self.control.serve(client, asked)
        return client

    def post(self, path: str, *headers: Pair) -> FakeClient:
        """
        Have something done.
        """
        return self.get(path, *headers, method=b"POST")

    def wake(self, model: str) -> None:
        """
        Have a model awake.
        """
        self.switcher.wake(model)
        self.hooks.finish(model)

    def state(self, model: str) -> str:
        """
        The state of a model.
        """
        return self.switcher.snapshot().models[model].state.value


class RouteTests(ControlTestCase):
    """
    Which paths are served here, and how they may be asked for.
    """

    def test_others(self) -> None:
        """
        All other paths are somebody else's.
        """
        for path in (
            b"/",
            b"/llmux//",
            b"/llmux/statusx",
            b"/llmux/logs/",
            b"/llmux/models/wake",
            b"/llmux/models//wake",
            b"/llmux/models/a/kill",
            b"/api/models/unloadx",
            b"/v1/chat/completions",
            b"/running/x",
        ):
            self.assertFalse(self.control.serves(path), path)

    def test_method(self) -> None:
        """
        What reads can be read only, and what does something must be posted.
        """
        for method, path, allowed in (
            (b"POST", "/llmux/status", b"GET, HEAD"),
            (b"GET", "/llmux/models/a/wake", b"POST"),
            (b"HEAD", "/api/models/unload", b"POST"),
        ):
            client = self.get(path, method=method)
            self.assertEqual((client.status, client.ended), (405, "finished"))
            self.assertEqual(client.headers[b"Allow"], allowed)
        self.assertEqual(self.hooks.ran, [])

    def test_unknownModel(self) -> None:
        """
        A model that is not configured is not found, by whatever route, and no
        ring is made for it.
        """
        for method, path in (
            (b"POST", "/llmux/models/x/wake"),
            (b"POST", "/llmux/models/x/sleep"),
            (b"POST", "/llmux/models/x/clear"),
            (b"POST", "/api/models/unload/x"),
            (b"GET", "/llmux/logs/x"),
            (b"GET", "/llmux/logs/x?follow"),
            (b"GET", "/llmux/logs/%ff"),
        ):
            client = self.get(path, method=method)
            self.assertEqual(client.status, 404, path)
            self.assertEqual(client.code(), "model_not_found")
        self.assertEqual(self.output._rings, {})

    def test_foreignPage(self) -> None:
        """
        A page of another site cannot have anything done; llmux's own page,
        and programs that are no browsers, can.
        """
        origin, site = b"Origin", b"Sec-Fetch-Site"
        for headers in (
            [(origin, b"http://evil.example")],
            [(origin, b"http://127.0.0.1:8080")],
            [(origin, b"http://127.0.0.1")],
            [(origin, b"null")],
            [(origin, b"http://[::1")],
            [(origin, b"http://127.0.0.1:3000\xff")],
            [(origin, b"")],
            [(site, b"cross-site")],
            [(site, b"same-site")],
        ):
            client = self.post("/llmux/models/a/wake", *headers)
            self.assertEqual((client.status, client.code()), (403, "foreign_origin"))
        self.assertEqual(self.hooks.ran, [])
        for headers in (
            [],
            [(origin, b"http://127.0.0.1:3000"), (site, b"same-origin")],
            [(site, b"none")],
        ):
            self.assertEqual(self.post("/api/models/unload", *headers).status, 200)

    def test_usualPort(self) -> None:
        """
        The port that a scheme has anyhow may be left out or not.
        """
        for origin, host in (
            (b"https://llm.example", b"llm.example"),
            (b"https://LLM.example", b"llm.example:443"),
        ):
            client = FakeClient()
            asked = ask(b"POST", b"/api/models/unload", (b"Origin", origin))
            asked = evolve(asked, headers=[(b"Host", host), *asked.headers[1:]])
            self.control.serve(client, asked)
            self.assertEqual(client.status, 200)

    def test_surprise(self) -> None:
        """
        What is wrong in llmux itself is logged, and nothing of it is said.
        """
        self.switcher.clear = lambda model: 1 / 0  # type: ignore[method-assign,assignment]
        client = self.post("/llmux/models/a/clear")
        self.assertEqual((client.status, client.code()), (500, "internal_error"))
        self.assertNotIn(b"division", client.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class OperatorTests(ControlTestCase):
    """
    What an operator can see and do.
    """

    def test_status(self) -> None:
        """
        The status document, which nothing may keep.
        """
        client = self.get("/llmux/status")
        self.assertEqual((client.status, client.ended), (200, "finished"))
        self.assertEqual(client.headers[b"Content-Type"], b"application/json")
        self.assertEqual(client.headers[b"Cache-Control"], b"no-store")
        self.assertEqual(client.headers[b"X-Request-Id"], b"id-1")
        self.assertEqual(client.length, len(client.body))
        found = [model["id"] for model in client.json()["models"]]
        self.assertEqual(found, ["a", "org/b", "p"])

    def test_wake(self) -> None:
        """
        A model is woken, by an alias too; the answer comes when it is awake.
        """
        client = self.post("/llmux/models/gpt/wake")
        self.assertEqual(client.status, 0)
        self.hooks.finish("a")
        self.assertEqual(client.status, 200)
        self.assertEqual((client.json()["id"], client.json()["state"]), ("a", "awake"))

    def test_slashes(self) -> None:
        """
        Names with slashes can be said with them, or quoted.
        """
        for path in ("/llmux/models/org/b/wake", "/llmux/models/org%2Fb/wake"):
            client = self.post(path)
            if self.hooks.running:
                self.hooks.finish("org/b")
            self.assertEqual(client.json()["id"], "org/b")

    def test_wakeFails(self) -> None:
        """
        A model that cannot be woken is told of as to any other client.
        """
        client = self.post("/llmux/models/a/wake")
        self.hooks.fail("a", "exit status 77")
        self.assertEqual((client.status, client.code()), (503, "wake_failed"))
        self.assertNotIn(b"77", client.body)

    def test_wakeAndLeave(self) -> None:
        """
        Who leaves before a model is awake takes the demand along.
        """
        client = self.post("/llmux/models/a/wake")
        client.leave()
        self.assertFalse(self.switcher.snapshot().models["a"].queue)
        self.assertEqual(client.status, 0)

    def test_sleep(self) -> None:
        """
        A model is put to sleep.  What is serving is not, unless what is in
        flight may end first; what is pinned never is.
        """
        self.wake("a")
        token = self.switcher.grant("a")
        assert token is not None
        client = self.post("/llmux/models/a/sleep")
        self.assertEqual((client.status, client.code()), (409, "conflict"))
        refused = self.post("/llmux/models/a/sleep?drain=no")
        self.assertEqual(refused.status, 409)
        client = self.post("/llmux/models/a/sleep?drain")
        self.assertEqual((client.status, self.state("a")), (0, "draining"))
        token.release()
        self.hooks.finish("a")
        self.assertEqual((client.status, client.json()["state"]), (200, "asleep"))
        self.wake("p")
        self.assertEqual(self.post("/llmux/models/p/sleep").code(), "conflict")

    def test_sleepFailsThenClear(self) -> None:
        """
        A model that does not go to sleep is told of, and can be vouched for;
        only then.
        """
        self.assertEqual(self.post("/llmux/models/a/clear").code(), "conflict")
        self.wake("a")
        client = self.post("/llmux/models/a/sleep")
        self.hooks.fail("a", "exit status 77")
        self.assertEqual((client.status, client.code()), (503, "sleep_failed"))
        self.assertNotIn(b"77", client.body)
        client = self.post("/llmux/models/a/clear")
        self.assertEqual((client.status, client.json()["state"]), (200, "asleep"))

    def test_sleepAndLeave(self) -> None:
        """
        A sleep goes on when who asked for it has left.
        """
        self.wake("a")
        client = self.post("/llmux/models/a/sleep")
        client.leave()
        self.hooks.finish("a")
        self.assertEqual((client.status, self.state("a")), (0, "asleep"))


class LlamaSwapTests(ControlTestCase):
    """
    What tools for llama-swap ask.
    """

    def test_running(self) -> None:
        """
        Models are ready, starting or stopping, or not told of.  All that is
        there in llama-swap's answers is there, but for what hooks are.
        """
        self.assertEqual(self.get("/running").json(), {"running": []})
        self.wake("a")
        self.wake("p")
        self.post("/llmux/models/a/sleep")
        self.switcher.wake("org/b")
        running = self.get("/running").json()["running"]
        self.assertEqual(
            [(one["model"], one["state"]) for one in running],
            [("a", "stopping"), ("org/b", "starting"), ("p", "ready")],
        )
        self.assertEqual(
            running[0],
            {
                "model": "a",
                "state": "stopping",
                "cmd": "",
                "proxy": "http://127.0.0.1:8001",
                "ttl": 90,
                "name": "",
                "description": "",
            },
        )
        self.assertEqual(running[1]["ttl"], 0)

    def test_unloadOne(self) -> None:
        """
        One model is unloaded when what it serves is over.
        """
        self.wake("org/b")
        token = self.switcher.grant("org/b")
        assert token is not None
        client = self.post("/api/models/unload/org/b")
        self.assertEqual(self.state("org/b"), "draining")
        token.release()
        self.hooks.finish("org/b")
        self.assertEqual((client.status, client.body), (200, b"OK"))

    def test_unloadAll(self) -> None:
        """
        All are unloaded but those that are pinned.
        """
        for model in ("a", "org/b", "p"):
            self.wake(model)
        client = self.post("/api/models/unload")
        self.hooks.finish("a")
        self.assertEqual(client.status, 0)
        self.hooks.finish("org/b")
        self.assertEqual((client.status, client.json()), (200, {"msg": "ok"}))
        self.assertEqual(self.state("p"), "awake")
        self.assertEqual(self.post("/api/models/unload/").json(), {"msg": "ok"})

    def test_unloadFails(self) -> None:
        """
        What did not go is told of.
        """
        self.wake("a")
        client = self.post("/api/models/unload")
        self.hooks.fail("a")
        self.assertEqual((client.status, client.code()), (503, "sleep_failed"))


class FollowTests(ControlTestCase):
    """
    What goes on until the client leaves.
    """

    def say(self, line: bytes) -> None:
        """
        Have a hook print a line.
        """
        self.output.stream("a", "wake", "stdout").dataReceived(line + b"\n")

    def test_events(self) -> None:
        """
        A reader is told first how things are, and then of what happens, until
        it leaves.
        """
        client = self.get("/llmux/events")
        self.assertTrue(client.body.startswith(b"event: status\ndata: {"))
        self.wake("a")
        self.assertIn(b"event: switch_started\n", client.body)
        self.assertIn(b'"after": "awake"', client.body)
        client.leave()
        before = client.body
        self.post("/llmux/models/a/sleep")
        self.assertEqual(client.body, before)

    def test_watch(self) -> None:
        """
        A reader that asks for it is told how everything is whenever anything
        has changed, which may be the number of those who wait, but not more
        often than it could look; and no more when it has left.
        """
        client = self.get("/llmux/events?status")
        plain = self.get("/llmux/events")
        self.switcher.acquire("a").addErrback(lambda _: None)
        waiting = self.switcher.acquire("a")
        waiting.addErrback(lambda _: None)
        self.assertEqual(client.body.count(b"event: status\n"), 1)
        self.clock.advance(PAUSE)
        self.assertEqual(client.body.count(b"event: status\n"), 2)
        last = json.loads(client.body.rpartition(b"event: status\ndata: ")[2])
        self.assertEqual(last["models"][0]["queued"], 2)
        self.clock.advance(PAUSE)
        self.assertEqual(client.body.count(b"event: status\n"), 2)
        self.control.feed.changed()
        self.clock.advance(PAUSE)
        self.assertEqual(client.body.count(b"event: status\n"), 3)
        waiting.cancel()
        client.leave()
        self.clock.advance(PAUSE)
        self.assertEqual(plain.body.count(b"event: status\n"), 1)
        self.assertFalse(self.control.feed.watchers)

    def test_logs(self) -> None:
        """
        What a model's hooks printed last, with when and where.
        """
        self.say(b"loading")
        self.say("größer\x1b[2J".encode())
        client = self.get("/llmux/logs/gpt")
        self.assertEqual(client.headers[b"Content-Type"], b"text/plain; charset=utf-8")
        self.assertEqual(
            client.body.decode(),
            "1970-01-01T00:00:00.000Z wake stdout: loading\n"
            "1970-01-01T00:00:00.000Z wake stdout: größer\\x1b[2J\n",
        )
        self.assertEqual(self.get("/llmux/logs/a?follow=0").body, client.body)

    def test_follow(self) -> None:
        """
        The same, and then what they print, until the client leaves.
        """
        self.say(b"one")
        client = self.get("/llmux/logs/a?follow")
        self.say(b"two")
        lines: list[Any] = client.body.decode().split("\n\n")
        self.assertEqual([line[-3:] for line in lines], ["one", "two", ""])
        client.leave()
        self.say(b"three")
        self.assertNotIn(b"three", client.body)

    def test_head(self) -> None:
        """
        Who asks for the head only gets it, and an end.
        """
        client = self.get("/llmux/events", method=b"HEAD")
        self.assertEqual((client.status, client.ended), (200, "finished"))

    def test_bounded(self) -> None:
        """
        Only so many may follow; when one leaves, there is room again.
        """
        self.patch(control, "READERS", 2)
        first = self.get("/llmux/events")
        self.get("/llmux/logs/a?follow=1")
        refused = self.get("/llmux/events")
        self.assertEqual((refused.status, refused.code()), (503, "too_many_readers"))
        first.leave()
        self.assertEqual(self.get("/llmux/events").status, 200)

    def test_close(self) -> None:
        """
        When llmux stops, what is followed ends, and no timer is left.
        """
        clients = [self.get("/llmux/events?status"), self.get("/llmux/logs/a?follow")]
        self.switcher.acquire("a").addErrback(lambda _: None)
        self.control.close()
        self.assertEqual([client.ended for client in clients], ["finished"] * 2)
        self.switcher.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
