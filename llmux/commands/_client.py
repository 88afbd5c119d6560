# -*- test-case-name: llmux.test.test_commands_client -*-
"""
Talks to a llmux that runs.

It does one thing and then ends, so it simply waits.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from attrs import frozen

from llmux.errors import LLMuxError

__all__ = ()

#: Exit statuses, as in C{sysexits.h} but for the first.
REFUSED, UNAVAILABLE, NO_PERMISSION = 1, 69, 77

#: Seconds that a connection may take, or an answer that is known at once.
SOON = 20.0

#: Seconds for which a stream may be silent: it has a heartbeat.
SILENT = 60.0


class ClientError(LLMuxError):
    """
    It could not be done.

    @ivar status: the exit status.
    """

    def __init__(self, message: str, status: int = REFUSED) -> None:
        super().__init__(message)
        self.status = status


class _UnixConnection(HTTPConnection):
    """
    HTTP over a Unix socket.
    """

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """
        See L{HTTPConnection.connect}.
        """
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@frozen
class Server:
    """
    A llmux that runs.

    @ivar url: as it was given.
    @ivar prefix: what its paths begin with.
    @ivar key: what it is to be told, if it asks for a key.
    """

    url: str
    scheme: str
    host: str
    port: int | None
    prefix: str
    key: str | None

    def ask(self, method: str, path: str, limit: float | None = SOON) -> Any:
        """
        Ask for something, or have it done.

        @param limit: how many seconds an answer may take.
        @return: the answer, as Python sees it if it is JSON.
        @raise ClientError: it was refused, or nobody answers.
        """
        with self._asked(method, path, limit) as answer:
            body = answer.read().decode("utf-8", "replace")
            if (answer.getheader("Content-Type") or "").startswith("application/json"):
                return json.loads(body)
            return body

    def follow(self, path: str) -> Iterator[tuple[str, str]]:
        """
        Follow server-sent events.

        @return: the name of each, and its data, until there are no more.
        @raise ClientError: it was refused, or nobody answers.
        """
        with self._asked("GET", path, SILENT) as answer:
            if not (answer.getheader("Content-Type") or "").startswith(
                "text/event-stream"
            ):
                raise self.stranger()
            event, data = "", list[str]()
            for line in _lines(answer):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "event":
                    event = value
                elif name == "data":
                    data.append(value)
                elif not line and data:
                    yield event, "\n".join(data)
                    event, data = "", []
        raise ClientError(f"{self.url} has ended", UNAVAILABLE)

    def stranger(self) -> ClientError:
        """
        What there is to say of an answer that is not llmux's.
        """
        return ClientError(
            f"{self.url} does not answer as llmux does. Is it another server, or "
            "another version?"
        )

    @contextmanager
    def _asked(
        self, method: str, path: str, limit: float | None
    ) -> Iterator[HTTPResponse]:
        headers = {"User-Agent": "llmux", "Connection": "close"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        connection = self._connection()
        try:
            connection.connect()
            connection.sock.settimeout(limit)
            connection.request(method, self.prefix + path, headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise self._refused(answer)
            yield answer
        except TimeoutError:
            raise ClientError(
                f"{self.url} did not answer in time", UNAVAILABLE
            ) from None
        except (HTTPException, OSError, ValueError) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        if self.scheme == "unix":
            return _UnixConnection(self.host, SOON)
        kind = HTTPSConnection if self.scheme == "https" else HTTPConnection
        return kind(self.host, self.port, timeout=SOON)

    def _unreachable(self, error: Exception) -> ClientError:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return ClientError(
            f"cannot talk to llmux at {self.url}: {plain(why.strip())}. If it runs elsewhere, say "
            "where with --url or $LLMUX_URL.",
            UNAVAILABLE,
        )

    def _refused(self, answer: HTTPResponse) -> ClientError:
        status = NO_PERMISSION if answer.status in (401, 403) else REFUSED
        try:
            message = str(json.loads(answer.read(65536))["error"]["message"])
        except (ValueError, LookupError, TypeError):
            return ClientError(
                f"{self.url} answered {answer.status} {plain(answer.reason)}, and not "
                "as llmux does. Is it another server?",
                status,
            )
        if answer.status == 401:
            message += " Here it is taken from $LLMUX_API_KEY."
        return ClientError(plain(message), status)


def serverAt(url: str, key: str | None = None) -> Server:
    """
    The server at an address.

    @raise ValueError: it is none, or the key cannot be one.
    """
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ValueError("$LLMUX_API_KEY has characters in it that no key has")
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        if not path.strip("/"):
            raise ValueError(f"{url!r} names no socket")
        return Server(url, "unix", path, None, "", key)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise ValueError(
            f"{url!r} is not an address such as http://127.0.0.1:3000 or unix:/PATH"
        )
    if parts.username is not None:
        raise ValueError("give the key in $LLMUX_API_KEY, not in the address")
    prefix = quote(parts.path.rstrip("/"), safe="/%")
    return Server(url, parts.scheme, parts.hostname, port, prefix, key)


def quoted(model: str) -> str:
    """
    A model's name, in a path.
    """
    return quote(model, safe="")


def plain(text: str) -> str:
    """
    Text that does nothing to a terminal but to be shown.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else repr(character)[1:-1]
        for character in text
    )


def _lines(answer: HTTPResponse) -> Iterator[str]:
    """
    The lines of a body, each as soon as it has come.
    """
    while line := answer.readline():
        yield line.decode("utf-8", "replace").rstrip("\r\n")
