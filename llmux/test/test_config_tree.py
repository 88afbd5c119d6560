"""
Tests for L{llmux.config._tree}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.config._tree import DEEPEST, MOST, Item, Node, Tree
from llmux.errors import ConfigError


def plain(node: Node | None) -> object:
    """
    What a tree holds, without lines.
    """
    assert node is not None
    if isinstance(node.value, dict):
        return {name: plain(item.node) for name, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(part) for part in node.value]
    return node.value


class TreeTests(SynchronousTestCase):
    """
    Tests for L{Tree}.
    """

    def setUp(self) -> None:
        """
        Make a tree.
        """
        self.tree = Tree("f")

    def test_nested(self) -> None:
        """
        Keys, lists and values come to lie where they were told, with lines.
        """
        tree = self.tree
        self.assertFalse(tree.wantsKey)
        tree.begin(1, {})
        self.assertTrue(tree.wantsKey)
        tree.key(2, "a")
        self.assertFalse(tree.wantsKey)
        tree.begin(3, [])
        tree.scalar(4, True)
        tree.scalar(5, "x")
        tree.end()
        tree.end()
        self.assertEqual(plain(tree.root), {"a": [True, "x"]})
        assert tree.root is not None and isinstance(tree.root.value, dict)
        line, node = tree.root.value["a"]
        self.assertEqual((line, node.line), (2, 3))
        self.assertEqual(tree.root.size, 4)

    def test_duplicate(self) -> None:
        """
        Of two equal keys the second is a problem, and is not kept.
        """
        tree = self.tree
        tree.begin(1, {})
        for line in (1, 2):
            tree.key(line, "a.b")
            tree.scalar(line, line)
        tree.key(3, "c")
        tree.scalar(3, 3)
        tree.end()
        self.assertEqual(plain(tree.root), {"a.b": 1, "c": 3})
        self.assertEqual(
            [str(problem) for problem in tree.problems],
            ['f:2: "a.b": this key is there already, on line 1'],
        )

    def test_merge(self) -> None:
        """
        What is merged into a mapping is there under keys that it has not
        itself, whichever came first.
        """
        tree = self.tree
        one = Node(1, {"a": Item(1, Node(1, 1)), "b": Item(1, Node(1, 1))})
        two = Node(2, {"b": Item(2, Node(2, 2)), "c": Item(2, Node(2, 2))})
        tree.begin(3, {})
        tree.key(3, "<<", merge=True)
        tree.repeat(Node(3, [one, two]))
        tree.key(4, "a")
        tree.scalar(4, 4)
        tree.key(5, "<<", merge=True)
        tree.scalar(5, "x")
        tree.end()
        self.assertEqual(plain(tree.root), {"a": 4, "b": 1, "c": 2})
        self.assertEqual(
            [str(problem) for problem in tree.problems],
            ['f:5: "<<": only mappings can be merged'],
        )

    def test_deep(self) -> None:
        """
        What is nested too deep is refused when it is begun.
        """
        for _ in range(DEEPEST):
            self.tree.begin(1, [])
        with self.assertRaises(ConfigError) as caught:
            self.tree.begin(7, [])
        self.assertIn("f:7: lists and mappings are nested", str(caught.exception))

    def test_much(self) -> None:
        """
        What is repeated counts as often as it is; so do long texts.
        """
        self.tree.begin(1, [])
        node = self.tree.scalar(1, "x" * 100 * (MOST // 4))
        self.tree.repeat(node)
        self.tree.repeat(node)
        with self.assertRaises(ConfigError) as caught:
            self.tree.repeat(node)
        self.assertIn("holds too much", str(caught.exception))

    def test_where(self) -> None:
        """
        A problem says where in lists and mappings it is, and an error tells
        the problems before it, too.
        """
        self.tree.begin(1, {})
        self.tree.key(1, "a")
        self.tree.begin(1, [])
        self.tree.scalar(1, 0)
        self.tree.problem(2, "odd")
        self.assertEqual(str(self.tree.error(None, "bad")), "f:2: a[1]: odd\nf: bad")
