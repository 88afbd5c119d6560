# -*- test-case-name: llmux.test.test_acceptance_switching -*-
"""
An HTTP client for acceptance tests that hides nothing: no retries, no
redirects, no pools, and a stream that can be read event by event and left.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

#: Seconds without a byte after which a test gives up.
PATIENCE = 60.0


@define(eq=False)
class Reply:
    """
    A response that was read to its end.

    @ivar headers: by their names in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def text(self) -> str:
        """
        The body.
        """
        return self.body.decode()

    def json(self) -> Any:
        """
        The body, as Python sees the JSON.
        """
        return json.loads(self.body)

    def said(self) -> str:
        """
        The words of a chat completion.
        """
        content: str = self.json()["choices"][0]["message"]["content"]
        return content

    def code(self) -> str:
        """
        C{error.code} of the envelope.
        """
        code: str = self.json()["error"]["code"]
        return code


@define(eq=False)
class Stream:
    """
    A response that is being read.
    """

    status: int
    headers: Mapping[str, str]
    _connection: HTTPConnection
    _response: HTTPResponse
    _buffer: bytes = field(default=b"", init=False)

    def lines(self) -> Iterator[str]:
        """
        Its lines, each as soon as it is there, without their ends.

        @raise http.client.HTTPException: if it is cut.
        @raise OSError: if it is cut.
        """
        # Not by readline(), which takes a cut for an end.
        while True:
            line, end, rest = self._buffer.partition(b"\n")
            if end:
                self._buffer = rest
                yield line.decode().rstrip("\r")
                continue
            more = self._response.read1(65536)
            if not more:
                return
            self._buffer += more

    def events(self) -> Iterator[str]:
        """
        The data of its server-sent events.
        """
        for line in self.lines():
            if line.startswith("data:"):
                yield line[5:].strip()

    def next(self) -> str:
        """
        Wait for the next event.
        """
        return next(self.events())

    def rest(self) -> list[str]:
        """
        Wait for its end.
        """
        return list(self.events())

    def close(self) -> None:
        """
        Leave, whatever is still to come.
        """
        # Otherwise the response, which holds the socket, keeps it open.
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._response.close()
        self._connection.close()


def open_(
    url: str,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    onConnected: Callable[[HTTPConnection], None] | None = None,
) -> Stream:
    """
    Send a request and wait for the head of the response.

    @param body: bytes as they are, anything else as JSON.

    @param onConnected: takes the connection, before there is an answer.
    """
    place = urlsplit(url)
    assert place.hostname is not None
    connection = HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    given = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        given.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, path, body, given)
        if onConnected is not None:
            onConnected(connection)
        response = connection.getresponse()
    except BaseException:
        connection.close()
        raise
    found = {name.lower(): value for name, value in response.getheaders()}
    return Stream(response.status, found, connection, response)


def request(
    url: str,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    onConnected: Callable[[HTTPConnection], None] | None = None,
) -> Reply:
    """
    Send a request and wait for the whole response.
    """
    stream = open_(url, method, path, body, headers, onConnected)
    try:
        content = stream._response.read()
    finally:
        stream._response.close()
        stream._connection.close()
    return Reply(stream.status, stream.headers, content)


class Asked(Thread):
    """
    A request that waits for its answer while the test goes on.
    """

    def __init__(
        self,
        url: str,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self._arguments = (url, method, path, body, headers)
        self._reply: Reply | None = None
        self._error: BaseException | None = None
        self._connection: HTTPConnection | None = None
        self.start()

    def run(self) -> None:
        """
        Ask.
        """
        try:
            self._reply = request(*self._arguments, onConnected=self._connected)
        except BaseException as error:
            self._error = error

    def _connected(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def leave(self) -> None:
        """
        Hang up, while the answer is not there yet.
        """
        assert self._connection is not None and self._connection.sock is not None
        self._connection.sock.shutdown(socket.SHUT_RDWR)

    def isAnswered(self) -> bool:
        """
        Whether there is an answer, or a failure.
        """
        return not self.is_alive()

    def reply(self) -> Reply:
        """
        Wait for the answer.
        """
        self.join(PATIENCE)
        if self._error is not None:
            raise self._error
        assert self._reply is not None, f"no answer within {PATIENCE:g} s"
        return self._reply


def collector(
    addCleanup: Callable[[Callable[[], object]], object],
) -> tuple[str, list[bytes]]:
    """
    Start what takes all that is posted to it, as a collector of traces does.

    @param addCleanup: a test's.
    @return: where it is, and what it gets.
    """
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """
            Say nothing.
            """

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    addCleanup(thread.join)
    addCleanup(server.server_close)
    addCleanup(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}", got
