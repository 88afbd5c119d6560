# -*- test-case-name: llmux.test.test_cli -*-
# mypy: allow-untyped-calls
"""
The command line: C{llmux} serves, C{llmux check} and the like do what their
names say.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python import usage

from llmux.commands._table import COMMANDS, NoSuchCommand, commandNamed
from llmux.errors import ConfigError, LLMuxError
from llmux.tap import USAGE, Options


class ServeOptions(Options):
    """
    The options of C{llmux} itself.
    """

    synopsis = "llmux [options]"

    def getUsage(self, width: int | None = None) -> str:
        """
        The help text, with the sub-commands.
        """
        lines = [
            f"  llmux {name:10} {command.summary}" for name, command in COMMANDS.items()
        ]
        more = "Each has a --help of its own."
        return "\n".join([super().getUsage(width), "Commands:", *lines, "", more, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command.

    @param arguments: as after the name of the program.
    @return: the exit status.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["help"]:
        given = [*given[1:2], "--help"]
    if given and not given[0].startswith("-"):
        try:
            status = commandNamed(given[0]).run(given[1:])
            sys.stdout.flush()
            return status
        except NoSuchCommand as error:
            print(error, file=sys.stderr)
            return USAGE
        except BrokenPipeError:
            # Whoever read it has read enough.  Python flushes once more at the
            # end.
            sys.stdout = _Nowhere()
            return 0
    options = ServeOptions()
    try:
        options.parseOptions(given)
    except usage.UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    return serve(options)


class _Nowhere:
    """
    A file that takes everything.
    """

    def __getattr__(self, name: str) -> Any:
        return lambda *given: None


def serve(options: Options) -> int:
    """
    Serve until a signal comes.

    @return: the exit status.
    """
    from twisted.internet import reactor

    from llmux.service import UNAVAILABLE, Program

    beginLogging(bool(options["verbose"]))
    try:
        program = Program(
            options.configuration,
            reactor,
            bool(options["verbose"]),
            options.source,
            options["record"],
        )
        program.startService()
    except LLMuxError as error:
        print(error, file=sys.stderr)
        return USAGE if isinstance(error, ConfigError) else UNAVAILABLE
    return runReactor(reactor, program)


def beginLogging(verbose: bool) -> None:
    """
    Log to the standard error stream, where nothing else goes.
    """
    level = LogLevel.debug if verbose else LogLevel.info
    observer = FilteringLogObserver(
        textFileLogObserver(sys.stderr),
        [LogLevelFilterPredicate(defaultLogLevel=level)],
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def runReactor(reactor: Any, program: Any) -> int:
    """
    Run until a signal comes, let the program stop, and end by the same
    signal, so that whoever started it sees why it ended.
    """
    received: list[int] = []

    def signalled(number: int, frame: object) -> None:
        received.append(number)
        reactor.callFromThread(reactor.stop)

    def heed() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signalled)

    reactor.addSystemEventTrigger("before", "shutdown", program.stopService)
    reactor.callWhenRunning(heed)
    reactor.run()
    if received:
        sys.stderr.flush()
        signal.signal(received[0], signal.SIG_DFL)
        os.kill(os.getpid(), received[0])
    return 0
