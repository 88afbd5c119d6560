# -*- test-case-name: llmux.test.test_commands -*-
# mypy: allow-untyped-calls
"""
What the options of all commands have in common.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TextIO, TypeVar

from twisted.python import usage

from llmux._version import __version__
from llmux.commands._client import ClientError, Server, serverAt

__all__ = ()

#: Exit statuses, as in C{sysexits.h} but for the second.
OK, FAILED, USAGE = 0, 1, 64

#: That of a program that Ctrl-C ended.
INTERRUPTED = 130

#: Where llmux is unless somebody says otherwise.
DEFAULT_URL = "http://127.0.0.1:3000"


_WHERE = (
    "Where llmux is: http://HOST:PORT, https://... or unix:/PATH; otherwise "
    f"$LLMUX_URL, and else {DEFAULT_URL}."
)


class CommandOptions(usage.Options):
    """
    Options with help that is worth reading.

    @cvar examples: command lines, and what they do.
    """

    examples: Sequence[tuple[str, str]] = ()

    def __init__(self) -> None:
        super().__init__()
        # Some are taken from docstrings, line breaks and all.
        self.docs = {name: " ".join(text.split()) for name, text in self.docs.items()}

    def opt_version(self) -> None:
        """
        Print the version of llmux, and exit.
        """
        print(f"llmux {__version__}", file=sys.stdout)
        sys.exit(0)

    def getUsage(self, width: int | None = None) -> str:
        """
        The help text.
        """
        lines = [super().getUsage(width).rstrip("\n")]
        if self.examples:
            lines += ["", "Examples:"]
            for line, what in self.examples:
                lines += [f"  {line}", f"      {what}"]
        return "\n".join([*lines, ""])


class ClientOptions(CommandOptions):
    """
    Options of what talks to a llmux that runs.

    @ivar server: that.
    """

    optParameters = [
        [
            "url",
            "u",
            None,
            _WHERE,
        ],
    ]

    server: Server

    def postOptions(self) -> None:
        """
        See where llmux is.

        @raise usage.UsageError: that is no address.
        """
        url = self["url"] or os.environ.get("LLMUX_URL") or DEFAULT_URL
        try:
            self.server = serverAt(url, os.environ.get("LLMUX_API_KEY") or None)
        except ValueError as error:
            raise usage.UsageError(str(error)) from None


class ModelOptions(ClientOptions):
    """
    Options of what is about one model.
    """

    def parseArgs(self, *models: str) -> None:
        """
        Take the model's name.

        @raise usage.UsageError: none is named, or more than one.
        """
        if len(models) != 1 or not models[0]:
            raise usage.UsageError("name one model; llmux status lists them")
        self["model"] = models[0]


SomeOptions = TypeVar("SomeOptions", bound=usage.Options)


def command(
    options: SomeOptions,
    arguments: Sequence[str],
    act: Callable[[SomeOptions, TextIO], int | None],
) -> int:
    """
    Parse a command line and do what it says.

    @param act: called with the options and the standard output.
    @return: the exit status.
    """
    try:
        options.parseOptions(list(arguments))
        return act(options, sys.stdout) or OK
    except usage.UsageError as error:
        print(f"llmux: {error}", file=sys.stderr)
        return USAGE
    except ClientError as error:
        print(f"llmux: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED
