# -*- test-case-name: llmux.test.test_reload -*-
# mypy: allow-untyped-calls
"""
The configuration read again while llmux runs: at a signal, when an operator
asks for it, or when its file has changed.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from attrs import asdict, fields, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.config import Config
from llmux.descriptors import isShortage
from llmux.errors import ConfigError, LLMuxError, ShuttingDown
from llmux.interfaces import Changes

__all__ = ["ISource", "Reloaded", "Reloader", "differences"]

#: The keys that count when llmux starts, and not before it starts again.
AT_START = ("port", "host", "listen", "lane", "access_log", "traces")

#: Seconds in which those who have asked are told that llmux stops.
FAREWELL = 0.05

#: Seconds between two looks at a file.
INTERVAL = 1.0

#: How often it is tried again if there are no file descriptors to read it with.
TRIES = 30


class ISource(Protocol):
    """
    Where a configuration comes from.
    """

    @property
    def path(self) -> str:
        """
        The file.
        """

    def read(self) -> Config:
        """
        Read it.  May be called in any thread.

        @raise ConfigError: if anything is wrong with it.
        """


@frozen
class Reloaded:
    """
    What another configuration has changed.

    @ivar added: models that were not there.
    @ivar removed: models that are put to sleep for good.
    @ivar changed: models that are treated otherwise from now on.
    @ivar pending: models that change when they next sleep.
    @ivar settings: other keys whose values hold from now on.
    @ivar restart: keys whose values hold when llmux is started again.
    """

    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    changed: Sequence[str] = ()
    pending: Sequence[str] = ()
    settings: Sequence[str] = ()
    restart: Sequence[str] = ()

    def document(self) -> dict[str, list[str]]:
        """
        @return: the same, ready for JSON.
        """
        return {name: list(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        told = [
            f"{name}: {', '.join(value)}"
            for name, value in self.document().items()
            if value
        ]
        return "; ".join(told) or "nothing has changed"


def differences(
    first: Config, before: Config, after: Config, changes: Changes
) -> Reloaded:
    """
    @param first: the configuration with which llmux started.
    @param before: that which held.
    @param after: that which holds now.
    @param changes: what became of models.
    """
    names = [one.name for one in fields(Config) if one.init and one.name != "models"]
    return Reloaded(
        changes.added,
        changes.removed,
        changes.changed,
        changes.pending,
        [
            name
            for name in names
            if name not in AT_START and getattr(before, name) != getattr(after, name)
        ],
        [name for name in AT_START if getattr(first, name) != getattr(after, name)],
    )


class Reloader(Service):
    """
    Reads a configuration again.

    @ivar follow: has another configuration hold.
    """

    log = Logger()

    def __init__(
        self,
        source: ISource,
        follow: Callable[[Config], Reloaded],
        reactor: Any,
        watches: bool = False,
    ) -> None:
        """
        @param watches: whether to look at the file all the time.
        """
        self._source = source
        self._follow = follow
        self._reactor = reactor
        self._watches = watches
        self._timer: IDelayedCall | None = None
        self._loaded = self._seen = self._stamp()
        self._former: Any = None
        self._hasTerminal = False
        self._stopping = False
        # Fires when the file has been read, while it is.
        self._reading: Deferred[None] | None = None
        # Those who have asked since that began.
        self._asked: list[Deferred[Reloaded]] = []

    def reload(self) -> Deferred[Reloaded]:
        """
        Read the file, and have what is in it hold, if nothing is wrong with
        it.

        That is done in a thread, if the reactor has any, so that others are
        served meanwhile.  Who asks while the file is being read has it read
        once more, since what is in it may be newer.

        @return: fires when it holds; it fails with L{ConfigError} if it is
            wrong, and nothing has changed, and with L{ShuttingDown} if llmux
            is stopping.
        """
        if self._stopping:
            return fail(ShuttingDown())
        asked: Deferred[Reloaded] = Deferred()
        if self._reading is None:
            self._read([asked])
        else:
            self._asked.append(asked)
        return asked

    def _read(self, asked: list[Deferred[Reloaded]]) -> None:
        self._reading = Deferred()
        self._loaded = self._stamp()
        read = maybeDeferred(self._inThread, self._config)
        read.addErrback(self._short, TRIES)
        read.addCallback(self._apply).addErrback(self._failed)
        read.addBoth(self._done, asked)

    def _short(self, why: Failure, left: int) -> Any:
        # It is not the file that is wrong.
        if not isShortage(why.value):
            return why
        if self._stopping:
            raise ShuttingDown()
        if not left:
            raise ConfigError.one(
                "there are no file descriptors to read it with", file=self._source.path
            )
        again: Deferred[Any] = deferLater(
            self._reactor, INTERVAL, self._inThread, self._config
        )
        return again.addErrback(self._short, left - 1)

    def _inThread(self, read: Callable[[], Config]) -> Any:
        if not hasattr(self._reactor, "getThreadPool"):
            return read()
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), read)

    def _config(self) -> Config:
        # What is in a pipe has been read, and nothing more might ever come.
        path = self._source.path
        with suppress(OSError, ValueError):
            if stat.S_ISFIFO(os.stat(path).st_mode):
                raise ConfigError.one("a pipe cannot be read again", file=path)
        try:
            os.close(os.open(path, os.O_RDONLY))
        except (OSError, ValueError) as error:
            if isShortage(error):
                raise
        return self._source.read()

    def _failed(self, why: Failure) -> Failure:
        if why.check(LLMuxError) and not why.check(ShuttingDown):
            self.log.error(
                "The configuration is as it was, since what is in {path} cannot be "
                "used: {problem}",
                event="reload_failed",
                path=self._source.path,
                problem=str(why.value),
            )
        return why

    def _done(self, result: Any, asked: list[Deferred[Reloaded]]) -> None:
        for one in asked:
            one.callback(result)
        reading, self._reading = self._reading, None
        asked, self._asked = self._asked, []
        if self._stopping:
            for one in asked:
                one.errback(ShuttingDown())
            if reading is not None:
                self._reactor.callLater(FAREWELL, reading.callback, None)
        elif asked:
            self._read(asked)

    def _apply(self, config: Config) -> Reloaded:
        if self._stopping:
            raise ShuttingDown()
        found = self._follow(config)
        self._watches = config.watch
        self._arm()
        self.log.info(
            "Read {path} again: {changes}",
            event="reloaded",
            path=self._source.path,
            changes=str(found),
            **found.document(),
        )
        if found.restart:
            self.log.warn(
                "What has changed of {restart} holds when llmux is started again.",
                event="restart_needed",
                restart=", ".join(found.restart),
            )
        return found

    def startService(self) -> None:
        """
        Heed the signal, and look at the file.
        """
        super().startService()
        self._stopping = False
        self._hasTerminal = os.isatty(0)
        self._former = signal.signal(signal.SIGHUP, self._signalled)
        self._arm()

    def stopService(self) -> Deferred[None] | None:
        """
        Look no more, and have nothing new hold.

        @return: fires when nothing is being read any more.
        """
        super().stopService()
        self._stopping = True
        self._disarm()
        if self._reading is None:
            return None
        stopped: Deferred[None] = Deferred()
        self._reading.chainDeferred(stopped)
        return stopped

    def close(self) -> None:
        """
        Heed the signal no longer.  Until then it does nothing rather than end
        what llmux has still to do.
        """
        former, self._former = self._former, None
        if former is not None:
            signal.signal(signal.SIGHUP, former)

    def _signalled(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._heed)

    def _heed(self) -> None:
        if self._hasTerminal and not os.isatty(0) and self.running:
            # That was meant by the signal: nobody is there any more.
            self.log.info("The terminal is gone.", event="hung_up")
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._tried()

    def _tried(self) -> None:
        if not self.running:
            return
        told = self.reload()
        # Of what is wrong with the file, that has been said.
        told.addErrback(lambda why: why.trap(LLMuxError))
        told.addErrback(
            lambda why: self.log.failure("while reading the configuration again", why)
        )

    def _arm(self) -> None:
        self._disarm()
        if self._watches and self.running:
            self._timer = self._reactor.callLater(INTERVAL, self._look)

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        before, self._seen = self._seen, self._stamp()
        # Twice the same: whoever writes it has come to an end.
        if self._seen is not None and self._seen == before != self._loaded:
            self._tried()
        self._arm()

    def _stamp(self) -> tuple[int, ...] | None:
        """
        What changes when the file does.
        """
        try:
            found = os.stat(self._source.path)
        except (OSError, ValueError):
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
