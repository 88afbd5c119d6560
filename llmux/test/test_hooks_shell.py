"""
Tests for L{llmux.hooks._shell}: the decisions with a reactor that starts
nothing, the promises with real processes.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import (
    IProcessProtocol,
    IProcessTransport,
    IReactorProcess,
    IReactorTime,
)
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from llmux.config import Config, ModelConfig, Timeouts
from llmux.errors import HookFailed
from llmux.hooks import HookOutput, ShellHooks
from llmux.hooks._address import AddressFile
from llmux.hooks._delays import PATIENCE
from llmux.hooks._process import ProcessGroups
from llmux.hooks._shell import MAX_LEFTOVERS, sessionLeader
from llmux.interfaces import Hook, HookCall, HookResult, IHookRunner, Reason


def configured(folder: str = "", **settings: Any) -> Config:
    """
    A configuration with a model C{llama} of those settings, and the minimal
    C{other}.
    """
    hooks = dict[str, Any](wake="true", sleep="true", alive="true")
    models = [
        ModelConfig(name="llama", **{**hooks, "port": 8001, **settings}),
        ModelConfig(name="other", **hooks),
    ]
    return Config(models={model.name: model for model in models}, folder=folder)


def call(hook: Hook = Hook.WAKE, model: str = "llama", **more: Any) -> HookCall:
    """
    A call on behalf of a request.
    """
    return HookCall(model, hook, Reason.REQUEST, **more)


@define(eq=False)
class Spawned:
    """
    A process that a L{FakeReactor} was asked for, and its transport.
    """

    protocol: Any
    executable: Any
    args: Any
    env: Any
    path: Any
    childFDs: Any
    pid: int = 4711
    closed: bool = False

    def loseConnection(self) -> None:
        """
        Close the pipes.
        """
        self.closed = True
        self.protocol.processEnded(Failure(ProcessDone(0)))

    def exit(self, status: int = 0) -> None:
        """
        Have the shell exit.
        """
        reason = ProcessTerminated(status) if status else ProcessDone(0)
        self.protocol.processExited(Failure(reason))

    def end(self, status: int = 0) -> None:
        """
        Have the shell exit, and the pipes reach their end.
        """
        self.exit(status)
        self.protocol.processEnded(Failure(ProcessDone(0)))


@implementer(IReactorProcess)
@define(eq=False)
class FakeReactor(Clock):
    """
    A reactor whose processes do what the test says.

    @ivar error: raised instead of starting anything.
    """

    error: Exception | None = None
    spawned: list[Spawned] = field(factory=list)

    def __attrs_pre_init__(self) -> None:
        Clock.__init__(self)

    def spawnProcess(
        self,
        processProtocol: IProcessProtocol,
        executable: str | bytes,
        args: Sequence[str | bytes] = (),
        env: Mapping[Any, Any] | None = None,
        path: str | bytes | None = None,
        uid: int | None = None,
        gid: int | None = None,
        usePTY: bool | tuple[int, int, str] = False,
        childFDs: Mapping[int, int | str] | None = None,
    ) -> IProcessTransport:
        """
        Take note of a process.
        """
        if self.error is not None:
            raise self.error
        process: Any = Spawned(processProtocol, executable, args, env, path, childFDs)
        self.spawned.append(process)
        process.protocol.makeConnection(process)
        return cast("IProcessTransport", process)


class NoGroups(ProcessGroups):
    """
    A system in which a group is gone as soon as it is signalled.

    @ivar sent: the signals.
    """

    def __init__(self) -> None:
        self.sent: list[int] = []

    def signal(self, group: int, number: int) -> None:
        """
        Take note of a signal.
        """
        if number == 0:
            raise ProcessLookupError
        self.sent.append(number)


class ShellHooksTests(SynchronousTestCase):
    """
    L{ShellHooks}, with a reactor that starts nothing
    """

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.groups = NoGroups()
        self.temporary = self.mktemp()
        os.mkdir(self.temporary)
        # Where the files for LLMUX_OUTPUT are made.
        self.patch(tempfile, "tempdir", os.path.abspath(self.temporary))
        self.hooks = self.make(configured(folder="/srv/my models"))

    def make(self, config: Config, **environment: str) -> ShellHooks:
        """
        Hooks with an environment.
        """
        return ShellHooks(
            self.reactor,
            config,
            environment,
            HookOutput(self.reactor),
            leader=["/setsid"],
            groups=self.groups,
        )

    def failed(self, d: Deferred[HookResult], why: str) -> None:
        """
        Assert that a hook has failed for a reason, and has left no file.
        """
        error = self.failureResultOf(d, HookFailed).value
        assert isinstance(error, HookFailed)
        self.assertIn(why, error.why)
        self.assertEqual(self.files(), [])

    def files(self) -> list[str]:
        """
        The files that hooks have written.
        """
        return [name for _, _, names in os.walk(self.temporary) for name in names]

    def env(self, name: str) -> str:
        """
        What the newest process has in its environment.
        """
        return str(self.reactor.spawned[-1].env[name.encode()], "ascii")

    def test_interface(self) -> None:
        """
        It runs hooks for the switcher.
        """
        self.assertTrue(verifyObject(IHookRunner, self.hooks))

    def test_command(self) -> None:
        """
        The script is given to a shell that leads a session and enters the
        folder of the configuration, in a way that needs no fork of llmux; it
        inherits nothing but its standard streams.
        """
        self.hooks.config = configured("/it's here", sleep="./sleep.sh")
        self.hooks.run(call(Hook.SLEEP))
        [process] = self.reactor.spawned
        self.assertEqual(process.executable, "/setsid")
        self.assertEqual(
            process.args,
            [
                b"/setsid",
                b"/bin/sh",
                b"-c",
                b"cd '/it'\"'\"'s here' || exit 125; ./sleep.sh",
            ],
        )
        self.assertIsNone(process.path)
        self.assertEqual(set(process.childFDs), {0, 1, 2})
        process.end()

    def test_noFolder(self) -> None:
        """
        Without a folder the script is given as it is.
        """
        self.hooks.config = configured(sleep="./sleep.sh")
        self.hooks.run(call(Hook.SLEEP))
        self.assertEqual(self.reactor.spawned[0].args[-1], b"./sleep.sh")
        self.reactor.spawned[0].end()

    def test_environment(self) -> None:
        """
        A hook has the environment it is given and what it needs to know.
        What llmux itself inherited of the latter is not passed on.
        """
        hooks = self.make(
            configured(), PATH="/bin", LLMUX_OUTPUT="/etc/passwd", LLMUX_X="mine"
        )
        hooks.run(call(Hook.SLEEP, peer="other", attempt=3))
        [process] = self.reactor.spawned
        self.assertEqual(
            process.env,
            {
                b"PATH": b"/bin",
                b"LLMUX_X": b"mine",
                b"LLMUX_MODEL": b"llama",
                b"LLMUX_HOOK": b"sleep",
                b"LLMUX_PORT": b"8001",
                b"LLMUX_URL": b"http://127.0.0.1:8001",
                b"LLMUX_PEER": b"other",
                b"LLMUX_ATTEMPT": b"3",
                b"LLMUX_REASON": b"request",
            },
        )
        process.end()

    def test_address(self) -> None:
        """
        Where the model was found to be comes before what is configured.
        """
        for address, url, port in [
            ("http://node7:18001", "http://node7:18001", "18001"),
            ("", "http://127.0.0.1:8001", "8001"),
            ("http://node7", "http://node7", "8001"),
            ("unix:/run/x.sock", "unix:/run/x.sock", "8001"),
        ]:
            self.hooks.run(call(Hook.SLEEP, address=address))
            self.assertEqual(self.env("LLMUX_URL"), url)
            self.assertEqual(self.env("LLMUX_PORT"), port)
            self.reactor.spawned[-1].end()

    def test_noAddress(self) -> None:
        """
        Where nothing is known of the address, the variables are empty.
        """
        self.hooks.run(call(Hook.SLEEP, "other"))
        self.assertEqual((self.env("LLMUX_URL"), self.env("LLMUX_PORT")), ("", ""))
        self.reactor.spawned[-1].end()

    def test_result(self) -> None:
        """
        A hook that did well says how long it took.
        """
        d = self.hooks.run(call())
        self.assertNoResult(d)
        self.assertEqual(self.hooks.runningPids, {"llama": 4711})
        self.reactor.advance(2.5)
        self.reactor.spawned[0].end()
        self.assertEqual(self.successResultOf(d), HookResult(2.5))
        self.assertEqual(self.hooks.runningPids, {})
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.files(), [])

    def test_output(self) -> None:
        """
        What C{wake} and C{alive} write to their file is the model's address.
        """
        for hook in (Hook.WAKE, Hook.ALIVE):
            d = self.hooks.run(call(hook))
            with open(self.env("LLMUX_OUTPUT"), "w") as file:
                file.write("url=http://node7:18001/\n")
            self.reactor.spawned[-1].end()
            self.assertEqual(self.successResultOf(d).address, "http://node7:18001")
        self.assertEqual(self.files(), [])

    def test_badOutput(self) -> None:
        """
        A hook that did well but wrote nonsense has failed.
        """
        d = self.hooks.run(call())
        with open(self.env("LLMUX_OUTPUT"), "w") as file:
            file.write("hello\n")
        self.reactor.spawned[-1].end()
        self.failed(d, "LLMUX_OUTPUT")

    def test_failedWithOutput(self) -> None:
        """
        What a failed hook wrote does not matter.
        """
        d = self.hooks.run(call())
        with open(self.env("LLMUX_OUTPUT"), "w") as file:
            file.write("hello\n")
        self.reactor.spawned[-1].end(7)
        self.failed(d, "exit status 7")

    def test_timeouts(self) -> None:
        """
        Each of the three hooks has its own timeout.
        """
        self.hooks.config = configured(timeouts=Timeouts(wake=60, sleep=20, alive=2))
        for hook, seconds in [(Hook.WAKE, 60), (Hook.SLEEP, 20), (Hook.ALIVE, 2)]:
            d = self.hooks.run(call(hook))
            self.reactor.advance(seconds - 0.01)
            self.assertEqual(self.groups.sent, [])
            self.reactor.advance(0.02)
            self.assertEqual(self.groups.sent, [signal.SIGTERM])
            self.groups.sent.clear()
            self.reactor.spawned[-1].end(1)
            self.failed(d, f"timed out after {seconds} s")

    def test_cannotStart(self) -> None:
        """
        When the system cannot start a process, the hook has failed, and
        nothing is left open.
        """
        before = len(os.listdir("/dev/fd"))
        self.reactor.error = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.failed(self.hooks.run(call()), "could not be started: Resource")
        self.assertEqual(len(os.listdir("/dev/fd")), before)
        self.assertEqual(self.hooks.runningPids, {})
        self.reactor.error = None
        d = self.hooks.run(call())
        self.reactor.spawned[0].end()
        self.successResultOf(d)

    def short(self) -> None:
        """
        Have no file descriptors left.
        """
        self.reactor.error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def test_noDescriptors(self) -> None:
        """
        A hook for which there are no file descriptors is started when there
        are; until then, no other hook of the model is.
        """
        self.short()
        d = self.hooks.run(call())
        self.reactor.pump([0.25] * 8)
        self.assertNoResult(d)
        self.failed(self.hooks.run(call()), "another hook")
        self.assertEqual(self.files(), [])
        self.reactor.error = None
        self.reactor.advance(0.25)
        [process] = self.reactor.spawned
        self.reactor.advance(3)
        process.end()
        self.assertEqual(self.successResultOf(d).duration, 3)
        self.successResultOf(self.hooks.killAll())

    def test_noDescriptorsForLong(self) -> None:
        """
        It has failed if there are none for long.
        """
        self.short()
        d = self.hooks.run(call())
        self.reactor.pump([0.25] * int(PATIENCE * 4 - 1))
        self.assertNoResult(d)
        self.reactor.pump([0.25] * 4)
        self.failed(d, "there were no file descriptors for it")

    def test_stopWithoutDescriptors(self) -> None:
        """
        One that waits for them can be ended like one that runs.
        """
        self.short()
        mine, other = self.hooks.run(call()), self.hooks.run(call(model="other"))
        self.hooks.stop("llama")
        self.failed(mine, "stopped")
        self.assertNoResult(other)
        self.successResultOf(self.hooks.killAll())
        self.failed(other, "stopped")

    def test_noDescriptorToRead(self) -> None:
        """
        What a hook has said is read when there is a file descriptor for that;
        if it has said nothing, none is needed.
        """
        read = AddressFile.read
        left = [None] * 2

        def none(file: AddressFile) -> str | None:
            if left:
                left.pop()
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return read(file)

        self.patch(AddressFile, "read", none)
        d = self.hooks.run(call())
        self.reactor.spawned[-1].end()
        self.assertIsNone(self.successResultOf(d).address)
        for patience in (True, False):
            d = self.hooks.run(call())
            with open(self.env("LLMUX_OUTPUT"), "w") as file:
                file.write("url=http://node7:1\n")
            self.reactor.spawned[-1].end()
            self.assertNoResult(d)
            if patience:
                self.reactor.pump([0.25] * 4)
                self.assertEqual(self.successResultOf(d).address, "http://node7:1")
                left.extend([None] * 1000)
            else:
                self.reactor.pump([0.25] * int(PATIENCE * 4 + 2))
                self.failed(d, "there were no file descriptors for it")
        self.assertEqual(self.files(), [])

    def test_noTemporaryFolder(self) -> None:
        """
        When there is no place for its file, the hook has failed.
        """
        d = []
        os.rmdir(self.temporary)
        d.append(self.hooks.run(call()))
        os.mkdir(self.temporary)
        self.failed(d[0], "could not be started: No such file")

    def test_cannotEncode(self) -> None:
        """
        A script with half a surrogate pair cannot be run.
        """
        self.hooks.config = configured(wake="echo \ud800")
        self.failed(self.hooks.run(call()), "cannot be encoded")

    def test_unknownModel(self) -> None:
        """
        A model that is not configured has no hooks.
        """
        self.failed(self.hooks.run(call(model="nobody")), "no such model")

    def test_twice(self) -> None:
        """
        Two hooks of one model never run at once, those of two models may.
        """
        first = self.hooks.run(call())
        error = self.failureResultOf(self.hooks.run(call(Hook.ALIVE)), HookFailed)
        self.assertIn("still runs", error.value.why)
        other = self.hooks.run(call(model="other"))
        for process in self.reactor.spawned:
            process.end()
        self.successResultOf(first)
        self.successResultOf(other)

    def test_overAtOnce(self) -> None:
        """
        A shell that is gone before it was even told of is over.
        """

        class Hasty(FakeReactor):
            def spawnProcess(self, *args: Any, **kw: Any) -> Any:
                process: Any = super().spawnProcess(*args, **kw)
                process.end()
                return process

        self.reactor = Hasty()
        self.hooks = self.make(configured())
        self.successResultOf(self.hooks.run(call()))
        self.assertEqual(self.hooks.runningPids, {})

    def test_stop(self) -> None:
        """
        The hook of a model can be ended; that of another runs on.
        """
        mine = self.hooks.run(call())
        other = self.hooks.run(call(model="other"))
        self.hooks.stop("llama")
        self.assertEqual(self.groups.sent, [signal.SIGTERM])
        self.assertNoResult(mine)
        self.reactor.spawned[0].end(1)
        self.assertNoResult(other)
        self.reactor.spawned[1].end()
        self.successResultOf(other)
        self.failed(mine, "stopped")

    def test_stopNothing(self) -> None:
        """
        To end the hook of a model that has none running does nothing.
        """
        self.hooks.stop("llama")
        self.hooks.stop("nobody")
        self.assertEqual(self.groups.sent, [])

    def test_killAll(self) -> None:
        """
        All hooks can be killed at once; it is told when they are gone.
        """
        runs = [self.hooks.run(call()), self.hooks.run(call(model="other"))]
        gone = self.hooks.killAll()
        self.assertEqual(self.groups.sent, [signal.SIGKILL] * 2)
        self.reactor.spawned[0].end(1)
        self.assertNoResult(gone)
        self.reactor.spawned[1].end(1)
        self.successResultOf(gone)
        for run in runs:
            self.failed(run, "killed")

    def test_killNone(self) -> None:
        """
        Where no hook runs there is nothing to wait for.
        """
        self.successResultOf(self.hooks.killAll())

    def leave(self) -> Spawned:
        """
        Run a hook that leaves a process behind, which holds its pipes open.
        """
        d = self.hooks.run(call())
        process = self.reactor.spawned[-1]
        process.exit()
        self.reactor.advance(0)
        self.successResultOf(d)
        return process

    def test_leftovers(self) -> None:
        """
        Only so many processes that outlive their hooks are listened to; the
        oldest has to go first, and it is said in the log.
        """
        left = [self.leave() for _ in range(MAX_LEFTOVERS)]
        self.assertFalse(any(process.closed for process in left))
        left.append(self.leave())
        self.assertEqual([process.closed for process in left], [True] + [False] * 4)
        # One that goes by itself makes place for another.
        left[2].protocol.processEnded(Failure(ProcessDone(0)))
        self.leave()
        self.assertFalse(left[1].closed)

    def test_closePipes(self) -> None:
        """
        At the end nobody is listened to.
        """
        left = [self.leave() for _ in range(3)]
        self.hooks.closePipes()
        self.assertTrue(all(process.closed for process in left))

    def test_leader(self) -> None:
        """
        Without setsid(1), Python makes the session.
        """
        self.assertEqual(sessionLeader("/usr/bin/setsid"), ["/usr/bin/setsid"])
        self.assertEqual(sessionLeader(None)[0], sys.executable)


class AcceptanceTests(TestCase):
    """
    L{ShellHooks}, with the real reactor and real processes
    """

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        """
        Make hooks, in the reactor: a process that is gone before it runs is
        noticed while it starts, and a test that is over by that leaves a
        reactor which notices no end of a process in the next.
        """
        from twisted.internet import reactor

        self.reactor: Any = reactor
        await deferLater(self.reactor, 0)
        self.folder = tempfile.mkdtemp(prefix="llmux test's ")
        self.addCleanup(shutil.rmtree, self.folder)
        self.output = HookOutput(IReactorTime(reactor))
        self.hooks = self.make()
        self.addCleanup(lambda: self.hooks.closePipes())
        self.addCleanup(lambda: self.hooks.killAll())

    def make(self, **more: Any) -> ShellHooks:
        """
        Hooks of a real system.
        """
        return ShellHooks(
            self.reactor, configured(), dict(os.environ), self.output, **more
        )

    def run_(self, script: str, hook: Hook = Hook.WAKE, **settings: Any) -> Any:
        """
        Start a script as a hook.
        """
        settings[hook.value] = script
        self.hooks.config = configured(self.folder, **settings)
        return self.hooks.run(call(hook))

    async def until(self, condition: Callable[[], object], why: str) -> None:
        """
        Wait for something that another process does.
        """
        deadline = self.reactor.seconds() + 20
        while not condition():
            self.assertLess(self.reactor.seconds(), deadline, why)
            await deferLater(self.reactor, 0.005)

    def texts(self) -> list[str]:
        """
        What was printed.
        """
        return [line.text for line in self.output.ring("llama").lines()]

    def path(self, name: str) -> str:
        """
        A path in the folder of the configuration.
        """
        return os.path.join(self.folder, name)

    def read(self, name: str) -> str:
        """
        What a hook wrote to a file in the folder, or nothing.
        """
        try:
            with open(self.path(name)) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    async def fails(self, d: Deferred[HookResult]) -> str:
        """
        Why a hook failed.
        """
        error = await self.assertFailure(d, HookFailed)
        assert isinstance(error, HookFailed)
        return error.why

    def gone(self, pid: int) -> bool:
        """
        Whether a process is dead, be it reaped or not.
        """
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            pass
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return os.path.exists("/proc/self")

    async def test_success(self) -> None:
        """
        A hook runs in the folder of the configuration, whatever its name,
        knows its model, and its output is there when it is over.
        """
        await self.run_('pwd; echo "$LLMUX_MODEL $LLMUX_HOOK" >&2; printf last')
        self.assertEqual(
            sorted(self.texts()), sorted([self.folder, "llama wake", "last"])
        )
        streams = {line.text: line.stream for line in self.output.ring("llama").lines()}
        self.assertEqual(streams["llama wake"], "stderr")

    async def test_status(self) -> None:
        """
        The status of the shell decides, and a script in several lines is
        numbered as its user numbers it.
        """
        self.assertEqual(await self.fails(self.run_("true\nexit 3")), "exit status 3")
        await self.fails(self.run_("true\n./nothing"))
        self.assertIn("2", self.texts()[-1])
        self.assertIn("nothing", self.texts()[-1])

    async def test_noFolder(self) -> None:
        """
        A folder that is gone is a failure that says so.
        """
        self.hooks.config = configured(self.path("gone"))
        self.assertEqual(await self.fails(self.hooks.run(call())), "exit status 125")
        self.assertIn("gone", self.texts()[-1])

    async def test_largeOutput(self) -> None:
        """
        What the shell printed just before its end, as much as a pipe holds,
        is taken note of before the hook is over.
        """
        script = 'i=0; while [ $i -lt 400 ]; do echo "line $i, $LLMUX_MODEL"; i=$((i+1)); done'
        await self.run_(script + "; exit 0")
        self.assertEqual(len(self.texts()), 400)
        self.assertEqual(self.texts()[-1], "line 399, llama")

    async def test_session(self) -> None:
        """
        A hook leads a session, has nothing to read and no descriptors but
        three.
        """
        held = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, held)
        os.set_inheritable(held, True)
        await self.run_(
            'echo "$$"; ps -o pid=,pgid=,sid= -p "$$"; cat; ls /proc/self/fd | wc -l'
        )
        pid, numbers, descriptors = self.texts()
        self.assertEqual(numbers.split(), [pid] * 3)
        # ls itself opens the folder.
        self.assertEqual(int(descriptors), 4)

    if not os.path.exists("/proc/self/fd"):
        test_session.skip = "needs /proc"  # type: ignore[attr-defined]

    async def test_environmentNotText(self) -> None:
        """
        A variable that is not UTF-8 is inherited as it is.
        """
        hooks = ShellHooks(
            self.reactor,
            configured(wake='printf %s "$ODD" | od -An -tx1'),
            dict(os.environ, ODD=os.fsdecode(b"\xff\xfe")),
            self.output,
        )
        await hooks.run(call())
        self.assertEqual(self.texts()[-1].split(), ["ff", "fe"])

    async def test_nul(self) -> None:
        """
        A NUL character in a script, or in the environment, is a failure with
        a reason.
        """
        self.assertIn("NUL", await self.fails(self.run_("echo \0")))
        hooks = ShellHooks(
            self.reactor,
            configured(),
            {"PATH": os.environ["PATH"], "X": "\0"},
            self.output,
        )
        self.assertIn("NUL", await self.fails(hooks.run(call())))

    async def test_tooLong(self) -> None:
        """
        A script that the system will not take is a failure with a reason.
        """
        why = await self.fails(self.run_("true " + "x" * 4_000_000))
        self.assertIn("could not be started: Argument list too long", why)

    async def test_noLeader(self) -> None:
        """
        If what makes the session has gone, the hook has failed.
        """
        self.hooks = self.make(leader=["/nowhere/setsid"])
        self.assertIn("could not be started", await self.fails(self.hooks.run(call())))

    async def test_pythonLeader(self) -> None:
        """
        A system without setsid(1) does the same, a little later.
        """
        self.hooks = self.make(leader=sessionLeader(None))
        await self.run_('echo $$; ps -o pgid= -p "$$"')
        pid, group = self.texts()
        self.assertEqual(pid, group.strip())

    async def test_address(self) -> None:
        """
        A hook can say where its model is.
        """
        result = await self.run_('echo url=http://node7:18001 > "$LLMUX_OUTPUT"')
        self.assertEqual(result.address, "http://node7:18001")

    async def test_daemon(self) -> None:
        """
        A server that is started in the background does not hold the hook, is
        not ended with it, and what it prints goes on to be taken note of.
        """
        os.mkfifo(self.path("fifo"))
        # The inner shell opens the pipe, so it is that which waits.
        await self.run_("{ read line < fifo; echo got $line; } & echo $! > pid")
        pid = int(self.read("pid"))
        self.assertFalse(self.gone(pid))
        self.assertEqual(self.texts(), [])
        with open(self.path("fifo"), "w") as fifo:
            fifo.write("news\n")
        await self.until(lambda: self.texts() == ["got news"], "no output")
        await self.until(lambda: self.gone(pid), "not ended")

    async def test_daemonFloods(self) -> None:
        """
        A background child that never stops printing does not hold the hook.
        """
        await self.run_("yes & echo $! > pid")
        os.kill(int(self.read("pid")), signal.SIGKILL)

    async def test_timeout(self) -> None:
        """
        When a hook takes too long, all that it started in its session is
        gone when it is over.
        """
        why = await self.fails(
            self.run_(
                "sleep 1000 & echo $! > pid; sleep 1000; true",
                timeouts=Timeouts(wake=0.3),
            )
        )
        self.assertEqual(why, "timed out after 0.3 s")
        self.assertTrue(self.gone(int(self.read("pid"))))

    async def test_cleanUp(self) -> None:
        """
        A hook that is ended can clean up, and is over when it has.
        """
        run = self.run_(
            "trap 'echo bye > left; exit 0' TERM; echo > up; while :; do sleep 0.01; done"
        )
        await self.until(lambda: self.read("up"), "not started")
        self.hooks.stop("llama")
        self.assertEqual(await self.fails(run), "stopped")
        self.assertEqual(self.read("left"), "bye\n")

    async def test_childCleansUp(self) -> None:
        """
        A child that takes longer to end than the shell that started it is
        waited for.
        """
        run = self.run_(
            'sh -c \'trap "sleep 0.2; echo bye > left; exit" TERM; echo > up;'
            " while :; do sleep 0.01; done'; true"
        )
        await self.until(lambda: self.read("up"), "not started")
        self.hooks.stop("llama")
        self.assertEqual(await self.fails(run), "stopped")
        self.assertEqual(self.read("left"), "bye\n")

    async def test_stopAtOnce(self) -> None:
        """
        A hook can be ended as soon as it is started.
        """
        run = self.run_("sleep 1000")
        pid = self.hooks.runningPids["llama"]
        self.hooks.stop("llama")
        self.assertEqual(await self.fails(run), "stopped")
        self.assertTrue(self.gone(pid))

    async def test_stubborn(self) -> None:
        """
        What ignores SIGTERM, be it the shell or a child of it, is killed.
        """
        run = self.run_("trap '' TERM; sleep 1000 & echo $! > pid; wait; sleep 1000")
        await self.until(lambda: self.read("pid"), "not started")
        pid = self.hooks.runningPids["llama"]
        self.hooks.stop("llama")
        gone = self.hooks.killAll()
        self.assertEqual(await self.fails(run), "stopped")
        await gone
        self.assertTrue(self.gone(pid))
        self.assertTrue(self.gone(int(self.read("pid"))))

    async def test_flood(self) -> None:
        """
        A hook that prints without end holds up nothing else, fills no memory,
        and its last words are kept.
        """
        results: list[object] = []
        run = self.run_("head -c 20000000 /dev/zero | tr '\\0' '\\n'; echo last words")
        run.addBoth(results.append)
        turns = 0
        while not results:
            await deferLater(self.reactor, 0)
            turns += 1
        self.assertIsInstance(results[0], HookResult)
        self.assertEqual(self.texts()[-1], "last words")
        self.assertLessEqual(len(self.texts()), 1000)
        # Others had their turn between any 8 kB (a pipe's worth at the most).
        self.assertGreater(turns, 300)
