"""
Tests for L{llmux.policies}.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.interfaces import ISwitchPolicy, Snapshot, Stay
from llmux.policies import find, names
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.costs import Costs

#: What an installed package with a policy consists of.
PACKAGE = {
    "llmux_night_shift.py": """\
from llmux.interfaces import ISwitchPolicy, Stay
from zope.interface import implementer


@implementer(ISwitchPolicy)
class NightShift:
    def decide(self, snapshot):
        return Stay(7.0)
""",
    "llmux_night_shift-1.0.dist-info/METADATA": """\
Metadata-Version: 2.1
Name: llmux-night-shift
Version: 1.0
""",
    "llmux_night_shift-1.0.dist-info/entry_points.txt": """\
[llmux.policies]
night-shift = llmux_night_shift:NightShift
fifo = llmux_night_shift:NightShift
""",
}


class OwnTests(SynchronousTestCase):
    """
    Policies that come with llmux.
    """

    def test_all(self) -> None:
        """
        Each is found by its name and is a policy.
        """
        self.assertIn("fifo", names())
        for name in names():
            self.assertTrue(verifyObject(ISwitchPolicy, find(name)()))

    def test_fifo(self) -> None:
        """
        C{fifo} is what it was in the Rust program.
        """
        self.assertIsInstance(find("fifo")(), FirstComeFirstServed)

    def test_near(self) -> None:
        """
        For a name that is nearly right, the right one is suggested.
        """
        error = self.assertRaises(LookupError, find, "fifi")
        self.assertEqual(
            error.args[0], 'no policy is named "fifi", did you mean "fifo"?'
        )

    def test_far(self) -> None:
        """
        For any other, all there are are named.
        """
        error = self.assertRaises(LookupError, find, "zzzzzz")
        for name in names():
            self.assertIn(name, error.args[0])


class OthersTests(SynchronousTestCase):
    """
    Policies from other packages.
    """

    def setUp(self) -> None:
        """
        Install one.
        """
        folder = Path(self.mktemp()).absolute()
        for name, text in PACKAGE.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        sys.path.insert(0, str(folder))
        self.addCleanup(sys.path.remove, str(folder))
        self.addCleanup(sys.modules.pop, "llmux_night_shift", None)
        importlib.invalidate_caches()

    def test_found(self) -> None:
        """
        A policy of an installed package is found by the name of its entry
        point.
        """
        self.assertIn("night-shift", names())
        policy = find("night-shift")()
        self.assertTrue(verifyObject(ISwitchPolicy, policy))
        snapshot = Snapshot(0.0, {}, {}, Costs())
        self.assertEqual(policy.decide(snapshot), Stay(7.0))

    def test_suggested(self) -> None:
        """
        It is suggested, too.
        """
        error = self.assertRaises(LookupError, find, "nightshift")
        self.assertIn('did you mean "night-shift"?', error.args[0])

    def test_ownFirst(self) -> None:
        """
        No other package can take the name of one of llmux's own.
        """
        self.assertIsInstance(find("fifo")(), FirstComeFirstServed)
