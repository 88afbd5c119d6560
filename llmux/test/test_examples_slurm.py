"""
Tests for C{examples/slurm}.  Slurm's commands, and C{curl}, are stand-ins that
say what a test has put down for them; C{test_examples_slurm_real} has a cluster.
"""

from __future__ import annotations

import signal

from llmux.test._examples import ExampleTestCase
from llmux.test._processes import eventually, needsExamples

#: Says what stands in C{queue}, unless the controller is C{down}.
SQUEUE = """#!/bin/sh
[ ! -e down ] || { echo "slurm_load_jobs error: Unable to contact" >&2; exit 1; }
cat queue
"""
#: Puts what stands in C{submitted} into the queue.
SBATCH = """#!/bin/sh
echo "sbatch $*" >>calls
[ ! -e down ] || exit 1
cat submitted >queue
echo "12;cluster"
"""
#: Puts what stands in C{cancelled} into the queue.
SCANCEL = """#!/bin/sh
echo "scancel $*" >>calls
[ ! -e down ] || exit 1
cat cancelled >queue
"""
SCONTROL = """#!/bin/sh
case "$*" in
    *"show node "*) echo "NodeName=n7 Arch=x NodeAddr=10.0.0.7 NodeHostName=vm" ;;
    *"show job "*) echo "JobId=12 JobState=OUT_OF_MEMORY Reason=Out ExitCode=0:9 X=y" ;;
esac
"""
SINFO = """#!/bin/sh
cat node
"""
CURL = """#!/bin/sh
for url; do :; done
echo "$url" >>asked
[ -e healthy ]
"""

RUNNING = "12|RUNNING|n7|None|port=20012"
PENDING = "12|PENDING|n/a|Resources|"
COMPLETING = "12|COMPLETING|n7|None|port=20012"


