# -*- test-case-name: llmux.test.test_service,llmux.test.test_reload -*-
# mypy: allow-untyped-calls
"""
Everything put together: as a service for any Twisted program, and as a
program of its own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from llmux.config import Config
from llmux.descriptors import Descriptors
from llmux.errors import CannotStart, ConfigError
from llmux.files import keepFiles, raiseFileLimit
from llmux.hooks import HookOutput, ShellHooks
from llmux.interfaces import IHookRunner, IObserver, ISwitchPolicy
from llmux.listening import Listening, endpointOf
from llmux.observe._rendering import Rendering
from llmux.observe.access import accessLogs
from llmux.observe.account import Accounts, IAccountant
from llmux.observe.log import EventLog, Louder
from llmux.observe.metrics import Metrics
from llmux.observe.status import Status
from llmux.observe.timeline import Timeline
from llmux.observe.tracing import tracesFor
from llmux.pace import Collections, boundEvents
from llmux.policies import find
from llmux.record import Recorder
from llmux.reload import ISource, Reloaded, Reloader, differences
from llmux.switching.switcher import Switcher
from llmux.web._backend import Backends
from llmux.web.control import Control
from llmux.web.exchange import Context
from llmux.web.lane import Lane
from llmux.web.resource import ProxyResource
from llmux.web.site import ProxySite

#: The exit status when an address is not to be had, as in C{sysexits.h}.
UNAVAILABLE = 69


class Multiplexer(Service):
    """
    llmux without a port: for programs that have one.

    Start it like any service; mount L{resource} where you like; use
    L{switcher} to hold a model awake for work of your own.

    @ivar config: the configuration.
    @ivar switcher: queues, tokens and switches.
    @ivar resource: an C{IResource} with everything that llmux serves.
    @ivar metrics: what C{/metrics} shows.
    @ivar descriptors: sees to it that file descriptors are left, for a
        L{ProxySite} and for ports that are given to it.
    """

    log = Logger()
    _lane: Lane | None = None

    def __init__(
        self,
        config: Config,
        reactor: Any,
        *,
        policy: ISwitchPolicy | None = None,
        hooks: IHookRunner | None = None,
        environment: Mapping[str, str] | None = None,
        observers: Sequence[IObserver] = (),
        accountants: Sequence[IAccountant] = (),
        prefix: bytes = b"",
        verbose: bool = False,
        tracerProvider: Any = None,
    ) -> None:
        """
        @param config: as from L{llmux.config.load}.
        @param reactor: the caller's.
        @param policy: instead of the one that the configuration names.
        @param hooks: instead of the configuration's shell scripts.
        @param environment: what hooks inherit; by default, that of this
            process.
        @param observers: are told of all events, too.
        @param accountants: are told of each request that is over, too.
        @param prefix: where L{resource} is going to be, if not at the root.
        @param verbose: whether details are logged at the level of news.
        @param tracerProvider: OpenTelemetry's, if the program has one: what
            happens becomes spans of it.
        @raise ConfigError: there is no policy of the name that is configured,
            or traces are asked for and OpenTelemetry is not installed.
        """
        self.config = self._first = config
        self._reactor = reactor
        self._ownPolicy = policy is None
        if policy is None:
            policy = policyNamed(config.policy.name)
        self.output = HookOutput(reactor, Louder() if verbose else Logger())
        self.descriptors = descriptors = Descriptors(reactor)
        self._shell: ShellHooks | None = None
        if hooks is None:
            hooks = self._shell = ShellHooks(
                reactor,
                config,
                os.environ if environment is None else environment,
                self.output,
                descriptors=descriptors,
            )
        self.switcher = Switcher(config, hooks, policy, reactor)
        self.metrics = Metrics(
            config.models,
            self.switcher.costs,
            self.switcher.snapshot,
            lambda: descriptors.isShort,
        )
        self._rendering = Rendering(self.metrics, reactor)
        traces = tracesFor(config.traces, reactor, tracerProvider)
        self._accountants = [*accessLogs(config, reactor), *traces]
        self._backends = Backends(config, reactor, descriptors=descriptors)
        self._status = status = Status(config, self.switcher.snapshot, reactor)
        timeline = Timeline(self.switcher.snapshot, reactor)
        self._control = Control(
            config, self.switcher, status, timeline, self.output, reactor
        )
        for observer in (
            # First: no connection may be used after its model has left.
            self._backends,
            self.metrics,
            EventLog(Louder() if verbose else Logger()),
            status,
            timeline,
            self._control.feed,
            *traces,
            *observers,
        ):
            self.switcher.addObserver(observer)
        self.resource = ProxyResource(
            Context(
                config,
                self.switcher,
                self._backends,
                reactor,
                Accounts(self.metrics, *self._accountants, *accountants),
                traces=traces[0] if traces else None,
            ),
            self._renderMetrics,
            prefix,
            int(reactor.seconds()),
            self._control,
        )
        self.switcher.whenReconfigured(self._follow)

    def reconfigure(self, config: Config) -> Reloaded:
        """
        Go by another configuration from here on, without a break.

        See L{Switcher.reconfigure} for what that is for models.  C{port},
        C{host}, C{listen} and C{lane} are for those who listen.

        @raise ConfigError: there is no policy of the name that is configured;
            nothing has changed.
        @raise ShuttingDown: it is stopping.
        """
        before = self.config
        policy = None
        if self._ownPolicy and config.policy.name != before.policy.name:
            policy = policyNamed(config.policy.name)
        changes = self.switcher.reconfigure(config, policy)
        self.config = config
        return differences(self._first, before, config, changes)

    def reloadBy(self, reload: Callable[[], Deferred[Reloaded]]) -> None:
        """
        Have operators who ask for it have the configuration read again.
        """
        self._control.reload = lambda: reload().addCallback(Reloaded.document)

    def _follow(self, whole: Config, served: Config) -> None:
        """
        Have all who go by the configuration go by another.
        """
        if self._shell is not None:
            self._shell.config = whole
        self._backends.config = self._status.config = self._control.config = whole
        if self._lane is not None:
            self._lane.backends.config = whole
        self._control.served = served
        self._control.feed.changed()
        self.metrics.show(whole.models)
        context = self.resource.context
        context.config = served
        context.access.follow(served)

    def _renderMetrics(self) -> Any:
        return self._rendering.render(len(self.config.models))

    def startService(self) -> None:
        """
        Find out what is awake, and begin.

        @raise CannotStart: there can be no C{access_log}.
        """
        super().startService()
        for accountant in self._accountants:
            accountant.start()
        self.switcher.start().addErrback(
            lambda why: self.log.failure("while starting", why)
        )

    def stopService(self) -> Deferred[None]:
        """
        Take nothing new, let what is in flight end, and leave no hook running.

        @return: fires when all that is done.
        """
        super().stopService()
        held = sum(view.inFlight for view in self.switcher.snapshot().models.values())
        if held:
            self.log.info(
                "Stopping; {count} requests are in flight and may end. "
                "A second signal ends them at once.",
                event="stopping",
                count=held,
            )
        stopped = self.switcher.stop(sleepAwake=self.config.on_exit == "sleep")
        return stopped.addCallback(self._stopped)

    def lane(self, below: bytes = b"/") -> Lane:
        """
        A shorter way to what L{resource} serves, for a L{ProxySite}.  To be
        called once.

        @param below: how all paths begin that are L{resource}'s, such as
            C{b"/v1/"}.  It must be there without a prefix.
        """
        self._lane = Lane(self.resource.context, self.resource.serves, below)
        return self._lane

    def _stopped(self, result: None) -> Deferred[None]:
        if self._lane is not None:
            self._lane.close()
        self._control.close()
        self._backends.close()
        self.descriptors.close()
        if self._shell is not None:
            self._shell.closePipes()
        told = [maybeDeferred(accountant.stop) for accountant in self._accountants]
        return gatherResults(told).addCallback(lambda _: None)

    def hurry(self) -> None:
        """
        While stopping: end at once what is in flight and what hooks run.
        """
        self.log.warn("Ending at once what is in flight.", event="hurried")
        self.switcher.hurry()
        if self._shell is not None:
            self._shell.killAll()


def policyNamed(name: str) -> ISwitchPolicy:
    """
    Make a policy.

    @raise ConfigError: there is none of that name.
    """
    try:
        return find(name)()
    except LookupError as error:
        raise ConfigError.one(str(error.args[0]), "policy.name") from None


class Program(MultiService):
    """
    llmux as a program of its own: it has ports, and it heeds signals.
    """

    _reloader: Reloader | None = None

    def __init__(
        self,
        config: Config,
        reactor: Any,
        verbose: bool = False,
        source: ISource | None = None,
        record: str | None = None,
    ) -> None:
        """
        @param source: where the configuration comes from, if it may be read
            again.
        @param record: the file to which what is asked for is recorded.
        @raise ConfigError: the policy or an endpoint is not to be had.
        @raise CannotRecord: the file is not to be had.
        """
        super().__init__()
        self._reactor = reactor
        self._recorder = None if record is None else Recorder(record, reactor)
        self.multiplexer = Multiplexer(
            config,
            reactor,
            verbose=verbose,
            accountants=[] if self._recorder is None else [self._recorder],
        )
        resource = self.multiplexer.resource
        self._site = site = ProxySite(
            resource,
            reactor,
            config.limits,
            resource.context.access.isKnown,
            self.multiplexer.descriptors,
        )
        if config.lane == "on":
            site.protocol = self.multiplexer.lane().protocol  # type: ignore[assignment]
        hasKeys = bool(config.api_keys)
        self._listening = [
            Listening(reactor, description, site, hasKeys)
            for description in config.listen or (endpointOf(config),)
        ]
        for listening in self._listening:
            self.addService(listening)
        self.addService(self.multiplexer)
        if source is not None:
            self._reloader = Reloader(source, self._follow, reactor, config.watch)
            self.multiplexer.reloadBy(self._reloader.reload)
            self.addService(self._reloader)

    def startService(self) -> None:
        """
        Start, with as many open files as are allowed.

        @raise CannotListen: an address is not to be had.
        """
        keepFiles()
        raiseFileLimit()
        super().startService()

    def _follow(self, config: Config) -> Reloaded:
        found = self.multiplexer.reconfigure(config)
        self._site.limit(config.limits)
        for listening in self._listening:
            listening.follow(bool(config.api_keys))
        return found

    def stopService(self) -> Deferred[Any]:
        """
        Stop; a second signal ends at once what the first let end.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            # Twisted does no more at a second signal than to log it.
            signal.signal(number, self._signalled)
        stopped: Deferred[Any] = super().stopService()
        return stopped.addBoth(self._closed)

    def _closed(self, result: Any) -> Any:
        if self._reloader is not None:
            self._reloader.close()
        if self._recorder is None:
            return result
        # What the last request was is told in this turn of the reactor yet.
        turn: Deferred[Any] = deferLater(self._reactor, 0, self._recorder.close)
        return turn.addCallback(lambda _: result)

    def _signalled(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self.multiplexer.hurry)


class TwistProgram(Program):
    """
    The same for C{twist}, which has a traceback for whatever goes wrong while
    services start.
    """

    def startService(self) -> None:
        """
        Start, or say in a line why not, and exit.
        """
        # This process is llmux's own, and so is its reactor.
        boundEvents(self._reactor)
        self._collections = Collections(self._reactor)
        try:
            super().startService()
        except CannotStart as error:
            # Logging has not begun.
            sys.stderr.write(f"{error}\n")
            raise SystemExit(UNAVAILABLE) from None
        # Before there is anybody who would be held up.
        self._collections.start()

    def stopService(self) -> Any:
        """
        See L{Program.stopService}.
        """
        self._collections.stop()
        return super().stopService()
