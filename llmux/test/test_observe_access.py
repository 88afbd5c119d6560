"""
Tests for L{llmux.observe.access}.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.errors import CannotStart
from llmux.observe.access import LOOK, AccessFile, AccessLog, accessLogs, fieldsOf
from llmux.observe.account import IAccountant
from llmux.test._accounts import Came, account
from llmux.testing import makeConfig

WHOLE = account(
    duration=3.0,
    key="kim",
    granted=100.5,
    begun=101.25,
    size=321,
    isStream=True,
    last=[b'"usage":{"prompt_tokens":5,"completion_tokens":7}'],
)
LINE = {
    "request_id": "r-1",
    "client": "127.0.0.1",
    "key": "kim",
    "model": "a",
    "method": "POST",
    "path": "/v1/chat/completions",
    "status": 200,
    "queue_secs": 0.5,
    "first_byte_secs": 1.25,
    "total_secs": 3.0,
    "bytes": 321,
    "stream": True,
    "prompt_tokens": 5,
    "completion_tokens": 7,
    "aborted": None,
    "retries": 0,
}


def watched(test: SynchronousTestCase) -> EventLoggingObserver:
    """
    What is logged during a test.
    """
    seen = EventLoggingObserver()
    globalLogPublisher.addObserver(seen)
    test.addCleanup(globalLogPublisher.removeObserver, seen)
    return seen


class FieldsTests(SynchronousTestCase):
    """
    Tests for L{fieldsOf}.
    """

    def test_whole(self) -> None:
        """
        All that is known of a request is there.
        """
        self.assertEqual(fieldsOf(WHOLE), LINE)

    def test_unknown(self) -> None:
        """
        What is not known is there as nothing.
        """
        fields = fieldsOf(account("unknown", 404, aborted="left", retries=1))
        self.assertEqual(set(fields), set(LINE))
        for name in ("key", "queue_secs", "first_byte_secs", "prompt_tokens"):
            self.assertIsNone(fields[name])
        self.assertEqual((fields["aborted"], fields["retries"]), ("left", 1))

    def test_query(self) -> None:
        """
        A query, which may hold a key, is left out.
        """
        asked = Came(target=b"/v1/x?key=secret&model=a")
        self.assertEqual(fieldsOf(account(request=asked))["path"], "/v1/x")

    def test_harmless(self) -> None:
        """
        What a client said can neither break a line nor fill the disk.
        """
        asked = Came(method=b"G\x1b[2J", target=b"/\xff\n{0}" + b"x" * 9999)
        fields = fieldsOf(account(request=asked))
        self.assertEqual(fields["method"], r"G\x1b[2J")
        self.assertTrue(fields["path"].startswith(r"/\\xff\n{0}xxx"))
        self.assertTrue(fields["path"].isprintable())
        self.assertLess(len(fields["path"]), 300)


class LogTests(SynchronousTestCase):
    """
    Tests for L{AccessLog}.
    """

    def test_line(self) -> None:
        """
        A request is an event of the log, with a text for people.
        """
        seen = watched(self)
        (log,) = accessLogs(makeConfig(access_log="log"), Clock())
        assert isinstance(log, AccessLog)
        self.assertTrue(verifyObject(IAccountant, log))
        log.start()
        log.requestFinished(WHOLE)
        log.stop()
        (event,) = (e for e in seen if e.get("event") == "request_finished")
        self.assertEqual({name: event[name] for name in LINE}, LINE)
        text = event["log_format"].format(**event)
        said = "POST /v1/chat/completions for a: 200 after 3.000 s, 321 bytes (r-1)"
        self.assertEqual(text, said)


class FileTests(SynchronousTestCase):
    """
    Tests for L{AccessFile}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.path = Path(self.mktemp())
        self.file = AccessFile(str(self.path), self.clock)
        self.addCleanup(lambda: self.file.stop())

    def tell(self) -> None:
        """
        A request is over, and so is the turn of the reactor.
        """
        self.file.requestFinished(WHOLE)
        self.clock.advance(0)

    def lines(self) -> list[dict[str, Any]]:
        """
        What is in the file.
        """
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def failures(self, seen: EventLoggingObserver) -> list[Any]:
        """
        What was logged of lines that are lost.
        """
        return [e for e in seen if e.get("event") == "access_log_failed"]

    def test_line(self) -> None:
        """
        A request is a line of JSON, in the same turn, behind what is there, in a file
        that is not for everybody.
        """
        self.assertTrue(verifyObject(IAccountant, self.file))
        self.path.write_text('{"earlier": 1}\n')
        self.file.start()
        self.tell()
        earlier, line = self.lines()
        self.assertEqual(earlier, {"earlier": 1})
        self.assertEqual(line, {"time": "1970-01-01T00:01:43.000Z", **LINE})

        self.path.unlink()
        self.file.start()
        mode = stat.S_IMODE(self.path.stat().st_mode)
        self.assertEqual(mode & 0o137, 0)

    def test_together(self) -> None:
        """
        The lines of one turn are written together, as many as there are; if
        only a part of them can be written at once, the rest follows.
        """
        written: list[int] = []

        def write(file: int, data: bytes) -> int:
            written.append(os.write(file, data[:700]))
            return written[-1]

        self.file = AccessFile(str(self.path), self.clock, write)
        self.file.start()
        for _ in range(3):
            self.file.requestFinished(WHOLE)
        self.assertEqual(written, [])
        self.clock.advance(0)
        self.assertEqual(len(self.lines()), 3)
        self.assertEqual(len(written), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end(self) -> None:
        """
        What is to be written yet when it is closed, is written; and so is what
        comes behind that, at once, as there may be no other turn.
        """
        self.file.start()
        self.file.requestFinished(WHOLE)
        self.file.stop()
        self.assertEqual(len(self.lines()), 1)
        self.file.requestFinished(WHOLE)
        self.assertEqual(len(self.lines()), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_moved(self) -> None:
        """
        If the file is moved away, another one is made, within a second.
        """
        self.file.start()
        self.tell()
        moved = self.path.rename(f"{self.path}.1")
        self.tell()
        self.assertEqual(len(moved.read_text().splitlines()), 2)
        self.clock.advance(LOOK)
        self.tell()
        self.assertEqual(len(self.lines()), 1)
        self.clock.advance(LOOK)
        self.tell()
        self.assertEqual(len(self.lines()), 2)

    def test_cannotStart(self) -> None:
        """
        A file that cannot be opened is told at the start, by key and path.
        """
        file = AccessFile("/dev/null/access.log", self.clock)
        error = self.assertRaises(CannotStart, file.start)
        said = "access_log: cannot open /dev/null/access.log: Not a directory"
        self.assertEqual(str(error), said)

    def test_lost(self) -> None:
        """
        Lines that cannot be written are lost, and that is logged once until it
        is over.
        """
        seen = watched(self)
        isFull = True

        def write(file: int, data: bytes) -> int:
            if isFull:
                raise OSError(28, "No space left on device")
            return os.write(file, data)

        self.file = AccessFile(str(self.path), self.clock, write)
        self.file.start()
        for _ in range(3):
            self.tell()
        (event,) = self.failures(seen)
        self.assertEqual(event["why"], "No space left on device")
        isFull = False
        self.tell()
        self.assertEqual(len(self.lines()), 1)
        isFull = True
        self.tell()
        self.assertEqual(len(self.failures(seen)), 2)

    def test_folderGone(self) -> None:
        """
        A folder that goes away loses lines until it is back.
        """
        seen = watched(self)
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "access.log"
        self.file = AccessFile(str(self.path), self.clock)
        self.file.start()
        self.path.unlink()
        folder.rmdir()
        self.clock.advance(LOOK)
        self.tell()
        self.assertEqual(len(self.failures(seen)), 1)
        folder.mkdir()
        self.tell()
        self.assertEqual(len(self.lines()), 1)


class ChoiceTests(SynchronousTestCase):
    """
    Tests for L{accessLogs}.
    """

    def test_off(self) -> None:
        """
        By default there is none.
        """
        self.assertEqual(accessLogs(makeConfig(), Clock()), [])

    def test_file(self) -> None:
        """
        Paths are those from the folder of the configuration.
        """
        for given, path in (("a.log", "/etc/llmux/a.log"), ("/b.log", "/b.log")):
            config = makeConfig(access_log=given, folder="/etc/llmux")
            (file,) = accessLogs(config, Clock())
            assert isinstance(file, AccessFile)
            self.assertEqual(file.path, path)
