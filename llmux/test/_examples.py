# -*- test-case-name: llmux.test.test_examples_quickstart -*-
"""
What the tests of the examples share.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from llmux.test._processes import EXAMPLES, freePort
from llmux.test._service import ProcessTestCase, Service


class ExampleTestCase(ProcessTestCase):
    """
    A test of an example, in a copy of its folder and on ports that are free.

    @cvar example: the name of the folder.

    @ivar ports: the ports of the models, by their names.
    """

    example: str

    def setUp(self) -> None:
        """
        Make the copy.
        """
        super().setUp()
        self.place = self.folder / self.example
        shutil.copytree(
            EXAMPLES / self.example,
            self.place,
            ignore=shutil.ignore_patterns("run", "__pycache__", "models"),
        )
        self.ports: dict[str, int] = {}
        self.variables: dict[str, str] = {}

    def config(self) -> dict[str, Any]:
        """
        The example's configuration.
        """
        loaded: dict[str, Any] = yaml.safe_load(
            (self.place / "config.yaml").read_text("utf-8")
        )
        return loaded

    def movePorts(self) -> None:
        """
        Give each model of the copied configuration a port that is free.  The
        text is changed, not rebuilt, so that it is the example's own that is
        tested.
        """
        path = self.place / "config.yaml"
        text = path.read_text("utf-8")
        for name, model in self.config()["models"].items():
            self.ports[name] = freePort()
            text = text.replace(
                f"port: {model['port']}\n", f"port: {self.ports[name]}\n"
            )
        path.write_text(text, "utf-8")

    def hook(
        self, hook: str, model: str, environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """
        Run a hook of the example, as llmux does.

        @return: the exit status and what it printed.
        """
        return self.processes.run(
            *("/bin/sh", "-c", self.config()["models"][model][hook]),
            folder=self.place,
            environment={**self.hookVariables(hook, model), **(environment or {})},
        )

    def hookVariables(self, hook: str, model: str) -> dict[str, str]:
        """
        The environment of a hook.
        """
        settings = self.config()["models"][model]
        port = str(settings.get("port", ""))
        return {
            "LLMUX_HOOK": hook,
            "LLMUX_MODEL": model,
            "LLMUX_PORT": port,
            "LLMUX_URL": settings.get("url") or f"http://127.0.0.1:{port}",
            "LLMUX_REASON": "request",
            "LLMUX_ATTEMPT": "1",
            **self.variables,
        }

    def assertHook(
        self, hook: str, model: str, environment: Mapping[str, str] | None = None
    ) -> str:
        """
        Run a hook, which must succeed.

        @return: what it printed.
        """
        status, output = self.hook(hook, model, environment)
        self.assertEqual(status, 0, f"{hook} {model}: {output}")
        return output

    def assertAsleep(self, model: str) -> None:
        """
        C{alive} must say no, in few words.
        """
        status, output = self.hook("alive", model)
        self.assertNotEqual(status, 0, output)

    def serveExample(self) -> Service:
        """
        Start llmux with the example's configuration.
        """
        return self.serve(self.place / "config.yaml", environment=self.variables)

    def program(self, name: str, text: str) -> Path:
        """
        Put a stand-in for a program into PATH.
        """
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        path = programs / name
        path.write_text(text, "utf-8")
        path.chmod(0o755)
        rest = self.processes.environment()["PATH"]
        self.variables["PATH"] = f"{programs}:{rest}"
        return path
