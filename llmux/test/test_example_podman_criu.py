"""
Tests of the scripts in C{examples/podman-criu}, with a fake C{podman} and a
fake C{curl} that record how they are called.  L{llmux.test.test_examples_podman_real}
runs the same scripts with the real ones.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from llmux.test._processes import EXAMPLES, eventually, needsExamples

EXAMPLE = EXAMPLES / "podman-criu"

#: One container in a folder: C{state} holds absent, running, loading (runs, but
#: C{/health} does not answer), stopped or checkpointed; further files are
#: faults, which are called what they do.
PODMAN = r"""#!/bin/sh
cd "$WORLD" || exit 99
echo "podman $*" >>calls
state=$(cat state)
case "$1 $2" in
    "container exists")
        [ ! -e podman-is-broken ] || exit 125
        [ "$state" != absent ] ;;
    "container inspect")
        [ "$state" != absent ] || exit 125
        case $4 in
            *Id*) echo c0ffee ;;
            *Labels*) cat stamp ;;
            *)
                [ ! -e inspect-fails ] || exit 125
                case $state in
                    running | loading) echo running false ;;
                    stopped) echo exited false ;;
                    checkpointed) echo exited true ;;
                esac ;;
        esac ;;
    "container checkpoint")
        [ ! -e checkpoint-fails ] || exit 125
        [ ! -e checkpoint-lies ] || exit 0
        echo checkpointed >state ;;
    "container restore")
        if [ -e gate ]; then
            echo here >arrived
            read -r _ <gate
        fi
        [ ! -e restore-fails ] || exit 125
        [ -e restored-is-dead ] && echo stopped >state && exit
        [ -e restored-hangs ] && echo loading >state && exit
        [ ! -e restored-is-mute ] || : >mute
        echo running >state ;;
    "image exists") [ -e image ] ;;
    "image inspect") cat image ;;
    "run "*)
        for option; do
            case $option in --label=llmux.stamp=*) echo "${option##*=}" >stamp ;; esac
        done
        rm -f mute restored-hangs
        [ ! -e run-fails ] || { echo stopped >state; exit 125; }
        if [ -e run-dies ]; then echo stopped; else echo loading; fi >state ;;
    "pull "*) [ ! -e pull-fails ] && echo pulled >image ;;
    "logs "*) echo "out of memory" ;;
    "rm "*) [ -e rm-fails ] || { rm -f mute; echo absent >state; } ;;
    *) exit 98 ;;
esac
"""

#: A container that loads is asked twice before it answers, if it ever does.
CURL = r"""#!/bin/sh
cd "$WORLD" || exit 99
for last; do :; done
case $last in
    http://127.0.0.1:8001/health)
        [ ! -e someone-else-answers ] || exit 0
        [ "$(cat state)" != loading ] || [ -e restored-hangs ] || [ -e hangs ] ||
            if [ -e asked ]; then rm asked; echo running >state; else : >asked; fi
        [ "$(cat state)" = running ] || exit 7 ;;
    http://127.0.0.1:8001/v1/completions)
        echo warm-up >>calls
        while [ "$1" != --data ]; do shift; done
        printf '%s' "$2" >asked-for
        [ "$(cat state)" = running ] && [ ! -e mute ] || exit 22 ;;
    *) exit 98 ;;
