"""
What is measured, and how.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from attrs import frozen

from benchmarks.proxy._children import Trouble
from benchmarks.proxy._cpu import cpuSeconds, residentBytes
from benchmarks.proxy._report import Against, Measure, percentile
from benchmarks.proxy._small import BODY, Client, burst
from benchmarks.proxy._streams import Streams, whenQuiet

MB = 1024 * 1024

#: What a measurement finds: figures by what they are.
Figures = Iterator[tuple[Measure, float]]


@frozen
class Proxy:
    """
    One that is measured.

    @ivar pid: its process; children are counted in.
    @ivar idle: bytes resident before it has done anything.
    """

    name: str
    url: str
    pid: int
    idle: int

    @property
    def host(self) -> str:
        """
        Where it listens, with C{port}.
        """
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        """
        The port it listens on.
        """
        return urlsplit(self.url).port or 80

    def cpu(self) -> float:
        """
        Seconds of processor time that it has used so far.
        """
        return cpuSeconds([self.pid])

    def resident(self) -> int:
        """
        Bytes resident.
        """
        return residentBytes([self.pid])


@frozen
class Plan:
    """
    How long and how much.

    @ivar seconds: of load, each time.
    @ivar streams: how many are open at once, each in turn.
    @ivar singles: how many single requests make one figure.
    @ivar waiters: how many requests wait for a model at once.
    """

    folder: Path
    seconds: int = 3
    connections: int = 32
    streams: tuple[int, ...] = (100, 400, 1500)
    singles: int = 1000
    waiters: int = 100
    wakes: int = 10


CPU_PER_REQUEST = Measure(
    "cpu_us_per_request", "CPU per small request, us", must=5.0, aim=3.0
)
REQUESTS = Measure(
    "requests_per_second", "small requests/s", must=0.2, aim=0.4, least=True
)


def small(proxy: Proxy, plan: Plan) -> Figures:
    """
    Small requests on connections that are kept.
    """
    # So that every connection to a backend, and every lazy import, is there.
    burst(proxy.url, plan.folder, plan.connections, 1, proxy.cpu)
    found = burst(proxy.url, plan.folder, plan.connections, plan.seconds, proxy.cpu)
    yield CPU_PER_REQUEST, found.cpu / found.requests * 1e6
    yield REQUESTS, found.requests / found.seconds


def first(proxy: Proxy, plan: Plan) -> Figures:
    """
    The time to the first byte, one request after the other.
    """
    client = Client(proxy.host, proxy.port)
    try:
        for _ in range(50):
            client.ask()
        times = [client.ask() * 1000 for _ in range(plan.singles)]
    finally:
        client.close()
    for part, must, aim in ((0.5, 0.5, 0.15), (0.99, 2.0, 0.5)):
        name = f"p{part * 100:.0f}"
        yield (
            Measure(
                f"first_byte_{name}_ms",
                f"first byte {name}, 1 connection, ms",
                Against.DIFFERENCE,
                must,
                aim=aim,
            ),
            percentile(times, part),
        )


#: How many times nginx's cost of a chunk llmux may cost, by streams.
CHUNK_MUST = {100: 2.5, 400: 2.0, 1500: 1.8}
CHUNK_AIM = 1.4

#: How many megabytes may be resident, by streams.
RESIDENT_MUST = {1500: 120.0}
RESIDENT_AIM = {1500: 80.0}
RESIDENT_MOST = 600.0


def streams(proxy: Proxy, plan: Plan, number: int) -> Figures:
    """
    Many slow streams at once.
    """
    # So that the model is awake, and every lazy import is there.
    warm = Streams(proxy.host, proxy.port)
    try:
        warm.open(1)
    finally:
        warm.close()
    client = Streams(proxy.host, proxy.port)
    try:
        client.open(number)
        client.measure(0.5)
        before = proxy.cpu()
        window = client.measure(plan.seconds)
        used = proxy.cpu() - before
        resident = proxy.resident()
        silent = client.silent(30)
    finally:
        client.close()
    whenQuiet(proxy.cpu)
    if silent:
        raise Trouble(f"{proxy.url}: nothing came on {silent} of {number} streams")
    at = f"{number:,} streams"
    yield (
        Measure(
            f"cpu_us_per_chunk_{number}",
            f"CPU per chunk, {at}, us",
            must=CHUNK_MUST.get(number),
            aim=CHUNK_AIM if number in CHUNK_MUST else None,
        ),
        used / window.chunks * 1e6,
    )
    yield (
        Measure(f"chunks_per_second_{number}", f"chunks/s, {at}"),
        window.chunks / window.seconds,
    )
    for title, key, values in (
        ("chunk delay", "chunk_delay", window.delays),
        ("first byte", "stream_first_byte", client.firstBytes),
    ):
        for part in (0.5, 0.99):
            name = f"p{part * 100:.0f}"
            yield (
                Measure(
                    f"{key}_{name}_ms_{number}",
                    f"{title} {name}, {at}, ms",
                    Against.DIFFERENCE,
                ),
                percentile(values, part) * 1000,
            )
    yield (
        Measure(
            f"resident_mb_{number}",
            f"resident, {at}, MB",
            must=RESIDENT_MUST.get(number, RESIDENT_MOST if number > 1500 else None),
            itself=True,
            aim=RESIDENT_AIM.get(number),
        ),
        resident / MB,
    )
    if number == max(plan.streams):
        yield (
            Measure("resident_mb_per_1000", "resident per 1,000 streams, MB"),
            (resident - proxy.idle) / MB / number * 1000,
        )


def idle(proxy: Proxy) -> Figures:
    """
    What it holds before any load.
    """
    yield Measure("resident_mb_idle", "resident, idle, MB"), proxy.idle / MB


def wake(proxy: Proxy, plan: Plan) -> Figures:
    """
    How long a request for a sleeping model takes beyond the hooks' own time,
    alone and as the first of many; for llmux only.
    """
    names = ["left", "right"]

    def swapped(number: int) -> float:
        name = names[0]
        names.reverse()
        body = json.dumps({**json.loads(BODY), "model": name}).encode()
        clients = [Client(proxy.host, proxy.port) for _ in range(number)]
        try:
            began = time.perf_counter()
            for client in clients:
                client.send(body)
            took = clients[0].receive(began)
            for client in clients[1:]:
                client.receive(began)
        finally:
            for client in clients:
                client.close()
        return took

    for number, title in ((1, "alone"), (plan.waiters, f"first of {plan.waiters}")):
        swapped(number)
        took = median(swapped(number) for _ in range(plan.wakes))
        # One sleep and one wake.
        added = took - 2 * _timed(lambda: subprocess.run(["sh", "-c", ":"], check=True))
        yield (
            Measure(
                f"wake_added_ms_{number}",
                f"sleeping model, beyond the hooks, {title}, ms",
                Against.NOTHING,
                20.0,
                aim=5.0,
            ),
            added * 1000,
        )


def _timed(run: Callable[[], object]) -> float:
    """
    The median of a few runs, in seconds.
    """
    times = []
    for _ in range(15):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return median(times)
