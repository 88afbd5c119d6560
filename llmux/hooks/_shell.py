# -*- test-case-name: llmux.test.test_hooks_shell -*-
"""
L{ShellHooks}: hooks as C{sh -c SCRIPT}.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from llmux.config import Config, ModelConfig, Resource
from llmux.descriptors import Descriptors, isShortage
from llmux.errors import HookFailed
from llmux.hooks._address import AddressFile, AddressFiles, BadAddress
from llmux.hooks._delays import PATIENCE, Delays
from llmux.hooks._environment import OWN, encoded, wordsFor
from llmux.hooks._measure import LONGEST, Measure, Printed, wanted
from llmux.hooks._output import HookOutput
from llmux.hooks._process import HookProcess, ProcessGroups
from llmux.interfaces import Hook, HookCall, HookResult, IHookRunner

__all__ = ["ShellHooks", "sessionLeader"]

#: Makes its process the leader of a new session, then becomes the command in
#: its arguments.  Costs 15 ms or more, so it is for systems without setsid(1).
_LEADER = "import os,sys;os.setsid();os.execv(sys.argv[1],sys.argv[1:])"

#: How many processes of one model that have outlived their hook are listened
#: to.  One is usual, the server; a hook that leaves one behind at each run
#: must not use up the file descriptors.
MAX_LEFTOVERS = 4

#: Exit status if the working folder cannot be entered; C{env -C} has the same.
_NO_FOLDER = 125


def sessionLeader(setsid: str | None) -> Sequence[str]:
    """
    Find what makes a command the leader of a session, and so of a process
    group, of its own.  L{IReactorProcess} cannot do that itself.

    @param setsid: the path of setsid(1), if there is one.

    @return: what to put before the command.
    """
    return [setsid] if setsid else [sys.executable, "-I", "-S", "-c", _LEADER]


@implementer(IHookRunner)
class ShellHooks:
    """
    Runs hooks as C{sh -c SCRIPT}, each in a session of its own, in the folder
    of the configuration file.

    A hook is over when its shell has exited.  What that left running, such as
    the model's server, goes on, and what it prints goes on to be kept and
    logged; but if it holds on to the hook's stdout or stderr and llmux ends,
    its next word there gets it SIGPIPE.  A server that is to outlive llmux has
    to be started with its output in a file.

    @ivar config: the configuration whose models' hooks are run.  It may be
        replaced by another, which counts from the next hook on.
    @ivar output: where the output of the hooks goes.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorProcess,
        config: Config,
        environment: Mapping[str, str],
        output: HookOutput,
        *,
        leader: Sequence[str] | None = None,
        groups: ProcessGroups | None = None,
        descriptors: Descriptors | None = None,
    ) -> None:
        """
        @param reactor: also an L{IReactorTime}.
        @param environment: what hooks inherit.
        @param leader: what makes a command the leader of a session; by
            default it is looked for.
        @param groups: what deals with process groups; the system by default.
        @param descriptors: what is waited at if there are none to start a hook.
        """
        self.config = config
        self.output = output
        self._reactor = reactor
        self._clock = IReactorTime(reactor)
        self._environment = encoded(environment, without=OWN)
        self._leader = (
            sessionLeader(shutil.which("setsid")) if leader is None else leader
        )
        self._groups = ProcessGroups() if groups is None else groups
        self._descriptors = (
            Descriptors(self._clock) if descriptors is None else descriptors
        )
        self._files = AddressFiles()
        self._running: dict[str, HookProcess] = {}
        self._measures: dict[str, Measure] = {}
        self._delays = Delays(self._descriptors, self._clock, self._settle)
        self._leftovers: dict[str, list[HookProcess]] = {}
        self._waiters: list[Deferred[None]] = []

    # IHookRunner

    def run(self, call: HookCall) -> Deferred[HookResult]:
        """
        See L{IHookRunner.run}.  A hook that could not be started has failed.
        """
        model = self.config.models.get(call.model)
        if model is None:
            return fail(_failed(call, "no such model is configured"))
        if any(
            call.model in busy for busy in (self._running, self._measures, self._delays)
        ):
            return fail(_failed(call, "another hook of the model still runs"))
        amounts = wanted(self.config, model) if call.hook is Hook.WAKE else ()
        if not amounts:
            return self._runHook(call, model)

        def measured(why: str) -> HookResult | Deferred[HookResult]:
            self._measures.pop(call.model, None)
            if why:
                self._settle()
                raise _failed(call, why)
            return self._runHook(call, model)

        measure = Measure(
            self._clock,
            lambda resource, printed: self._measure(call.model, resource, printed),
            amounts,
        )
        if not measure.done.called:
            self._measures[call.model] = measure
        return measure.done.addCallback(measured)

    def _runHook(self, call: HookCall, model: ModelConfig) -> Deferred[HookResult]:
        until = self._clock.seconds() + PATIENCE

        def start() -> Deferred[HookResult]:
            started = self._clock.seconds()
            file: AddressFile | None = None
            try:
                if call.hook is not Hook.SLEEP:
                    file = self._files.make()
                process = self._spawn(call, model, file)
            except (OSError, TypeError, ValueError) as error:
                if isShortage(error):
                    return self._delays.later(call, start, until)
                return fail(_failed(call, f"could not be started: {_reason(error)}"))

            def ended(why: str) -> HookResult | Deferred[HookResult]:
                self._over(call.model, process)
                took = self._clock.seconds() - started
                if file is None:
                    return _result(call, why, took, None)
                if not why and file.exists():
                    until = self._clock.seconds() + PATIENCE
                    return self._told(call, file, took, until)
                file.remove()
                return _result(call, why, took, None)

            if not process.finished.called:
                self._running[call.model] = process
            return process.finished.addCallback(ended)

        return start()

    def _told(
        self, call: HookCall, file: AddressFile, took: float, until: float
    ) -> HookResult | Deferred[HookResult]:
        """
        Read what a hook has said.
        """
        why, address = "", None
        try:
            address = file.read()
        except BadAddress as error:
            why = str(error)
        except OSError:
            # It has done its duty, and what it said is still there.
            later = self._delays.later(
                call, lambda: self._told(call, file, took, until), until, 1
            )

            def over(result: Any) -> Any:
                file.remove()
                return result

            return later.addBoth(over)
        file.remove()
        return _result(call, why, took, address)

    def stop(self, model: str) -> None:
        """
        See L{IHookRunner.stop}: SIGTERM to the hook's process group, and
        SIGKILL to what is left of it five seconds later.
        """
        process = self._running.get(model)
        if process is not None:
            process.end("stopped")
        elif model in self._measures:
            self._measures[model].end("stopped")
        else:
            self._delays.stop(model)

    # For the end of llmux

    @property
    def runningPids(self) -> Mapping[str, int]:
        """
        The process groups of the hooks that are running, by model.
        """
        measuring = {
            model: measure.process
            for model, measure in self._measures.items()
            if measure.process is not None
        }
        return {
            model: process.pid
            for model, process in (measuring | self._running).items()
            if process.pid is not None
        }

    def killAll(self) -> Deferred[None]:
        """
        End all hooks at once, with SIGKILL to their process groups.

        @return: fires when they are gone.  The Deferreds of their runs fail.
        """
        if not self._running and not self._measures and not self._delays:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._waiters.append(gone)
        for process in tuple(self._running.values()):
            process.kill()
        for measure in tuple(self._measures.values()):
            measure.kill()
        self._delays.stopAll()
        return gone

    def closePipes(self) -> None:
        """
        Listen no longer to what hooks have left running, and leave no files.
        """
        self._files.remove()
        for processes in tuple(self._leftovers.values()):
            for process in tuple(processes):
                process.closePipes()

    # Starting

    def _spawn(
        self, call: HookCall, model: ModelConfig, file: AddressFile | None
    ) -> HookProcess:
        hook = call.hook.value
        process = HookProcess(
            self._clock,
            self._groups,
            getattr(model.timeouts, hook),
            {
                1: self.output.stream(call.model, hook, "stdout"),
                2: self.output.stream(call.model, hook, "stderr"),
            },
            lambda process: self._closed(call.model, process),
        )
        self._start(
            process,
            getattr(model, hook),
            self._environment | encoded(wordsFor(call, model, file)),
        )
        return process

    def _measure(self, model: str, resource: Resource, printed: Printed) -> HookProcess:
        process = HookProcess(
            self._clock,
            self._groups,
            LONGEST,
            {1: printed, 2: self.output.stream(model, "free", "stderr")},
            lambda process: None,
        )
        environment = self._environment | encoded({"LLMUX_MODEL": model})
        try:
            self._start(process, str(resource.free_command), environment)
        except OSError as error:
            if isShortage(error):
                self._descriptors.met()
            raise
        return process

    def _start(
        self, process: HookProcess, script: str, environment: dict[bytes, bytes]
    ) -> None:
        if self.config.folder:
            # Not by the path argument of spawnProcess, which would make it
            # fork: that takes the longer the more memory llmux has.  On the
            # script's own line, so that the shell's messages number its lines
            # as the user does.
            folder = shlex.quote(self.config.folder)
            script = f"cd {folder} || exit {_NO_FOLDER}; {script}"
        command = [*self._leader, "/bin/sh", "-c", script]
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            self._reactor.spawnProcess(
                process,
                command[0],
                [os.fsencode(word) for word in command],
                env=environment,
                childFDs={0: nothing, 1: "r", 2: "r"},
            )
        finally:
            os.close(nothing)

    # Ending

    def _over(self, model: str, process: HookProcess) -> None:
        if self._running.get(model) is process:
            del self._running[model]
        if process.isOpen:
            self._listenOn(model, process)
        self._settle()

    def _settle(self) -> None:
        if not self._running and not self._measures and not self._delays:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def _listenOn(self, model: str, process: HookProcess) -> None:
        leftovers = self._leftovers.setdefault(model, [])
        leftovers.append(process)
        if len(leftovers) > MAX_LEFTOVERS:
            self.log.warn(
                "{model} has more than {count} processes that outlived the hooks "
                "that started them and hold their output open.  The oldest one is "
                "not listened to any more; send its output to a file.",
                event="hook_output_closed",
                model=model,
                count=MAX_LEFTOVERS,
            )
            leftovers.pop(0).closePipes()

    def _closed(self, model: str, process: HookProcess) -> None:
        leftovers = self._leftovers.get(model, [])
        if process in leftovers:
            leftovers.remove(process)


def _result(call: HookCall, why: str, took: float, address: str | None) -> HookResult:
    """
    @raise HookFailed: if C{why} says why.
    """
    if why:
        raise _failed(call, why)
    return HookResult(took, address)


def _failed(call: HookCall, why: str) -> HookFailed:
    return HookFailed(call.model, call.hook.value, why)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Twisted's words for it name no cause: all it can be is a NUL, or a
    # character that the file system's encoding has not.
    return (
        "its script, its environment or the model's name holds a NUL character, "
        "or one that cannot be encoded"
    )
