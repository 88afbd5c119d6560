"""
llmux as a process: its command lines, and what they say of a configuration
that cannot be used.
"""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

from llmux import __version__
from llmux.test._processes import freePort, needsPrograms
from llmux.test._service import ProcessTestCase, Service

TWIST = (sys.executable, "-m", "twisted", "llmux")
LLMUX = (sys.executable, "-m", "llmux")

#: Three things are wrong with it.
BAD = """\
models:
  llama:
    prot: 8001
    wake: ./wake.sh
    sleep: ""
    alive: ./alive.sh
port: 70000
"""


class CommandTests(ProcessTestCase):
    """
    Tests for C{twist llmux} and C{llmux}.
    """

    def bad(self) -> Path:
        """
        Write a configuration that cannot be used.
        """
        path = self.folder / "bad.yaml"
        path.write_text(BAD)
        return path

    def good(self) -> Path:
        """
        Write one that can, with a port that nobody uses.
        """
        hooks = {"wake": "true", "sleep": "true", "alive": "false"}
        model = {"port": freePort(), **hooks}
        return self.configuration({"models": {"llama": model}, "port": freePort()})

    def test_version(self) -> None:
        """
        C{llmux --version} says which one it is.
        """
        status, output = self.processes.run(*LLMUX, "--version")
        self.assertEqual((status, output.strip()), (0, f"llmux {__version__}"))

    def test_help(self) -> None:
        """
        Both say how they are used, and C{twist} lists llmux.
        """
        for command in (TWIST, LLMUX):
            status, output = self.processes.run(*command, "--help")
            self.assertEqual(status, 0)
            for option in ("--config", "--port", "--listen", "--verbose"):
                self.assertIn(option, output)
        _, output = self.processes.run(sys.executable, "-m", "twisted", "--help")
        self.assertRegex(output, r"\n +llmux +\w")

    def test_badConfiguration(self) -> None:
        """
        All that is wrong is said at once, each with its place, on one line;
        the status is that of a wrong use; and there is no traceback.
        """
        path = self.bad()
        for command in (TWIST, LLMUX):
            status, output = self.processes.run(*command, "-c", path)
            self.assertEqual(status, 64, output)
            self.assertNotIn("Traceback", output)
            for line, where in (
                (3, "models.llama.prot"),
                (5, "models.llama.sleep"),
                (7, "port"),
            ):
                self.assertIn(f"{path}:{line}: {where}: ", output)
            self.assertIn('"port"', output)

    def test_missing(self) -> None:
        """
        So it is if there is no such file.
        """
        for command in (TWIST, LLMUX):
            status, output = self.processes.run(*command, "-c", "nowhere.yaml")
            self.assertEqual(status, 64, output)
            self.assertIn("nowhere.yaml", output)
            self.assertNotIn("Traceback", output)

    def test_check(self) -> None:
        """
        C{llmux check} says the same without serving.
        """
        status, output = self.processes.run(*LLMUX, "check", "-c", self.bad())
        self.assertNotEqual(status, 0)
        self.assertIn("bad.yaml:3: models.llama.prot: ", output)
        self.assertNotIn("Traceback", output)
        status, output = self.processes.run(*LLMUX, "check", "-c", self.good())
        self.assertEqual(status, 0, output)

    def test_portTaken(self) -> None:
        """
        A port that is taken is said in a line.
        """
        path = self.good()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            for command in (TWIST, LLMUX):
                status, output = self.processes.run(*command, "-c", path, "-p", port)
                self.assertNotEqual(status, 0)
                self.assertIn(port, output)
                self.assertIn("in use", output)
                self.assertNotIn("Traceback", output, str(command))

    def test_wrongPort(self) -> None:
        """
        So is one that is none.
        """
        path = self.good()
        for command in (TWIST, LLMUX):
            for port in ("x", "0", "70000", "-1"):
                status, output = self.processes.run(*command, "-c", path, "-p", port)
                self.assertEqual(status, 64, output)
                self.assertIn("--port", output)
                self.assertNotIn("Traceback", output)


class SeedCommandTests(ProcessTestCase):
    """
    Tests for C{llmux -c FILE -p PORT -v}, which serves.
    """

    skip = needsPrograms("curl")

    def test_serve(self) -> None:
        """
        It serves what C{twist llmux} does, on the port that is asked for, and
        ends as that does.
        """
        backend = self.backend("llama")
        path = self.configuration(self.settings(backend, port=freePort()))
        port = freePort()
        running = self.processes.start(*LLMUX, "-c", path, "-p", str(port), "-v")
        service = Service(port, running)
        self.untilServing(service)
        self.assertIn("llama: ", service.chat("llama").said())
        self.assertEqual(service.stop(), -signal.SIGTERM)
        self.assertNotIn("Traceback", running.output())

    def test_here(self) -> None:
        """
        Without options it takes C{config.yaml} of the folder that it is in,
        and the port in that.  Hooks that have to be looked for are looked for
        beside the file.
        """
        backend = self.backend("llama")
        port = freePort()
        place = self.folder / "elsewhere"
        place.mkdir()
        for hook in ("wake", "sleep"):
            script = place / f"{hook}.sh"
            script.write_text(f'#!/bin/sh\ncurl -sf -X POST "$LLMUX_URL/{hook}$UP"\n')
            script.chmod(0o755)
        settings = self.settings(
            backend,
            model={"wake": "UP=_up ./wake.sh", "sleep": "UP= ./sleep.sh"},
            port=port,
        )
        self.configuration(settings).rename(place / "config.yaml")
        for folder, options in (
            (place, ()),
            (self.folder, ("-c", str(place / "config.yaml"))),
        ):
            running = self.processes.start(*LLMUX, *options, folder=folder)
            service = Service(port, running)
            self.untilServing(service)
            self.assertEqual(service.chat("llama").status, 200)
            service.stop()

    def test_listen(self) -> None:
        """
        C{--listen} takes endpoints of Twisted's, and more than one.
        """
        backend = self.backend("llama")
        path = self.configuration(self.settings(backend))
        ports = [freePort(), freePort()]
        options = [f"--listen=tcp:{port}:interface=127.0.0.1" for port in ports]
        for command in (TWIST, LLMUX):
            running = self.processes.start(*command, "-c", path, *options)
            for port in ports:
                service = Service(port, running)
                self.untilServing(service)
                self.assertEqual(service.chat("llama").status, 200)
            service.stop()
