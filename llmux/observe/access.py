# -*- test-case-name: llmux.test.test_observe_access -*-
"""
A line for each request that is over: in a file of its own, as JSON, or in the
log.

Of what a client said there is the method, the path without its query, which may
hold a key, and the request's id.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
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
    Writes lines to a file, each at once and whole.

    If the file is moved away, as those do who rotate logs, another one of its
    name is made.  If a line cannot be written it is lost, and that is logged
    once.

    @ivar path: where it is.
    """

    log = Logger()
    _file: int | None = None
    _looked = 0.0
    _fails = False

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

    def start(self) -> None:
        """
        Open it, to go on behind what is in it.

        @raise CannotStart: that is not possible.
        """
        try:
            self._open()
        except OSError as error:
            raise CannotStart(
                f"access_log: cannot open {self.path}: {error.strerror or error}"
            ) from None

    def _open(self) -> None:
        self.stop()
        # What is asked of models is not everybody's business.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o640)
        self._looked = self._clock.seconds()

    def stop(self) -> None:
        """
        Close it.
        """
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def requestFinished(self, account: Account) -> None:
        """
        See L{IAccountant.requestFinished}.
        """
        ended = datetime.fromtimestamp(account.ended, timezone.utc)
        time = ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            self._line({"time": time, **fieldsOf(account)})
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

    def _line(self, fields: Mapping[str, Any]) -> None:
        now = self._clock.seconds()
        if self._file is None or (now - self._looked >= LOOK and not self._isThere()):
            self._open()
        assert self._file is not None
        self._write(self._file, _encode(fields) + b"\n")

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
