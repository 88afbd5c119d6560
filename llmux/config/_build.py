# -*- test-case-name: llmux.test.test_config_build -*-
"""
Makes values of what a file holds: any attrs class whose fields have a key.

A library for this (cattrs, msgspec, pydantic) would either stop at the first
error, not know the line, or turn C{"8001"} and C{true} into numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from attrs import define, field, has

from llmux.config._keys import Entry, entries
from llmux.config._texts import badName, nearest, shown, within
from llmux.config._tree import Item, Node
from llmux.config._words import immense, inline, kindOf, missing, outside
from llmux.errors import Problem

__all__ = ()

#: Problems after which no more suggestions are thought about.
_PATIENCE = 100

# No $ in it, so that what is never closed is not looked through again and again.
_REFERENCE = re.compile(r"\$\{env:([^$}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_Section = TypeVar("_Section")


class _Flawed(Exception):
    """
    There is no value; a problem has been noted.
    """


@define(eq=False)
class Builder:
    """
    Makes values, and notes all that is wrong on the way.

    @ivar file: the name of the file, for problems.
    @ivar environment: what C{${env:NAME}} stands for.  None of its values
        gets into a problem.
    @ivar problems: what was wrong.
    @ivar flawed: the names of the keys in whose values something was wrong,
        so that nothing is to be concluded from them.
    """

    file: str
    environment: Mapping[str, str]
    problems: list[Problem] = field(factory=list, init=False)
    flawed: set[str] = field(factory=set, init=False)

    def problem(self, line: int, where: str, what: str) -> None:
        """
        Note a problem.
        """
        self.problems.append(Problem(where, what, self.file, line))

    def section(
        self, kind: type[_Section], node: Node, where: str, **more: Any
    ) -> _Section:
        """
        Make a section of the file.

        @param kind: an attrs class.
        @param more: its fields that are not read from the file.
        @return: made of what is right in the file.  In the place of the rest
            there are defaults, or the empty string where there are none.
        """
        keys = entries(kind)
        content = self._mapping(node, where)
        for name, item in content.items():
            if name not in keys:
                self._unknown(name, item.line, kind, where)
        values = dict(more)
        for name, entry in keys.items():
            path = within(where, name)
            if name in content:
                try:
                    values[name] = self._value(entry, content[name], path)
                    continue
                except _Flawed:
                    self.flawed.add(name)
            elif entry.required:
                self.problem(node.line, path, missing(entry))
                self.flawed.add(name)
            if entry.required:
                values[name] = _nothing(entry.type)
        return kind(**values)

    def _mapping(self, node: Node, where: str) -> Mapping[str, Item]:
        if isinstance(node.value, dict):
            return node.value
        # A section of which all keys are commented out is null in YAML.
        if node.value is not None:
            what = f"must be keys with values, not {kindOf(node.value)}"
            self.problem(node.line, where, what)
        return {}

    def _unknown(self, name: str, line: int, kind: type, where: str) -> None:
        """
        Note that there is no such key, and what may have been meant.
        """
        what = "unknown key"
        if len(self.problems) < _PATIENCE:
            near = nearest(name, entries(kind))
            homes = [
                section
                for section, entry in entries(kind).items()
                if has(entry.type) and name in entries(entry.type)
            ]
            if near:
                # What is missing there is no reason for a problem of its own.
                self.flawed.add(near)
                what += f', did you mean "{near}"?'
            elif homes:
                what += f', it belongs in "{homes[0]}"'
            else:
                what += f"; there are: {', '.join(entries(kind))}"
        self.problem(line, within(where, name), what)

    def _value(self, entry: Entry, item: Item, where: str) -> object:
        kind, node = entry.type, item.node
        if get_origin(kind) is UnionType:
            if node.value is None:
                return None
            kind = get_args(kind)[0]
        origin = get_origin(kind)
        if origin is tuple:
            inner = get_args(kind)[0]
            if has(inner) and isinstance(node.value, dict):
                return self._named(entry, inner, node, where)
            return self._list(entry, node, where)
        if entry.key.listed is not None:
            if isinstance(node.value, list):
                return self._listed(entry, get_args(kind)[1], node.value, where)
            if node.value is not None and not isinstance(node.value, dict):
                what = f"must be keys with values, or a list, not {kindOf(node.value)}"
                self.problem(node.line, where, what)
                raise _Flawed
        if has(kind) or origin is not None:
            if not isinstance(node.value, dict) and node.value is not None:
                self.flawed.add(entry.name)
            if has(kind):
                return self.section(kind, node, where)
            return self._named(entry, get_args(kind)[1], node, where)
        return self._scalar(entry, kind, node, where)

    def _list(self, entry: Entry, node: Node, where: str) -> tuple[object, ...]:
        if node.value is None:
            return ()
        if not isinstance(node.value, list):
            example = entry.key.example
            self.problem(
                node.line,
                where,
                f"must be a list such as {inline(example)}, not {kindOf(node.value)}",
            )
            raise _Flawed
        found = []
        for index, part in enumerate(node.value):
            try:
                found.append(self._text(entry, part, f"{where}[{index}]"))
            except _Flawed:
                # The others keep their places, by which they are found again.
                found.append("")
        return tuple(found)

    def _listed(
        self, entry: Entry, kind: Any, parts: list[Node], where: str
    ) -> dict[str, object]:
        """
        Sections of which only one key is said, named by their places.
        """
        assert entry.key.listed is not None
        name, more = entry.key.listed
        found: dict[str, object] = {}
        for index, part in enumerate(parts):
            place = str(index + 1)
            try:
                text = self._text(entries(kind)[name], part, f"{where}[{index}]")
            except _Flawed:
                self.flawed.add(entry.name)
            else:
                found[place] = kind(**{"name": place, name: text, **more})
        return found

    def _named(
        self, entry: Entry, kind: Any, node: Node, where: str
    ) -> dict[str, object]:
        """
        Values under names that the user chose.
        """
        found: dict[str, object] = {}
        for name, item in self._mapping(node, where).items():
            path = within(where, name)
            wrong = badName(name)
            if not wrong and kind is object and entry.key.complaint is not None:
                wrong = entry.key.complaint(name)
            if wrong:
                self.problem(item.line, path, wrong)
                self.flawed.add(entry.name)
            elif has(kind) and (
                isinstance(item.node.value, dict) or not entry.key.short
            ):
                # The line of the name is where what is missing would stand.
                inner = Node(item.line, item.node.value)
                found[name] = self.section(kind, inner, path, name=name)
            else:
                try:
                    found[name] = self._short(entry, kind, item, name, path)
                except _Flawed:
                    self.flawed.add(entry.name)
        return found

    def _short(
        self, entry: Entry, kind: Any, item: Item, name: str, where: str
    ) -> object:
        """
        A value that is no section, or what it is short for.
        """
        if not has(kind):
            return self._scalar(entry, kind, item.node, where)
        short = entries(kind)[entry.key.short]
        value = self._value(short, item, where)
        return kind(**{"name": name, short.name: value})

    def _scalar(self, entry: Entry, kind: Any, node: Node, where: str) -> object:
        if kind is str:
            return self._text(entry, node, where)
        if kind is bool:
            return self._truth(node, where)
        if kind is object:
            return self._plain(node, where)
        return self._number(entry, kind, node, where)

    def _plain(self, node: Node, where: str) -> object:
        """
        Any value, as JSON has it.
        """
        value = node.value
        if isinstance(value, dict):
            return {
                name: self._plain(item.node, within(where, name))
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [
                self._plain(part, f"{where}[{index}]")
                for index, part in enumerate(value)
            ]
        if isinstance(value, str):
            return self._replaced(value, node.line, where)
        wrong = ""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            wrong = immense(value)
        if wrong:
            self.problem(node.line, where, wrong)
            raise _Flawed
        return value

    def _truth(self, node: Node, where: str) -> bool:
        if isinstance(node.value, bool):
            return node.value
        what = f"must be true or false, not {kindOf(node.value)}"
        self.problem(node.line, where, what)
        raise _Flawed

    def _number(self, entry: Entry, kind: Any, node: Node, where: str) -> int | float:
        value = node.value
        what = "a whole number" if kind is int else "a number"
        allowed = (int,) if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, allowed):
            wrong = f"must be {what}, not {kindOf(value)}"
            if isinstance(value, str):
                if "${env:" in value:
                    wrong += ", which ${env:...} always is"
                elif re.fullmatch(r"\s*[-+]?[0-9.]+\s*", value):
                    wrong += "; leave the quotes out"
        else:
            wrong = outside(entry, value)
        if wrong:
            self.problem(node.line, where, wrong)
            raise _Flawed
        assert isinstance(value, (int, float))
        return value if kind is int else float(value)

    def _text(self, entry: Entry, node: Node, where: str) -> str:
        if not isinstance(node.value, str):
            wrong = f"must be text, not {kindOf(node.value)}"
            if isinstance(node.value, (bool, int, float)):
                wrong += "; put it in quotes"
            self.problem(node.line, where, wrong)
            raise _Flawed
        text = self._replaced(node.value, node.line, where)
        key = entry.key
        if not text.strip():
            wrong = "must not be empty"
        elif key.choices and text not in key.choices:
            # As it stands in the file: not what was in the environment.
            wrong = (
                f'must be one of {", ".join(key.choices)}, not "{shown(node.value)}"'
            )
        else:
            wrong = key.complaint(text) if key.complaint is not None else ""
        if wrong:
            self.problem(node.line, where, wrong)
            raise _Flawed
        return text

    def _replaced(self, text: str, line: int, where: str) -> str:
        """
        Put what is in the environment in the place of C{${env:NAME}}.
        """
        if "${env:" not in text:
            return text
        wrong: list[str] = []

        def valueOf(match: re.Match[str]) -> str:
            name = match.group(1)
            if not _VARIABLE.fullmatch(name):
                wrong.append(
                    f"${{env:{shown(name)}}} does not name an environment variable"
                )
                return ""
            value = self.environment.get(name)
            if value is None:
                wrong.append(
                    f"the environment variable {shown(name)} is not set; set it before "
                    "llmux is started"
                )
                return ""
            try:
                value.encode()
            except UnicodeEncodeError:
                wrong.append(f"the environment variable {shown(name)} is not UTF-8")
            return value

        replaced = _REFERENCE.sub(valueOf, text)
        if "${env:" in _REFERENCE.sub("", text):
            wrong.append("${env: is without its closing }")
        for what in dict.fromkeys(wrong):
            self.problem(line, where, what)
        if wrong:
            raise _Flawed
        return replaced


def _nothing(kind: Any) -> object:
    """
    What stands for a value that is not right.
    """
    if get_origin(kind) is not None:
        return {}
    return 0.0 if kind is float else ""
