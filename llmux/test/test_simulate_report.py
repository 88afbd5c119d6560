"""
Tests for L{llmux.simulate.report}.
"""

from __future__ import annotations

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llmux.simulate.report import Report, Waits, quantile, table, text

WAITS = Waits.of([3.0, 1.0, 2.0, 10.0], 2.5)

REPORT = Report(
    policy="fifo",
    seconds=100.0,
    switches=7,
    failed=0,
    serving=0.6,
    switching=0.2,
    idle=0.2,
    waits=WAITS,
    byModel={"a": WAITS},
    passedOver=12.0,
    bound=120.0,
    missed=0,
    lost=0,
    refused=0,
    broken=0,
    cut=0,
)


class ReportTests(SynchronousTestCase):
    """
    Tests for what a simulation found, and how it is shown.
    """

    def test_quantile(self) -> None:
        """
        A quantile is a value that was there.
        """
        self.assertEqual(quantile([], 0.5), 0.0)
        self.assertEqual(quantile([1, 2, 3, 4], 0.5), 2)
        self.assertEqual(quantile([1, 2, 3, 4], 0.51), 3)
        self.assertEqual(quantile([1, 2, 3, 4], 1.0), 4)
        self.assertEqual(quantile([1, 2, 3, 4], 0.0), 1)

    def test_waits(self) -> None:
        """
        Waits are summed up.
        """
        self.assertEqual(WAITS, Waits(4, 4.0, 2.0, 10.0, 10.0, 10.0, 0.5))
        self.assertEqual(Waits.of([], 1.0), Waits(0, 0, 0, 0, 0, 0, 1.0))
        self.assertIsNone(Waits.of([1.0]).within)

    def test_effort(self) -> None:
        """
        The effort leaves out what was idle.
        """
        self.assertAlmostEqual(REPORT.effort, 0.75)
        self.assertEqual(evolve(REPORT, serving=0.0, switching=0.0).effort, 1.0)

    def test_json(self) -> None:
        """
        A report is JSON with all that the table has.
        """
        found = json.loads(json.dumps(REPORT.asJSON()))
        self.assertEqual(found["policy"], "fifo")
        self.assertEqual(found["wait_secs"]["p90"], 10.0)
        self.assertEqual(found["wait_secs_by_model"]["a"]["count"], 4)

    def test_table(self) -> None:
        """
        Columns are as wide as what is in them.
        """
        self.assertEqual(
            table([["a", "b"], ["long", "1"], ["x", "100"]]),
            "a       b\n----  ---\nlong    1\nx     100",
        )

    def test_text(self) -> None:
        """
        Policies stand below each other, and what went wrong is said in words.
        """
        other = evolve(REPORT, policy="other", refused=3, bound=None)
        shown = text([REPORT, other])
        self.assertIn("fifo           7       60.0", shown)
        self.assertIn("other: 3 requests told to come back later", shown)
        self.assertNotIn("fifo: ", shown)
