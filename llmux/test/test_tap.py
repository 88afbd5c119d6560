"""
Tests for L{llmux.tap}.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from twisted.application.service import IService
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux import __version__
from llmux.tap import Options, makeService

CONFIG = """
models:
  a: {port: 8001, wake: w, sleep: s, alive: a}
port: 4321
"""


class TapTestCase(SynchronousTestCase):
    """
    With a configuration file.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.config = self.path / "config.yaml"
        self.config.write_text(CONFIG, "utf-8")

    def parse(self, *arguments: str) -> Options:
        """
        Parse a command line.
        """
        options = Options()
        options.parseOptions(["--config", str(self.config), *arguments])
        return options

    def redirect(self, name: str) -> io.StringIO:
        """
        Catch what is printed.
        """
        stream = io.StringIO()
        self.patch(sys, name, stream)
        return stream


class OptionsTests(TapTestCase):
    """
    Tests for L{Options}.
    """

    def test_file(self) -> None:
        """
        The configuration is read when the options are parsed.
        """
        config = self.parse().configuration
        self.assertEqual(config.port, 4321)
        self.assertEqual(list(config.models), ["a"])

    def test_port(self) -> None:
        """
        The command line's port counts more than the file's.
        """
        self.assertEqual(self.parse("-p", "4000").configuration.port, 4000)

    def test_listen(self) -> None:
        """
        Endpoints count more than ports.
        """
        config = self.parse(
            "--port=1", "--listen=unix:a", "--listen=tcp:1:interface=::1"
        ).configuration
        self.assertEqual(config.listen, ("unix:a", "tcp:1:interface=::1"))

    def test_badPort(self) -> None:
        """
        What is no port is an error that says so.
        """
        for port in ("0", "65536", "http", "-1", "٣"):
            error = self.assertRaises(usage.UsageError, self.parse, f"--port={port}")
            self.assertIn("65535", str(error))

    def test_badFile(self) -> None:
        """
        All that is wrong with a file is told, a line each, and so is a policy
        that is not there.
        """
        self.config.write_text(
            CONFIG.replace("8001", "70000") + "policy: {name: fifi}\n", "utf-8"
        )
        error = self.assertRaises(usage.UsageError, self.parse)
        first, second = str(error).splitlines()
        self.assertIn(":3: models.a.port:", first)
        self.assertIn('did you mean "fifo"?', second)

    def test_noFile(self) -> None:
        """
        So is a file that is not there.
        """
        self.config.unlink()
        error = self.assertRaises(usage.UsageError, self.parse)
        self.assertEqual(len(str(error).splitlines()), 1)

    def test_version(self) -> None:
        """
        C{--version} prints llmux's own.
        """
        out = self.redirect("stdout")
        error = self.assertRaises(SystemExit, self.parse, "--version")
        self.assertEqual(error.code, 0)
        self.assertEqual(out.getvalue(), f"llmux {__version__}\n")


class MakeServiceTests(TapTestCase):
    """
    Tests for L{makeService}.
    """

    def test_service(self) -> None:
        """
        It makes a service.
        """
        service = makeService(self.parse(), MemoryReactorClock())
        verifyObject(IService, service)

    def test_globalReactor(self) -> None:
        """
        Without a reactor it takes that of the process, as C{twist} has it.
        """
        verifyObject(IService, makeService(self.parse("-v")))

    def test_badEndpoint(self) -> None:
        """
        A string that is no endpoint is a line and an exit status.
        """
        err = self.redirect("stderr")
        options = self.parse("--listen=nonsense:1")
        error = self.assertRaises(
            SystemExit, makeService, options, MemoryReactorClock()
        )
        self.assertEqual(error.code, 64)
        self.assertIn("'nonsense:1' is not a server endpoint", err.getvalue())
        self.assertEqual(len(err.getvalue().splitlines()), 1)
