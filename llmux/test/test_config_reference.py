"""
Tests for L{llmux.config.reference}.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import llmux
from llmux.config import Config
from llmux.config._keys import Entry, entries
from llmux.config._schema import schemaText
from llmux.config.reference import _innerSection, example, main, reference
from llmux.test._config import read

_ROOT = Path(llmux.__file__).parent.parent


def everyEntry(
    kind: type = Config, path: tuple[str, ...] = ()
) -> Iterator[tuple[Entry, tuple[str, ...]]]:
    """
    All keys, and under which others they stand.
    """
    for entry in entries(kind).values():
        here = (*path, entry.name)
        yield entry, here
        inner = _innerSection(entry.type)
        if inner is not None:
            yield from everyEntry(
                inner, here if inner is entry.type else (*here, "NAME")
            )


class ReferenceTests(SynchronousTestCase):
    """
    Tests for the page.
    """

    def test_written(self) -> None:
        """
        The page in the documentation is that of the code.  If not:
        python -m llmux.config.reference --write
        """
        page = _ROOT / "docs" / "configuration.rst"
        if not page.exists():
            raise SkipTest("the documentation is not installed with the package")
        self.assertEqual(page.read_text("utf-8"), reference())

    def test_everyKey(self) -> None:
        """
        Each key has its heading, what it is for, its default and an example.
        """
        page = reference()
        for entry, path in everyEntry():
            heading = f"\n``{'.'.join(path)}``\n"
            self.assertEqual(page.count(heading), 1, heading)
            part = page.partition(heading)[2].partition("\n``")[0]
            self.assertIn(entry.key.about, part)
            self.assertIn(":Value: ", part)
            self.assertIn(".. code-block:: yaml", part)

    def test_examples(self) -> None:
        """
        Each example is taken by the reader, and is not the default.
        """
        hooks = {"wake": "w", "sleep": "s", "alive": "a"}
        for entry, path in everyEntry():
            text = example(entry, path)
            if path[0] == "models":
                missing = [hook for hook in hooks if f"\n    {hook}:" not in text]
                text += "".join(f"    {hook}: x\n" for hook in missing)
            if path[0] == "api_keys" and "key: " not in text:
                text += "    key: x\n"
            if path[0] != "models":
                text += "models: {llama: {wake: w, sleep: s, alive: a}}\n"
            text = text.replace("${env:ALICE_KEY}", "x")
            if path[-1] == "needs":
                text += "resources: {gpu0: 24}\n"
            if path[0] == "resources" and "total" not in text and "NAME" in path:
                text = text.replace("    free", "    total: 1\n    free")
            config = read(text)
            value: object = config
            for name in path:
                if isinstance(value, tuple):
                    value = value[0]
                elif name == "NAME" and path[0] == "resources":
                    value = config.resources["gpu0"]
                elif name == "NAME":
                    value = next(iter(value.values()))  # type: ignore[attr-defined]
                else:
                    value = getattr(value, name)
            self.assertNotEqual(value, entry.value, path)

    def test_words(self) -> None:
        """
        Kinds and defaults are in words.
        """
        page = reference()
        for words in [
            ":Value: a whole number from 1 to 65535\n:Default: ``3000``",
            ":Value: a number of seconds, 0 or more; or ``null``\n:Default: no limit",
            ":Value: a number of megabytes, more than 0\n:Default: ``512``",
            ":Value: ``true`` or ``false``\n:Default: ``true``",
            ":Value: ``true`` or ``false``\n:Default: ``false``",
            ":Value: ``leave`` or ``sleep``\n:Default: ``leave``",
            ":Value: a list of texts\n:Default: none",
            ":Value: names, each with a number, 0 or more",
            ":Value: a text\n:Default: none; it must be given",
            ":Value: a number\n:Default: ``0``",
        ]:
            self.assertIn(words, page)


class CommandTests(SynchronousTestCase):
    """
    Tests for the command.
    """

    def test_printed(self) -> None:
        """
        Without an option it prints the page, and with one the schema.
        """
        for arguments, expected in [([], reference()), (["--schema"], schemaText())]:
            out = StringIO()
            self.assertEqual(main(arguments, out), 0)
            self.assertEqual(out.getvalue(), expected)

    def test_misused(self) -> None:
        """
        What it does not know it answers with its usage and status 2.
        """
        out = StringIO()
        self.assertEqual(main(["--what"], out), 2)
        self.assertIn("usage: ", out.getvalue())

    def test_write(self) -> None:
        """
        It writes both to where they belong in its checkout.
        """
        root = Path(self.mktemp())
        (root / "llmux").mkdir(parents=True)
        self.assertEqual(main(["--write"], StringIO(), root), 0)
        page = root / "docs" / "configuration.rst"
        self.assertEqual(page.read_text("utf-8"), reference())
        schema = root / "llmux" / "config.schema.json"
        self.assertEqual(schema.read_text("utf-8"), schemaText())
