# -*- test-case-name: llmux.test.test_commands -*-
"""
Which commands there are.  Their modules are loaded only when they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import cast

from attrs import frozen
from twisted.python import usage

from llmux.errors import LLMuxError

__all__ = ()


class NoSuchCommand(LLMuxError):
    """
    There is no command of that name.
    """


@frozen
class Command:
    """
    A command.

    @ivar summary: a sentence on what it does.
    @ivar module: where its options and what it does are.
    @ivar options: the name of its options there.
    @ivar function: the name of what takes arguments, does it, and returns an
        exit status.
    """

    summary: str
    module: str
    options: str = "Options"
    function: str = "main"

    def makeOptions(self) -> usage.Options:
        """
        Make its options, as they are before arguments are parsed.
        """
        made = getattr(import_module(self.module), self.options)()
        return cast(usage.Options, made)

    def run(self, arguments: Sequence[str]) -> int:
        """
        Do it.

        @return: the exit status.
        """
        status: int = getattr(import_module(self.module), self.function)(arguments)
        return status


def _operator(summary: str, name: str) -> Command:
    return Command(
        summary, "llmux.commands.operate", f"{name.capitalize()}Options", name
    )


#: By name, in the order in which they are listed.
COMMANDS = {
    "init": Command(
        "Write a configuration to begin with.", "llmux.commands.init", "InitOptions"
    ),
    "check": Command(
        "Say what is wrong with a configuration.", "llmux.cli_check", "CheckOptions"
    ),
    "status": _operator("Show what the models of a running llmux do.", "status"),
    "wake": _operator("Wake a model.", "wake"),
    "sleep": _operator("Put a model to sleep.", "sleep"),
    "clear": _operator("Say that a stuck model holds nothing any more.", "clear"),
    "reload": _operator("Have the configuration read again.", "reload"),
    "logs": _operator("Show what the hooks of a model print.", "logs"),
    "events": _operator("Follow what happens.", "events"),
    "completion": Command(
        "Have a shell complete commands, options and models.",
        "llmux.commands.completion",
        "CompletionOptions",
    ),
    "simulate": Command("Try policies on a trace.", "llmux.simulate.cli"),
}


def commandNamed(name: str) -> Command:
    """
    Find a command.

    @raise NoSuchCommand: there is none of that name.
    """
    if name in COMMANDS:
        return COMMANDS[name]
    close = get_close_matches(name, COMMANDS, 1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    raise NoSuchCommand(f"llmux: there is no command {name!r}{hint} See llmux --help.")
