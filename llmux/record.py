# -*- test-case-name: llmux.test.test_record -*-
# mypy: allow-untyped-calls
"""
Writes down what is asked for, as a trace for C{llmux simulate}: when, which
model, for how long.  Never what.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from llmux.errors import CannotStart
from llmux.observe.account import UNKNOWN, Account, IAccountant
from llmux.web._priority import priorityOf

__all__ = ["CannotRecord", "Recorder"]

#: Seconds after which at the latest a request that is over is in the file.
DELAY = 1.0

#: Lines that are written at once, however soon.
MANY = 1000

#: Bytes at the end of a file among which its last line is looked for.
TAIL = 65536


class CannotRecord(CannotStart):
    """
    A file cannot be written to, or holds something else.
    """


@implementer(IAccountant)
class Recorder:
    """
    Appends a line for each request that a model served.

    Times are seconds since 1970, so that one file can take what comes before
    a restart and after it.
    """

    log = Logger()

    def __init__(self, path: str, clock: IReactorTime) -> None:
        """
        @raise CannotRecord: it cannot be recorded there.
        """
        self.path = path
        self._clock = clock
        self._lines: list[str] = []
        self._timer: IDelayedCall | None = None
        self._hasFailed = False
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise CannotRecord(f"cannot record to {path}: {why}") from None
        try:
            self._prepare()
        except OSError as error:
            os.close(self._file)
            raise CannotRecord(f"cannot record to {path}: {error.strerror}") from None
        except CannotRecord:
            os.close(self._file)
            raise

    def requestFinished(self, account: Account) -> None:
        """
        See L{IAccountant.requestFinished}.
        """
        if account.granted is None or account.model == UNKNOWN:
            return
        self._lines.append(_line(account, account.granted))
        if len(self._lines) >= MANY:
            self._flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(DELAY, self._flush)

    def close(self) -> None:
        """
        Write what is not written yet, and close the file.
        """
        if self._file >= 0:
            self._flush()
            os.close(self._file)
            self._file = -1

    def _flush(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        lines, self._lines = self._lines, []
        if not lines or self._file < 0:
            return
        data = "".join(lines).encode("ascii")
        before: int | None = None
        try:
            if self._isPlain:
                before = os.fstat(self._file).st_size
            while data:
                data = data[os.write(self._file, data) :]
            self._hasFailed = False
        except OSError as error:
            # The next lines shall not stand behind half of one.
            if before is not None:
                os.ftruncate(self._file, before)
            if not self._hasFailed:
                self._hasFailed = True
                self.log.error(
                    "Cannot record to {path}: {why}.  What is asked for meanwhile "
                    "is left out.",
                    event="record_failed",
                    path=self.path,
                    why=error.strerror,
                )

    def _prepare(self) -> None:
        """
        See that what is in the file is a trace, and that its last line has an
        end: who wrote it may have been killed.
        """
        status = os.fstat(self._file)
        self._isPlain = stat.S_ISREG(status.st_mode)
        size = status.st_size
        if not self._isPlain or not size:
            return
        first = os.pread(self._file, TAIL, 0).partition(b"\n")[0]
        if size > len(first) and not _isLine(first):
            raise CannotRecord(
                f"cannot record to {self.path}: there is something else in it; name "
                "a new file, or a trace to be continued"
            )
        tail = os.pread(self._file, TAIL, max(0, size - TAIL))
        if tail.endswith(b"\n"):
            return
        torn = tail.rpartition(b"\n")[2]
        if _isLine(torn):
            os.write(self._file, b"\n")
        elif len(torn) < len(tail):
            os.ftruncate(self._file, size - len(torn))
        else:
            raise CannotRecord(
                f"cannot record to {self.path}: there is something else in it; name "
                "a new file, or a trace to be continued"
            )


def _isLine(line: bytes) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and {"at", "model", "seconds"} <= found.keys()


def _line(account: Account, granted: float) -> str:
    line: dict[str, Any] = {
        "at": round(account.arrived, 3),
        "model": account.model,
        "seconds": round(max(0.0, account.ended - granted), 4),
    }
    who: Any = account.principal
    if who is not None:
        request: Any = account.request
        priority = priorityOf(request, who.priority, who.maxPriority)
        if priority:
            line["priority"] = priority
    if account.maxTokens is not None:
        line["max_tokens"] = account.maxTokens
    return json.dumps(line) + "\n"
