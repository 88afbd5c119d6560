"""
Tests for L{benchmarks.proxy}: what can be wrong without anybody noticing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.proxy import __main__
from benchmarks.proxy.__main__ import (
    GUARD,
    counts,
    groups,
    missedBounds,
    other,
    tooSlow,
)
from benchmarks.proxy._cpu import cpuSeconds, family, fieldsOf, residentBytes
from benchmarks.proxy._go import whyNot
from benchmarks.proxy._others import report
from benchmarks.proxy._report import Against, Measure, Results, percentile
from benchmarks.proxy._source import MARK, PREFIX, SIZE, SUFFIX
from benchmarks.proxy._streams import Streams, Window

BURN = "import time\nwhile time.process_time() < 0.2: pass"


class CPUTests(SynchronousTestCase):
    """
    Tests for what is read from C{/proc}.
    """

    def test_oddName(self) -> None:
        """
        A process's name may contain blanks and parentheses.
        """
        self.assertEqual(["S", "1"], fieldsOf("17 (a) b (c)) S 1"))

    def test_children(self) -> None:
        """
        The time of children counts, while they run and when they have ended.
        """
        script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}]); input()"
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stdin is not None
        self.addCleanup(process.stdin.close)
        end = time.monotonic() + 30
        while cpuSeconds([process.pid]) < 0.2 or len(family([process.pid])) > 1:
            self.assertTrue(time.monotonic() < end, "the child's time was not seen")
            time.sleep(0.01)
        self.assertTrue(cpuSeconds([process.pid]) < 5)
        self.assertTrue(residentBytes([process.pid]) > 2**20)

    def test_gone(self) -> None:
        """
        A process that there is not has used nothing.
        """
        self.assertEqual(0, cpuSeconds([2**22 + 1]))
        self.assertEqual({os.getpid()}, family([os.getpid()]) & {os.getpid()})


class ReportTests(SynchronousTestCase):
    """
    Tests for the comparison.
    """

    def setUp(self) -> None:
        """
        Three rounds, one of them on a machine that was slow.
        """
        self.results = Results()
        self.ratio = Measure("cpu", "CPU, us", must=2.0)
        for number, (base, mine) in enumerate([(10, 30), (100, 300), (10, 25)]):
            self.results.add(self.ratio, "nginx", number, base)
            self.results.add(self.ratio, "llmux", number, mine)

    def test_pairs(self) -> None:
        """
        Each round is compared within itself.
        """
        self.assertEqual(3.0, self.results.compared("cpu", "llmux"))
        self.assertEqual(30, self.results.figure("cpu", "llmux"))

    def test_missed(self) -> None:
        """
        What is over its bound, or under one that is a lower one, is named.
        """
        least = Measure("rate", "requests/s", must=0.5, least=True)
        alone = Measure("wake", "wake, ms", Against.NOTHING, 20)
        late = Measure("first", "first byte, ms", Against.DIFFERENCE, 0.5)
        for measure, base, mine in [
            (least, 100, 40),
            (alone, 0, 19),
            (late, 1, 1.4),
        ]:
            self.results.add(measure, "nginx", 0, base)
            self.results.add(measure, "llmux", 0, mine)
        self.assertEqual(["cpu", "rate"], self.results.missed("llmux"))
        self.assertEqual([], self.results.missed("other"))

    def test_verdicts(self) -> None:
        """
        A figure is judged by what must be and by what is aimed at.
        """
        most = Measure("a", "a", must=5, aim=3)
        least = Measure("b", "b", must=0.2, aim=0.4, least=True)
        self.assertEqual(
            ["met", "met, not aim", "MISSED"], [*map(most.verdict, (3, 5, 5.1))]
        )
        self.assertEqual(
            ["met", "met, not aim", "MISSED"], [*map(least.verdict, (0.4, 0.2, 0.1))]
        )
        self.assertEqual("", most.verdict(None))
        self.assertEqual("", Measure("c", "c").verdict(7))

    def test_output(self) -> None:
        """
        The table and the JSON say the same.
        """
        table = self.results.table(["nginx", "llmux", "other"])
        self.assertIn("3.00x", table)
        self.assertIn("<= 2x", table)
        self.assertIn("MISSED", table)
        found = self.results.asJSON(["nginx", "llmux"])
        self.assertEqual(3.0, found["measures"]["cpu"]["proxies"]["llmux"]["compared"])
        self.assertEqual(["cpu"], found["missed"])

    def test_percentile(self) -> None:
        """
        Percentiles are values that were measured.
        """
        values = [*range(100)]
        self.assertEqual(50, percentile(values, 0.5))
        self.assertEqual(99, percentile(values, 0.99))
        self.assertEqual(7, percentile([7], 0.99))


class GuardTests(SynchronousTestCase):
    """
    Tests for what the checks do not let pass.
    """

    def test_tooSlow(self) -> None:
        """
        What costs more than the guard allows is named, and so is what was not
        measured at all.
        """
        results = Results()
        for key, most in GUARD.items():
            results.add(Measure(key, key), "nginx", 0, 10)
            results.add(Measure(key, key), "llmux", 0, 10 * most)
        self.assertEqual([], tooSlow(results))
        for key, most in GUARD.items():
            results.add(Measure(key, key), "llmux", 0, 10.1 * most)
        self.assertEqual([*GUARD], tooSlow(results))


class OthersTests(SynchronousTestCase):
    """
    Tests for what is asked of the usual way, and beside Go.
    """

    def results(self, request: float, ratio: float) -> Results:
        """
        Made-up figures of the usual way.
        """
        results = Results()
        for key, value in (
            ("cpu_us_per_request", request),
            ("cpu_us_per_chunk_400", ratio * 10),
        ):
            results.add(Measure(key, key), "nginx", 0, 10)
            results.add(Measure(key, key), "usual", 0, value)
        return results

    def test_bounds(self) -> None:
        """
        The usual way has bounds of its own.
        """
        self.assertEqual([], missedBounds(Results()))
        self.assertEqual([], missedBounds(self.results(499, 2.9)))
        self.assertEqual(
            [
                "cpu_us_per_request (usual)",
                "cpu_us_per_chunk_400 (usual)",
            ],
            missedBounds(self.results(501, 3.1)),
        )
        printed = report(self.results(499, 3.1))
        self.assertIn("499 (must be <= 500: met)", printed)
        self.assertIn("3.1x that of nginx (must be <= 3: MISSED)", printed)

    def test_besideGo(self) -> None:
        """
        What llmux does beside Go is printed as a ratio.
        """
        results = Results()
        for key, mine, go in (
            ("requests_per_second", 12000, 10000),
            ("resident_mb_1500", 80, 160),
        ):
            results.add(Measure(key, key), "llmux", 0, mine)
            results.add(Measure(key, key), "go", 0, go)
        printed = report(results)
        self.assertIn("requests_per_second: 1.2x that of go", printed)
        self.assertIn("resident_mb_1500: 0.5x that of go", printed)

    def test_noGo(self) -> None:
        """
        Where there is no Go it is said how to have it.
        """
        self.patch(os, "environ", {"PATH": self.mktemp()})
        self.assertIn("apt-get install golang-go", whyNot() or "")

    def check(self, *arguments: str, mine: float) -> int:
        """
        The exit status of a run that measured this, ten being nginx's.
        """
        results = Results()
        measure = Measure("cpu_us_per_request", "CPU", must=5.0)
        results.add(measure, "nginx", 0, 10)
        results.add(measure, "llmux", 0, 10)
        results.add(measure, "usual", 0, mine)
        self.patch(__main__, "run", lambda options, children: results)
        self.patch(sys, "stdout", StringIO())
        return __main__.main(arguments)

    def test_check(self) -> None:
        """
        A bound that is missed is an error if asked for, also one of the usual
        way.
        """
        self.assertEqual(0, self.check("--check", mine=499))
        self.assertEqual(1, self.check("--check", mine=501))
        self.assertEqual(0, self.check(mine=501))


class StreamTests(SynchronousTestCase):
    """
    Tests for the source's and the client's agreement.
    """

    def test_event(self) -> None:
        """
        An event's chunk size is right, and the client finds its time.
        """
        sent = time.monotonic_ns()
        data = PREFIX + b"%020d" % sent + SUFFIX
        size, _, rest = data.partition(b"\r\n")
        self.assertEqual(SIZE, int(size, 16))
        self.assertEqual(SIZE + 2, len(rest))
        window = Window()
        streams = Streams("127.0.0.1", 1)
        streams._delays(data + data + data[: data.find(MARK) + 12], window)
        streams.close()
        self.assertEqual(2, len(window.delays))
        self.assertTrue(all(0 <= delay < 5 for delay in window.delays))


class OptionTests(SynchronousTestCase):
    """
    Tests for the command line's own types.
    """

    def test_right(self) -> None:
        """
        What is right is understood.
        """
        self.assertEqual(
            ("a", "http://127.0.0.1:1", 7), other("a=http://127.0.0.1:1,7")
        )
        self.assertEqual((100, 400), counts("100,400"))
        self.assertEqual(("wake", "small"), groups("wake,small"))

    def test_wrong(self) -> None:
        """
        What is wrong is refused.
        """
        for text in ("a", "a=http://x", "a=https://x,1", "=http://x,1", "a=http://x,y"):
            self.assertRaises(ArgumentTypeError, other, text)
        self.assertRaises(ValueError, counts, "0")
        self.assertRaises(ArgumentTypeError, groups, "huge")
