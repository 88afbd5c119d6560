"""
Tests for C{examples/slurm} on a real Slurm cluster of two nodes: its hooks and
its job as they are, with llama.cpp's server.  C{.ci/slurm-setup} makes the
cluster, whose nodes the tests bring down.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

from llmux.test._examples import ExampleTestCase
from llmux.test._llama import SERVER, forgetModels, needsLlama, writeModel
from llmux.test._processes import eventually, needsPrograms
from llmux.test._service import Service

#: Where the cluster has its files, by which it says that it is for tests.
CLUSTER = "SLURM_CLUSTER"

NODES = ("n1", "n2")


def needsCluster() -> str | None:
    """
    Why there is no cluster for tests, if there is none.
    """
    missing = needsPrograms("sbatch", "squeue", "scancel", "scontrol", "slurmd")
    if missing or CLUSTER not in os.environ:
        remedy = "as root on Debian: .ci/slurm-setup DIR && . DIR/environment"
        return f"{missing or 'no Slurm cluster is there for tests'}; {remedy}"
    return needsLlama()


def output(*argv: str) -> str:
    """
    What a program prints, which must succeed.
    """
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{argv}: {done.stderr}")
    return done.stdout.strip()


def processesOn(node: str) -> set[int]:
    """
    The processes of the jobs on a node, with those that watch over them.
    """
    found = set()
    mark = f"SLURMD_NODENAME={node}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.add(int(place.name))
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                if b"slurmstepd" in Path(f"/proc/{parent}/cmdline").read_bytes():
                    found.add(parent)
    return found


class ClusterTestCase(ExampleTestCase):
    """
    A test with jobs.
    """

    example = "slurm"
    skip = needsCluster()

    def setUp(self) -> None:
        """
        Make the models, and see that the cluster is free.
        """
        super().setUp()
        for seed, model in enumerate(self.config()["models"]):
            writeModel(self.place / "models" / f"{model}.gguf", seed)
        server = self.program(
            "llama-server", f'#!/bin/sh\nexec "{sys.executable}" "{SERVER}" "$@"\n'
        )
        self.variables["LLAMA_SERVER"] = str(server)
        self.variables["POLL"] = "0.2"
        self.variables["JOBS"] = f"test-{os.getpid()}"
        self.told = self.folder / "told"
        self.addCleanup(self.clear)
        self.clear()

    @classmethod
    def tearDownClass(cls) -> None:
        """
        Remove the models.
        """
        forgetModels()
        super().tearDownClass()

    def clear(self) -> None:
        """
        End all jobs, and have both nodes up.
        """
        output("scancel", f"--user={os.geteuid()}")
        for node in NODES:
            self.raise_(node)
        eventually(lambda: output("squeue", "-h") == "", "no job is left")
        eventually(
            lambda: output("sinfo", "-h", "--states=idle", "--format=%D") == "2",
            "both nodes are idle",
        )

    def pidOf(self, node: str) -> int | None:
        """
        The number of a node's daemon, if it runs.
        """
        try:
            pid = int(Path(os.environ[CLUSTER], f"{node}.pid").read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def raise_(self, node: str) -> None:
        """
        Have a node up.
        """
        if self.pidOf(node) is None:
            # Otherwise Slurm looks for jobs there for a minute.
            down = ("state=down", "reason=test")
            output("scontrol", "update", f"nodename={node}", *down)
            output("slurmd", "-N", node)

    def kill(self, node: str) -> None:
        """
        Have a node die, with all that runs there.
        """
        pid = self.pidOf(node)
        assert pid is not None
        for number in (pid, *processesOn(node)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, SIGKILL)

    def hookVariables(self, hook: str, model: str) -> dict[str, str]:
        """
        See L{ExampleTestCase.hookVariables}.
        """
        return {
            **super().hookVariables(hook, model),
            "LLMUX_OUTPUT": str(self.told),
            "LLMUX_PORT": "",
            "LLMUX_URL": "",
        }

    def change(self, old: str, new: str) -> None:
        """
        Change something in the copied configuration.
        """
        path = self.place / "config.yaml"
        text = path.read_text("utf-8")
        self.assertIn(old, text)
        path.write_text(text.replace(old, new), "utf-8")

    def jobs(self) -> dict[str, tuple[str, str]]:
        """
        The jobs that run, by model: their numbers and nodes.
        """
        prefix = self.variables["JOBS"]
        form = "--format=%j|%A|%N"
        lines = output("squeue", "-h", "--states=RUNNING", form).splitlines()
        split = (line.split("|") for line in lines)
        return {
            name.removeprefix(f"{prefix}-"): (number, node)
            for name, number, node in split
            if name.startswith(prefix)
        }

    def runsAs(self, model: str) -> tuple[str, str] | None:
        """
        The number and the node of a model's job, if it runs.
        """
        return self.jobs().get(model)


class HookTests(ClusterTestCase):
    """
    Tests for the hooks.
    """

    def test_life(self) -> None:
        """
        C{wake} submits one job, however often it is run, and says where its
        server is; C{sleep} ends it.
        """
        self.assertAsleep("llama")
        self.assertHook("wake", "llama")
        said = self.told.read_text()
        self.assertRegex(said, r"^url=http://127\.0\.0\.1:\d+\n$")
        job = self.runsAs("llama")
        self.assertHook("wake", "llama")
        self.told.unlink()
        self.assertHook("alive", "llama")
        self.assertEqual(self.told.read_text(), said)
        self.assertEqual(self.runsAs("llama"), job)
        self.assertHook("sleep", "llama")
        self.assertAsleep("llama")
        self.assertEqual(output("squeue", "-h"), "")
        self.assertHook("sleep", "llama")

    def test_jobFails(self) -> None:
        """
        A job that ends at once fails the wake, which shows what became of it
        and what its server said.
        """
        (self.place / "models" / "llama.gguf").unlink()
        status, said = self.hook("wake", "llama")
        self.assertEqual(status, 1)
        self.assertRegex(said, r"has ended: JobState=FAILED .*ExitCode=1:0")
        self.assertRegex(said, "(?s)failed to load.*llama.gguf")

    def test_refused(self) -> None:
        """
        What Slurm does not accept fails the wake, in Slurm's words.
        """
        self.change("./wake.sh --gres=gpu:1", "./wake.sh --gres=gpu:7")
        status, said = self.hook("wake", "llama")
        self.assertNotEqual(status, 0)
        self.assertIn("Requested node configuration is not available", said)


class ServiceTests(ClusterTestCase):
    """
    Tests for llmux with these hooks.
    """

    def service(self) -> Service:
        """
        Start it, with an example that looks more often.
        """
        self.change("alive_interval_secs: 30", "alive_interval_secs: 0.5")
        return self.serveExample()

    def assertServed(self, service: Service, model: str) -> tuple[str, str]:
        """
        A model must answer.

        @return: the number and the node of its job.
        """
        reply = service.chat(model, max_tokens=3)
        self.assertEqual(reply.status, 200, reply.text())
        job = self.runsAs(model)
        assert job is not None
        return job

    def test_twoNodes(self) -> None:
        """
        Two models are awake on two nodes at once; a third makes one of them
        sleep.  A llmux that is started anew finds the jobs of the one before.
        """
        service = self.service()
        first = self.assertServed(service, "llama")
        second = self.assertServed(service, "qwen")
        self.assertEqual({first[1], second[1]}, set(NODES))
        self.assertEqual(self.jobs(), {"llama": first, "qwen": second})
        third = self.assertServed(service, "mistral")
        jobs = self.jobs()
        self.assertEqual(len(jobs), 2, jobs)
        self.assertEqual(jobs["mistral"], third)

        service.stop()
        self.assertEqual(self.jobs(), jobs)
        service = self.serveExample()
        for model, job in jobs.items():
            self.assertEqual(self.assertServed(service, model), job)
        self.assertNotIn("Switching", service.running.output())

    def test_nodeDies(self) -> None:
        """
        A node that dies with its model is noticed, though nobody asks for it;
        who does next is served by the other node.
        """
        service = self.service()
        number, node = self.assertServed(service, "llama")
        self.kill(node)
        gone = 'llmux_model_state{model="llama",state="asleep"}'
        eventually(lambda: service.metric(gone) == 1, "it is noticed", 60)
        other, place = self.assertServed(service, "llama")
        self.assertNotEqual(place, node)
        self.assertNotEqual(other, number)

    def test_timeLimit(self) -> None:
        """
        A job that Slurm ends for its time limit, which is a minute at least,
        is noticed; who asks next gets another one.
        """
        self.change("--time=8:00:00", "--time=1")
        service = self.service()
        number, _ = self.assertServed(service, "llama")
        gone = 'llmux_model_state{model="llama",state="asleep"}'
        eventually(lambda: service.metric(gone) == 1, "it is noticed", 150)
        ended = output("scontrol", "--oneliner", "show", "job", number)
        self.assertIn("JobState=TIMEOUT", ended)
        self.assertNotEqual(self.assertServed(service, "llama")[0], number)

    def test_pending(self) -> None:
        """
        While others have all of the cluster a job stays pending.  Who waits
        for it is told when the time for a wake is over, the log says why, and
        the job is not left in the queue.
        """
        for _ in NODES:
            output("sbatch", "--gres=gpu:1", "--output=/dev/null", "--wrap=sleep 600")
        self.change("wake: 900", "wake: 4")
        service = self.service()
        reply = service.chat("llama")
        self.assertEqual((reply.status, reply.code()), (503, "wake_failed"))
        self.assertRegex(
            service.running.output(),
            r"job \d+ is still PENDING \((Resources|Priority)\)",
        )
        eventually(
            lambda: output("squeue", "-h", "--format=%j").split() == ["wrap", "wrap"],
            "only the others' jobs are left",
        )
