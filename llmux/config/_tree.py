# -*- test-case-name: llmux.test.test_config_tree -*-
"""
What a file holds, each part with its line, before anything is made of it.

YAML and JSON both come to this.  It is made from a stream of parts without
recursion, and within limits, so that no file can use up the machine.
"""

from __future__ import annotations

from typing import NamedTuple

from attrs import define, field

from llmux.config._texts import shown, within
from llmux.errors import ConfigError, Problem

__all__ = ()

#: How many lists and mappings may lie within each other.
DEEPEST = 32

#: How much a file may hold, with each alias replaced by what it stands for:
#: a value counts one, and one more for each hundred characters of text.
MOST = 500_000

Scalar = str | int | float | bool | None


class Item(NamedTuple):
    """
    What stands under a key.

    @ivar line: the line of the key.
    """

    line: int
    node: Node


@define(eq=False)
class Node:
    """
    A value in a file.

    @ivar line: where it begins, counted from 1.
    @ivar value: what it is.
    @ivar size: how much it is, as L{MOST} counts.
    """

    line: int
    value: Scalar | list[Node] | dict[str, Item]
    size: int = 1


@define(eq=False)
class _Open:
    """
    A list or mapping that is not at its end yet.
    """

    node: Node
    key: str | None = None
    keyLine: int = 0
    merging: bool = False
    merged: list[Node] = field(factory=list)
    #: Stands for anything under a key that was there before.
    ignored: bool = False


@define(eq=False)
class Tree:
    """
    Is told the parts of a file in their order, and keeps what they make.

    @ivar file: the name of the file, for errors.
    @ivar root: the whole, when all parts were told.
    @ivar problems: what was wrong and did not keep the rest from being read.
    """

    file: str
    root: Node | None = field(default=None, init=False)
    problems: list[Problem] = field(factory=list, init=False)
    _open: list[_Open] = field(factory=list, init=False)
    _size: int = field(default=0, init=False)

    @property
    def wantsKey(self) -> bool:
        """
        Whether the next part is a key, if it is not an end.
        """
        if not self._open:
            return False
        top = self._open[-1]
        return isinstance(top.node.value, dict) and top.key is None

    def key(self, line: int, name: str, merge: bool = False) -> None:
        """
        A key of the mapping that was begun last.

        @param merge: it is YAML's C{<<}: what comes next is a mapping, or a
            list of them, whose keys are put here unless they are here.
        """
        top = self._open[-1]
        top.key, top.keyLine, top.merging, top.ignored = name, line, merge, False
        assert isinstance(top.node.value, dict)
        if not merge and name in top.node.value:
            first = top.node.value[name].line
            self.problem(line, f"this key is there already, on line {first}")
            top.ignored = True

    def scalar(self, line: int, value: Scalar) -> Node:
        """
        A value that is neither list nor mapping.
        """
        node = Node(line, value)
        if isinstance(value, str):
            node.size += len(value) // 100
        self._grow(node)
        self._put(node)
        return node

    def begin(self, line: int, value: list[Node] | dict[str, Item]) -> Node:
        """
        The begin of a list or a mapping, which is given empty.
        """
        if len(self._open) >= DEEPEST:
            raise self.error(line, f"lists and mappings are nested over {DEEPEST} deep")
        node = Node(line, value)
        self._grow(node)
        self._open.append(_Open(node))
        return node

    def end(self) -> None:
        """
        The end of the list or mapping that was begun last.
        """
        top = self._open.pop()
        if isinstance(top.node.value, dict):
            for source in top.merged:
                assert isinstance(source.value, dict)
                for name, item in source.value.items():
                    top.node.value.setdefault(name, item)
        self._put(top.node)

    def repeat(self, node: Node) -> None:
        """
        The same again as what was there before.
        """
        self._grow(node)
        self._put(node)

    def _grow(self, node: Node) -> None:
        self._size += node.size
        if self._size > MOST:
            raise self.error(
                node.line,
                "the file holds too much once each alias (*name) is replaced by what "
                "it stands for",
            )

    def _put(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        top.node.size += node.size
        if isinstance(top.node.value, list):
            top.node.value.append(node)
            return
        assert isinstance(top.node.value, dict) and top.key is not None
        if top.merging:
            self._merge(top, node)
        elif not top.ignored:
            top.node.value[top.key] = Item(top.keyLine, node)
        top.key = None

    def _merge(self, top: _Open, node: Node) -> None:
        sources = node.value if isinstance(node.value, list) else [node]
        for source in sources:
            if isinstance(source.value, dict):
                top.merged.append(source)
            else:
                self.problem(top.keyLine, "only mappings can be merged")

    def problem(self, line: int, what: str) -> None:
        """
        Note what is wrong with the part that is being told.
        """
        self.problems.append(Problem(self.where(), what, self.file, line))

    def where(self) -> str:
        """
        @return: the key path of the part that is being told.
        """
        where = ""
        for level in self._open:
            if isinstance(level.node.value, list):
                where += f"[{len(level.node.value)}]"
            elif level.key is not None:
                where = within(where, level.key)
        return where

    def error(self, line: int | None, what: str) -> ConfigError:
        """
        @return: to be raised if the rest cannot be read; has with it what was
            wrong before.
        """
        problem = Problem("", shown(what, 300), self.file, line)
        return ConfigError([*self.problems, problem])
