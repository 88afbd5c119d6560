"""
Tests for L{llmux.simulate.picture}.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llmux.errors import ConfigError
from llmux.simulate.picture import draw, stretches
from llmux.simulate.report import Change
from llmux.test.test_simulate_report import REPORT

TIMELINE = (
    Change(0.0, "a", "unknown", 0, 0),
    Change(0.0, "a", "asleep", 1, 0),
    Change(0.0, "a", "waking", 1, 0),
    Change(9.0, "a", "awake", 0, 1),
    Change(12.0, "a", "awake", 0, 0),
    Change(12.0, "a", "draining", 0, 0),
    Change(12.0, "a", "sleeping", 0, 0),
)


class PictureTests(SynchronousTestCase):
    """
    Tests for the picture of a timeline.
    """

    def test_stretches(self) -> None:
        """
        A model's changes are put together to stretches of time in one state;
        those of no length, and sleep, are left out.
        """
        self.assertEqual(
            list(stretches(TIMELINE, 13.0)),
            [("waking", 0.0, 9.0), ("awake", 9.0, 12.0), ("sleeping", 12.0, 13.0)],
        )
        self.assertEqual(list(stretches((), 13.0)), [])

    def test_formats(self) -> None:
        """
        The extension of the file's name says in which format it is drawn; a
        report in which nobody waited is drawn, too.
        """
        report = evolve(REPORT, timeline=TIMELINE)
        for extension, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
            path = Path(f"{self.mktemp()}.{extension}")
            draw([report, REPORT], str(path))
            self.assertTrue(path.read_bytes().startswith(start))

    def test_badFormat(self) -> None:
        """
        A format that does not exist is an error that names the file.
        """
        error = self.assertRaises(ConfigError, draw, [REPORT], "a.nonsense")
        self.assertIn("a.nonsense", str(error))

    if find_spec("matplotlib") is None:
        for test in (test_formats, test_badFormat):
            test.skip = "matplotlib is not installed"  # type: ignore[attr-defined]

    def test_noMatplotlib(self) -> None:
        """
        Without matplotlib it is said how to get it.
        """
        self.patch(sys, "modules", {**sys.modules, "matplotlib.figure": None})
        error = self.assertRaises(ConfigError, draw, [REPORT], "a.png")
        self.assertIn("llmux[simulate]", str(error))
