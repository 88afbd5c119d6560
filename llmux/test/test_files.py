"""
Tests for L{llmux.files}.
"""

from __future__ import annotations

import os

from attrs import define, field
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from llmux.files import FEW, MOST, keepFiles, raiseFileLimit


@define
class System:
    """
    A system with limits.
    """

    limits: tuple[int, int]
    error: Exception | None = None
    RLIMIT_NOFILE: int = field(default=7, init=False)
    RLIM_INFINITY: int = field(default=-1, init=False)

    def getrlimit(self, which: int) -> tuple[int, int]:
        """
        What may be, and what it may be raised to.
        """
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        """
        Raise it.
        """
        assert which == self.RLIMIT_NOFILE
        if self.error is not None:
            raise self.error
        self.limits = limits


class FileLimitTests(SynchronousTestCase):
    """
    Tests for L{raiseFileLimit}.
    """

    def raised(self, system: System) -> tuple[int, list[str]]:
        """
        Raise it, and see what is logged.
        """
        with capturedLogs() as events:
            limit = raiseFileLimit(system)
        return limit, [event["event"] for event in events]

    def test_raised(self) -> None:
        """
        As many as may be are taken, but not more than is of use, and what may
        be is left as it is.
        """
        for before, after in (
            ((1024, 20000), (20000, 20000)),
            ((1024, 10**9), (MOST, 10**9)),
            ((1024, -1), (MOST, -1)),
        ):
            system = System(before)
            self.assertEqual(self.raised(system), (after[0], []))
            self.assertEqual(system.limits, after)

    def test_enough(self) -> None:
        """
        More than that is not made less.
        """
        for before in ((MOST * 2, MOST * 2), (-1, -1), (20000, 20000)):
            system = System(before, ZeroDivisionError())
            self.assertEqual(self.raised(system), (before[0], []))

    def test_few(self) -> None:
        """
        Where there may be few, that is said, with what to do about it.
        """
        with capturedLogs() as events:
            raiseFileLimit(System((1024, 1024)))
        (event,) = events
        self.assertEqual(event["event"], "few_files")
        self.assertEqual(event["requests"], 487)
        self.assertIn("LimitNOFILE", event["log_format"])

    def test_refused(self) -> None:
        """
        Where it cannot be raised, that is said, and is no error.
        """
        for error in (OSError("no"), ValueError("no")):
            system = System((FEW, 20000), error)
            self.assertEqual(self.raised(system), (FEW, ["file_limit_kept"]))
            system = System((100, 20000), error)
            self.assertEqual(
                self.raised(system), (100, ["file_limit_kept", "few_files"])
            )

    def test_real(self) -> None:
        """
        This system has limits, too.
        """
        self.assertGreater(raiseFileLimit(), 0)


class KeepFilesTests(SynchronousTestCase):
    """
    Tests for L{keepFiles}.
    """

    def test_kept(self) -> None:
        """
        What is open is inherited by nobody, but for the first three.
        """
        number = os.dup(0)
        self.addCleanup(os.close, number)
        os.set_inheritable(number, True)
        before = [os.get_inheritable(one) for one in range(3)]
        keepFiles()
        self.assertFalse(os.get_inheritable(number))
        self.assertEqual([os.get_inheritable(one) for one in range(3)], before)

    def test_unknown(self) -> None:
        """
        Where it cannot be told what is open, nothing is done.
        """
        keepFiles("/nowhere")
