"""
Tests for L{llmux.cli} and L{llmux.cli_check}.

What needs a process of its own is in L{llmux.test.test_acceptance_command}.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from twisted.logger import globalLogBeginner

from llmux import cli
from llmux.test.test_tap import CONFIG, TapTestCase


class MainTests(TapTestCase):
    """
    Tests for L{cli.main}.
    """

    def test_badOptions(self) -> None:
        """
        A wrong command line is a line and an exit status.
        """
        err = self.redirect("stderr")
        self.assertEqual(cli.main(["--nonsense"]), 64)
        self.assertEqual(len(err.getvalue().splitlines()), 1)

    def test_badFile(self) -> None:
        """
        So is a configuration that is not there.
        """
        err = self.redirect("stderr")
        self.assertEqual(cli.main(["-c", str(self.path / "none.yaml")]), 64)
        self.assertEqual(len(err.getvalue().splitlines()), 1)

    def test_badEndpoint(self) -> None:
        """
        So is an endpoint that is none.
        """
        self.patch(globalLogBeginner, "beginLoggingTo", lambda *a, **k: None)
        err = self.redirect("stderr")
        self.assertEqual(cli.main(["-c", str(self.config), "--listen=nonsense:1"]), 64)
        self.assertIn("nonsense", err.getvalue())

    def test_help(self) -> None:
        """
        The help names the commands.
        """
        self.assertIn("llmux check", cli.ServeOptions().getUsage())

    def test_readEnough(self) -> None:
        """
        Whoever reads the output of a command may go before it is complete;
        that is no error, at once or when it is flushed.
        """
        for method in ("write", "flush"):
            out = self.redirect("stdout")

            def broken(*given: object) -> int:
                raise BrokenPipeError

            self.patch(out, method, broken)
            self.assertEqual(cli.main(["check", "-c", str(self.config)]), 0)
            # As Python does at its end.
            sys.stdout.flush()

    def test_simulateReadEnough(self) -> None:
        """
        So it is with C{llmux simulate}, whose output may be long.
        """
        files = {
            "t.jsonl": '{"at": 0, "model": "a", "seconds": 4}',
            "k.yaml": "default: {wake: 9, sleep: 1}",
        }
        for name, text in files.items():
            (self.path / name).write_text(text)
        trace, costs = (str(self.path / name) for name in files)
        given = ["--config", str(self.config), "--trace", trace, "--costs", costs]
        out = self.redirect("stdout")
        self.assertEqual(cli.main(["simulate", *given]), 0)
        self.assertIn("cost-aware", out.getvalue())

        def broken(text: str) -> int:
            raise BrokenPipeError

        self.patch(out, "write", broken)
        self.assertEqual(cli.main(["simulate", *given]), 0)


class CheckTests(TapTestCase):
    """
    Tests for C{llmux check}.
    """

    def test_good(self) -> None:
        """
        A file with nothing wrong is said to be one.
        """
        out = self.redirect("stdout")
        self.assertEqual(cli.main(["check", "-c", str(self.config)]), 0)
        self.assertIn("nothing is wrong", out.getvalue())

    def test_bad(self) -> None:
        """
        Everything that is wrong is told.
        """
        self.config.write_text(
            CONFIG.replace("wake: w", "wakes: w") + "prot: 1\n", "utf-8"
        )
        err = self.redirect("stderr")
        self.assertEqual(cli.main(["check", "-c", str(self.config)]), 1)
        self.assertIn('did you mean "wake"?', err.getvalue())
        self.assertIn('did you mean "port"?', err.getvalue())

    def test_badOptions(self) -> None:
        """
        A wrong command line is a line and an exit status.
        """
        err = self.redirect("stderr")
        self.assertEqual(cli.main(["check", "--nonsense"]), 64)
        self.assertEqual(len(err.getvalue().splitlines()), 1)


class Loop:
    """
    As much of a reactor as L{cli.runReactor} knows.
    """

    def __init__(self) -> None:
        self.triggers: list[Any] = []
        self.begin: Any = None
        self.calls: list[Any] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> None:
        """
        See L{twisted.internet.interfaces.IReactorCore}.
        """
        self.triggers.append((phase, event, call))

    def callWhenRunning(self, call: Any) -> None:
        """
        See L{twisted.internet.interfaces.IReactorCore}.
        """
        self.begin = call

    def callFromThread(self, call: Any) -> None:
        """
        See L{twisted.internet.interfaces.IReactorFromThreads}.
        """
        self.calls.append(call)

    def stop(self) -> None:
        """
        See L{twisted.internet.interfaces.IReactorCore}.
        """

    def run(self) -> None:
        """
        Begin; no signal comes.
        """
        self.begin()


class Stoppable:
    """
    As much of a program as L{cli.runReactor} knows.
    """

    def stopService(self) -> None:
        """
        See L{twisted.application.service.IService}.
        """


class RunReactorTests(TapTestCase):
    """
    Tests for L{cli.runReactor}.
    """

    def setUp(self) -> None:
        super().setUp()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def test_stops(self) -> None:
        """
        A signal has the reactor stop, which stops the program first.
        """
        loop, program = Loop(), Stoppable()
        self.assertEqual(cli.runReactor(loop, program), 0)
        self.assertEqual(loop.triggers, [("before", "shutdown", program.stopService)])
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(loop.calls, [loop.stop])
