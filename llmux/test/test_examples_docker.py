"""
Tests for C{examples/docker}.  C{docker} is a stand-in that records what it is
asked; no container runs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from llmux.test._examples import ExampleTestCase
from llmux.test._processes import EXAMPLES, freePort, needsExamples, needsPrograms

#: Its containers are the files in C{containers}, which say whether they run.
#: One that runs is a toy server at C{$SERVES}.  With C{NO_CRIU} set it cannot
#: make checkpoints.
DOCKER = f"""#!/bin/sh
set -eu
echo "$*" >>calls.log
for name; do :; done
case "$*" in
    *"checkpoint create "*) name=$3 ;;
    *"checkpoint rm "*) name=$3 ;;
esac
container=containers/$name
if [ ! -e "$container" ]; then
    echo "Error response from daemon: No such container: $name" >&2
    exit 1
fi
case "$*" in
    "inspect --format "*) cat "$container" ;;
    "checkpoint create "*)
        [ -z "${{NO_CRIU:-}}" ] || exit 1
        ls containers/checkpoints/ | grep -q "^$4\\$" && exit 1
        : >"containers/checkpoints/$4"
        docker stop "$name"
        ;;
    "checkpoint rm "*) rm "containers/checkpoints/$4" ;;
    "checkpoint ls "*) echo CHECKPOINT NAME; ls containers/checkpoints ;;
    "start --checkpoint "*)
        [ -z "${{BROKEN:-}}" ] || exit 1
        docker start "$name"
        ;;
    "start "*)
        if [ "$(cat "$container")" = false ]; then
            if [ -z "${{CRASHES:-}}" ]; then
                nohup {sys.executable} -m llmux.demo --port "${{LLMUX_URL##*:}}" \\
                    --model "$LLMUX_MODEL" >/dev/null 2>&1 </dev/null &
                echo "$!" >"containers/$name.pid"
                echo true >"$container"
            fi
        fi
        ;;
    "stop "*)
        if [ "$(cat "$container")" = true ]; then
            kill "$(cat "containers/$name.pid")"
            echo false >"$container"
        fi
        ;;
    "logs "*) echo "out of memory, said the model" ;;
    *) echo "unknown: $*" >&2; exit 125 ;;
esac
"""


class DockerTests(ExampleTestCase):
    """
    Tests for the hooks.
    """

    example = "docker"
    skip = needsExamples() or needsPrograms("curl")

    def setUp(self) -> None:
        """
        Put the stand-in into PATH, and a stopped container into it.
        """
        super().setUp()
        self.program("docker", DOCKER)
        self.containers = self.place / "containers"
        (self.containers / "checkpoints").mkdir(parents=True)
        (self.containers / "llmux-llama").write_text("false\n")
        self.variables["LLMUX_URL"] = f"http://127.0.0.1:{freePort()}"

    def calls(self) -> list[str]:
        """
        What docker was asked, but for looks.
        """
        log = self.place / "calls.log"
        looks = ("inspect", "logs", "checkpoint ls")
        return [
            line for line in log.read_text().splitlines() if not line.startswith(looks)
        ]

    def test_life(self) -> None:
        """
        C{wake} starts the container and waits until it serves; C{sleep} stops
        it.
        """
        self.assertAsleep("llama")
        self.assertHook("wake", "llama")
        self.assertHook("alive", "llama")
        self.assertHook("sleep", "llama")
        self.assertEqual(self.calls(), ["start llmux-llama", "stop llmux-llama"])

    def test_idempotent(self) -> None:
        """
        A container that runs is not started again, and to stop one that is
        stopped does no harm.
        """
        for hook in ("sleep", "wake", "wake", "sleep", "sleep"):
            self.assertHook(hook, "llama")
        self.assertEqual(self.calls().count("start llmux-llama"), 1)

    def test_noContainer(self) -> None:
        """
        Without the container the wake fails, in docker's words.
        """
        status, output = self.hook("wake", "qwen")
        self.assertNotEqual(status, 0)
        self.assertIn("No such container", output)

    def test_crashes(self) -> None:
        """
        A container that ends while it starts fails the wake at once, which
        shows its log.
        """
        status, output = self.hook("wake", "llama", {"CRASHES": "1"})
        self.assertEqual(status, 1)
        self.assertIn("out of memory, said the model", output)

    def test_checkpoint(self) -> None:
        """
        With C{CHECKPOINT} it sleeps into a checkpoint and wakes from it; the
        first wake, before there is one, is a cold start.
        """
        self.variables["CHECKPOINT"] = "warm"
        for hook in ("wake", "sleep", "wake", "sleep"):
            self.assertHook(hook, "llama")
        self.assertEqual(
            [call for call in self.calls() if not call.startswith("checkpoint rm")],
            [
                "start llmux-llama",
                "checkpoint create llmux-llama warm",
                "stop llmux-llama",
                "start --checkpoint warm llmux-llama",
                "start llmux-llama",
                "checkpoint create llmux-llama warm",
                "stop llmux-llama",
            ],
        )

    def test_checkpointFails(self) -> None:
        """
        Where no checkpoint can be made, the container is stopped; where one
        cannot be restored, it is started from cold.
        """
        self.variables["CHECKPOINT"] = "warm"
        self.assertHook("wake", "llama")
        self.assertHook("sleep", "llama", {"NO_CRIU": "1"})
        self.assertAsleep("llama")
        (self.containers / "checkpoints" / "warm").touch()
        output = self.assertHook("wake", "llama", {"BROKEN": "1"})
        self.assertIn("a cold start instead", output)
        self.assertHook("alive", "llama")


class ComposeTests(SynchronousTestCase):
    """
    Tests for what can be said of the files without building them.
    """

    skip = needsExamples()

    def setUp(self) -> None:
        """
        Read them.
        """
        self.folder = Path(EXAMPLES, "docker")
        self.compose: dict[str, Any] = yaml.safe_load(
            (self.folder / "compose.yaml").read_text("utf-8")
        )
        self.config: dict[str, Any] = yaml.safe_load(
            (self.folder / "config.yaml").read_text("utf-8")
        )

    def test_agree(self) -> None:
        """
        Each model has a container, under the name and at the address that the
        hooks use, that only llmux starts.
        """
        for name, model in self.config["models"].items():
            service = self.compose["services"][name]
            self.assertEqual(service["container_name"], f"llmux-{name}")
            port = service["command"][service["command"].index("--port") + 1]
            self.assertEqual(model["url"], f"http://{name}:{port}")
            self.assertEqual(service["profiles"], ["models"])
            self.assertEqual(service["restart"], "no")

    def test_doors(self) -> None:
        """
        Nothing but llmux is published, and that to the host itself only;
        nothing but the proxy has docker's socket; and the network with the
        proxy has no other members.
        """
        for name, service in self.compose["services"].items():
            ports = service.get("ports", [])
            self.assertEqual(ports, ["127.0.0.1:3000:3000"] if name == "llmux" else [])
            hasSocket = "docker.sock" in str(service.get("volumes", ""))
            self.assertEqual(hasSocket, name == "docker-proxy")
            isInside = "docker" in service["networks"]
            self.assertEqual(isInside, name in ("llmux", "docker-proxy"))

    def test_dockerfile(self) -> None:
        """
        What the Dockerfile copies from the checkout is there, and llmux is
        the first process, as another user than root.
        """
        text = (self.folder / "Dockerfile").read_text("utf-8")
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M):
            for source in line.split()[:-1]:
                self.assertNotEqual(list(EXAMPLES.parent.glob(source)), [], source)
        self.assertIn('ENTRYPOINT ["twist"', text)
        self.assertIn("USER nobody", text)
