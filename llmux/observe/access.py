# -*- test-case-name: llmux.test.test_observe_access -*-
"""
A line for each request that is over: in a file of its own, as JSON, or in the
log.

Of what a client said there is the method, the path without its query, which may
hold a key, and the request's id.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from llmux.config import Config
from llmux.errors import CannotStart
from llmux.observe.account import Account, IAccountant

__all__ = ["AccessFile", "AccessLog", "accessLogs", "fieldsOf"]

#: The longest path that is written out.
LONGEST = 256

#: Seconds between two looks at whether the file is still the one of its name.
LOOK = 1.0

_encode = msgspec.json.Encoder().encode


def fieldsOf(account: Account) -> dict[str, Any]:
    """
    What there is to say of a request, by the names that all lines have.  What
    is not known is L{None}.
    """
    request, usage = account.request, account.usage
    arrived, granted, begun = account.arrived, account.granted, account.begun
    return {
        "request_id": request.requestId.decode("latin-1"),
        "client": request.peer.decode("latin-1"),
        "key": account.key or None,
        "model": account.model,
        "method": _harmless(request.method),
        "path": _harmless(request.target.partition(b"?")[0]),
        "status": account.status,
        "queue_secs": None if granted is None else round(granted - arrived, 6),
        "first_byte_secs": None if begun is None else round(begun - arrived, 6),
        "total_secs": round(account.duration, 6),
        "bytes": account.size,
        "stream": account.isStream,
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "aborted": account.aborted or None,
        "retries": account.retries,
    }


@lru_cache(1024)
def _harmless(said: bytes) -> str:
    text = said[:LONGEST].decode("ascii", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]


@implementer(IAccountant)
class AccessLog:
    """
    Writes lines to the log.

    @ivar log: the log.
    """

    def __init__(self, log: Logger) -> None:
        self.log = log

    def start(self) -> None:
        """
        There is nothing to do.
        """

    stop = start

    def requestFinished(self, account: Account) -> None:
        """
        See L{IAccountant.requestFinished}.
        """
        self.log.info(
            "{method} {path} for {model}: {status} after {total_secs:.3f} s, "
            "{bytes} bytes ({request_id})",
            event="request_finished",
            **fieldsOf(account),
        )


@implementer(IAccountant)
class AccessFile:
    """
    Writes lines to a file, those of one turn of the reactor together, and each
    whole.

    If the file is moved away, as those do who rotate logs, another one of its
    name is made.  If a line cannot be written it is lost, and that is logged
    once.

    @ivar path: where it is.
    """

    log = Logger()
    _file: int | None = None
    _looked = 0.0
    _fails = False
    _second = -1
    _date = ""
    _writing: IDelayedCall | None = None
    _isOver = False

    def __init__(
        self,
        path: str,
        clock: IReactorTime,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        """
        @param write: what writes to a file.
        """
        self.path = path
        self._clock = clock
        self._write = write
        self._lines: list[bytes] = []

    def start(self) -> None:
        """
        Open it, to go on behind what is in it.

        @raise CannotStart: that is not possible.
        """
        self._isOver = False
        try:
            self._open()
        except OSError as error:
            raise CannotStart(
                f"access_log: cannot open {self.path}: {error.strerror or error}"
            ) from None

    def _open(self) -> None:
        self._close()
        # What is asked of models is not everybody's business.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o640)
        self._looked = self._clock.seconds()

    def stop(self) -> None:
        """
        Close it, with all that there was to write.  What comes behind that is
        still written, each line at once.
        """
        self._isOver = True
        if self._writing is not None:
            self._writing.cancel()
            self._flush()
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def requestFinished(self, account: Account) -> None:
        """
        See L{IAccountant.requestFinished}.
        """
        self._lines.append(
            _encode({"time": self._time(account.ended), **fieldsOf(account)})
        )
        if self._isOver:
            # There may be no other turn.
            self._flush()
        elif self._writing is None:
            self._writing = self._clock.callLater(0, self._flush)

    def _time(self, seconds: float) -> str:
        second = int(seconds)
        if second != self._second:
            self._second = second
            date = datetime.fromtimestamp(second, timezone.utc)
            self._date = date.isoformat().replace("+00:00", "")
        return f"{self._date}.{int((seconds - second) * 1000):03d}Z"

    def _flush(self) -> None:
        self._writing = None
        lines, self._lines = self._lines, []
        try:
            self._writeAll(b"\n".join([*lines, b""]))
        except OSError as error:
            if not self._fails:
                self._fails = True
                self.log.error(
                    "{path} cannot be written to, and its lines are lost: {why}",
                    event="access_log_failed",
                    path=self.path,
                    why=error.strerror or str(error),
                )
        else:
            self._fails = False

    def _writeAll(self, lines: bytes) -> None:
        now = self._clock.seconds()
        if self._file is None or (now - self._looked >= LOOK and not self._isThere()):
            self._open()
        assert self._file is not None
        while lines:
            lines = lines[self._write(self._file, lines) :]

    def _isThere(self) -> bool:
        assert self._file is not None
        self._looked = self._clock.seconds()
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except FileNotFoundError:
            return False


def accessLogs(config: Config, clock: IReactorTime) -> list[AccessFile | AccessLog]:
    """
    What a configuration's C{access_log} asks for: one, or none.
    """
    if config.access_log == "off":
        return []
    if config.access_log == "log":
        return [AccessLog(Logger())]
    return [AccessFile(os.path.join(config.folder, config.access_log), clock)]
