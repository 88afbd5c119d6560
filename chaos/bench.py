"""
What the commands that measure llmux from outside have in common: llmux with
its watchdog, a server that takes anything, and plain clients.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml
from attrs import define, field

from chaos.stage import ROOT, freePorts

BODY = b'{"model":"%b","messages":[]}'


def raiseLimit() -> int:
    """
    Take as many descriptors as are allowed, for us and what we start.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


@define(eq=False)
class Bench:
    """
    llmux and a server.

    @ivar models: their settings, but for the port.
    @ivar settings: the rest of the configuration.
    @ivar apart: the models that have a server to themselves.
    """

    models: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any] = field(factory=dict)
    apart: Collection[str] = field(default=(), kw_only=True)
    root: Path = ROOT
    folder: Path = field(factory=lambda: Path(mkdtemp(prefix="llmux-bench-")))
    port: int = field(default=0, init=False)
    _ports: dict[str, int] = field(factory=dict, init=False)
    _processes: list[subprocess.Popen[bytes]] = field(factory=list, init=False)

    async def start(self) -> float:
        """
        Start both.

        @return: how many seconds llmux took.

        @raise RuntimeError: it does not answer.
        """
        self.port, sink, another = freePorts(3)
        self._ports = {
            name: another if name in self.apart else sink for name in self.models
        }
        path = self.configure()
        self._run("chaos.sink", str(sink))
        if self.apart:
            self._run("chaos.sink", str(another))
        began = time.monotonic()
        self._run(
            *("chaos.watched", str(self.folder / "watch"), "--log-format=text"),
            *("llmux", "--config", str(path)),
        )
        while time.monotonic() < began + 60:
            if self._processes[-1].poll() is not None:
                break
            try:
                await self.ask("", path="/health", method="GET")
                return time.monotonic() - began
            except OSError:
                await asyncio.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def configure(self, **more: Any) -> Path:
        """
        Write the configuration.

        @param more: settings of all models, in place of what they have.
        """
        config = {
            "port": self.port,
            **self.settings,
            "models": {
                name: {"port": self._ports[name], **model, **more}
                for name, model in self.models.items()
            },
        }
        path = self.folder / "config.yaml"
        path.write_text(yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False))
        return path

    def said(self, what: str) -> int:
        """
        How often something is in the log.
        """
        return (self.folder / "log").read_text().count(what)

    def _run(self, *argv: str) -> None:
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *argv],
                    cwd=self.folder,
                    env={
                        **os.environ,
                        "PYTHONPATH": f"{self.root}:{ROOT}",
                        "TMPDIR": str(temporary),
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def signal(self, number: int) -> None:
        """
        Send llmux a signal.
        """
        self._processes[-1].send_signal(number)

    def lines(self) -> list[dict[str, Any]]:
        """
        What the watchdog has written.
        """
        path = self.folder / "watch"
        text = path.read_text() if path.exists() else ""
        return [
            json.loads(line) for line in text.splitlines(keepends=True) if "\n" in line
        ]

    def end(self) -> None:
        """
        End both, and remove the folder.
        """
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def ask(
        self,
        model: str,
        query: str = "",
        path: str = "/v1/chat/completions",
        method: str = "POST",
    ) -> bytes:
        """
        See L{ask}.
        """
        return await ask(self.port, model, query, path, method)

    async def load(self, kind: str, count: int = 1, size: int = 0) -> None:
        """
        Have another process, to which others are preferred, make a load.

        @raise OSError: one of its requests had no good answer.
        """
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *("nice", sys.executable, "-m", "chaos.load"),
                *(str(self.port), kind, str(count), str(size)),
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if await process.wait():
            raise OSError((self.folder / "log").read_text()[-2000:])


async def ask(
    port: int,
    model: str,
    query: str = "",
    path: str = "/v1/chat/completions",
    method: str = "POST",
    size: int = 0,
    isJSON: bool = False,
    body: bytes = b"",
) -> bytes:
    """
    Ask for something, and read the answer to its end.

    @param size: of a body that is nothing but zeros.
    @param isJSON: whether it is one of JSON, with one long string, instead.

    @param body: the body, if it is to be another.

    @return: the answer.

    @raise OSError: there is none, or it is no good one.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        body = body or BODY % model.encode()
        if method == "GET":
            body = b""
        if size and not isJSON:
            query = f"?model={model}"
        length = size or len(body)
        writer.write(
            f"{method} {path}{query} HTTP/1.1\r\nHost: localhost\r\n"
            f"Connection: close\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        start, end, fill = (body, b"", b"")
        if size:
            start, end, fill = b"", b"", b"\0"
        if isJSON:
            start, end, fill = b'{"model":"%b","input":"' % model.encode(), b'"}', b"x"
        writer.write(start)
        part = fill * (1 << 18)
        middle = length - len(start) - len(end)
        for at in range(0, middle, len(part) or 1):
            writer.write(part[: middle - at])
            await writer.drain()
        writer.write(end)
        answer = await reader.read()
        while more := await reader.read():
            answer += more
    finally:
        writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(f"{model}: {answer[:300]!r}")
    if b"chunked" in answer and not answer.endswith(b"\r\n0\r\n\r\n"):
        raise OSError(f"{model}: the answer was cut")
    return answer


def megabytes(size: float) -> str:
    """
    A size for people.
    """
    return f"{size / 2**20:.0f} MiB"


def number(text: str) -> int:
    """
    Such as C{512M}.
    """
    found = re.fullmatch(r"(\d+)([KMG]?)", text)
    if found is None:
        raise ValueError(text)
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]
