"""
Tests for L{llmux.commands.manual}.
"""

from __future__ import annotations

import subprocess
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import llmux
from llmux.commands import manual
from llmux.commands._described import described
from llmux.commands._table import COMMANDS
from llmux.commands.manual import main, page, roff
from llmux.test._processes import needsPrograms

ROOT = Path(llmux.__file__).parent.parent


class ManualTests(SynchronousTestCase):
    """
    What the manual says.
    """

    def test_written(self) -> None:
        """
        What stands in the documentation is what the help says now.  If not:
        C{python -m llmux.commands.manual --write}.
        """
        docs = ROOT / "docs"
        if not docs.is_dir():
            raise SkipTest("the documentation is not beside the package")
        self.assertEqual((docs / "llmux.1").read_text("utf-8"), roff())
        self.assertEqual((docs / "commands.rst").read_text("utf-8"), page())

    def test_everything(self) -> None:
        """
        Each command is there with its options and examples.
        """
        for one in described():
            for option in one.options:
                if not one.name or option.name not in ("help", "version"):
                    self.assertIn(f"--{option.name}", page())
                    self.assertIn(manual._plain(f"--{option.name}"), roff())
            for line, _ in one.examples:
                self.assertIn(f"   {line}\n", page())
        for name in COMMANDS:
            self.assertIn(f"\nllmux {name}\n---", page())
            self.assertIn(f'\n.SS "llmux {name} ', roff())

    def test_quoted(self) -> None:
        """
        Nothing in a text commands what formats it.
        """
        self.assertEqual(manual._plain(".so x"), "\\&.so x")
        self.assertEqual(
            manual._plain("'a\\b'-\"c\""), "\\(aqa\\(rsb\\(aq\\-\\(dqc\\(dq"
        )
        self.assertEqual(
            manual._escaped("`a` *b* c_ |d|"), "\\`a\\` \\*b\\* c\\_ \\|d\\|"
        )

    def test_roff(self) -> None:
        """
        There is nothing in it that groff would warn of, and it says what it
        should.
        """
        missing = needsPrograms("groff")
        if missing:
            raise SkipTest(missing)
        shown = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-P-cbou"],
            input=roff(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        for words in ("llmux COMMAND [options]", "-w, --watch", "EXIT STATUS", "jq '."):
            self.assertIn(words, shown.stdout)


class CommandTests(SynchronousTestCase):
    """
    Tests for the command.
    """

    def test_printed(self) -> None:
        """
        Without an option it prints what man reads, and with one the page.
        """
        for arguments, expected in (([], roff()), (["--rst"], page())):
            output = StringIO()
            self.assertEqual(main(arguments, output), 0)
            self.assertEqual(output.getvalue(), expected)

    def test_misused(self) -> None:
        """
        What it does not know it answers with its usage and status 2.
        """
        output = StringIO()
        self.assertEqual(main(["--what"], output), 2)
        self.assertIn("usage: ", output.getvalue())

    def test_write(self) -> None:
        """
        It writes both to where they belong in its checkout.
        """
        root = Path(self.mktemp())
        (root / "docs").mkdir(parents=True)
        self.assertEqual(main(["--write"], StringIO(), root), 0)
        self.assertEqual((root / "docs" / "llmux.1").read_text("utf-8"), roff())
        self.assertEqual((root / "docs" / "commands.rst").read_text("utf-8"), page())