esac
"""

#: For the hooks: limits, and a place for cgroups, that tests can change.
SETTINGS = """
image=localhost/server
cold_start() { podman run "$@" "$image" --model "$model" --port "$port"; }
. "$WORLD/limits"
cgroups=$WORLD/cgroups
"""


class HookTestCase(SynchronousTestCase):
    """
    A world of one container, and the hooks in it.
    """

    skip = needsExamples()

    def setUp(self) -> None:
        """
        The image is there, no container is.
        """
        self.world = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.world)
        for name, text in [("podman", PODMAN), ("curl", CURL)]:
            command = self.world / "bin" / name
            command.parent.mkdir(exist_ok=True)
            command.write_text(text)
            command.chmod(0o755)
        (self.world / "cgroups").mkdir()
        self.put("settings.sh", SETTINGS)
        self.limit(30)
        self.put("image", "first")
        self.state = "absent"
        self.model = "org/llama"

    def put(self, name: str, text: str = "") -> None:
        """
        Make a file in the world, for instance a fault.
        """
        (self.world / name).write_text(text + "\n")

    def limit(self, seconds: int) -> None:
        """
        How long the hooks wait for C{/health}, at most.
        """
        limits = ("checkpoint_secs", "restore_secs", "cold_secs", "found_secs")
        self.put("limits", "\n".join(f"{name}={seconds}" for name in limits))

    @property
    def state(self) -> str:
        """
        The container's.
        """
        return (self.world / "state").read_text().strip()

    @state.setter
    def state(self, state: str) -> None:
        self.put("state", state)

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """
        Run a script as llmux runs hooks: in a process group of its own.
        """
        environment = os.environ | {
            "PATH": f"{self.world / 'bin'}:{os.environ['PATH']}",
            "WORLD": str(self.world),
            "PODMAN_CRIU_SETTINGS": str(self.world / "settings.sh"),
            "LLMUX_MODEL": self.model,
            "LLMUX_PORT": "8001",
        }
        self.put("calls")
        return subprocess.Popen(
            [str(EXAMPLE / script), *arguments],
            env=environment,
            cwd="/",
            start_new_session=True,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hook(self, script: str, *arguments: str) -> int:
        """
        Run a script to its end, and note what it says.

        @return: its exit status.
        """
        process = self.start(script, *arguments)
        _, self.said = process.communicate()
        return process.returncode

    def did(self) -> list[str]:
        """
        What the last hook did to the container and asked of it, without what
        it merely looked at.
        """
        looks = ("container exists", "container inspect", "image ", "logs ")
        calls = (self.world / "calls").read_text().split("\n")
        done = [call.removeprefix("podman ") for call in calls if call]
        return [
            " ".join(call.split()[: 2 if call.startswith("container") else 1])
            for call in done
            if not call.startswith(looks)
        ]

    def sleeping(self) -> None:
        """
        Wake the model and put it to sleep.
        """
        self.assertEqual((self.hook("wake.sh"), self.hook("sleep.sh")), (0, 0))
        self.assertEqual(self.state, "checkpointed")


class WakeTests(HookTestCase):
    """
    The wake hook.
    """

    def test_nothingThere(self) -> None:
        """
        Without a container one is started, awaited and warmed up.
        """
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["run", "warm-up"])
        self.assertEqual(self.state, "running")

    def test_options(self) -> None:
        """
        A container is started detached, with CRIU's options, with a name that
        podman accepts, and with what the settings add.
        """
        self.hook("wake.sh")
        (run,) = [
            line
            for line in (self.world / "calls").read_text().split("\n")
            if line.startswith("podman run")
        ]
        self.assertRegex(run, r" --detach --name=llmux-org-llama-\d+ ")
        self.assertIn(f" --annotation=org.criu.config={EXAMPLE}/criu.conf ", run)
        self.assertTrue(run.endswith(" localhost/server --model org/llama --port 8001"))

    def test_names(self) -> None:
        """
        Two models whose names differ only in what podman does not accept have
        containers of two names.
        """
        names = set()
        for self.model in ["a/b", "a-b", "a b"]:
            self.hook("alive.sh")
            self.state = "running"
            self.hook("alive.sh")
            calls = (self.world / "calls").read_text()
            names.add(calls.split("exists ")[1].split("\n")[0])
        self.assertEqual(len(names), 3, names)

    def test_awake(self) -> None:
        """
        A container that runs and answers is left as it is.
        """
        self.hook("wake.sh")
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), [])

    def test_restore(self) -> None:
        """
        A checkpoint is restored, and the model is seen to write.
        """
        self.sleeping()
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["container restore", "warm-up"])

    def test_restoreFails(self) -> None:
        """
        What cannot be restored is removed and started cold.
        """
        self.sleeping()
        self.put("restore-fails")
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["container restore", "rm", "run", "warm-up"])
        self.assertIn("cannot be restored", self.said)

    def test_restoredHangs(self) -> None:
        """
        What is restored but never answers is removed, and started cold.
        """
        self.sleeping()
        self.limit(1)
        self.put("restored-hangs")
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["container restore", "rm", "run", "warm-up"])
        self.assertIn("does not answer within 1 s", self.said)

    def test_restoredDies(self) -> None:
        """
        A restored container that stops is not waited for.
        """
        self.sleeping()
        self.put("restored-is-dead")
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["container restore", "rm", "run", "warm-up"])
        self.assertIn("stopped before it answered", self.said)

    def test_restoredIsMute(self) -> None:
        """
        A restored server that is healthy but writes nothing is started anew.
        """
        self.sleeping()
        self.put("restored-is-mute")
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(
            self.did(),
            ["container restore", "warm-up", "rm", "run", "warm-up"],
        )

    def test_otherSettings(self) -> None:
        """
        A checkpoint of other settings is not restored.
        """
        self.sleeping()
        with (self.world / "settings.sh").open("a") as settings:
            settings.write("# more\n")
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["rm", "run", "warm-up"])
        self.assertIn("other settings or an older image", self.said)

    def test_otherImage(self) -> None:
        """
        A checkpoint of an image that has been replaced since is not restored.
        """
        self.sleeping()
        self.put("image", "second")
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["rm", "run", "warm-up"])

    def test_stopped(self) -> None:
        """
        A container that has crashed, or of which a killed checkpoint left some
        files, is not restored.
        """
        self.hook("wake.sh")
        self.state = "stopped"
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["rm", "run", "warm-up"])

    def test_stillLoading(self) -> None:
        """
        A container that was left loading is waited for.
        """
        self.hook("wake.sh")
        self.state = "loading"
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["warm-up"])

    def test_hangs(self) -> None:
        """
        A container that runs and does not answer in time is replaced.
        """
        self.limit(0)
        self.put("hangs")
        self.state = "loading"
        self.hook("wake.sh")
        self.assertEqual(self.did()[:2], ["rm", "run"])
        self.assertIn("started anew", self.said)

    def test_someoneElseAnswers(self) -> None:
        """
        A port that something else serves is an error: requests would go there.
        """
        for self.state in ["absent", "stopped", "checkpointed"]:
            self.put("someone-else-answers")
            self.assertEqual(self.hook("wake.sh"), 1)
            self.assertEqual(self.did(), [])
            self.assertIn("port 8001 is in use by something else", self.said)

    def test_startFails(self) -> None:
        """
        A server that cannot be started, that stops while it loads, or that
        never answers is removed, so that it holds nothing; its last words are
        shown.
        """
        for fault in ["run-fails", "run-dies", "hangs"]:
            self.put(fault)
            self.limit(0 if fault == "hangs" else 30)
            self.assertEqual(self.hook("wake.sh"), 1)
            self.assertEqual(self.did(), ["run", "rm"])
            self.assertIn("out of memory", self.said)
            self.assertEqual(self.state, "absent")
            (self.world / fault).unlink()

    def test_pull(self) -> None:
        """
        An image that is not there is pulled first.
        """
        (self.world / "image").unlink()
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["pull", "run", "warm-up"])
        self.hook("sleep.sh")
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), ["container restore", "warm-up"])

    def test_pullFails(self) -> None:
        """
        An image that cannot be had is named.
        """
        (self.world / "image").unlink()
        self.put("pull-fails")
        self.assertEqual(self.hook("wake.sh"), 1)
        self.assertIn("no image localhost/server", self.said)

    def test_removalFails(self) -> None:
        """
        While the old container cannot be removed none is started beside it.
        """
        self.state = "stopped"
        self.put("rm-fails")
        self.assertEqual(self.hook("wake.sh"), 1)
        self.assertEqual(self.did(), ["rm"])
        self.assertIn("cannot be removed", self.said)

    def test_killed(self) -> None:
        """
        A restore goes on to its end when the hook is killed with all of its
        process group, and the next hook finds the model awake.
        """
        self.sleeping()
        for name in ["gate", "arrived"]:
            os.mkfifo(self.world / name)
        hook = self.start("wake.sh")
        (self.world / "arrived").read_text()
        os.killpg(hook.pid, signal.SIGKILL)
        hook.wait()
        gate = eventually(
            lambda: os.open(self.world / "gate", os.O_WRONLY | os.O_NONBLOCK),
            "the restore goes on",
        )
        os.write(gate, b"go\n")
        os.close(gate)
        eventually(lambda: self.state == "running", "the restore is done")
        hook.communicate()
        self.assertEqual(self.hook("wake.sh"), 0)
        self.assertEqual(self.did(), [])


class SleepTests(HookTestCase):
    """
    The sleep hook.
    """

    def test_checkpoint(self) -> None:
        """
        A running model is checkpointed, and its log kept.
        """
        self.hook("wake.sh")
        self.assertEqual(self.hook("sleep.sh"), 0)
        self.assertEqual(self.did(), ["container checkpoint"])
        self.assertIn("checkpoint --keep ", (self.world / "calls").read_text())

    def test_asleep(self) -> None:
        """
        There is nothing to do for a model that holds nothing.
        """
        for self.state in ["absent", "stopped", "checkpointed"]:
            before = self.state
            self.assertEqual(self.hook("sleep.sh"), 0)
            self.assertEqual((self.did(), self.state), ([], before))

    def test_checkpointFails(self) -> None:
        """
        A container that cannot be checkpointed goes on serving, and a
        checkpoint that says it worked may not have: the container is removed,
        so that its memory is free.
        """
        for fault in ["checkpoint-fails", "checkpoint-lies"]:
            self.hook("wake.sh")
            self.put(fault)
            self.assertEqual(self.hook("sleep.sh"), 0)
            self.assertEqual(self.did(), ["container checkpoint", "rm"])
            self.assertEqual(self.state, "absent")
            self.assertIn("cannot be checkpointed", self.said)
            (self.world / fault).unlink()

    def test_cannotFree(self) -> None:
        """
        A container that cannot be removed either still holds its memory, and
        the hook fails.
        """
        self.hook("wake.sh")
        self.put("checkpoint-fails")
        self.put("rm-fails")
        self.assertEqual(self.hook("sleep.sh"), 1)
        self.assertIn("cannot be removed", self.said)

    def test_loading(self) -> None:
        """
        A half-loaded or hanging model is removed, not checkpointed.
        """
        self.put("hangs")
        self.state = "loading"
        self.assertEqual(self.hook("sleep.sh"), 0)
        self.assertEqual(self.did(), ["rm"])
        self.assertEqual(self.state, "absent")

    def test_stillAnswers(self) -> None:
        """
        Whatever podman says, a model whose port still answers is not asleep.
        """
        for self.state in ["absent", "stopped", "checkpointed", "running"]:
            self.put("someone-else-answers")
            self.assertEqual(self.hook("sleep.sh"), 1)
            self.assertIn("port 8001 still answers", self.said)

    def test_strayProcesses(self) -> None:
        """
        Processes of a container that counts as stopped are ended by both
        hooks.
        """
        for script, end in [("sleep.sh", "absent"), ("wake.sh", "running")]:
            stray = subprocess.Popen(["sleep", "600"])
            self.addCleanup(stray.wait)
            self.addCleanup(stray.kill)
            group = self.world / "cgroups" / "machine" / "libpod-c0ffee.scope"
            group.mkdir(parents=True, exist_ok=True)
            (group / "cgroup.procs").write_text(f"{stray.pid}\n")
            self.state = "checkpointed"
            hook = self.start(script)
            # Whoever has started it must hear of its end, or it never ends.
            self.assertEqual(stray.wait(), -signal.SIGKILL)
            _, said = hook.communicate()
            self.assertEqual((hook.returncode, self.state), (0, end), said)
            self.assertIn("has processes", said)


class AliveTests(HookTestCase):
    """
    The alive hook.
    """

    def test_states(self) -> None:
        """
        Alive is what runs and answers, and nothing else.
        """
        self.put("hangs")
        for self.state in ["absent", "stopped", "checkpointed", "loading"]:
            self.assertNotEqual(self.hook("alive.sh"), 0, self.state)
        self.state = "running"
        self.assertEqual(self.hook("alive.sh"), 0)

    def test_someoneElseAnswers(self) -> None:
        """
        An answer from the port is not enough.
        """
        self.put("someone-else-answers")
        self.assertNotEqual(self.hook("alive.sh"), 0)


class PodmanTests(HookTestCase):
    """
    All hooks, when podman does not work or llmux has not run them.
    """

    def test_broken(self) -> None:
        """
        No hook takes a podman that does not work for a container that is not
        there.
        """
        for fault in ["podman-is-broken", "inspect-fails"]:
            self.state = "running"
            self.put(fault)
            for script in ["wake.sh", "sleep.sh", "alive.sh"]:
                self.assertNotEqual(self.hook(script), 0)
                self.assertEqual(self.did(), [])
                self.assertIn("podman", self.said)
            (self.world / fault).unlink()

    def test_noModel(self) -> None:
        """
        A hook that is run by hand says which variables it wants.
        """
        self.model = ""
        for script in ["wake.sh", "sleep.sh", "alive.sh", "warm-up.sh"]:
            self.assertNotEqual(self.hook(script), 0)
            self.assertIn("LLMUX_MODEL", self.said)


class OtherScriptTests(HookTestCase):
    """
    What is not a hook.
    """

    def test_warmUpNames(self) -> None:
        """
        Whatever a model is called, the warm-up request is JSON and names it.
        """
        self.state = "running"
        for self.model in ["org/llama", 'say "hi"', "back\\slash", "ünïcode"]:
            self.assertEqual(self.hook("warm-up.sh"), 0)
            body = json.loads((self.world / "asked-for").read_text())
            self.assertEqual(body["model"], self.model)
            self.assertEqual(body["max_tokens"], 1)

    def test_prepare(self) -> None:
        """
        Each model is woken and put to sleep once.
        """
        self.assertEqual(self.hook("prepare.sh", "org/llama=8001"), 0)
        self.assertEqual(self.did(), ["run", "warm-up", "container checkpoint"])
        self.assertEqual(self.state, "checkpointed")

    def test_prepareFails(self) -> None:
        """
        A model that cannot be woken stops the preparation.
        """
        self.put("run-fails")
        self.assertEqual(self.hook("prepare.sh", "a=8001", "b=8001"), 1)
        self.assertEqual(self.did(), ["run", "rm"])
        self.assertEqual(self.hook("prepare.sh"), 2)

    def test_settings(self) -> None:
        """
        The settings as they come give podman a GPU, the model and the port.
        """
        shipped = (EXAMPLE / "settings.sh").read_text()
        self.put("settings.sh", shipped + "\ncgroups=$WORLD/cgroups")
        for self.model in ["facebook/opt-125m", "Qwen/Qwen2.5-3B-Instruct"]:
            self.state = "absent"
            self.assertEqual(self.hook("wake.sh"), 0)
            calls = (self.world / "calls").read_text()
            self.assertIn(" --device nvidia.com/gpu=all ", calls)
            self.assertIn(
                f" --model={self.model} --host=127.0.0.1 --port=8001 --", calls
            )
