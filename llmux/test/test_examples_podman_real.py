"""
Tests for C{examples/podman-criu} with real containers, which CRIU checkpoints
and restores: its hooks as they are, with llama.cpp's server in place of vLLM's
and without a GPU.  C{.ci/criu-setup} puts a machine in order for them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from signal import SIGKILL

from llmux.test._examples import ExampleTestCase
from llmux.test._http import open_, request
from llmux.test._llama import SERVER, forgetModels, needsLlama, writeModel
from llmux.test._processes import eventually, isListening, needsPrograms
from llmux.test._service import Service, chat

#: The image that C{.ci/criu-setup} makes.
IMAGE = "localhost/llmux-empty"

#: The settings of the test.  The image is empty: programs and libraries are
#: those of the machine, where they always are, and cannot be written to.
SETTINGS = """
name={prefix}-$name
image={image}
cold_start() {{
    case $model in
        facebook/*) file={facebook} ;;
        *) file={qwen} ;;
    esac
    podman run "$@" --network=host --env=LD_LIBRARY_PATH {mounts} "$image" \\
        {python} {server} --model "$file" --alias "$model" --port "$port" --slots
}}
checkpoint_secs=30 restore_secs=4 cold_secs=30 found_secs=1
"""

#: The example's models.
OPT, QWEN = "facebook/opt-125m", "Qwen/Qwen2.5-3B-Instruct"


def needsCheckpoints() -> str | None:
    """
    Why containers cannot be checkpointed here, if they cannot.
    """
    remedy = "; as root on Debian: .ci/criu-setup DIR && . DIR/environment"
    if not sys.platform.startswith("linux"):
        return "only Linux has CRIU"
    if os.geteuid() != 0:
        return "only root can checkpoint containers"
    missing = needsPrograms("podman", "criu", "curl", "pgrep")
    if missing:
        return missing + remedy
    version = output("criu", "--version")
    found = re.search(r"^Version: (\d+)\.(\d+)", version, re.MULTILINE)
    if not found or tuple(map(int, found.groups())) < (4, 2):
        return f"CRIU is older than 4.2{remedy}"
    for command in (["criu", "check"], ["podman", "image", "exists", IMAGE]):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return f"'{' '.join(command)}' says no{remedy}"
    return needsLlama()


def output(*argv: str) -> str:
    """
    What a program prints.
    """
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


class ContainerTestCase(ExampleTestCase):
    """
    A test with containers.
    """

    example = "podman-criu"
    skip = needsCheckpoints()

    def setUp(self) -> None:
        """
        Make the models, and settings for them.
        """
        super().setUp()
        self.movePorts()
        self.prefix = f"llmux-test-{os.getpid()}"
        self.addCleanup(self.removeContainers)
        self.writeSettings("tiny")

    @classmethod
    def tearDownClass(cls) -> None:
        """
        Remove the models.
        """
        forgetModels()
        super().tearDownClass()

    def writeSettings(self, size: str) -> None:
        """
        Have the containers run models of a size.
        """
        files = {}
        for seed, model in enumerate(["facebook", "qwen"]):
            path = self.folder / size / f"{model}.gguf"
            writeModel(path, seed, size)
            files[model] = path.resolve()
        folders = {
            *(Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), SERVER.parent),
            *(file.parent for file in files.values()),
        }
        mounts = [
            f"--volume={folder}:{folder}:ro"
            for folder in folders
            if not any(parent in folders for parent in folder.parents)
        ]
        quoted = {
            "prefix": self.prefix,
            "image": IMAGE,
            "python": sys.executable,
            "server": str(SERVER),
            **{model: str(file) for model, file in files.items()},
        }
        (self.place / "settings.sh").write_text(
            SETTINGS.format(
                mounts=shlex.join(mounts),
                **{name: shlex.quote(value) for name, value in quoted.items()},
            )
        )

    def removeContainers(self) -> None:
        """
        Remove the containers, also those that podman takes for stopped.
        """
        for model in self.ports:
            if output("podman", "ps", "--all", "--quiet", "--filter", self.only(model)):
                self.hook("sleep", model)
        names = [name for m in self.ports for name in self.containers(m)]
        if names:
            output("podman", "rm", "--force", "--time", "0", *names)

    def only(self, model: str) -> str:
        """
        Podman's filter for the container of a model.
        """
        return f"name=^{self.prefix}-llmux-{re.sub('[^A-Za-z0-9_.-]', '-', model)}-"

    def containers(self, model: str) -> list[str]:
        """
        The names of the containers that a model has, which should be one.
        """
        form = ("--format", "{{.Names}}", "--filter", self.only(model))
        return output("podman", "ps", "--all", *form).split()

    def inspect(self, model: str, what: str) -> str:
        """
        What podman says about the container of a model.
        """
        (name,) = self.containers(model)
        return output("podman", "container", "inspect", "--format", what, name).strip()

    def isRestored(self, model: str) -> bool:
        """
        Whether a model runs from a checkpoint.
        """
        state = self.inspect(model, "{{.State.Running}} {{.State.Restored}}")
        return state == "true true"

    def url(self, model: str) -> str:
        """
        Where a model's server is.
        """
        return f"http://127.0.0.1:{self.ports[model]}"

    def says(self, model: str) -> str:
        """
        What a model has to say, which is always the same.
        """
        body = {"prompt": "Once", "max_tokens": 24, "seed": 7, "model": model}
        reply = request(self.url(model), "POST", "/v1/completions", body)
        text: str = reply.json()["choices"][0]["text"]
        return text

    def assertFree(self, model: str) -> None:
        """
        Nothing of a model may be left but files.
        """
        self.assertFalse(isListening(self.ports[model]))
        self.assertAsleep(model)
        self.assertEqual(output("pgrep", "-f", f"--port {self.ports[model]} "), "")


class PodmanCriuTests(ContainerTestCase):
    """
    Tests for the hooks.
    """

    def test_switches(self) -> None:
        """
        Two models take turns.  One that is woken again is restored, not
        started, and says what it said before.
        """
        self.assertHook("wake", OPT)
        first = self.says(OPT)
        self.assertHook("sleep", OPT)
        self.assertFree(OPT)
        self.assertHook("wake", QWEN)
        self.assertNotEqual(self.says(QWEN), first)
        self.assertHook("sleep", QWEN)
        self.assertHook("wake", OPT)
        self.assertHook("alive", OPT)
        self.assertTrue(self.isRestored(OPT))
        self.assertEqual(self.says(OPT), first)

    def test_again(self) -> None:
        """
        Each hook may be run again, where checkpoint and restore may not.
        """
        for hook in ("sleep", "wake", "wake", "sleep", "sleep", "wake", "wake"):
            self.assertHook(hook, OPT)
        self.assertTrue(self.isRestored(OPT))

    def test_midStream(self) -> None:
        """
        A client in the middle of an answer sees that it is cut; it neither
        hangs nor takes it for whole.  The restored server has forgotten it.
        """
        self.writeSettings("slow")
        self.assertHook("wake", OPT)
        stream = open_(
            self.url(OPT),
            "POST",
            "/v1/chat/completions",
            chat(OPT, stream=True, max_tokens=1000),
        )
        self.addCleanup(stream.close)
        stream.next()
        self.assertHook("sleep", OPT)
        with self.assertRaises((HTTPException, OSError)):
            stream.rest()
        self.assertFree(OPT)
        self.assertHook("wake", OPT)
        self.assertTrue(self.isRestored(OPT))
        eventually(
            lambda: all(
                not slot["is_processing"]
                for slot in request(self.url(OPT), "GET", "/slots").json()
            ),
            "the slot is free",
        )

    def test_keptConnection(self) -> None:
        """
        A connection that is kept open is closed by a checkpoint, and new ones
        reach the container that is restored.
        """
        self.assertHook("wake", OPT)
        kept = HTTPConnection("127.0.0.1", self.ports[OPT], timeout=5)
        self.addCleanup(kept.close)
        kept.request("GET", "/health")
        kept.getresponse().read()
        self.assertHook("sleep", OPT)
        self.assertEqual(kept.sock.recv(1), b"")
        self.assertHook("wake", OPT)
        self.assertTrue(self.isRestored(OPT))
        self.assertTrue(self.says(OPT))

    def test_corrupt(self) -> None:
        """
        A checkpoint that is damaged costs a cold start, and no more.
        """
        self.assertHook("wake", OPT)
        first = self.says(OPT)
        self.assertHook("sleep", OPT)
        folder = Path(self.inspect(OPT, "{{.State.CheckpointPath}}"))
        pages = max(folder.glob("pages-*.img"), key=lambda file: file.stat().st_size)
        os.truncate(pages, pages.stat().st_size // 2)
        said = self.assertHook("wake", OPT)
        self.assertIn("starts cold", said)
        self.assertFalse(self.isRestored(OPT))
        self.assertEqual(self.says(OPT), first)
        # Nothing of the one that could not be restored takes up the disk.
        self.assertFalse(folder.parent.exists())

    def test_crashed(self) -> None:
        """
        A model that was killed is started again, not brought back to what it
        was in the past.
        """
        self.assertHook("wake", OPT)
        self.assertHook("sleep", OPT)
        self.assertHook("wake", OPT)
        os.kill(int(self.inspect(OPT, "{{.State.Pid}}")), SIGKILL)
        eventually(lambda: not isListening(self.ports[OPT]), "the server is gone")
        self.assertIn("starts cold", self.assertHook("wake", OPT))
        self.assertTrue(self.says(OPT))

    def killRestore(self) -> None:
        """
        Wait until a restore has begun, and kill podman and the process that
        holds runc and CRIU.
        """
        (name,) = self.containers(OPT)
        eventually(
            lambda: output("pgrep", "-f", f"conmon .* -n {name} "),
            "the restore has begun",
        )
        for pid in output("pgrep", "-f", f" {name}( |$)").split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), SIGKILL)

    def test_killedRestore(self) -> None:
        """
        When a restore is killed with podman, CRIU and all, the next hooks put
        things in order.
        """
        for _ in range(2):
            self.assertHook("wake", OPT)
            self.assertHook("sleep", OPT)
            container = self.inspect(OPT, "{{.Id}}")
            wake = self.processes.start(
                self.place / "wake.sh",
                folder=self.place,
                environment=self.hookVariables("wake", OPT),
            )
            self.killRestore()
            wake.signal(SIGKILL)
            wake.wait()
            self.assertHook("sleep", OPT)
            self.assertFree(OPT)
            # What is mounted stays on the disk, with the container or without.
            if not self.containers(OPT):
                self.assertNotIn(container, Path("/proc/self/mounts").read_text())
        self.assertHook("wake", OPT)
        self.assertTrue(self.says(OPT))


class ServiceTests(ContainerTestCase):
    """
    Tests for llmux with these hooks.
    """

    def service(self) -> Service:
        """
        Start it, with an example that does not wait before it switches.
        """
        path = self.place / "config.yaml"
        text = path.read_text("utf-8")
        path.write_text(text.replace("min_active_secs: 30", "min_active_secs: 0"))
        return self.serveExample()

    def test_switched(self) -> None:
        """
        Requests to llmux wake, checkpoint and restore what they need.
        """
        service = self.service()

        def says(model: str) -> str:
            reply = service.chat(model, max_tokens=16, seed=7)
            self.assertEqual(reply.status, 200, reply.text())
            text: str = reply.json()["choices"][0]["message"]["content"]
            return text

        first = {model: says(model) for model in (OPT, QWEN)}
        self.assertNotEqual(*first.values())
        for model in (OPT, QWEN, OPT):
            self.assertEqual(says(model), first[model])
            self.assertTrue(self.isRestored(model))
        self.assertFree(QWEN)

    def test_streamFirst(self) -> None:
        """
        An answer that is being streamed is whole before its model is put to
        sleep for another.
        """
        self.writeSettings("slow")
        service = self.service()
        stream = service.stream(OPT, max_tokens=60)
        stream.next()
        other = service.asked(QWEN, max_tokens=1)
        self.assertEqual(stream.rest()[-1], "[DONE]")
        self.assertEqual(other.reply().status, 200)
