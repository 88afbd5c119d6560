"""
Tests for L{llmux.config._yaml}.
"""

from __future__ import annotations

import math
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from llmux.config._tree import Tree
from llmux.config._yaml import _explained, readYAML
from llmux.errors import ConfigError
from llmux.test.test_config_tree import plain


class YAMLTests(SynchronousTestCase):
    """
    Tests for L{readYAML} with PyYAML's parser in Python.
    """

    loader: Any = yaml.SafeLoader

    def value(self, text: str) -> object:
        """
        What a document holds, in which nothing must be wrong.
        """
        tree = Tree("f")
        readYAML(text, tree, self.loader)
        self.assertEqual(tree.problems, [])
        return plain(tree.root)

    def wrong(self, text: str) -> str:
        """
        What is wrong with a document.
        """
        tree = Tree("f")
        try:
            readYAML(text, tree, self.loader)
        except ConfigError as error:
            return str(error)
        return "\n".join(str(problem) for problem in tree.problems)

    def test_words(self) -> None:
        """
        Plain words are what YAML 1.2 says.
        """
        for text, value in {
            "~": None,
            "null": None,
            "true": True,
            "False": False,
            "yes": "yes",
            "off": "off",
            "12": 12,
            "-3": -3,
            "010": 10,
            "0o10": 8,
            "0x1F": 31,
            "1.5": 1.5,
            "1.": 1.0,
            ".5": 0.5,
            "1e3": 1000.0,
            "-.inf": -math.inf,
            "1_000": "1_000",
            "1:30": "1:30",
            "2026-11-23": "2026-11-23",
            "...x": "...x",
            "7b": "7b",
            "'12'": "12",
            '"true"': "true",
            "!!str 12": "12",
            "! 12": "12",
            "|\n  a\n  b": "a\nb\n",
        }.items():
            self.assertEqual(self.value(f"- {text}\n"), [value], text)
        self.assertIn("nan", repr(self.value("- .nan")))

    def test_keys(self) -> None:
        """
        Keys are text, whatever they look like.
        """
        self.assertEqual(
            self.value("1: a\nyes: b\n~: c\n3.10: d\n? e\n'<<': f"),
            {"1": "a", "yes": "b", "~": "c", "3.10": "d", "e": None, "<<": "f"},
        )

    def test_aliases(self) -> None:
        """
        An alias is what its anchor is at, be that text, a key, a list or a
        mapping, and mappings can be merged.
        """
        self.assertEqual(
            self.value("a: &x 1\nb: *x\nc: &y {d: *x}\ne: {<<: *y, f: 2}\n&k g: *k\n"),
            {"a": 1, "b": 1, "c": {"d": 1}, "e": {"d": 1, "f": 2}, "g": "g"},
        )
        self.assertEqual(self.value("!!map {a: !!seq []}"), {"a": []})

    def test_empty(self) -> None:
        """
        A document without content is nothing.
        """
        tree = Tree("f")
        readYAML("# nothing\n", tree, self.loader)
        self.assertIsNone(tree.root)

    def test_refused(self) -> None:
        """
        What is not YAML, or not needed of it, is refused with its line.
        """
        for text, wrong in [
            ("a: 1\n*x : 2", "f:2: *x stands for nothing"),
            ("a: &x b\n*x : 2", "f:2: an alias cannot be a key"),
            ("\na: &x [*x]", "f:2: *x stands within what it stands for"),
            ("a:\n  [1]: 2", "f:2: a key must be text"),
            ("a: 1\n---\nb: 2", "f:2: a second document begins here"),
            ("a: !!python/name:os.system x", "f:1: a: the tag !!python/name:os.system"),
            ("- !x [1]", "f:1: [0]: the tag !x has no use"),
            ("a: 1\na: 2", "f:2: a: this key is there already, on line 1"),
            ("a:\n\tb: 1", "f:2: there is a tab before the text"),
            ("a: b: c", "f:1: not valid YAML: mapping values are not allowed"),
            ("a: 1\n\0", "f:2: there is a character, U+0000,"),
            ("a: \ud800", "f:1: there is a character, U+D800,"),
            ("a: '\n\nb", "f:3: not valid YAML"),
            ("'a\n\n", "that begins on line 1)"),
            ("- " * 999, "f:1: lists and mappings are nested"),
            ("a: " + "9" * 9999, "f:1: a: this number has too many digits"),
        ]:
            self.assertIn(wrong, self.wrong(text), text[:40])

    def test_bomb(self) -> None:
        """
        Aliases of aliases of aliases are refused before they fill memory.
        """
        lines = ["a0: &a0 x"]
        lines += (
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)
        )
        self.assertIn("holds too much", self.wrong("\n".join(lines)))


class FastYAMLTests(YAMLTests):
    """
    The same with PyYAML's parser in C.
    """

    loader: Any = getattr(yaml, "CSafeLoader", None)
    if loader is None:
        skip = "this PyYAML was built without libyaml"


class ExplainedTests(SynchronousTestCase):
    """
    Tests for what is said of PyYAML's errors.
    """

    def test_unmarked(self) -> None:
        """
        An error without a place is told as it is.
        """
        self.assertEqual(
            _explained("", yaml.YAMLError("odd")), (None, "not valid YAML: odd")
        )

    def test_beyond(self) -> None:
        """
        An error after the last line is told, and so is what was being read
        though not where that began.
        """
        mark = yaml.Mark("f", 0, 9, 0, "", 0)
        error = yaml.MarkedYAMLError("reading", None, "odd", mark)
        self.assertEqual(_explained("a", error), (10, "not valid YAML: odd (reading)"))
