# -*- test-case-name: llmux.test.test_commands_manual -*-
"""
The manual, made from the help of the commands::

    python -m llmux.commands.manual            # for man
    python -m llmux.commands.manual --rst      # for the documentation
    python -m llmux.commands.manual --write    # both into this checkout
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from llmux.commands._described import Described, Option, described

__all__ = ["main", "page", "roff", "write"]

#: What the exit statuses mean.
STATUSES = (
    ("0", "It is done."),
    ("1", "It was refused, or something is wrong with what was checked."),
    ("64", "The command line or the configuration cannot be used."),
    ("65", "A file for a simulation cannot be used."),
    ("69", "An address cannot be listened on, or llmux cannot be reached."),
    ("77", "The key is missing or wrong, or not for that."),
    ("130", "Ctrl-C."),
)

#: What is taken from the environment.
VARIABLES = (
    ("LLMUX_URL", "Where llmux is, for commands that talk to one; --url goes first."),
    ("LLMUX_API_KEY", "The key that they send, where llmux asks for keys."),
)

#: These are said once.
_COMMON = ("help", "version")

_WHAT = "many language models behind one address, woken and put to sleep on demand"


def _options(one: Described) -> Iterator[Option]:
    return (
        option for option in one.options if not one.name or option.name not in _COMMON
    )


def _spelt(option: Option) -> str:
    value = " VALUE" if option.takes else ""
    short = f"-{option.short}, " if option.short else ""
    return f"{short}--{option.name}{value}"


# For man.


def roff() -> str:
    """
    @return: the manual page, as man reads it.
    """
    return "".join(f"{line}\n" for line in _roff())


def _roff() -> Iterator[str]:
    serve, *commands = described()
    yield '.\\" Made by: python -m llmux.commands.manual --write'
    yield ".TH LLMUX 1"
    yield ".SH NAME"
    yield _plain(f"llmux - {_WHAT}")
    yield ".SH SYNOPSIS"
    yield f".B {_plain(serve.synopsis)}"
    yield ".br"
    yield ".B llmux COMMAND"
    yield ".RI [ options ]"
    yield ".SH DESCRIPTION"
    yield _plain(serve.text)
    yield ".PP"
    yield _plain("Commands do what their names say; each has a --help.")
    yield ".SH OPTIONS"
    yield from _roffOptions(serve)
    yield ".SH COMMANDS"
    for one in commands:
        yield f'.SS "{_plain(one.synopsis)}"'
        yield _plain(one.text)
        yield from _roffOptions(one)
        for line, what in one.examples:
            # On one line, however long.
            yield from (".PP", ".nf", f".B {_plain(line)}", ".fi", ".RS 4")
            yield _plain(what)
            yield ".RE"
    for title, rows in (("EXIT STATUS", STATUSES), ("ENVIRONMENT", VARIABLES)):
        yield f'.SH "{title}"'
        for name, what in rows:
            yield from (".TP", f".B {_plain(name)}", _plain(what))
    yield ".SH FILES"
    yield from (
        ".TP",
        ".B config.yaml",
        _plain("The configuration, unless another is named."),
    )


def _roffOptions(one: Described) -> Iterator[str]:
    for option in _options(one):
        yield from (".TP", f".B {_plain(_spelt(option))}", _plain(option.text))


def _plain(text: str) -> str:
    """
    Text that is nothing but text to man.
    """
    safe = text.replace("\\", "\\(rs").replace("-", "\\-").replace('"', "\\(dq")
    # As the shell has it, and not as printers do.
    safe = safe.replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha")
    return f"\\&{safe}" if safe.startswith(".") else safe


# For the documentation.


def page() -> str:
    """
    @return: the page of the documentation, in reStructuredText.
    """
    return "".join(f"{line}\n" for line in _page())


def _page() -> Iterator[str]:
    serve, *commands = described()
    yield ".. Made by: python -m llmux.commands.manual --write.  Do not edit it here."
    yield from ("", "Commands", "========", "")
    yield "The same is in the manual (``man llmux``), and each command has a ``--help``."
    yield from _section(serve, "llmux")
    for one in commands:
        yield from _section(one, f"llmux {one.name}")
    for title, rows in (("Exit status", STATUSES), ("Environment", VARIABLES)):
        yield from ("", title, "-" * len(title), "")
        for name, what in rows:
            yield from (f"``{name}``", f"   {what}")


def _section(one: Described, title: str) -> Iterator[str]:
    yield from ("", title, "-" * len(title), "")
    yield from (
        ".. code-block:: text",
        "",
        f"   {one.synopsis}",
        "",
        _escaped(one.text),
        "",
    )
    for option in _options(one):
        yield from (f"``{_spelt(option)}``", f"   {_escaped(option.text)}")
    for line, what in one.examples:
        yield from ("", _escaped(what), "", ".. code-block:: sh", "", f"   {line}")


def _escaped(text: str) -> str:
    """
    Text that is nothing but text in reStructuredText.
    """
    return "".join(f"\\{one}" if one in "\\`*_|" else one for one in text)


def write(root: Path) -> None:
    """
    Write both to where they belong in a checkout.
    """
    (root / "docs" / "llmux.1").write_text(roff(), "utf-8")
    (root / "docs" / "commands.rst").write_text(page(), "utf-8")


def main(arguments: Sequence[str], output: TextIO, root: Path | None = None) -> int:
    """
    Print the manual, or write it.

    @param root: the checkout; the one that this module is in by default.
    @return: the exit status.
    """
    if not arguments:
        output.write(roff())
    elif list(arguments) == ["--rst"]:
        output.write(page())
    elif list(arguments) == ["--write"]:
        write(Path(__file__).parents[2] if root is None else root)
    else:
        output.write("usage: python -m llmux.commands.manual [--rst | --write]\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout))
