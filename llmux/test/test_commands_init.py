"""
Tests for L{llmux.commands.init} and L{llmux.commands._engines}.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from llmux import cli
from llmux.checks import check, load
from llmux.commands._engines import ENGINES
from llmux.test._processes import EXAMPLES, freePort, needsExamples, needsPrograms
from llmux.test._service import ProcessTestCase, Service

#: A C{llama-server} that serves nonsense.
SERVER = """\
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        --port) port=$2 ;;
        --alias) name=$2 ;;
    esac
    shift
done
exec "$PYTHON" -m llmux.demo --port "$port" --model "$name"
"""


class InitTestCase(SynchronousTestCase):
    """
    A test in a folder of its own.
    """

    def setUp(self) -> None:
        """
        Catch what is printed.
        """
        self.folder = Path(self.mktemp()).absolute()
        self.config = self.folder / "config.yaml"
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.patch(sys, "stdin", io.StringIO())
        self.patch(os, "environ", {"PATH": ""})

    def init(self, *options: str) -> int:
        """
        Run C{llmux init}.

        @return: the exit status.
        """
        return cli.main(["init", *options, str(self.folder)])

    def answer(self, *lines: str) -> None:
        """
        Sit at a terminal, and say something.
        """
        terminal = io.StringIO("".join(f"{line}\n" for line in lines))
        self.patch(terminal, "isatty", lambda: True)
        self.patch(sys, "stdin", terminal)

    def models(self) -> dict[str, Any]:
        """
        The models of the configuration that was written.
        """
        found: dict[str, Any] = yaml.safe_load(self.config.read_text("utf-8"))["models"]
        return found


class OptionTests(InitTestCase):
    """
    What is named by options.
    """

    def test_everything(self) -> None:
        """
        Models of each engine can be had, together; nothing is wrong with the
        configuration, each hook is there, and the words before it set what
        it needs.
        """
        status = self.init(
            *("--llama-cpp", "/models/it's/qwen3 8b.gguf"),
            *("--llama-cpp", "/models/gemma.gguf"),
            *("--ollama", "llama3.2:3b"),
            *("--vllm", "Qwen/Qwen3-8B", "--port", "4000"),
        )
        self.assertEqual((status, self.err.getvalue()), (0, ""))
        self.assertEqual(check(str(self.config), {}), ())
        config = load(str(self.config), {})
        self.assertEqual(config.port, 4000)
        self.assertEqual(
            {
                name: (
                    model.port,
                    model.url,
                    model.backend_model,
                    [alias.name for alias in model.aliases],
                )
                for name, model in config.models.items()
            },
            {
                "qwen3 8b": (8001, None, None, []),
                "gemma": (8002, None, None, []),
                "llama3.2:3b": (
                    None,
                    "http://127.0.0.1:11434",
                    "llama3.2:3b",
                    ["llama3.2"],
                ),
                "Qwen3-8B": (8003, None, "Qwen3-8B", ["Qwen/Qwen3-8B"]),
            },
        )
        self.assertEqual(
            [name for name, model in config.models.items() if model.api == "ollama"],
            ["llama3.2:3b"],
        )
        wake = self.models()["qwen3 8b"]["wake"]
        self.assertTrue(wake.endswith(" ./wake.sh"))
        shown = subprocess.run(
            ["/bin/sh", "-c", wake.replace("./wake.sh", "/usr/bin/env")],
            cwd=self.folder,
            env={},
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn("MODELS=/models/it's\n", shown.stdout)
        for engine in ENGINES:
            for hook in ("wake.sh", "sleep.sh", "alive.sh"):
                self.assertTrue(os.access(self.folder / engine / hook, os.X_OK))

    def test_says(self) -> None:
        """
        What is not there yet is said, and what to do next.
        """
        self.init("--llama-cpp", "/none/x.gguf", "--vllm", "x/y", "--ollama", "z")
        for words in (
            "llama-server is not in PATH",
            "vllm is not in PATH",
            "ollama is not in PATH",
            "/none/x.gguf is not there yet",
            f"wrote {self.config}\n",
            f"Now: llmux -c {self.config}\n",
        ):
            self.assertIn(words, self.out.getvalue())

    def test_vllm(self) -> None:
        """
        vLLM is told which model is meant, whatever its name.
        """
        self.init("--vllm", "org/it's (new)", "--vllm", "other/model")
        script = (self.folder / "vllm" / "engine.sh").read_text("utf-8")
        self.assertNotIn("CASES", script)
        for name, what in (("it's (new)", "org/it's (new)"), ("model", "other/model")):
            shown = subprocess.run(
                [
                    "/bin/sh",
                    "-c",
                    script.replace("exec vllm serve", "exec printf '%s\\n'"),
                ],
                env={"LLMUX_MODEL": name, "LLMUX_PORT": "1"},
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertEqual(shown.stdout.splitlines()[0], what)

    def test_sameShortName(self) -> None:
        """
        A short name that would be that of two models is nobody's.
        """
        self.init(
            "--ollama",
            "qwen3:4b",
            "--ollama",
            "qwen3:8b",
            "--ollama",
            "x:1",
            "--ollama",
            "x",
        )
        self.assertEqual(check(str(self.config), {}), ())
        for model in self.models().values():
            self.assertNotIn("aliases", model)

    def test_refused(self) -> None:
        """
        What cannot be is refused, and nothing is written.
        """
        for options, status, words in (
            (("--llama-cpp", "model.bin"), 64, ".gguf"),
            (("--vllm", "a/b", "--vllm", "c/b"), 1, "two models would have the name b"),
            (("--ollama", " "), 64, "ollama list"),
            (("--ollama", "a\nb"), 64, "ollama list"),
            (("--ollama", "a", "--port", "x"), 64, "--port"),
            (("--ollama", "a", "elsewhere"), 64, "one folder"),
            ((), 64, "--llama-cpp"),
        ):
            self.assertEqual(self.init(*options), status, options)
            self.assertIn(words, self.err.getvalue())
            self.assertFalse(self.folder.exists())

    def test_notWritable(self) -> None:
        """
        A folder that cannot be written to is told of.
        """
        self.folder.write_text("a file")
        self.assertEqual(self.init("--ollama", "a"), 1)
        self.assertIn(str(self.config), self.err.getvalue())


class OverwriteTests(InitTestCase):
    """
    What is there already.
    """

    def setUp(self) -> None:
        """
        Have a configuration.
        """
        super().setUp()
        self.init("--ollama", "a")
        self.before = "models: {}  # mine\n"
        self.config.write_text(self.before, "utf-8")

    def test_left(self) -> None:
        """
        Where nobody can be asked, nothing is written over.
        """
        self.assertEqual(self.init("--ollama", "b"), 1)
        self.assertIn("config.yaml: there already, and left", self.err.getvalue())
        self.assertNotIn("wake.sh: there", self.err.getvalue())
        self.assertEqual(self.config.read_text("utf-8"), self.before)

    def test_no(self) -> None:
        """
        Nor is it where somebody is asked and does not agree.
        """
        for said in ("", "n", "what?"):
            self.answer(said)
            self.assertEqual(self.init("--ollama", "b"), 1)
            self.assertEqual(self.config.read_text("utf-8"), self.before)

    def test_yes(self) -> None:
        """
        It is where they do, or have said so.
        """
        self.answer("y")
        self.assertEqual(self.init("--ollama", "b"), 0)
        self.assertEqual(list(self.models()), ["b"])
        self.config.write_bytes(b"\xff")
        self.assertEqual(self.init("--ollama", "c"), 1)
        self.assertEqual(self.init("--ollama", "c", "--force"), 0)
        self.assertEqual(list(self.models()), ["c"])


class InterviewTests(InitTestCase):
    """
    What is asked for.
    """

    def test_answers(self) -> None:
        """
        Without options the engine, the models and the port are asked for,
        until the answers make sense.
        """
        self.answer(
            "5", "llama.cpp", "x.bin", "/m/a.gguf", "/m/b.gguf", "", "no", "4001"
        )
        self.assertEqual(self.init(), 0)
        self.assertEqual(list(self.models()), ["a", "b"])
        self.assertEqual(load(str(self.config), {}).port, 4001)
        self.assertIn("ends in .gguf", self.out.getvalue())
        self.assertIn("from 1 to 65535", self.out.getvalue())

    def test_number(self) -> None:
        """
        The engine can be named by its number, and the port left as it is.
        """
        self.answer("2", "llama3.2", "", "")
        self.assertEqual(self.init("--port", "4002"), 0)
        self.assertEqual(self.models()["llama3.2"]["url"], "http://127.0.0.1:11434")
        self.assertEqual(load(str(self.config), {}).port, 4002)

    def test_nothing(self) -> None:
        """
        Who names no model, or leaves, gets nothing.
        """
        for answers in (("1", ""), ("1",), ()):
            self.answer(*answers)
            self.assertEqual(self.init(), 1)
            self.assertFalse(self.folder.exists())


class HookTests(ProcessTestCase):
    """
    The hooks.
    """

    def test_examples(self) -> None:
        """
        They are those of the examples, which have tests of their own.
        """
        self.skipUnless(needsExamples())
        for engine, example in (
            ("llama-cpp", "llama-cpp"),
            ("ollama", "ollama"),
            ("vllm", "vllm-sleep"),
        ):
            for hook in ENGINES[engine].hooks:
                kept = f"{hook}.txt" if hook.endswith(".py") else hook
                ours = files("llmux.commands") / "engines" / engine / kept
                theirs = EXAMPLES / example / hook
                self.assertEqual(
                    ours.read_text("utf-8"), theirs.read_text("utf-8"), kept
                )

    def test_run(self) -> None:
        """
        A configuration that was just written can be served: its models are
        woken by requests, one in the place of the other.
        """
        self.skipUnless(needsPrograms("curl", "ps"))
        programs = self.folder / "bin"
        programs.mkdir()
        server = programs / "llama-server"
        server.write_text(SERVER)
        server.chmod(0o755)
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        there = {"PATH": path}
        status, output = self.processes.run(
            *(sys.executable, "-m", "llmux", "init", "new"),
            *("--llama-cpp", "models/one.gguf", "--llama-cpp", "two.gguf"),
            environment=there,
        )
        self.assertEqual(status, 64, output)
        status, output = self.processes.run(
            *(sys.executable, "-m", "llmux", "init", "--llama-cpp", "models/one.gguf"),
            *("--llama-cpp", "two.gguf", "new"),
            environment=there,
        )
        self.assertEqual(status, 0, output)
        self.assertNotIn("not in PATH", output)
        config = self.folder / "new" / "config.yaml"
        text = config.read_text("utf-8")
        for port in (8001, 8002):
            text = text.replace(f"port: {port}", f"port: {freePort()}")
        config.write_text(text, "utf-8")
        port = freePort()
        running = self.processes.start(
            *(sys.executable, "-m", "llmux", "-c", config, "-p", str(port)),
            environment=there,
        )
        service = Service(port, running)
        self.untilServing(service)
        self.assertTrue(service.chat("one").said().startswith("one: "))
        self.assertTrue(service.chat("two").said().startswith("two: "))
        states = [
            model["state"] for model in service.get("/llmux/status").json()["models"]
        ]
        self.assertEqual(states, ["asleep", "awake"])

    def skipUnless(self, why: str | None) -> None:
        """
        Skip the test if there is a reason.
        """
        if why is not None:
            self.skipTest(why)
