"""
Tests for L{llmux.simulate.trace} and L{llmux.simulate.costfile}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from llmux.errors import ConfigError
from llmux.simulate.costfile import FailureRates, ModelCost, parseCosts, readCosts
from llmux.simulate.trace import (
    Arrival,
    checkModels,
    parseTrace,
    readTrace,
    writeLine,
)


class TraceTests(SynchronousTestCase):
    """
    Tests for reading traces.
    """

    def complaint(self, line: str) -> str:
        """
        What is said about a line.
        """
        error = self.assertRaises(ConfigError, parseTrace, ["", line], "t.jsonl")
        (problem,) = error.problems
        self.assertEqual((problem.file, problem.line), ("t.jsonl", 2))
        what: str = problem.what
        return what

    def test_sorted(self) -> None:
        """
        Requests are in the order of their arrival, whatever that of the file.
        """
        trace = parseTrace(
            [
                '{"at": 2, "model": "a", "seconds": 1}\n',
                "\n",
                '{"at": 1.5, "model": "b", "seconds": 8.0, "priority": -2, "size": 9}\n',
            ]
        )
        self.assertEqual(
            trace, [Arrival(1.5, "b", 8.0, -2.0, 9.0), Arrival(2.0, "a", 1.0)]
        )

    def test_roundTrip(self) -> None:
        """
        What is written is read again as it was.
        """
        arrival = Arrival(1.0, "a", 2.0, 3.0, 4.0, (Arrival(5.0, "b", 6.0),), 512)
        self.assertEqual(parseTrace([writeLine(arrival)]), [arrival])
        self.assertEqual([one.model for one in arrival.all()], ["a", "b"])

    def test_problems(self) -> None:
        """
        What is wrong with a line is said with its number.
        """
        for line, what in (
            ("{", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("[]", "must be an object"),
            ('{"at": 1, "seconds": 1}', '"model"'),
            ('{"at": 1, "seconds": 1, "model": 7}', '"model"'),
            ('{"model": "a", "seconds": 1}', '"at" must be there'),
            ('{"model": "a", "at": true, "seconds": 1}', '"at" must be there'),
            ('{"model": "a", "at": -1, "seconds": 1}', "from 0 on"),
            ('{"model": "a", "at": 1, "seconds": NaN}', "from 0 on"),
            ('{"model": "a", "at": 1, "seconds": 1, "size": "x"}', "a number"),
            ('{"model": "a", "at": 1, "secs": 1}', "unknown key 'secs'"),
            ('{"model": "a", "at": 1, "seconds": 1, "then": 3}', '"then"'),
            ('{"model": "a", "at": 1, "seconds": 1, "then": [3]}', "an object"),
        ):
            self.assertIn(what, self.complaint(line))

    def test_allProblems(self) -> None:
        """
        All that is wrong is said at once.
        """
        error = self.assertRaises(ConfigError, parseTrace, ["x", "y"])
        self.assertEqual([problem.line for problem in error.problems], [1, 2])

    def test_files(self) -> None:
        """
        A trace is read from a file, and what cannot be read is named.
        """
        path = self.mktemp()
        self.assertIn(
            "cannot be read", str(self.assertRaises(ConfigError, readTrace, path))
        )
        Path(path).write_bytes(b"\xff")
        self.assertIn("UTF-8", str(self.assertRaises(ConfigError, readTrace, path)))
        Path(path).write_text('{"at": 1, "model": "a", "seconds": 2}')
        self.assertEqual(readTrace(path), [Arrival(1.0, "a", 2.0)])

    def test_unknownModel(self) -> None:
        """
        A model that is not configured is named, also if it only follows.
        """
        trace = [Arrival(0.0, "a", 1.0, then=(Arrival(0.0, "z", 1.0),))]
        checkModels(trace, ["a", "z"])
        error = self.assertRaises(ConfigError, checkModels, trace, ["a"], "t")
        self.assertIn("'z'", str(error))


class CostTests(SynchronousTestCase):
    """
    Tests for reading cost files.
    """

    def complaints(self, text: str) -> str:
        """
        What is said about a cost file for the models C{a} and C{b}.
        """
        return str(self.assertRaises(ConfigError, parseCosts, text, "ab", "c.yaml"))

    def test_default(self) -> None:
        """
        What is not said of a model is what is said of all.
        """
        costs = parseCosts(
            "default: {wake: 9, sleep: 1, fail: 0.5}\n"
            "b: {wake: 3, fail: {die: 0.1}, jitter: 0.2}\n",
            "ab",
        )
        self.assertEqual(
            costs,
            {
                "a": ModelCost(9.0, 1.0, fail=FailureRates(wake=0.5)),
                "b": ModelCost(3.0, 1.0, jitter=0.2, fail=FailureRates(die=0.1)),
            },
        )

    def test_problems(self) -> None:
        """
        What is wrong is said with its line and its key.
        """
        for text, what in (
            ("a: {wake: 1", "c.yaml:1: this is not YAML"),
            ("- a", "must be a mapping"),
            ("", "a: its cost is missing"),
            ("default:\n  wak: 1", "c.yaml:2: default.wak: unknown key"),
            ("default: {wake: -1}", "c.yaml:1: default.wake: must be a number"),
            ("default: {wake: [1]}", "default.wake: must be a number"),
            ("default: {concurrency: 0}", "a number above 0"),
            ("default: {fail: 2}", "a share from 0 to 1"),
            ("default: {fail: {hang: 2}}", "default.fail.hang: must be a share"),
            ("default: {}\nz: {}", "c.yaml:2: z: the configuration has no such"),
            ("default: {}\ndefault: {}", "c.yaml:2: a key must"),
        ):
            self.assertIn(what, self.complaints(text))

    def test_files(self) -> None:
        """
        Costs are read from a file, and what cannot be read is named.
        """
        path = self.mktemp()
        error = self.assertRaises(ConfigError, readCosts, path, "a")
        self.assertIn("cannot be read", str(error))
        Path(path).write_bytes(b"\xff")
        self.assertIn(
            "UTF-8", str(self.assertRaises(ConfigError, readCosts, path, "a"))
        )
        Path(path).write_text("a: {wake: 2}")
        self.assertEqual(readCosts(path, "a"), {"a": ModelCost(wake=2.0)})