class SlurmTests(ExampleTestCase):
    """
    Tests for the hooks.
    """

    example = "slurm"
    skip = needsExamples()

    def setUp(self) -> None:
        """
        Put the stand-ins into PATH, with an empty queue.
        """
        super().setUp()
        for name, text in (
            ("squeue", SQUEUE),
            ("sbatch", SBATCH),
            ("scancel", SCANCEL),
            ("scontrol", SCONTROL),
            ("sinfo", SINFO),
            ("curl", CURL),
        ):
            self.program(name, text)
        self.told = self.folder / "told"
        self.variables["POLL"] = "0.01"
        for name in ("queue", "submitted", "cancelled", "node", "calls", "asked"):
            self.put(name, "")

    def put(self, name: str, text: str) -> None:
        """
        Put something down for the stand-ins.
        """
        # At once: they may be reading it, and an empty queue means something.
        part = self.place / f"{name}.part"
        part.write_text(f"{text}\n" if text else "")
        part.replace(self.place / name)

    def read(self, name: str) -> str:
        """
        What a stand-in has written.
        """
        return (self.place / name).read_text()

    def hookVariables(self, hook: str, model: str) -> dict[str, str]:
        """
        See L{ExampleTestCase.hookVariables}.
        """
        ours = {"LLMUX_OUTPUT": str(self.told), "LLMUX_PORT": "", "LLMUX_URL": ""}
        return {**super().hookVariables(hook, model), **ours}

    def test_wake(self) -> None:
        """
        C{wake} submits the job with the options that the configuration gives,
        and says where Slurm reaches its node and what port the job has noted.
        """
        self.put("submitted", RUNNING)
        self.put("healthy", "yes")
        self.assertHook("wake", "llama")
        self.assertEqual(self.told.read_text(), "url=http://10.0.0.7:20012\n")
        self.assertEqual(self.read("asked"), "http://10.0.0.7:20012/health\n")
        (call,) = self.read("calls").splitlines()
        self.assertIn("--job-name=llmux-llama ", call)
        self.assertIn(" --no-requeue --dependency=singleton ", call)
        self.assertTrue(call.endswith("--gres=gpu:1 --time=8:00:00 ./job.sh llama"))

    def test_names(self) -> None:
        """
        Models whose names differ only in what Slurm does not take have jobs
        of their own.
        """
        names = set()
        for model in ("org/model", "org-model", "org,model"):
            self.put("queue", "")
            self.put("submitted", "12|PENDING|n/a|JobHeldUser|")
            self.hook("wake", "llama", {"LLMUX_MODEL": model})
            names.add(self.read("calls").splitlines()[-1].split()[2])
        self.assertEqual(len(names), 3)
        for name in names:
            self.assertRegex(name, r"^--job-name=llmux-org-model(-\d+)?$")

    def test_prefix(self) -> None:
        """
        Two llmux on one cluster can have jobs under different names.
        """
        self.put("submitted", "12|PENDING|n/a|JobHeldUser|")
        self.hook("wake", "llama", {"JOBS": "mine"})
        self.assertIn("--job-name=mine-llama ", self.read("calls"))

    def test_waits(self) -> None:
        """
        C{wake} waits while the job is pending, while it has not noted its port,
        while its server loads, and while the controller is away.
        """
        self.put("submitted", PENDING)
        wake = self.processes.start(
            *("/bin/sh", "-c", self.config()["models"]["llama"]["wake"]),
            folder=self.place,
            environment=self.hookVariables("wake", "llama"),
        )

        def says(text: str) -> None:
            eventually(lambda: text in wake.output(), text)

        says("is PENDING (Resources)")
        self.put("queue", "12|RUNNING|n7|None|")
        says("is RUNNING (None)")
        self.assertEqual(self.read("asked"), "")
        self.put("queue", RUNNING)
        eventually(lambda: self.read("asked"), "its server is asked")
        self.put("down", "")
        says("squeue does not answer")
        (self.place / "down").unlink()
        self.assertTrue(wake.isRunning())
        self.put("healthy", "yes")
        self.assertEqual(wake.wait(), 0)
        self.assertEqual(self.read("calls").count("sbatch"), 1)

    def test_pending(self) -> None:
        """
        A job that is still pending when the time for the wake is over is the
        reason that is given.
        """
        self.put("submitted", PENDING)
        wake = self.processes.start(
            self.place / "wake.sh",
            folder=self.place,
            environment=self.hookVariables("wake", "llama"),
        )
        eventually(lambda: "PENDING" in wake.output(), "it waits")
        wake.signal(signal.SIGTERM)
        self.assertEqual(wake.wait(), 1)
        self.assertIn("job 12 is still PENDING (Resources)", wake.output())

    def test_held(self) -> None:
        """
        A job that will not run unless somebody does something fails the wake
        at once.
        """
        for reason in ("JobHeldAdmin", "launch_failed_requeued_held", "BadConstraints"):
            self.put("queue", f"12|PENDING|n/a|{reason}|")
            status, said = self.hook("wake", "llama")
            self.assertEqual(status, 1)
            self.assertIn(f"still PENDING ({reason})", said)

    def test_ended(self) -> None:
        """
        A job that ends while it starts fails the wake, which says how it ended
        and shows the end of its output.
        """
        (self.place / "run").mkdir()
        (self.place / "run" / "llmux-llama-12.log").write_text("no memory, it said\n")
        status, said = self.hook("wake", "llama")
        self.assertEqual(status, 1)
        self.assertIn("JobState=OUT_OF_MEMORY Reason=Out ExitCode=0:9", said)
        self.assertIn("no memory, it said", said)

    def test_endingStill(self) -> None:
        """
        A job that is still ending is not taken for one that comes.
        """
        self.put("queue", COMPLETING)
        self.put("submitted", f"{COMPLETING}\n{RUNNING}".replace("12|C", "9|C"))
        self.put("healthy", "yes")
        self.assertHook("wake", "llama")
        self.assertIn("sbatch", self.read("calls"))

    def test_alive(self) -> None:
        """
        C{alive} wants both a job that runs and a server that answers.
        """
        for queue, healthy in (("", 1), (PENDING, 1), (COMPLETING, 1), (RUNNING, 0)):
            self.put("queue", queue)
            if healthy:
                self.put("healthy", "yes")
            else:
                (self.place / "healthy").unlink()
            self.assertAsleep("llama")
        self.assertFalse(self.told.exists())
        self.put("healthy", "yes")
        self.assertHook("alive", "llama")
        self.assertEqual(self.told.read_text(), "url=http://10.0.0.7:20012\n")

    def test_controllerAway(self) -> None:
        """
        While the controller is away a model that answers is alive, and C{sleep}
        fails: nobody knows what is free.
        """
        self.put("queue", RUNNING)
        self.put("down", "")
        self.put("healthy", "yes")
        self.assertAsleep("llama")
        known = {"LLMUX_URL": "http://10.0.0.7:20012"}
        self.assertHook("alive", "llama", known)
        (self.place / "healthy").unlink()
        self.assertNotEqual(self.hook("alive", "llama", known)[0], 0)
        self.assertNotEqual(self.hook("sleep", "llama")[0], 0)

    def test_sleep(self) -> None:
        """
        C{sleep} waits until the job is gone; where there is none it does
        nothing.
        """
        self.assertHook("sleep", "llama")
        self.assertEqual(self.read("calls"), "")
        self.put("queue", RUNNING)
        self.put("cancelled", COMPLETING)
        self.put("node", "completing")
        sleep = self.processes.start(
            self.place / "sleep.sh",
            folder=self.place,
            environment=self.hookVariables("sleep", "llama"),
        )
        eventually(lambda: "COMPLETING" in self.read("queue"), "it is cancelled")
        self.assertTrue(sleep.isRunning())
        self.put("queue", "")
        self.assertEqual(sleep.wait(), 0)
        self.assertEqual(self.read("calls"), "scancel --me --name=llmux-llama\n")

    def test_lostNode(self) -> None:
        """
        A job on a node that Slurm does not hear from is over.
        """
        for node in ("down", "down*", "completing*"):
            self.put("queue", RUNNING)
            self.put("cancelled", COMPLETING)
            self.put("node", node)
            self.assertIn("ended with its node", self.assertHook("sleep", "llama"))
