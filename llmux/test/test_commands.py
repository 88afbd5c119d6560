"""
Tests for L{llmux.commands}, but for how it talks.

A real llmux is steered by them in L{llmux.test.test_acceptance_control}.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llmux import __version__, cli
from llmux.commands import operate
from llmux.commands._shown import seconds, table, told
from llmux.commands._table import COMMANDS
from llmux.observe.status import Status
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.switcher import Switcher
from llmux.test.test_commands_client import ServerTestCase, refusal, say
from llmux.testing import FakeHooks, makeConfig


def busy() -> Any:
    """
    The status of a llmux with a switch under way, one that waits, one that
    is pinned and one that failed.
    """
    clock = Clock()
    hooks = FakeHooks(clock)
    config = makeConfig(
        resources={"gpu": 3.0},
        models={
            "llama": {"needs": {"gpu": 2.0}},
            "org/b\x1b": {"needs": {"gpu": 2.0}},
            "tiny": {"needs": {"gpu": 1.0}, "pin": True},
            "bad": {"needs": {"gpu": 0.5}},
        },
    )
    switcher = Switcher(config, hooks, FirstComeFirstServed(), clock)
    status = Status(config, switcher.snapshot, clock)
    switcher.addObserver(status)
    switcher.start()
    switcher.wake("bad").addErrback(lambda _: None)
    hooks.fail("bad", "exit status 7")
    hooks.finish("bad")
    for model in ("llama", "tiny"):
        switcher.acquire(model)
        hooks.finish(model)
    clock.advance(0.5)
    switcher.acquire("org/b\x1b")
    clock.advance(0.25)
    return json.loads(json.dumps(status.document()))


class CommandTestCase(ServerTestCase):
    """
    A test of command lines.
    """

    def setUp(self) -> None:
        """
        Catch what is printed.
        """
        super().setUp()
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.patch(os, "environ", {"LLMUX_URL": self.start()})

    def run_command(self, *arguments: str) -> int:
        """
        Run C{llmux}.

        @return: its exit status.
        """
        self.out.seek(0)
        self.out.truncate()
        return cli.main(arguments)

    def printed(self) -> str:
        """
        What it has printed.
        """
        return self.out.getvalue()


class StatusTests(CommandTestCase):
    """
    Tests for C{llmux status}.
    """

    def test_table(self) -> None:
        """
        A line for each model, in columns, and below what else there is.
        """
        self.answer = say(200, busy())
        self.assertEqual(self.run_command("status"), 0)
        self.assertEqual(self.asked[0][:2], ("GET", "/llmux/status"))
        head, *rows = self.printed().splitlines()
        self.assertEqual(head.split()[:3], ["MODEL", "STATE", "FOR"])
        self.assertEqual(
            [row.split()[:4] for row in rows[:4]],
            [
                ["llama", "draining", "0.2", "s"],
                ["org/b\\x1b", "asleep", "0.8", "s"],
                ["tiny", "*", "awake", "0.8"],
                ["bad", "cooling", "0.8", "s"],
            ],
        )
        rest = "\n".join(rows[4:])
        for line in (
            "Switching to org/b\\x1b in the place of llama: draining, 0.2 s so far",
            "gpu: ",
            "bad: wake failed 0.8 s ago, attempt 1: exit status 7. Next try in 0.2 s.",
            "* pinned",
        ):
            self.assertIn(line, rest)
        # Columns stand below their heads.
        for row in rows[:4]:
            self.assertEqual(row[head.index("STATE") - 1], " ")

    def test_quiet(self) -> None:
        """
        Where there is nothing to say, nothing is said.
        """
        document = busy()
        document |= {"switches": [], "resources": {}, "models": []}
        self.assertEqual(len(table(document).splitlines()), 1)

    def test_json(self) -> None:
        """
        C{--json} gives programs all there is, C{--names} the names.
        """
        self.answer = say(200, busy())
        self.assertEqual(self.run_command("status", "--json"), 0)
        self.assertEqual(json.loads(self.printed()), busy())
        self.assertEqual(self.run_command("status", "--names"), 0)
        self.assertEqual(
            self.printed().splitlines()[:3:2], ["llama", "tiny"], self.printed()
        )

    def test_watch(self) -> None:
        """
        C{--watch} looks every second, also when llmux is away for a while,
        until Ctrl-C.
        """
        self.answer = say(200, busy())
        pauses = []

        def pause(length: float) -> None:
            pauses.append(length)
            if len(pauses) == 1:
                self.answer = say(503, refusal("The server is shutting down."))
            elif len(pauses) == 3:
                raise KeyboardInterrupt

        self.patch(operate, "pause", pause)
        self.assertEqual(self.run_command("status", "-w"), 130)
        self.assertEqual(pauses, [1.0] * 3)
        self.assertEqual(self.printed().count("MODEL"), 1)
        self.assertEqual(self.printed().count("llmux: The server is shutting"), 2)
        self.assertNotIn("\x1b", self.printed())

    def test_watchTerminal(self) -> None:
        """
        On a terminal each look takes the place of the one before.
        """
        self.answer = say(200, busy())
        self.patch(self.out, "isatty", lambda: True)

        def pause(length: float) -> None:
            raise KeyboardInterrupt

        self.patch(operate, "pause", pause)
        self.run_command("status", "--watch")
        self.assertTrue(self.printed().startswith("\x1b[H\x1b[2JMODEL"))

    def test_stranger(self) -> None:
        """
        What is not llmux's status is said to be none.
        """
        bodies: list[object] = [{}, [], {"models": [{}]}]
        for body in bodies:
            self.answer = say(200, body)
            self.assertEqual(self.run_command("status"), 1)
            self.assertIn("does not answer as llmux does", self.err.getvalue())

    def test_url(self) -> None:
        """
        C{--url} counts more than the environment, which counts more than the
        default.
        """
        self.answer = say(200, busy())
        url = os.environ["LLMUX_URL"]
        os.environ["LLMUX_URL"] = "http://127.0.0.1:1"
        self.assertEqual(self.run_command("status", "--url", url), 0)
        self.assertEqual(self.run_command("status"), 69)
        self.assertIn("http://127.0.0.1:1", self.err.getvalue())
        self.assertEqual(self.run_command("status", "--url", "nonsense"), 64)
        os.environ.clear()
        options = COMMANDS["status"].makeOptions()
        options.parseOptions([])
        self.assertEqual(getattr(options, "server").url, "http://127.0.0.1:3000")  # noqa: B009

    def test_readEnough(self) -> None:
        """
        Whoever reads the output may go; that is no error.
        """
        self.answer = say(200, busy())

        def write(text: str) -> int:
            raise BrokenPipeError

        self.patch(self.out, "write", write)
        self.assertEqual(cli.main(["status"]), 0)
        # As Python does at its end.
        sys.stdout.flush()


class DoTests(CommandTestCase):
    """
    Tests for C{llmux wake}, C{sleep} and C{clear}.
    """

    def test_do(self) -> None:
        """
        Each is a request, and says how the model is then.
        """
        self.answer = say(200, {"id": "org/b", "state": "awake"})
        for arguments, path in (
            (("wake", "org/b"), "/llmux/models/org%2Fb/wake"),
            (("sleep", "org/b"), "/llmux/models/org%2Fb/sleep"),
            (("sleep", "--drain", "org/b"), "/llmux/models/org%2Fb/sleep?drain"),
            (("clear", "org/b"), "/llmux/models/org%2Fb/clear"),
        ):
            self.assertEqual(self.run_command(*arguments), 0)
            self.assertEqual(self.asked[-1][:2], ("POST", path))
            self.assertEqual(self.printed(), "org/b is awake\n")

    def test_reload(self) -> None:
        """
        What has changed is shown, or that nothing has, or all that is wrong.
        """
        kinds = ("added", "removed", "changed", "pending", "settings", "restart")
        nothing: dict[str, list[str]] = {kind: [] for kind in kinds}
        self.answer = say(
            200, {**nothing, "added": ["a", "b\x1b"], "restart": ["port"]}
        )
        self.assertEqual(self.run_command("reload"), 0)
        self.assertEqual(self.asked[-1][:2], ("POST", "/llmux/reload"))
        self.assertEqual(self.printed(), "added: a, b\\x1b\nrestart: port\n")
        self.answer = say(200, nothing)
        self.run_command("reload")
        self.assertEqual(self.printed(), "nothing has changed\n")
        self.answer = say(400, refusal("c.yaml:1: prot: unknown key"))
        self.assertEqual(self.run_command("reload"), 1)
        self.assertIn("prot: unknown key", self.err.getvalue())
        self.answer = say(200, {"id": "a"})
        self.assertEqual(self.run_command("reload"), 1)

    def test_refused(self) -> None:
        """
        A refusal is told, with an exit status.
        """
        self.answer = say(409, refusal("'a' is pinned."))
        self.assertEqual(self.run_command("sleep", "a"), 1)
        self.assertEqual(self.err.getvalue(), "llmux: 'a' is pinned.\n")
        self.assertEqual(self.printed(), "")

    def test_stranger(self) -> None:
        """
        So is an answer that is not llmux's.
        """
        self.answer = say(200, b"ok", "text/plain")
        self.assertEqual(self.run_command("wake", "a"), 1)
        self.assertIn("does not answer as llmux does", self.err.getvalue())

    def test_key(self) -> None:
        """
        The key is taken from the environment, where other users of the
        machine do not see it.
        """
        os.environ["LLMUX_API_KEY"] = "sk-7"
        self.answer = say(200, {"id": "a", "state": "awake"})
        self.run_command("wake", "a")
        self.assertEqual(self.asked[-1][2]["authorization"], "Bearer sk-7")

    def test_usage(self) -> None:
        """
        One model is named, no more and no less.
        """
        for arguments in ((), ("a", "b"), ("",), ("--nonsense", "a")):
            self.assertEqual(self.run_command("wake", *arguments), 64, arguments)
        self.assertEqual(self.asked, [])


class FollowTests(CommandTestCase):
    """
    Tests for C{llmux logs} and C{llmux events}.
    """

    def stream(self, body: str) -> None:
        """
        Answer with events.
        """
        self.answer = say(200, body.encode(), "text/event-stream")

    def test_logs(self) -> None:
        """
        What hooks printed, line by line.
        """
        self.answer = say(200, "eins\nzwö\x1b\n".encode(), "text/plain; charset=utf-8")
        self.assertEqual(self.run_command("logs", "a"), 0)
        self.assertEqual(self.printed(), "eins\nzwö\\x1b\n")

    def test_follow(self) -> None:
        """
        C{-f} goes on until llmux ends, which is told.
        """
        self.stream("data: one\n\n: llmux\n\ndata: two\n\n")
        self.assertEqual(self.run_command("logs", "-f", "a"), 69)
        self.assertEqual(self.asked[-1][1], "/llmux/logs/a?follow")
        self.assertEqual(self.printed(), "one\ntwo\n")
        self.assertIn("has ended", self.err.getvalue())

    def test_events(self) -> None:
        """
        Each event is a line with the time; how everything is, which comes
        first, is not told.
        """
        changed = '{"model":"a","before":"asleep","after":"waking","duration":3}'
        self.stream(
            f"event: status\ndata: {{}}\n\nevent: state_changed\ndata: {changed}\n\n"
        )
        self.run_command("events")
        self.assertRegex(
            self.printed(), r"^\d\d:\d\d:\d\d a: asleep -> waking after 3.0 s\n$"
        )
        self.run_command("events", "--json")
        lines = [json.loads(line) for line in self.printed().splitlines()]
        self.assertEqual(lines[0], {"event": "status"})
        self.assertEqual(lines[1], {"event": "state_changed", **json.loads(changed)})

    def test_told(self) -> None:
        """
        Hooks and switches are told of, too, and what is not known is not.
        """
        hook = {"model": "a", "hook": "wake", "duration": 3, "attempt": 2, "error": ""}
        self.assertEqual(
            told("hook_finished", hook), "a: wake succeeded, 3.0 s, attempt 2"
        )
        failed = told("hook_finished", hook | {"error": "exit status 1"})
        self.assertIn("wake failed: exit status 1, ", failed)
        switch = {"target": "a", "victims": ["b"], "reason": "request"}
        self.assertIn("a: switch begins, for request", told("switch_started", switch))
        ended = switch | {"result": "ok", "duration": 4, "victims": []}
        self.assertEqual(
            told("switch_ended", ended),
            "a: switch ok after 4.0 s; put to sleep: none",
        )
        self.assertEqual(told("new_thing", {}), "")


class TimeTests(SynchronousTestCase):
    """
    Tests for L{seconds}.
    """

    def test_short(self) -> None:
        """
        Times are as short as can be read.
        """
        for value, text in (
            (None, "-"),
            (0, "0.0 s"),
            (9.96, "10.0 s"),
            (12.4, "12 s"),
            (119.6, "2 min 00 s"),
            (3599, "59 min 59 s"),
            (7260, "2 h 01 min"),
        ):
            self.assertEqual(seconds(value), text)


class HelpTests(CommandTestCase):
    """
    What is said of how commands are used.
    """

    def help(self, *arguments: str) -> str:
        """
        Ask for help.
        """
        with contextlib.suppress(SystemExit):
            self.run_command(*arguments)
        return self.printed()

    def test_each(self) -> None:
        """
        Each command has help, which says what it does and how it is called,
        fits into a terminal, and is the same by C{llmux help}.
        """
        os.environ["COLUMNS"] = "80"
        for name in COMMANDS:
            text = self.help(name, "--help")
            self.assertTrue(text.startswith(f"llmux {name} "), text)
            for line in text.splitlines():
                self.assertLess(len(line), 81)
                self.assertNotIn("  than", line)
            self.assertGreater(len(text.splitlines()), 8)
            self.assertEqual(self.help("help", name), text)

    def test_all(self) -> None:
        """
        Without a command the help lists them.
        """
        self.assertRaises(SystemExit, self.run_command, "help")
        for name, command in COMMANDS.items():
            self.assertRegex(self.printed(), rf"llmux {name} +{command.summary}")

    def test_version(self) -> None:
        """
        Each tells llmux's version.
        """
        for name in COMMANDS:
            if name != "simulate":
                self.assertRaises(SystemExit, self.run_command, name, "--version")
                self.assertEqual(self.printed(), f"llmux {__version__}\n")

    def test_unknown(self) -> None:
        """
        A command that is not there is told of, with one that may be meant.
        """
        self.assertEqual(self.run_command("stats"), 64)
        self.assertIn("did you mean 'status'?", self.err.getvalue())
        self.assertEqual(self.run_command("xyzzy"), 64)
        self.assertEqual(len(self.err.getvalue().splitlines()), 2)
