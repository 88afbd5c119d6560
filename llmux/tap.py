# -*- test-case-name: llmux.test.test_tap -*-
# mypy: allow-untyped-calls
"""
The command line of C{twist llmux}, which is that of C{llmux}, too.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from attrs import evolve, frozen
from twisted.application.service import IService
from twisted.python import usage

from llmux._version import __version__
from llmux.checks import load
from llmux.config import Config
from llmux.errors import CannotStart, ConfigError

#: The exit status for a configuration that cannot be used, which is that of
#: C{sysexits.h} for a wrong command line.
USAGE = 64


@frozen
class Source:
    """
    A file, and what the command line puts in the place of parts of it.

    @ivar path: the file.
    """

    path: str
    port: int | None = None
    listen: tuple[str, ...] = ()

    def read(self) -> Config:
        """
        Read it.

        @raise ConfigError: if anything is wrong with it.
        """
        config = load(self.path, os.environ)
        if self.port is not None:
            config = evolve(config, port=self.port, listen=())
        if self.listen:
            listen: Any = self.listen
            config = evolve(config, listen=listen)
        return config


class Options(usage.Options):
    """
    What to serve, and where.

    @ivar configuration: the configuration, with what the command line puts in
        the place of parts of it.
    @ivar source: where it comes from.
    """

    synopsis = "[options]"
    longdesc = (
        "Serves many language models at one OpenAI-compatible address, and calls "
        "your scripts to wake the model that a request names and to put others "
        "to sleep."
    )

    optParameters = [
        ["config", "c", "config.yaml", "The configuration file, YAML or JSON."],
        ["port", "p", None, "The port to listen on, instead of the file's."],
        [
            "record",
            None,
            None,
            (
                "A file to which to append which model is asked for when, and for how "
                "long: a trace for llmux simulate."
            ),
        ],
    ]
    optFlags = [["verbose", "v", "Log details, too."]]

    configuration: Config
    source: Source

    def __init__(self) -> None:
        super().__init__()
        # Taken from docstrings, line breaks and all.
        self.docs = {name: " ".join(text.split()) for name, text in self.docs.items()}
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """
        A Twisted server endpoint to listen on, such as
        "unix:/run/llmux.sock:mode=660", instead of a port.  May be given more
        than once.
        """
        self["listen"].append(endpoint)

    def opt_version(self) -> None:
        """
        Print the version of llmux, and exit.
        """
        print(f"llmux {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        """
        Read the configuration.

        @raise usage.UsageError: it, or the command line, is wrong.
        """
        port = None if self["port"] is None else portFrom(self["port"])
        self.source = Source(self["config"], port, tuple(self["listen"]))
        try:
            self.configuration = self.source.read()
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None


def portFrom(text: str) -> int:
    """
    Read a port number.

    @raise usage.UsageError: it is none.
    """
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise usage.UsageError(f"--port: {text!r} is not a number from 1 to 65535")


def makeService(options: Options, reactor: Any = None) -> IService:
    """
    Make the service that C{twist} runs.
    """
    if reactor is None:
        from twisted.internet import reactor
    from llmux.service import UNAVAILABLE, TwistProgram

    try:
        return TwistProgram(
            options.configuration,
            reactor,
            bool(options["verbose"]),
            options.source,
            options["record"],
        )
    except CannotStart as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(UNAVAILABLE) from None
    except ConfigError as error:
        # C{twist} has a traceback for whatever goes wrong here.
        sys.stderr.write(f"{error}\n")
        raise SystemExit(USAGE) from None
