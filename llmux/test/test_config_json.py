"""
Tests for L{llmux.config._json}.
"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.config._json import readJSON
from llmux.config._tree import Tree
from llmux.errors import ConfigError
from llmux.test.test_config_tree import plain

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
    max_leaves=20,
)


class JSONTests(SynchronousTestCase):
    """
    Tests for L{readJSON}.
    """

    def wrong(self, text: str) -> str:
        """
        What is wrong with a document.
        """
        tree = Tree("f")
        try:
            readJSON(text, tree)
        except ConfigError as error:
            return str(error)
        return "\n".join(str(problem) for problem in tree.problems)

    @settings(deadline=None)
    @given(_VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
    def test_asTheModule(self, value: object, indent: int | None, ascii: bool) -> None:
        """
        What is read is what the json module reads, however it is written.
        """
        tree = Tree("f")
        readJSON(json.dumps(value, indent=indent, ensure_ascii=ascii), tree)
        self.assertEqual(plain(tree.root), value)
        self.assertEqual(tree.problems, [])

    def test_lines(self) -> None:
        """
        Values know their lines, whatever brackets stand in text.
        """
        tree = Tree("f")
        readJSON('{"a":\n "}]\\"\\n{",\n\t"b": [1,\r\n 2]}', tree)
        assert tree.root is not None and isinstance(tree.root.value, dict)
        items = tree.root.value
        self.assertEqual([item.line for item in items.values()], [1, 3])
        self.assertEqual(items["a"].node.line, 2)
        parts = items["b"].node.value
        assert isinstance(parts, list)
        self.assertEqual([part.line for part in parts], [3, 4])

    def test_refused(self) -> None:
        """
        What is not JSON, or cannot be used, is told with its line.
        """
        for text, wrong in [
            ('{"a": 1,\n}', "f:2: not valid JSON"),
            ("{'a': 1}", "f:1: not valid JSON"),
            ("// no\n{}", "f:1: not valid JSON"),
            ("[" * 100_000, "f: lists and objects are nested too deep"),
            ("[" * 40 + "]" * 40, "f:1: lists and mappings are nested"),
            ('{"a": 1,\n"a": 2}', "f:2: a: this key is there already, on line 1"),
            ('{"a":\nNaN}', "f:2: a: NaN is not a number in JSON"),
            ("[-Infinity]", "f:1: [0]: -Infinity is not a number in JSON"),
            ("[\n" + "9" * 9999 + "]", "f:2: [0]: this number has too many digits"),
            ('["\\ud800"]', "f:1: [0]: there is half of a surrogate pair"),
            ('{"\\ud800": 1}', "f:1: there is half of a surrogate pair"),
        ]:
            self.assertIn(wrong, self.wrong(text), text[:40])
