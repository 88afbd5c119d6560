"""
Tests for L{llmux.checks}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from llmux.checks import _found, check, load
from llmux.errors import ConfigError
from llmux.test._config import HOOKS


class CheckTests(SynchronousTestCase):
    """
    Tests for L{check} and L{load}.
    """

    def write(self, more: str = "") -> str:
        """
        Write a configuration.
        """
        path = f"{self.mktemp()}.yaml"
        Path(path).write_text(f"models: {{a: {{{HOOKS}}}}}\n{more}")
        return path

    def test_good(self) -> None:
        """
        With a good file nothing is wrong, and it is loaded.
        """
        path = self.write("policy: {name: fifo}")
        self.assertEqual(check(path, {}), ())
        self.assertEqual(list(load(path, {}).models), ["a"])

    def test_bad(self) -> None:
        """
        All that is wrong is told, the policy that is not there among it, with
        the one that may have been meant.
        """
        path = self.write("port: 0\npolicy: {name: fifi}\non_exit: x")
        problems = check(path, {})
        self.assertEqual(
            [problem.where for problem in problems], ["port", "policy.name", "on_exit"]
        )
        self.assertIn('did you mean "fifo"?', problems[1].what)
        error = self.assertRaises(ConfigError, load, path, {})
        self.assertEqual(error.problems, problems)

    def test_missing(self) -> None:
        """
        A file that is not there is a problem, too.
        """
        (problem,) = check("nowhere.yaml", {})
        self.assertEqual(str(problem), "nowhere.yaml: there is no such file")

    def test_broken(self) -> None:
        """
        A policy of another package that cannot be imported is not there, and
        the reason is told.
        """

        def find(name: str) -> object:
            raise ImportError("no module named night")

        error = self.assertRaises(LookupError, _found, find, "night-shift")
        self.assertEqual(
            str(error),
            'the policy "night-shift" cannot be loaded: ImportError: no module named '
            "night",
        )
