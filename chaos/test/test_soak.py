"""
Tests for L{chaos.soak}.
"""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chaos.soak import planted


class PlantedTests(SynchronousTestCase):
    """
    Tests for L{planted}.
    """

    def test_leaks(self) -> None:
        """
        The copy of llmux keeps something for each request: the place for that
        is there.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        planted(folder)
        changed = [
            path
            for path in sorted((folder / "llmux").rglob("*.py"))
            if "LEAK.append" in path.read_text()
        ]
        self.assertEqual(1, len(changed))
        ast.parse(changed[0].read_text())
        self.assertEqual(2, changed[0].read_text().count("LEAK"))
