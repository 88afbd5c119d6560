"""
Tests for L{llmux.record}.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any

from attrs import define
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.observe.account import UNKNOWN, IAccountant
from llmux.record import DELAY, MANY, CannotRecord, Recorder
from llmux.simulate.trace import Arrival, readTrace
from llmux.test._accounts import account
from llmux.test._memory import makeAsked


@define
class Who:
    """
    Who asks.
    """

    priority: float = 0.0
    maxPriority: float | None = None


class RecorderTests(SynchronousTestCase):
    """
    Tests for L{Recorder}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = self.mktemp()

    def open(self) -> Recorder:
        """
        Begin to record.
        """
        recorder = Recorder(self.path, self.clock)
        self.addCleanup(recorder.close)
        return recorder

    def write(self, text: str) -> None:
        """
        Have something in the file.
        """
        with open(self.path, "w", encoding="ascii") as file:
            file.write(text)

    def lines(self) -> list[Any]:
        """
        What is in it.
        """
        with open(self.path, encoding="ascii") as file:
            return [json.loads(line) for line in file]

    def test_interface(self) -> None:
        """
        It is told of requests.
        """
        verifyObject(IAccountant, self.open())

    def test_line(self) -> None:
        """
        A line says when the request came and how long it was served, and what
        policies may go by; of what was asked, nothing.
        """
        recorder = self.open()
        secret = b"sesame"
        asked = makeAsked(secret, headers={b"X-LLMux-Priority": b"-2", b"X": secret})
        recorder.requestFinished(account("a", granted=103.25, duration=5.5))
        recorder.requestFinished(
            account(
                "b",
                granted=100.0,
                request=asked,
                principal=Who(),
                maxTokens=64,
            )
        )
        recorder.close()
        self.assertEqual(
            self.lines(),
            [
                {"at": 100, "model": "a", "seconds": 2.25},
                {
                    "at": 100,
                    "model": "b",
                    "seconds": 1,
                    "priority": -2,
                    "max_tokens": 64,
                },
            ],
        )
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_priority(self) -> None:
        """
        The priority is what counted: that of the key, as far as the request
        could say another.
        """
        recorder = self.open()
        recorder.requestFinished(
            account(request=makeAsked(), principal=Who(3.0), granted=100.0)
        )
        self.clock.advance(DELAY)
        self.assertEqual(self.lines()[0]["priority"], 3)

    def test_notServed(self) -> None:
        """
        What no model has served is left out.
        """
        recorder = self.open()
        recorder.requestFinished(account("a"))
        recorder.requestFinished(account(UNKNOWN, granted=100.0))
        recorder.close()
        self.assertEqual(self.lines(), [])

    def test_readable(self) -> None:
        """
        C{llmux simulate} reads it, with times that count from the first
        request, over a restart, in the order in which requests came.
        """
        start = 1.8e9
        for arrived, duration in ((start + 50, 9.0), (start, 100.0), (start + 60, 1.0)):
            recorder = Recorder(self.path, self.clock)
            one = account("a", granted=arrived)
            one.arrived, one.ended = arrived, arrived + duration
            recorder.requestFinished(one)
            recorder.close()
        self.assertEqual(
            readTrace(self.path),
            [Arrival(0, "a", 100), Arrival(50, "a", 9), Arrival(60, "a", 1)],
        )

    def test_soon(self) -> None:
        """
        Lines are written together, soon.
        """
        recorder = self.open()
        recorder.requestFinished(account(granted=100.0))
        self.assertEqual(self.lines(), [])
        self.clock.advance(DELAY)
        self.assertEqual(len(self.lines()), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for _ in range(MANY):
            recorder.requestFinished(account(granted=100.0))
        self.assertEqual(len(self.lines()), 1 + MANY)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_torn(self) -> None:
        """
        Half a line at the end, of one who was killed, is taken away; one that
        lacks nothing but its end gets that.
        """
        whole = '{"at": 1, "model": "a", "seconds": 1}'
        for before, count in (
            (f"{whole}\n{whole[:20]}", 1),
            (f"{whole}\n{whole}", 2),
            (whole, 1),
        ):
            self.write(before)
            recorder = self.open()
            recorder.requestFinished(account(granted=100.0))
            recorder.close()
            self.assertEqual(len(self.lines()), count + 1, before)

    def test_other(self) -> None:
        """
        A file with something else in it is left as it is.
        """
        for text in ("models:\n  a: 1\n", "x", "[1]\n[2]\n", "{}\n"):
            self.write(text)
            with self.assertRaises(CannotRecord) as caught:
                Recorder(self.path, self.clock)
            self.assertIn("there is something else in it", str(caught.exception))
            with open(self.path, encoding="ascii") as file:
                self.assertEqual(file.read(), text)

    def test_cannot(self) -> None:
        """
        So is said what else is in the way.
        """
        for path in (os.path.join(self.path, "x"), os.getcwd(), "\0"):
            with self.assertRaises(CannotRecord):
                Recorder(path, self.clock)

    def test_full(self) -> None:
        """
        When the disk is full it is said once, and goes on when there is room
        again, with no half lines in the file.
        """
        events = EventLoggingObserver()
        globalLogPublisher.addObserver(events)
        self.addCleanup(globalLogPublisher.removeObserver, events)
        recorder = self.open()
        write = os.write
        left = 10

        def full(file: int, data: bytes) -> int:
            nonlocal left
            if not left:
                raise OSError(28, "No space left on device")
            done = write(file, data[:left])
            left -= done
            return done

        self.patch(os, "write", full)
        for _ in range(3):
            recorder.requestFinished(account(granted=100.0))
            self.clock.advance(DELAY)
        self.patch(os, "write", write)
        recorder.requestFinished(account(granted=100.0))
        self.clock.advance(DELAY)
        self.assertEqual(len(self.lines()), 1)
        failed = [one for one in events if one.get("event") == "record_failed"]
        self.assertEqual([one["why"] for one in failed], ["No space left on device"])

    def test_device(self) -> None:
        """
        What is no plain file is written to as it is.
        """
        recorder = Recorder(os.devnull, self.clock)
        recorder.requestFinished(account(granted=100.0))
        recorder.close()
        recorder.requestFinished(account(granted=100.0))
        recorder.close()
