# -*- test-case-name: llmux.test.test_config_reference -*-
"""
The reference of all keys, made from the classes that the reader uses::

    python -m llmux.config.reference            # the page, in reStructuredText
    python -m llmux.config.reference --schema   # the JSON Schema for editors
    python -m llmux.config.reference --write    # both into this checkout
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, TextIO, get_args, get_origin

import yaml
from attrs import has

from llmux.config._keys import Entry, Key, entries
from llmux.config._schema import plainValue, schemaText
from llmux.config._values import Config

__all__ = ["main", "reference", "write"]

_INTRODUCTION = """\
.. Made by: python -m llmux.config.reference --write.  Do not edit it here; the
   texts stand beside the fields in llmux/config/_values.py.

Configuration reference
=======================

The configuration is one file: YAML if its name ends in ``.yaml`` or ``.yml``, JSON otherwise.
Plain words in YAML mean what YAML 1.2 says: ``yes`` and ``off`` are text, not truth values.
Anchors, aliases and ``<<`` may be used.

A key that llmux does not know, a key that stands twice, or a value of the wrong kind is an error, which names the file, the line and the key.
All errors are told at once, and llmux does not start.

In any text, ``${env:NAME}`` is replaced by the environment variable of that name, which must be set.
In hooks, the shell's own ``$NAME`` is the better way.

Relative paths in hooks are seen from the folder of the file.
A hook that is nothing but the path of a program, with plain arguments or without, must name one that is there and can be executed.

For help while you type, put the JSON Schema of these keys beside the file and name it to your editor in the first line:

.. code-block:: sh

   python -m llmux.config.reference --schema > config.schema.json

.. code-block:: yaml

   # yaml-language-server: $schema=./config.schema.json
"""


def reference() -> str:
    """
    @return: the page, in reStructuredText.
    """
    return _INTRODUCTION + "".join(_section(Config, ()))


def _section(kind: type, path: tuple[str, ...]) -> Iterator[str]:
    """
    @param path: the keys under which the section stands.
    """
    for entry in entries(kind).values():
        yield from _entry(entry, (*path, entry.name))
        inner = _innerSection(entry.type)
        if inner is not None:
            under = (inner is not entry.type) * ("NAME",)
            yield from _section(inner, (*path, entry.name, *under))


def _innerSection(kind: Any) -> type | None:
    """
    The section that a value is, or that each of its values is.
    """
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and has(one):
            return one
    return None


def _entry(entry: Entry, path: tuple[str, ...]) -> Iterator[str]:
    heading = f"``{'.'.join(path)}``"
    yield f"\n{heading}\n{('-~^' + '.' * 9)[len(path) // 2] * len(heading)}\n"
    yield f"\n{entry.key.about}\n"
    yield f"\n:Value: {_kind(entry.type, entry.key)}\n"
    if _innerSection(entry.type) is not entry.type:
        yield f":Default: {_default(entry)}\n"
    yield "\n.. code-block:: yaml\n\n"
    for line in example(entry, path).splitlines():
        yield f"   {line}\n"


#: Names to stand for C{NAME}, by the key above it.
_NAMES = {"aliases": "llama:creative", "api_keys": "alice", "resources": "gpu0"}


def example(entry: Entry, path: Sequence[str]) -> str:
    """
    @return: how the key may stand in a file, in YAML.
    """
    content: Any = entry.key.example
    for above, name in reversed(list(pairwise(("", *path)))):
        content = {_NAMES.get(above, "llama") if name == "NAME" else name: content}
    text: str = yaml.safe_dump(content, sort_keys=False, width=1000)
    return text


def _kind(kind: Any, key: Key) -> str:
    if get_origin(kind) is UnionType:
        return f"{_kind(get_args(kind)[0], key)}; or ``null``"
    if _innerSection(kind) is kind:
        return "a section with the keys below"
    if get_origin(kind) is tuple:
        if has(get_args(kind)[0]):
            return "a list of texts, or names, each with a section of the keys below"
        return "a list of texts"
    if get_origin(kind) is not None:
        inner = get_args(kind)[1]
        if key.short:
            short = entries(inner)[key.short]
            return (
                f"names, each with {_kind(short.type, short.key)}, or with a section "
                "of the keys below"
            )
        if has(inner):
            named = "names, each with a section of the keys below"
            return f"{named}; or a list of texts" if key.listed else named
        if inner is object:
            return "names, each with any value"
        return f"names, each with {_kind(inner, key)}"
    if kind is bool:
        return "``true`` or ``false``"
    if kind is str:
        return " or ".join(f"``{one}``" for one in key.choices) or "a text"
    return _number(kind, key)


def _number(kind: type, key: Key) -> str:
    what = "a whole number" if kind is int else "a number"
    if key.unit:
        what += f" of {key.unit}"
    # The largest durations and sizes are out of anybody's way.
    if key.low is not None and key.high is not None and key.high < 1e6:
        return f"{what} from {key.low:g} to {key.high:.10g}"
    if key.low is not None:
        return f"{what}, {key.low:g} or more"
    if key.above is not None:
        return f"{what}, more than {key.above:g}"
    return what


def _default(entry: Entry) -> str:
    if entry.required:
        return "none; it must be given"
    if entry.key.default:
        return entry.key.default
    value = plainValue(entry.value)
    if isinstance(value, bool):
        return "``true``" if value else "``false``"
    return f"``{value}``"


def write(root: Path) -> None:
    """
    Write the reference and the schema to where they belong in a checkout.
    """
    docs = root / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "configuration.rst").write_text(reference(), "utf-8")
    (root / "llmux" / "config.schema.json").write_text(schemaText(), "utf-8")


def main(arguments: Sequence[str], out: TextIO, root: Path | None = None) -> int:
    """
    Print the reference or the schema, or write both.

    @param root: the checkout; the one that this module is in by default.
    @return: the exit status.
    """
    if not arguments:
        out.write(reference())
    elif list(arguments) == ["--schema"]:
        out.write(schemaText())
    elif list(arguments) == ["--write"]:
        write(root or Path(__file__).parents[2])
    else:
        out.write("usage: python -m llmux.config.reference [--schema | --write]\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout))
