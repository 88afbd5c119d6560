"""
Tests for C{examples/systemd}: the units by systemd's own tools where they are
installed, and socket activation with and without them.
"""

from __future__ import annotations

import configparser
import signal
import socket
import subprocess
import sys

from llmux.test._examples import ExampleTestCase
from llmux.test._http import Asked, request
from llmux.test._processes import (
    eventually,
    freePort,
    isListening,
    needsExamples,
    needsPrograms,
)
from llmux.test._service import Backend, Service, chat

#: Becomes its arguments with the socket whose number comes first, as systemd
#: starts a service.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(
    LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="llmux"
)
os.execv(sys.argv[2], sys.argv[2:])
"""


class UnitTests(ExampleTestCase):
    """
    Tests for the units.
    """

    example = "systemd"
    skip = needsExamples()

    def unit(self, name: str) -> configparser.ConfigParser:
        """
        Read one.
        """
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read(self.place / name, "utf-8")
        return parser

    def test_verify(self) -> None:
        """
        systemd finds nothing wrong with them.
        """
        for path in self.place.glob("*.service"):
            # The programs are not where the example has them.
            lines = path.read_text("utf-8").splitlines()
            path.write_text(
                "\n".join(
                    "ExecStart=/bin/true" if line.startswith("ExecStart=") else line
                    for line in lines
                )
            )
        names = ("llmux.socket", "llmux.service", "llmux-model@llama.service")
        done = subprocess.run(
            ["systemd-analyze", "verify", *(str(self.place / name) for name in names)],
            capture_output=True,
            text=True,
            check=False,
        )
        mine = [line for line in done.stderr.splitlines() if "llmux" in line]
        self.assertEqual((done.returncode, mine), (0, []))

    test_verify.skip = needsExamples() or needsPrograms("systemd-analyze")  # type: ignore[attr-defined]

    def test_agree(self) -> None:
        """
        The configuration asks for the socket by the name that its unit has,
        and the service has more time to stop than llmux takes to drain.
        """
        config = self.config()
        name = self.unit("llmux.socket")["Socket"]["FileDescriptorName"]
        self.assertEqual(config["listen"], [f"systemd:domain=INET:name={name}"])
        service = self.unit("llmux.service")["Service"]
        self.assertGreater(
            float(service["TimeoutStopSec"]), config["policy"]["drain_timeout_secs"]
        )

    def test_hooks(self) -> None:
        """
        The hooks start and stop the model's unit, under a name that the
        polkit rule knows.
        """
        self.program("systemctl", '#!/bin/sh\necho "$*" >>calls.log\n')
        self.assertHook("wake", "llama")
        self.assertHook("sleep", "llama")
        calls = (self.place / "calls.log").read_text().splitlines()
        unit = "llmux-model@llama.service"
        self.assertEqual(calls, [f"start {unit}", f"stop {unit}"])
        self.assertTrue((self.place / "llmux-model@.service").exists())
        self.assertIn(r"/^llmux-model@[A", (self.place / "50-llmux.rules").read_text())


class ActivationTests(ExampleTestCase):
    """
    Tests for the endpoint string of the example.
    """

    example = "systemd"
    skip = needsExamples() or needsPrograms("curl")

    def setUp(self) -> None:
        """
        Start a model, and write a configuration that listens as the example's
        does.
        """
        super().setUp()
        self.llama: Backend = self.backend("llama")
        self.path = self.configuration(
            self.settings(self.llama, listen=self.config()["listen"])
        )
        self.command = (
            *(sys.executable, "-m", "twisted", "--log-format=text"),
            *("llmux", "--config", str(self.path)),
        )

    def test_activate(self) -> None:
        """
        Started by systemd's tool at the first request, llmux answers it.
        """
        port = freePort()
        self.processes.start(
            *("systemd-socket-activate", "-l", f"127.0.0.1:{port}"),
            *("--fdname=llmux", *self.passed(), *self.command),
        )
        eventually(lambda: isListening(port), "systemd's tool listens")
        url = f"http://127.0.0.1:{port}"
        reply = request(url, "POST", "/v1/chat/completions", chat("llama"))
        self.assertIn("llama: ", reply.said())

    test_activate.skip = needsExamples() or needsPrograms(  # type: ignore[attr-defined]
        "systemd-socket-activate"
    )

    def passed(self) -> list[str]:
        """
        Options that make systemd's tool pass our environment on.
        """
        names = self.processes.environment()
        return [option for name in names for option in ("-E", name)]

    def test_restart(self) -> None:
        """
        A request that comes while llmux restarts waits in the socket, and is
        answered by the next one, which finds the model awake.
        """
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            port = listener.getsockname()[1]
            service = self.activated(listener)
            self.assertIn("llama: ", service.chat("llama").said())
            service.running.signal(signal.SIGTERM)
            service.running.wait()
            # Nobody takes this one yet, and nobody refuses it.
            asked = Asked(
                f"http://127.0.0.1:{port}",
                "POST",
                "/v1/chat/completions",
                chat("llama"),
            )
            service = self.activated(listener)
            self.assertIn("llama: ", asked.reply().said())
            self.assertEqual(service.hooksRun(), ["wake llama"])

    def test_restartWhileStreaming(self) -> None:
        """
        While the old llmux lets a stream come to its end, whoever comes waits
        in the socket for the next one; nobody is refused, and nothing is cut.
        """
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            service = self.activated(listener)
            stream = service.stream("llama", tokens=40, rate=20)
            stream.next()
            service.running.signal(signal.SIGTERM)
            eventually(
                lambda: "Stopping; " in service.running.output(), "it is stopping"
            )
            asked = [service.asked("llama") for _ in range(5)]
            self.assertEqual(list(stream.events())[-1], "[DONE]")
            service.running.wait()
            service = self.activated(listener)
            for one in asked:
                self.assertIn("llama: ", one.reply().said())
            self.assertEqual(service.hooksRun(), ["wake llama"])

    def activated(self, listener: socket.socket) -> Service:
        """
        Start llmux as systemd does, with a socket that listens.
        """
        number = listener.fileno()
        running = self.processes.start(
            *(sys.executable, "-c", ACTIVATE, str(number), *self.command),
            keep=[number],
        )
        return Service(listener.getsockname()[1], running)
