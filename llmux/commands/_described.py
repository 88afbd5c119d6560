# -*- test-case-name: llmux.test.test_commands_completion -*-
# mypy: allow-untyped-calls
"""
What the help of all commands says, as data: for completion, and for the
manual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.python import usage

from llmux.commands._table import COMMANDS, Command

__all__ = ()

#: Options whose value is a file.
FILES = {"config", "trace", "costs", "picture", "llama-cpp"}

#: What commands are told beside options: a C{model}, a C{shell} or a
#: C{folder}.
OPERANDS = {
    "wake": "model",
    "sleep": "model",
    "clear": "model",
    "logs": "model",
    "completion": "shell",
    "init": "folder",
}

#: The shells that can complete.
SHELLS = ("bash", "zsh", "fish")

#: Serving, which has no name of its own.
SERVE = Command(
    "Serve models behind one address, and switch between them.",
    "llmux.cli",
    "ServeOptions",
)


@frozen
class Option:
    """
    An option.

    @ivar short: its short form, or the empty string.
    @ivar takes: whether it takes a value.
    @ivar text: what it does.
    """

    name: str
    short: str
    takes: bool
    text: str

    @property
    def isFile(self) -> bool:
        """
        Whether its value is a file.
        """
        return self.name in FILES


@frozen
class Described:
    """
    A command.

    @ivar name: empty for serving.
    @ivar synopsis: how it is called.
    @ivar text: what it does, at length.
    @ivar operand: what it is told beside options, if anything.
    """

    name: str
    summary: str
    synopsis: str
    text: str
    options: Sequence[Option]
    examples: Sequence[tuple[str, str]]
    operand: str


def described() -> list[Described]:
    """
    @return: serving, and then all commands.
    """
    return [
        _described(name, command) for name, command in {"": SERVE, **COMMANDS}.items()
    ]


def _described(name: str, command: Command) -> Described:
    options: Any = command.makeOptions()
    return Described(
        name,
        command.summary,
        str(options.synopsis),
        str(options.longdesc),
        _options(options),
        getattr(options, "examples", ()),
        OPERANDS.get(name, ""),
    )


def _options(options: usage.Options) -> list[Option]:
    found = []
    for long in sorted(options.longOpt):
        name = long.rstrip("=")
        short = next(
            (
                other
                for other, meant in options.synonyms.items()
                if meant == name and len(other) == 1
            ),
            "",
        )
        takes = long.endswith("=")
        text = options.docs.get(name, "").strip()
        default = options.defaults.get(name) if takes else None
        if default is not None and "[default" not in text:
            text += f" [default: {default}]"
        found.append(Option(name, short, takes, text))
    return found
