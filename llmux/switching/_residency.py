# -*- test-case-name: llmux.test.test_residency -*-
"""
The state machine of one model.

The machine knows nothing of other models, of requests or of policies: it runs
the hooks that its inputs ask for, one at a time, and says which state the
model is in.  Each of its states is an entry action and nothing else: what
work a state starts is in the function of the same name in L{_machine}, and
the table below those functions says what follows what.

Inputs take no arguments: what an entry action needs stands in the
L{ResidencyCore}, so that any input may lead to any state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from attrs import define, field, frozen
from automat import TypeMachineBuilder
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.config import ModelConfig
from llmux.errors import HookFailed
from llmux.interfaces import (
    Hook,
    HookCall,
    HookFinished,
    HookResult,
    IHookRunner,
    Reason,
    State,
    StateChanged,
)

#: Seconds that a model is left alone after its first failure; doubled by each
#: further one.
FIRST_PAUSE = 1.0

#: The longest such pause, in seconds.
LONGEST_PAUSE = 60.0


def pauseAfter(failures: int) -> float:
    """
    How long to leave a model alone.

    @param failures: how often it has failed in a row, at least once.
    @return: seconds.
    """
    return float(min(FIRST_PAUSE * 2 ** min(failures - 1, 16), LONGEST_PAUSE))


@frozen
class Errand:
    """
    Why a model is woken or put to sleep, as its hooks are told.

    @ivar peer: the model switched from or to, or the empty string.
    """

    reason: Reason
    peer: str = ""


class _Inputs(Protocol):
    """
    What the machine can be told.  All return L{None}, so all may be given
    re-entrantly.
    """

    def probe(self) -> None:
        "Find out whether the model is awake already."

    def wake(self) -> None:
        "Bring an idle model up."

    def abandon(self) -> None:
        "Break off a wake that is not wanted any more."

    def drain(self) -> None:
        "Take nothing new, with a view to sleep."

    def keep(self) -> None:
        "Go on after all, where that is still possible."

    def check(self) -> None:
        "Find out whether an awake model is still alive."

    def sleep(self) -> None:
        "Nothing is in flight any more: put it to sleep."

    def clear(self) -> None:
        "An operator says that a stuck model holds nothing."

    def _succeeded(self) -> None:
        "The hook succeeded."

    def _failed(self) -> None:
        "The hook failed."

    def _paused(self) -> None:
        "The hook succeeded, but the model is to be left alone for a while."

    def _timeUp(self) -> None:
        "The pause is over."


@define(eq=False)
class ResidencyCore:
    """
    What the machine of one model works with.

    @ivar told: called with each change of state, after it.
    @ivar hookEnded: called with the end of each hook.
    @ivar failures: how often in a row the model could not be woken.
    @ivar resting: whether the model is to be left alone for a while once it
        is asleep.
    @ivar doubtful: what L{failures} was when the model woke, until it has
        answered a request.
    @ivar sleepFailures: how often in a row it could not be put to sleep.
    @ivar doubts: how often in a row C{alive} has failed while it was awake.
    @ivar patience: how often it may.
    """

    config: ModelConfig
    hooks: IHookRunner
    clock: IReactorTime
    told: Callable[[StateChanged], None]
    hookEnded: Callable[[HookFinished], None]
    errand: Errand = field(default=Errand(Reason.RECOVER), init=False)
    state: State = field(default=State.UNKNOWN, init=False)
    since: float = field(default=0.0, init=False)
    wokenAt: float = field(default=0.0, init=False)
    address: str = field(default="", init=False)
    failures: int = field(default=0, init=False)
    resting: bool = field(default=False, init=False)
    doubtful: int | None = field(default=None, init=False)
    sleepFailures: int = field(default=0, init=False)
    doubts: int = field(default=0, init=False)
    patience: int = field(default=1, init=False)
    lastError: str = field(default="", init=False)
    retryAt: float | None = field(default=None, init=False)
    halted: bool = field(default=False, init=False)
    running: Hook | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _changes: deque[StateChanged] = field(factory=deque, init=False)
    _acting: bool = field(default=False, init=False)
    _telling: bool = field(default=False, init=False)

    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.since = self.clock.seconds()
        self.address = self.config.address

    def enter(self, state: State) -> None:
        """
        Publish a state.  It is told when the machine is at rest again.
        """
        now = self.clock.seconds()
        change = StateChanged(self.config.name, self.state, state, now - self.since)
        self.state = state
        self.since = now
        if state is State.ASLEEP or state is State.COOLING:
            self.address = self.config.address
        self._changes.append(change)

    def act(self, step: Callable[[], None]) -> None:
        """
        Give the machine an input, and tell what came of it once the machine
        is at rest: whoever is told may move this model or others at once.
        """
        if self._acting:
            step()
            return
        self._acting = True
        try:
            step()
        finally:
            self._acting = False
        if self._telling:
            return
        self._telling = True
        try:
            while self._changes:
                self.told(self._changes.popleft())
        finally:
            self._telling = False

    def run(
        self,
        hook: Hook,
        attempt: int,
        succeeded: Callable[[HookResult], None],
        failed: Callable[[], None],
    ) -> None:
        """
        Run a hook and turn its outcome into an input.
        """
        call = HookCall(
            self.config.name,
            hook,
            self.errand.reason,
            self.errand.peer,
            attempt,
            self.address,
        )
        started = self.clock.seconds()
        self.running = hook

        def ended(error: str) -> None:
            self.running = None
            # What a clean-up cleans up after is what an operator wants to know.
            if hook is Hook.WAKE or (
                hook is Hook.SLEEP and (error or not self.resting)
            ):
                self.lastError = error
            self.hookEnded(
                HookFinished(
                    call.model,
                    hook,
                    call.reason,
                    attempt,
                    self.clock.seconds() - started,
                    error,
                )
            )

        def good(result: HookResult) -> None:
            if result.address is not None:
                self.address = result.address
            ended("")
            self.act(lambda: succeeded(result))

        def bad(why: Failure) -> None:
            error = why.value
            if not isinstance(error, HookFailed):
                self.log.failure(
                    "while running the {hook} hook of {model}",
                    why,
                    hook=hook.value,
                    model=call.model,
                )
                ended("the hook could not be run")
            else:
                ended(error.why)
            self.act(failed)

        maybeDeferred(self.hooks.run, call).addCallbacks(good, bad).addErrback(
            lambda why: self.log.failure(
                "after a hook of {model}", why, model=call.model
            )
        )

    def pause(self, failures: int, then: Callable[[], None]) -> None:
        """
        Have the machine go on after a while.
        """
        if self.halted:
            return
        delay = pauseAfter(failures)

        def over() -> None:
            self._timer = self.retryAt = None
            self.act(then)

        self.retryAt = self.clock.seconds() + delay
        self._timer = self.clock.callLater(delay, over)

    def stopPause(self) -> None:
        """
        Forget a pause, if there is one.
        """
        timer, self._timer, self.retryAt = self._timer, None, None
        if timer is not None:
            timer.cancel()


def _machine() -> TypeMachineBuilder[_Inputs, ResidencyCore]:
    builder = TypeMachineBuilder(_Inputs, ResidencyCore)

    # What each state starts when it is entered.

    def toProbing(inputs: _Inputs, core: ResidencyCore) -> None:
        core.run(Hook.ALIVE, 1, lambda _: inputs._succeeded(), inputs._failed)

    def toAsleep(inputs: _Inputs, core: ResidencyCore) -> None:
        core.stopPause()
        core.sleepFailures = 0
        core.enter(State.ASLEEP)

    def toWaking(inputs: _Inputs, core: ResidencyCore) -> None:
        def failed() -> None:
            # One that was broken off has done nothing wrong.
            if core.state is State.WAKING:
                core.failures += 1
                core.resting = True
                core.errand = Errand(Reason.RECOVER)
            inputs._failed()

        core.resting = False
        core.enter(State.WAKING)
        core.run(Hook.WAKE, core.failures + 1, lambda _: inputs._succeeded(), failed)

    def toAbandoning(inputs: _Inputs, core: ResidencyCore) -> None:
        core.enter(State.SLEEPING)
        core.hooks.stop(core.config.name)

    def toAwake(inputs: _Inputs, core: ResidencyCore) -> None:
        if core.state in (State.WAKING, State.UNKNOWN):
            core.wokenAt = core.clock.seconds()
            # One that was found awake has proved itself by its C{alive}.
            woken = core.state is State.WAKING
            core.doubtful = core.failures if woken else None
            core.failures = core.doubts = 0
        core.enter(State.AWAKE)

    def toChecking(inputs: _Inputs, core: ResidencyCore) -> None:
        def alive(_: HookResult) -> None:
            core.doubts = 0
            inputs._succeeded()

        def failed() -> None:
            core.doubts += 1
            if core.doubts < core.patience:
                inputs._succeeded()
            else:
                inputs._failed()

        core.errand = Errand(Reason.RECOVER)
        core.enter(State.CHECKING)
        core.run(Hook.ALIVE, core.doubts + 1, alive, failed)

    def toDraining(inputs: _Inputs, core: ResidencyCore) -> None:
        core.enter(State.DRAINING)

    def toFailing(inputs: _Inputs, core: ResidencyCore) -> None:
        # One that dies before it has answered anything is no better than one
        # that could not be woken, and must not be woken in a tight circle.
        young = core.clock.seconds() - core.wokenAt < LONGEST_PAUSE
        if core.doubtful is not None and young:
            core.failures = core.doubtful + 1
            core.resting = True
        core.errand = Errand(Reason.RECOVER)
        core.enter(State.DRAINING)

    def toSleeping(inputs: _Inputs, core: ResidencyCore) -> None:
        def succeeded(_: HookResult) -> None:
            core.sleepFailures = 0
            if core.resting and not core.halted:
                inputs._paused()
            else:
                inputs._succeeded()

        def failed() -> None:
            core.sleepFailures += 1
            inputs._failed()

        if core.state is not State.SLEEPING:
            core.enter(State.SLEEPING)
        core.run(Hook.SLEEP, core.sleepFailures + 1, succeeded, failed)

    def toCooling(inputs: _Inputs, core: ResidencyCore) -> None:
        core.pause(core.failures, inputs._timeUp)
        core.enter(State.COOLING)

    def toStuck(inputs: _Inputs, core: ResidencyCore) -> None:
        core.errand = Errand(Reason.RECOVER)
        core.pause(core.sleepFailures, inputs._timeUp)
        core.enter(State.STUCK)

    unknown = builder.state("unknown")
    probing = builder.state("probing", toProbing)
    asleep = builder.state("asleep", toAsleep)
    waking = builder.state("waking", toWaking)
    abandoning = builder.state("abandoning", toAbandoning)
    awake = builder.state("awake", toAwake)
    checking = builder.state("checking", toChecking)
    draining = builder.state("draining", toDraining)
    failing = builder.state("failing", toFailing)
    sleeping = builder.state("sleeping", toSleeping)
    cooling = builder.state("cooling", toCooling)
    stuck = builder.state("stuck", toStuck)

    # What follows what.

    unknown.upon(_Inputs.probe).to(probing).returns(None)
    probing.upon(_Inputs._succeeded).to(awake).returns(None)
    probing.upon(_Inputs._failed).to(asleep).returns(None)

    asleep.upon(_Inputs.wake).to(waking).returns(None)
    waking.upon(_Inputs._succeeded).to(awake).returns(None)
    waking.upon(_Inputs._failed).to(sleeping).returns(None)
    waking.upon(_Inputs.abandon).to(abandoning).returns(None)
    abandoning.upon(_Inputs._succeeded).to(sleeping).returns(None)
    abandoning.upon(_Inputs._failed).to(sleeping).returns(None)

    awake.upon(_Inputs.drain).to(draining).returns(None)
    draining.upon(_Inputs.keep).to(awake).returns(None)
    draining.upon(_Inputs.sleep).to(sleeping).returns(None)
    awake.upon(_Inputs.check).to(checking).returns(None)
    checking.upon(_Inputs._succeeded).to(awake).returns(None)
    checking.upon(_Inputs._failed).to(failing).returns(None)
    # What is dead does not go on, whoever asks for it.
    failing.upon(_Inputs.keep).loop().returns(None)
    failing.upon(_Inputs.sleep).to(sleeping).returns(None)

    sleeping.upon(_Inputs._succeeded).to(asleep).returns(None)
    sleeping.upon(_Inputs._paused).to(cooling).returns(None)
    sleeping.upon(_Inputs._failed).to(stuck).returns(None)
    cooling.upon(_Inputs._timeUp).to(asleep).returns(None)
    stuck.upon(_Inputs._timeUp).to(sleeping).returns(None)
    stuck.upon(_Inputs.clear).to(asleep).returns(None)

    return builder


ResidencyMachine: Callable[[ResidencyCore], _Inputs] = _machine().build()


class Residency:
    """
    One model: where it is, and the means to move it.

    Nothing here waits: each method starts something, and what becomes of it
    is told through the callbacks of the core.
    """

    def __init__(
        self,
        config: ModelConfig,
        hooks: IHookRunner,
        clock: IReactorTime,
        told: Callable[[StateChanged], None],
        hookEnded: Callable[[HookFinished], None],
    ) -> None:
        self._core = ResidencyCore(config, hooks, clock, told, hookEnded)
        self._machine = ResidencyMachine(self._core)

    @property
    def state(self) -> State:
        """
        What the model is doing.
        """
        return self._core.state

    @property
    def since(self) -> float:
        """
        When it entered its state.
        """
        return self._core.since

    @property
    def wokenAt(self) -> float:
        """
        When it was last woken or adopted.
        """
        return self._core.wokenAt

    @property
    def address(self) -> str:
        """
        The base URL of its server, as far as it is known.
        """
        return self._core.address

    @property
    def retryAt(self) -> float | None:
        """
        When a pause after a failure ends, if there is one.
        """
        return self._core.retryAt

    @property
    def sleepFailures(self) -> int:
        """
        How often in a row it could not be put to sleep.
        """
        return self._core.sleepFailures

    @property
    def failures(self) -> int:
        """
        How often in a row it could not be woken.
        """
        return self._core.failures

    @property
    def lastError(self) -> str:
        """
        Why its last wake or sleep failed, or the empty string.
        """
        return self._core.lastError

    @property
    def hookRuns(self) -> bool:
        """
        Whether one of its hooks is running.
        """
        return self._core.running is not None

    def probe(self) -> None:
        """
        Ask for the first time whether it is alive.
        """
        self._core.act(self._machine.probe)

    def wake(self, errand: Errand) -> None:
        """
        Wake it; it must be C{ASLEEP}.
        """
        self._core.errand = errand
        self._core.act(self._machine.wake)

    def abandon(self) -> None:
        """
        Break off its wake and clean up; it must be C{WAKING}.
        """
        self._core.errand = Errand(Reason.RECOVER)
        self._core.act(self._machine.abandon)

    def drain(self, errand: Errand) -> None:
        """
        Take it out of service, with a view to sleep; it must be C{AWAKE}.
        """
        self._core.errand = errand
        self._core.act(self._machine.drain)

    def keep(self) -> None:
        """
        Put it back in service if it is draining and is not dead.
        """
        self._core.act(self._machine.keep)

    def sleep(self) -> None:
        """
        Put it to sleep; it must be C{DRAINING} with nothing in flight.
        """
        self._core.act(self._machine.sleep)

    @property
    def doubts(self) -> int:
        """
        How often in a row it has not said that it is alive.
        """
        return self._core.doubts

    def check(self, patience: int = 1) -> None:
        """
        Ask whether it is alive; it must be C{AWAKE}.

        @param patience: how often in a row it may fail to say so before it is
            taken for dead.
        """
        self._core.patience = patience
        self._core.act(self._machine.check)

    def clear(self) -> None:
        """
        Take an operator's word that it holds nothing; it must be C{STUCK}.
        """
        self._core.act(self._machine.clear)

    def answered(self) -> None:
        """
        It has answered a request: its wake was a success.
        """
        self._core.doubtful = None

    def configure(self, config: ModelConfig) -> None:
        """
        Go by another configuration from here on.
        """
        self._core.config = config
        if not self._core.state.holdsResources:
            self._core.address = config.address

    def retry(self) -> None:
        """
        End a pause after a failure now, as if there had been none before: what
        failed may be another thing now.
        """
        if self._core.retryAt is not None:
            self._core.stopPause()
            self._core.failures = self._core.sleepFailures = 0
            self._core.act(self._machine._timeUp)

    def halt(self) -> None:
        """
        Try nothing again from here on: llmux is stopping.
        """
        self._core.halted = True
        self._core.stopPause()
