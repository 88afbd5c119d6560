"""
Large bodies: how fast they pass, and what is held of them meanwhile.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.proxy._children import Trouble
from benchmarks.proxy._measures import Figures, Proxy
from benchmarks.proxy._report import Against, Measure

MB = 1024 * 1024

#: How often it is looked at how much is resident, in seconds.
OFTEN = 0.005


def makeFile(folder: Path, megabytes: int) -> None:
    """
    What the backend sends as C{/large}.
    """
    with (folder / "large").open("wb") as file:
        for _ in range(megabytes):
            file.write(b"x" * MB)


def download(proxy: Proxy, size: int) -> None:
    """
    Take a body of so many bytes.

    @raise Trouble: if it is not as long as that.
    """
    with socket.create_connection((proxy.host, proxy.port), 60) as connection:
        connection.sendall(
            b"GET /large?model=small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        head, received = _head(connection)
        if b" 200 " not in head:
            raise Trouble(f"{proxy.url}: no file but {head!r}")
        buffer = bytearray(MB)
        while received < size and (count := connection.recv_into(buffer)):
            received += count
    if received != size:
        raise Trouble(f"{proxy.url}: {received} of {size} bytes came")


def upload(proxy: Proxy, size: int) -> None:
    """
    Send a body of so many bytes.

    @raise Trouble: if it is not taken.
    """
    with socket.create_connection((proxy.host, proxy.port), 60) as connection:
        connection.sendall(
            b"POST /v1/audio/transcriptions?model=small HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/octet-stream\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % size
        )
        part = b"x" * MB
        for _ in range(size // MB):
            connection.sendall(part)
        head, _ = _head(connection)
        if b" 200 " not in head:
            raise Trouble(f"{proxy.url}: not taken but {head!r}")


def _head(connection: socket.socket) -> tuple[bytes, int]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise Trouble(f"no head but {data!r}")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, len(rest)


class _Peak:
    # How much is resident at most, while something is done.

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._over = threading.Event()
        self.most = 0

    def during(self, work: Callable[[], None]) -> None:
        watch = threading.Thread(target=self._watch)
        watch.start()
        try:
            work()
        finally:
            self._over.set()
            watch.join()

    def _watch(self) -> None:
        while not self._over.wait(OFTEN):
            self.most = max(self.most, self._proxy.resident())


def large(proxy: Proxy, megabytes: int) -> Figures:
    """
    A large body in each direction.
    """
    size = megabytes * MB
    for name, work in (("download", download), ("upload", upload)):
        work(proxy, size)
        before = proxy.resident()
        cpu = proxy.cpu()
        began = time.perf_counter()
        work(proxy, size)
        took = time.perf_counter() - began
        used = proxy.cpu() - cpu
        # Looking costs time, so that is not done at the same time.
        peak = _Peak(proxy)
        peak.during(lambda work=work: work(proxy, size))  # type: ignore[misc]
        title = f"{name} of {megabytes} MB"
        yield Measure(f"{name}_seconds", f"{title}, s", must=2.0), took
        yield Measure(f"{name}_cpu_seconds", f"{title}, CPU, s"), used
        yield (
            Measure(
                f"{name}_growth_mb",
                f"{title}, resident meanwhile, more than before, MB",
                Against.NOTHING,
                must=32.0,
            ),
            max(0, peak.most - before) / MB,
        )
