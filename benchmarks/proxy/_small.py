"""
Small requests: many at once by wrk, and one at a time.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from benchmarks.proxy._children import Trouble
from benchmarks.proxy._nginx import findProgram
from benchmarks.proxy._streams import request

BODY = b'{"model":"small","messages":[{"role":"user","content":"Hello"}]}'

SCRIPT = """
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '%s'
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests":%%d,"microseconds":%%d,"errors":%%d,"p50":%%d,"p99":%%d}\\n',
    summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@frozen
class Burst:
    """
    What wrk found.

    @ivar cpu: seconds of processor time that the proxy used meanwhile.
    """

    requests: int
    seconds: float
    cpu: float


def burst(
    url: str, folder: Path, connections: int, seconds: int, cpu: Callable[[], float]
) -> Burst:
    """
    As many requests as can be had, on connections that are kept.

    @raise Trouble: if any of them went wrong.
    """
    script = folder / "small.lua"
    script.write_text(SCRIPT % BODY.decode())
    wrk = findProgram("wrk", "wrk")
    argv = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    before = cpu()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    used = cpu() - before
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise Trouble(f"wrk failed: {done.stdout}{done.stderr}")
    found = json.loads(lines[-1])
    if found["errors"] or not found["requests"]:
        raise Trouble(f"{url}: {found['errors']} of {found['requests']} went wrong")
    return Burst(found["requests"], found["microseconds"] / 1e6, used)


class Client:
    """
    One connection for one request at a time.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = f"{host}:{port}"
        self._socket = socket.create_connection((host, port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, body: bytes) -> None:
        """
        Send a request.
        """
        self._socket.sendall(request(self._host, "/v1/chat/completions", body))

    def receive(self, began: float) -> float:
        """
        Read an answer.

        @param began: when the request was sent, on the performance counter.

        @return: seconds until its first byte.

        @raise Trouble: if it is none.
        """
        data = self._socket.recv(65536)
        took = time.perf_counter() - began
        if not data.startswith(b"HTTP/1.1 200"):
            raise Trouble(f"{self._host} answered {data[:500]!r}")
        # The answer is known: it ends with the last brace of its JSON, or
        # with the last chunk after it.
        end = b"0\r\n\r\n" if b"chunked" in data.lower() else b"}}"
        while not data.endswith(end):
            more = self._socket.recv(65536)
            if not more:
                raise Trouble(f"{self._host} cut its answer off")
            data += more
        return took

    def ask(self, body: bytes = BODY) -> float:
        """
        One request and its answer.

        @return: seconds to the first byte.
        """
        began = time.perf_counter()
        self.send(body)
        return self.receive(began)

    def close(self) -> None:
        """
        Leave.
        """
        self._socket.close()
