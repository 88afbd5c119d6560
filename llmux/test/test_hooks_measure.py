"""
Tests for L{llmux.hooks._measure}: a wake waits until there is room, and is
not run if there will be none.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SynchronousTestCase, TestCase

from llmux.config import PolicyConfig, Resource
from llmux.errors import HookFailed, WakeFailed
from llmux.hooks import HookOutput, ShellHooks
from llmux.hooks._measure import KEPT, Printed, wanted
from llmux.interfaces import HookFinished, HookResult, State
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.switcher import Switcher
from llmux.test.test_hooks_shell import FakeReactor, NoGroups, call, configured
from llmux.testing import Recorder, makeConfig

MEASURED = Resource("gpu0", 24, free_command="./free.sh", free_timeout_secs=30)


class PrintedTests(SynchronousTestCase):
    """
    Tests for L{Printed}.
    """

    def number(self, *pieces: bytes) -> float | None:
        """
        The number in what was printed.
        """
        printed = Printed()
        for piece in pieces:
            printed.dataReceived(piece)
        printed.flush()
        return printed.number()

    def test_number(self) -> None:
        """
        One number is a number, whatever white space is around it.
        """
        self.assertEqual(self.number(b"12", b".5\n"), 12.5)
        self.assertEqual(self.number(b"  -1 \r\n"), -1.0)

    def test_nonsense(self) -> None:
        """
        All else is not.
        """
        for text in (b"", b"\n", b"12 13", b"12 MiB", b"nan", b"inf", b"\xff"):
            self.assertIsNone(self.number(text), text)

    def test_flood(self) -> None:
        """
        Whatever it prints, little of it is kept.
        """
        printed = Printed()
        for _ in range(100):
            printed.dataReceived(b" " * KEPT)
        self.assertLess(len(printed._data), 2 * KEPT)
        self.assertIsNone(printed.number())


class MeasureTests(SynchronousTestCase):
    """
    L{ShellHooks} with commands that say what is free, and a reactor that
    starts nothing.
    """

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        temporary = self.mktemp()
        os.mkdir(temporary)
        self.patch(tempfile, "tempdir", os.path.abspath(temporary))
        self.output = HookOutput(self.reactor)
        self.build(gpu0=MEASURED, gpu1=24)

    def build(self, **resources: Any) -> None:
        """
        Hooks for a model that needs 20 of each of the resources.
        """
        config = configured(needs=dict.fromkeys(resources, 20), wake="./wake.sh")
        self.config = evolve(config, resources=resources)
        self.hooks = ShellHooks(
            self.reactor, self.config, {}, self.output, leader=[], groups=NoGroups()
        )

    @property
    def scripts(self) -> list[str]:
        """
        What was run.
        """
        return [os.fsdecode(one.args[-1]) for one in self.reactor.spawned]

    def prints(self, text: str, status: int = 0) -> None:
        """
        The newest command prints something and exits.
        """
        process = self.reactor.spawned[-1]
        process.protocol.childDataReceived(1, text.encode())
        process.end(status)

    def failed(self, woken: Deferred[HookResult], why: str) -> None:
        """
        A wake has failed for that reason.
        """
        error = self.failureResultOf(woken, HookFailed).value
        assert isinstance(error, HookFailed)
        self.assertEqual((error.hook, error.why), ("wake", why))
        self.assertFalse(self.hooks.runningPids)
        self.assertFalse(self.reactor.getDelayedCalls())

    def test_wanted(self) -> None:
        """
        Measured is what a model needs and a command can tell of.
        """
        llama, other = self.config.models.values()
        self.assertEqual(wanted(self.config, llama), [(MEASURED, 20)])
        # It needs all there is.
        self.assertEqual(wanted(self.config, other), [(MEASURED, 24)])
        for needs in ({}, {"gpu0": 0}, {"gpu1": 4}):
            self.assertEqual(wanted(self.config, evolve(llama, needs=needs)), [])

    def test_room(self) -> None:
        """
        Where there is room the model is woken at once.
        """
        woken = self.hooks.run(call())
        self.assertEqual(self.scripts, ["./free.sh"])
        self.assertEqual(self.reactor.spawned[0].env, {b"LLMUX_MODEL": b"llama"})
        self.assertNoResult(woken)
        self.prints("20.0\n")
        self.assertEqual(self.scripts, ["./free.sh", "./wake.sh"])
        self.assertNoResult(woken)
        self.reactor.spawned[-1].end()
        self.successResultOf(woken)

    def test_others(self) -> None:
        """
        Nothing is measured for other hooks.
        """
        for hook in ("sleep", "alive"):
            run = self.hooks.run(evolve(call(), hook=type(call().hook)(hook)))
            self.reactor.spawned[-1].end()
            self.successResultOf(run)
        self.assertNotIn("./free.sh", self.scripts)

    def test_soon(self) -> None:
        """
        Until there is room it is asked again every second.
        """
        woken = self.hooks.run(call())
        for free in ("3", "19.9"):
            self.prints(free)
            self.assertEqual(self.scripts[-1], "./free.sh")
            before = len(self.scripts)
            self.reactor.advance(0.9)
            self.assertEqual(len(self.scripts), before)
            self.reactor.advance(0.2)
            self.assertEqual(len(self.scripts), before + 1)
        self.prints("20")
        self.assertEqual(self.scripts[-1], "./wake.sh")
        self.reactor.spawned[-1].end()
        self.successResultOf(woken)

    def test_never(self) -> None:
        """
        If there is no room in time, the wake has failed, and was not run.
        """
        woken = self.hooks.run(call())
        for _ in range(31):
            self.prints("3.25")
            self.assertNotIn("./wake.sh", self.scripts)
            self.reactor.advance(1)
        self.failed(woken, "20 of gpu0 is needed, and after 30 s 3.25 is free")

    def test_broken(self) -> None:
        """
        A command that fails or prints nonsense tells of no room.
        """
        for text, status, why in (
            ("24", 1, "failed: exit status 1"),
            ("24 GB", 0, "did not print one number"),
        ):
            self.build(gpu0=evolve(MEASURED, free_timeout_secs=0.5))
            woken = self.hooks.run(call())
            self.prints(text, status)
            self.reactor.advance(0.5)
            self.prints(text, status)
            self.failed(
                woken, f"20 of gpu0 is needed, and after 0 s its free_command {why}"
            )
            self.assertNotIn("./wake.sh", self.scripts)

    def test_slow(self) -> None:
        """
        A command that does not end is ended.
        """
        self.build(gpu0=evolve(MEASURED, free_timeout_secs=0.5))
        woken = self.hooks.run(call())
        self.reactor.advance(10)
        self.reactor.spawned[-1].end()
        self.failed(
            woken,
            "20 of gpu0 is needed, and after 10 s its free_command failed: "
            "timed out after 10 s",
        )

    def test_cannotStart(self) -> None:
        """
        One that cannot be started neither.
        """
        self.reactor.error = OSError(errno.EMFILE, "Too many open files")
        woken = self.hooks.run(call())
        self.reactor.pump([1.0] * 31)
        self.assertTrue(self.hooks._descriptors.isShort)
        self.hooks._descriptors.close()
        self.failed(
            woken,
            "20 of gpu0 is needed, and after 30 s its free_command could not be "
            "started",
        )

    def test_several(self) -> None:
        """
        All that is needed has to be there, each resource with its own time.
        """
        second = Resource("gpu1", 24, "./free1.sh", 5)
        self.build(gpu0=MEASURED, gpu1=second)
        woken = self.hooks.run(call())
        self.prints("0")
        self.reactor.advance(29)
        self.prints("24")
        self.assertEqual(self.scripts[-1], "./free1.sh")
        self.prints("0")
        self.reactor.advance(4)
        self.prints("0")
        self.reactor.advance(1)
        self.prints("0")
        self.failed(woken, "20 of gpu1 is needed, and after 5 s 0 is free")

    def test_stop(self) -> None:
        """
        A wake that is broken off is measured for no more, whether a command
        runs just then or not.
        """
        woken = self.hooks.run(call())
        self.assertEqual(self.hooks.runningPids, {"llama": 4711})
        self.hooks.stop("llama")
        self.assertNoResult(woken)
        self.reactor.spawned[-1].end()
        self.failed(woken, "stopped")
        woken = self.hooks.run(call())
        self.prints("0")
        self.hooks.stop("llama")
        self.failed(woken, "stopped")

    def test_killAll(self) -> None:
        """
        So is it when llmux has to end at once.
        """
        woken = self.hooks.run(call())
        gone = self.hooks.killAll()
        self.assertNoResult(gone)
        self.reactor.spawned[-1].end()
        self.failed(woken, "killed")
        self.successResultOf(gone)
        woken = self.hooks.run(call())
        self.prints("0")
        gone = self.hooks.killAll()
        self.failed(woken, "killed")
        self.successResultOf(gone)

    def test_twice(self) -> None:
        """
        It counts as a hook of the model, of which there is one at a time.
        """
        first = self.hooks.run(call())
        error = self.failureResultOf(self.hooks.run(call()), HookFailed)
        self.assertIn("another hook", str(error.value))
        self.prints("24")
        self.reactor.spawned[-1].end()
        self.successResultOf(first)

    def test_complaints(self) -> None:
        """
        What a command says on its standard error stream is kept with the
        output of the model's hooks.
        """
        woken = self.hooks.run(call())
        self.reactor.spawned[-1].protocol.childDataReceived(2, b"no such GPU\n")
        self.prints("24")
        self.reactor.spawned[-1].end()
        self.successResultOf(woken)
        [line] = self.output.ring("llama").lines()
        self.assertEqual((line.hook, line.text), ("free", "no such GPU"))


class MeasuredSwitchTests(TestCase):
    """
    A switch with real commands.
    """

    timeout = 60

    def test_noWakeWithoutRoom(self) -> None:
        """
        A model that has slept and not freed its memory is followed by no wake:
        those who wait are told so, the failure is visible, and the next try
        after it has been freed succeeds.
        """
        return Deferred.fromCoroutine(self._noWakeWithoutRoom())  # type: ignore[return-value]

    async def _noWakeWithoutRoom(self) -> None:
        from twisted.internet import reactor

        folder = Path(tempfile.mkdtemp(prefix="llmux-test-"))
        free = folder / "free"
        free.write_text("24\n")
        hooks = {
            # What "b" leaves is there only when somebody says so.
            "wake": 'echo "$LLMUX_MODEL" >>woken; echo 4 >free',
            "sleep": "true",
            "alive": "false",
        }
        config = makeConfig(
            folder=str(folder),
            policy=PolicyConfig(name="fifo"),
            resources={"gpu0": Resource("gpu0", 24, "cat free", 0.3)},
            models={name: {**hooks, "needs": {"gpu0": 20}} for name in "ab"},
            alive_interval_secs=0,
        )
        clock = IReactorTime(reactor)
        recorder = Recorder()
        shell = ShellHooks(reactor, config, dict(os.environ), HookOutput(clock))
        switcher = Switcher(config, shell, FirstComeFirstServed(), clock, [recorder])
        try:
            await switcher.start()
            (await switcher.acquire("a")).release()
            with self.assertRaises(WakeFailed):
                await switcher.acquire("b")
            self.assertEqual((folder / "woken").read_text().split(), ["a"])
            errors = [event.error for event in recorder.of(HookFinished)]
            self.assertIn("20 of gpu0 is needed, and after 0 s 4 is free", errors)
            free.write_text("24\n")
            # It is left alone for a while, like after any wake that failed.
            while switcher.snapshot().models["b"].state is not State.ASLEEP:
                pause: Deferred[None] = Deferred()
                clock.callLater(0.05, pause.callback, None)
                await pause
            (await switcher.acquire("b")).release()
            self.assertEqual((folder / "woken").read_text().split(), ["a", "b"])
        finally:
            await switcher.stop()
            shell.closePipes()
