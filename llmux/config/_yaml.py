# -*- test-case-name: llmux.test.test_config_yaml -*-
"""
Reads YAML by PyYAML's parser.

What plain words mean is the core schema of YAML 1.2, as in most programs but
PyYAML itself: C{yes} and C{off} are text, C{1:30} is text, C{1e3} is a number,
and a date is text.  PyYAML's own loaders are not used: they keep the last of
duplicate keys, forget lines, and fill in aliases without limit.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from llmux.config._tree import Node, Scalar, Tree

__all__ = ()

# The parser in C is some ten times as fast, and not always there.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_STR = "tag:yaml.org,2002:str"
#: Tags that say what is so without them.
_NEEDLESS = ("!", _STR, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
#: What PyYAML refuses without saying in which line.
_NOT_ALLOWED = re.compile(
    "[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def plain(text: str) -> Scalar:
    """
    What a plain scalar is.

    @raise ValueError: if it is a number with more digits than can be.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


def readYAML(text: str, tree: Tree, loader: Any = _Loader) -> None:
    """
    Tell a tree what stands in a YAML document.

    @raise llmux.errors.ConfigError: if it is none.
    """
    control = _NOT_ALLOWED.search(text)
    if control is not None:
        raise tree.error(
            text.count("\n", 0, control.start()) + 1,
            f"there is a character, U+{ord(control.group()):04X}, that YAML does not "
            "allow",
        )
    try:
        _Reader(tree).read(text, loader)
    except yaml.YAMLError as error:
        raise tree.error(*_explained(text, error)) from None


class _Reader:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        # By anchor; None while what it stands for is not at its end.
        self.anchors: dict[str, Node | None] = {}
        self.open: list[tuple[str | None, Node]] = []
        self.documents = 0

    def read(self, text: str, loader: Any) -> None:
        tree = self.tree
        event: Any
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent):
                self.scalar(line, event)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self.begin(line, event)
            elif isinstance(event, yaml.CollectionEndEvent):
                tree.end()
                anchor, node = self.open.pop()
                self.remember(anchor, node)
            elif isinstance(event, yaml.AliasEvent):
                self.alias(line, event.anchor)
            elif isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise tree.error(
                        line, "a second document begins here; there can be only one"
                    )

    def remember(self, anchor: str | None, node: Node | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node

    def scalar(self, line: int, event: Any) -> None:
        tree, text = self.tree, event.value
        isPlain = event.tag is None and bool(event.implicit[0])
        if tree.wantsKey:
            # A key is a name, whatever else it looks like.
            tree.key(line, text, merge=isPlain and text == "<<")
            self.remember(event.anchor, Node(line, text))
            return
        value: Scalar = text
        if isPlain:
            try:
                value = plain(text)
            except ValueError:
                tree.problem(line, "this number has too many digits")
        else:
            self.refuseTag(line, event.tag)
        self.remember(event.anchor, tree.scalar(line, value))

    def begin(self, line: int, event: Any) -> None:
        if self.tree.wantsKey:
            raise self.tree.error(line, "a key must be text")
        self.refuseTag(line, event.tag)
        isMapping = isinstance(event, yaml.MappingStartEvent)
        node = self.tree.begin(line, {} if isMapping else [])
        self.remember(event.anchor, None)
        self.open.append((event.anchor, node))

    def refuseTag(self, line: int, tag: str | None) -> None:
        if tag is not None and tag not in _NEEDLESS:
            name = tag.replace("tag:yaml.org,2002:", "!!")
            self.tree.problem(line, f"the tag {name} has no use here; leave it out")

    def alias(self, line: int, anchor: str | None) -> None:
        tree = self.tree
        if anchor is None or anchor not in self.anchors:
            raise tree.error(
                line, f"*{anchor} stands for nothing: no &{anchor} is above"
            )
        node = self.anchors[anchor]
        if node is None:
            raise tree.error(line, f"*{anchor} stands within what it stands for")
        if tree.wantsKey:
            raise tree.error(line, "an alias cannot be a key; write the key out")
        tree.repeat(node)


def _explained(text: str, error: yaml.YAMLError) -> tuple[int | None, str]:
    """
    @return: the line, and what is wrong there.
    """
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return None, f"not valid YAML: {error}"
    line = error.problem_mark.line + 1
    lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", text)
    here = lines[line - 1] if line <= len(lines) else ""
    if re.match(" *\t", here):
        return line, "there is a tab before the text; YAML wants spaces there"
    what = f"not valid YAML: {error.problem}"
    if error.context:
        what += f" ({error.context}"
        if error.context_mark is not None:
            what += f" that begins on line {error.context_mark.line + 1}"
        what += ")"
    return line, what
