"""
The client of many streams.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

from attrs import define, field

from benchmarks.proxy._children import Trouble
from benchmarks.proxy._source import MARK

BODY = b'{"model":"stream","prompt":"Say something","stream":true,"max_tokens":100000}'

#: Every so many streams one is looked at closely: how late its chunks are.
SAMPLE = 10


def request(host: str, path: str, body: bytes) -> bytes:
    """
    A POST with JSON.
    """
    return (
        b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % (path.encode(), host.encode(), len(body))
    ) + body


@define
class Window:
    """
    What came while it was measured.

    @ivar chunks: events received.
    @ivar seconds: how long that took.
    @ivar delays: seconds from the source to here, of a sample.
    """

    chunks: int = 0
    seconds: float = 0.0
    delays: list[float] = field(factory=list)


@define(eq=False)
class Streams:
    """
    Open streams through one proxy.

    @ivar firstBytes: seconds from each request to its first byte.
    """

    host: str
    port: int
    firstBytes: list[float] = field(factory=list)
    _sockets: dict[int, socket.socket] = field(factory=dict)
    _asked: dict[int, float] = field(factory=dict)
    _sampled: set[int] = field(factory=set)
    _heard: set[int] = field(factory=set)
    _epoll: select.epoll = field(factory=select.epoll)

    def open(self, number: int, seconds: float = 60.0) -> None:
        """
        Open streams and wait until each has begun.

        @raise Trouble: if one does not.
        """
        data = request(f"{self.host}:{self.port}", "/v1/completions", BODY)
        for index in range(number):
            connection = socket.create_connection((self.host, self.port), 10)
            connection.setblocking(False)
            descriptor = connection.fileno()
            self._sockets[descriptor] = connection
            self._epoll.register(descriptor, select.EPOLLIN)
            self._asked[descriptor] = time.monotonic()
            if index % SAMPLE == 0:
                self._sampled.add(descriptor)
            connection.send(data)
            # A few at a time, so that the time to the first byte is not that
            # of a queue of connections.
            while len(self._asked) > 20:
                self._poll(None, 0.5)
        end = time.monotonic() + seconds
        while self._asked:
            self._poll(None, 0.1)
            if time.monotonic() > end:
                raise Trouble(f"{len(self._asked)} of {number} streams did not begin")

    def measure(self, seconds: float) -> Window:
        """
        Read for a while.
        """
        window = Window()
        start = time.monotonic()
        end = start + seconds
        while (now := time.monotonic()) < end:
            self._poll(window, end - now)
        window.seconds = time.monotonic() - start
        return window

    def silent(self, seconds: float) -> int:
        """
        Wait until an event has come on each stream.

        @return: on how many none has.
        """
        end = time.monotonic() + seconds
        while len(self._heard) < len(self._sockets) and time.monotonic() < end:
            self._poll(None, 0.1)
        return len(self._sockets) - len(self._heard)

    def _poll(self, window: Window | None, seconds: float) -> None:
        for descriptor, _ in self._epoll.poll(seconds, 1024):
            try:
                data = self._sockets[descriptor].recv(65536)
            except BlockingIOError:
                continue
            if not data:
                raise Trouble("a stream ended before its time")
            if descriptor in self._asked:
                self._first(descriptor, data)
            if MARK in data:
                self._heard.add(descriptor)
            if window is not None:
                window.chunks += data.count(MARK)
                if descriptor in self._sampled:
                    self._delays(data, window)

    def _first(self, descriptor: int, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            raise Trouble(f"no stream but {data[:500]!r}")
        waited = time.monotonic() - self._asked.pop(descriptor)
        self.firstBytes.append(waited)

    def _delays(self, data: bytes, window: Window) -> None:
        now = time.monotonic_ns()
        at = data.find(MARK)
        while at >= 0:
            digits = data[at + len(MARK) : at + len(MARK) + 20]
            # What is cut by the end of the data is left out.
            if len(digits) == 20:
                window.delays.append((now - int(digits)) / 1e9)
            at = data.find(MARK, at + 1)

    def close(self) -> None:
        """
        Leave.
        """
        for connection in self._sockets.values():
            connection.close()
        self._sockets.clear()
        self._epoll.close()


def whenQuiet(cpu: Callable[[], float], seconds: float = 3.0) -> None:
    """
    Wait until a proxy has dealt with what was closed, but not for ever.
    """
    end = time.monotonic() + seconds
    before = cpu()
    while time.monotonic() < end:
        time.sleep(0.2)
        after = cpu()
        if after - before < 0.011:
            return
        before = after
