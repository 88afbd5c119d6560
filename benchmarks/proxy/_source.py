"""
A source of server-sent events: as many streams as there are connections, each
at a steady rate, spread evenly over time.  Run as a process of its own::

    python -m benchmarks.proxy._source PORT RATE MOST

RATE is in events a second on each stream; if all of them together would be
more than MOST, each is slower.

It is bare sockets and epoll, so that it costs less than what is measured.
"""

from __future__ import annotations

import re
import select
import socket
import sys
import time

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)

#: In front of the time at which an event was sent: 20 digits, nanoseconds of
#: the monotonic clock, which all processes of a machine share.
MARK = b'"sent":'

#: One event, of the size of an OpenAI chunk, after its chunk size.
BEFORE = (
    b'data: {"id":"chatcmpl-123456789","object":"chat.completion.chunk",'
    b'"created":1700000000,"model":"stream","choices":[{"index":0,"delta":'
    b'{"content":" token"},"logprobs":null,"finish_reason":null}],' + MARK
)
AFTER = b"}\n\n"
SIZE = len(BEFORE) + 20 + len(AFTER)
PREFIX = b"%x\r\n" % SIZE + BEFORE
SUFFIX = AFTER + b"\r\n"

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Source:
    """
    The server.
    """

    def __init__(self, port: int, rate: float, most: float) -> None:
        self.rate = rate
        self.most = most
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.reading: dict[int, tuple[socket.socket, bytes]] = {}
        # In the order of their turns, and what the kernel would not take.
        self.streams: list[socket.socket] = []
        self.rest: dict[socket.socket, bytes] = {}
        self.turn = 0

    def run(self) -> None:
        """
        Serve for ever.
        """
        last = time.monotonic()
        due = 0.0
        while True:
            for descriptor, _ in self.epoll.poll(0.001 if self.streams else 1.0):
                if descriptor == self.listener.fileno():
                    self.accept()
                else:
                    self.read(descriptor)
            now = time.monotonic()
            count = len(self.streams)
            due += (now - last) * min(self.rate * count, self.most)
            last = now
            # After a long halt there is no use in making up for all of it.
            sends = min(int(due), count)
            due -= int(due)
            for _ in range(sends):
                self.sendNext()

    def accept(self) -> None:
        """
        Take new connections.
        """
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.reading[connection.fileno()] = (connection, b"")
            self.epoll.register(connection, select.EPOLLIN)

    def read(self, descriptor: int) -> None:
        """
        Read a request, or notice that a client is gone.
        """
        connection, before = self.reading[descriptor]
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close(connection)
            return
        whole = before + data
        head, found, body = whole.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not found or len(body) < (int(length[1]) if length else 0):
            self.reading[descriptor] = (connection, whole)
            return
        self.reading[descriptor] = (connection, b"")
        connection.send(HEAD)
        self.streams.append(connection)

    def close(self, connection: socket.socket) -> None:
        """
        Forget a connection.
        """
        del self.reading[connection.fileno()]
        self.epoll.unregister(connection)
        if connection in self.streams:
            self.streams.remove(connection)
        self.rest.pop(connection, None)
        connection.close()

    def sendNext(self) -> None:
        """
        Send an event on the stream whose turn it is.
        """
        self.turn += 1
        if self.turn >= len(self.streams):
            self.turn = 0
        connection = self.streams[self.turn]
        data = self.rest.pop(connection, None)
        if data is None:
            data = PREFIX + b"%020d" % time.monotonic_ns() + SUFFIX
        try:
            sent = connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Noticed by the next read.
            return
        if sent < len(data):
            self.rest[connection] = data[sent:]


if __name__ == "__main__":
    from benchmarks.proxy._limits import raiseFileLimit

    raiseFileLimit()
    port, rate, most = sys.argv[1:]
    Source(int(port), float(rate), float(most)).run()
