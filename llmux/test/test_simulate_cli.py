"""
Tests for L{llmux.simulate.cli}.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from llmux.simulate.cli import DATA, OK, USAGE, main

CONFIG = """
models:
  a: {port: 8001, wake: w, sleep: s, alive: l}
  b: {port: 8002, wake: w, sleep: s, alive: l}
"""

TRACE = """
{"at": 0, "model": "a", "seconds": 4}
{"at": 1, "model": "b", "seconds": 4}
"""


class CommandTests(SynchronousTestCase):
    """
    Tests for C{llmux simulate}.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        for name, text in (
            ("c.yaml", CONFIG),
            ("t.jsonl", TRACE),
            ("k.yaml", "default: {wake: 9, sleep: 1}"),
        ):
            (self.folder / name).write_text(text)

    def run_(self, *more: str, trace: str = "t.jsonl") -> tuple[int, str, str]:
        """
        Run the command.

        @return: its status, its output and its complaints.
        """
        output, errors = StringIO(), StringIO()
        status = main(
            [
                *("--config", str(self.folder / "c.yaml")),
                *("--trace", str(self.folder / trace)),
                *("--costs", str(self.folder / "k.yaml")),
                *more,
            ],
            output,
            errors,
            {},
        )
        return status, output.getvalue(), errors.getvalue()

    def test_text(self) -> None:
        """
        Policies are compared in a table.
        """
        status, output, errors = self.run_("--policy", "fifo", "--policy", "cost-aware")
        self.assertEqual((status, errors), (OK, ""))
        self.assertIn("\nfifo ", output)
        self.assertIn("\ncost-aware ", output)

    def test_json(self) -> None:
        """
        JSON has the same, with the bound and the target that were given.
        """
        status, output, _ = self.run_(
            "--json", "--max-wait-secs", "7", "--target-secs", "9"
        )
        self.assertEqual(status, OK)
        (found,) = json.loads(output)
        self.assertEqual(found["wait_secs"]["within"], 0.5)
        self.assertEqual(found["lost"], 0)

    def test_picture(self) -> None:
        """
        A picture is drawn if one is asked for.
        """
        path = self.folder / "p.svg"
        status, _, _ = self.run_("--picture", str(path))
        self.assertEqual(status, OK)
        self.assertIn("<svg", path.read_text())

    def test_usage(self) -> None:
        """
        What is missing or unknown among the options is said, with their list.
        """
        for arguments, what in (
            (["--costs", "x"], "--trace FILE is missing"),
            (["--trace", "x"], "--costs FILE is missing"),
            (["--trace", "x", "--costs", "x", "--policy", "fife"], "fifo"),
            (["--seed", "x"], "x"),
            (["--nonsense"], "nonsense"),
        ):
            errors = StringIO()
            self.assertEqual(main(arguments, StringIO(), errors, {}), USAGE)
            self.assertIn(what, errors.getvalue())
            self.assertIn("llmux simulate", errors.getvalue())

    def test_version(self) -> None:
        """
        The version is that of llmux.
        """
        output = StringIO()
        self.assertEqual(main(["--version"], output), OK)
        self.assertIn("llmux ", output.getvalue())

    def test_badFiles(self) -> None:
        """
        What is wrong with a file is one line and no traceback.
        """
        (self.folder / "bad.jsonl").write_text("x\n")
        status, output, errors = self.run_(trace="bad.jsonl")
        self.assertEqual((status, output), (DATA, ""))
        self.assertIn("bad.jsonl:1: this is not JSON", errors)

    def test_badPicture(self) -> None:
        """
        A picture that cannot be written is an error of one line.
        """
        status, _, errors = self.run_("--picture", str(self.folder / "no" / "p.svg"))
        self.assertEqual(status, DATA)
        self.assertIn("cannot be written", errors)

    if find_spec("matplotlib") is None:
        for test in (test_picture, test_badPicture):
            test.skip = "matplotlib is not installed"  # type: ignore[attr-defined]
