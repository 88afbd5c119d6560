"""
What a chaos run is played on: llmux as users start it, its configuration, and
what becomes of both.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import resource
import runpy
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field, frozen

HERE = Path(__file__).parent
ROOT = HERE.parent

#: Seconds that llmux may take to start.
PATIENCE = 30.0


@frozen
class Model:
    """
    A model.

    @ivar kind: C{resident}: its server runs all the time, and is put to sleep
        and woken over HTTP; C{process}: it is started and killed; C{llama}: the
        same, and it is llama.cpp's.
    @ivar places: what it holds.
    """

    name: str
    kind: str
    places: tuple[str, ...]
    port: int


def freePorts(count: int) -> list[int]:
    """
    Ports of the loopback interface on which nobody listens.
    """
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def hasLlama() -> bool:
    """
    Whether llama.cpp's server is there.
    """
    return all(importlib.util.find_spec(name) for name in ("xllamacpp", "gguf"))


@define(eq=False)
class Stage:
    """
    @ivar folder: where everything is.
    @ivar settings: the configuration.
    @ivar port: where llmux is.
    """

    folder: Path
    lane: bool = True
    policy: str = "fifo"
    models: dict[str, Model] = field(factory=dict, init=False)
    settings: dict[str, Any] = field(factory=dict, init=False)
    port: int = field(default=0, init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _began: int = field(default=0, init=False)

    def build(self) -> None:
        """
        Write down all that there is to be.
        """
        (self.folder / "tmp").mkdir()
        shutil.copy(HERE / "hook.sh", self.folder)
        self.port, *ports = freePorts(5)
        last = "llama" if hasLlama() else "process"
        kinds = {
            "ash": ("process", ("left",)),
            "birch": ("resident", ("left",)),
            "cedar": ("resident", ("right",)),
            "date": (last, ("left", "right")),
        }
        for (name, (kind, places)), port in zip(kinds.items(), ports, strict=True):
            self.models[name] = model = Model(name, kind, places, port)
            self._prepare(model)
        self.settings = {
            "port": self.port,
            "resources": {"left": 1, "right": 1},
            "alive_interval_secs": 3,
            # Comments in streams are no part of what was asked for.
            "loading_heartbeat_secs": 0,
            "limits": {"stall_secs": 20, "body_mb": 16},
            "policy": {
                "name": self.policy,
                "max_wait_secs": 5,
                "drain_timeout_secs": 20,
                "request_timeout_secs": 60,
            },
            "models": {
                model.name: {
                    "port": model.port,
                    **dict.fromkeys(("wake", "sleep", "alive"), "exec sh ./hook.sh"),
                    "needs": dict.fromkeys(model.places, 1),
                    # llama.cpp's closes connections when too many come at once.
                    "max_in_flight": 16 if model.kind == "llama" else None,
                    "timeouts": {
                        "wake": 8,
                        "sleep": 8,
                        "alive": 4,
                        "connect": 3,
                        "first_byte": 15,
                        "idle": 15,
                    },
                }
                for model in self.models.values()
            },
        }

    def _prepare(self, model: Model) -> None:
        kind = "process" if model.kind == "llama" else model.kind
        (self.folder / f"{model.name}.kind").write_text(f"{kind}\n")
        argv = [sys.executable, "-m", "chaos.server", ".", model.name, str(model.port)]
        argv.append(kind)
        if model.kind == "llama":
            tool = runpy.run_path(str(ROOT / "tools" / "tiny_gguf.py"))
            file = self.folder / f"{model.name}.gguf"
            tool["write"](str(file), 1, model.name)
            argv[2] = "chaos.llama"
            argv[-1] = file.name
        command = " ".join(["exec", *argv, *model.places])
        (self.folder / f"{model.name}.command").write_text(command + "\n")

    @property
    def environment(self) -> dict[str, str]:
        """
        That of llmux, and so of hooks and servers.
        """
        paths = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        return {
            **os.environ,
            "PATH": paths,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.folder / "tmp"),
            "CHAOS_RUN": str(self.folder),
        }

    async def start(self) -> None:
        """
        Start llmux, and wait until it answers.

        @raise RuntimeError: it does not.
        """
        path = self.folder / "config.yaml"
        self.settings["lane"] = "on" if self.lane else "off"
        path.write_text(yaml.safe_dump(self.settings))
        with (self.folder / "llmux.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "twisted", "--log-format=text"),
                    *("llmux", "--config", str(path)),
                ],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A signal to us is not one to it.
                start_new_session=True,
            )
        self._began += 1
        for _ in range(int(PATIENCE / 0.05)):
            if self.process.poll() is not None:
                break
            status = await self.get("/health")
            if status is not None:
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"llmux does not start: see {self.folder}/llmux.log")

    def reload(self, change: int | None) -> None:
        """
        Have llmux read its configuration again.

        @param change: what is other than it was: odd numbers make a file that
            is good, even ones one that is not; L{None} puts it back.
        """
        assert self.process is not None
        settings = dict(self.settings)
        if change is not None:
            settings["alive_interval_secs"] = 1 + change % 5
            settings["models"] = {
                name: {**model, "priority": (change + place) % 3}
                for place, (name, model) in enumerate(self.settings["models"].items())
            }
        text = yaml.safe_dump(settings)
        if change is not None and change % 2 == 0:
            text = text[: len(text) // 2] + "\n: ["
        (self.folder / "config.yaml").write_text(text)
        self.process.send_signal(signal.SIGHUP)

    async def get(self, path: str) -> Any:
        """
        Ask llmux for something in JSON.

        @return: L{None} if it does not answer.
        """
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
                + b"Connection: close\r\n\r\n"
            )
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return json.loads(answer.partition(b"\r\n\r\n")[2])
        except (OSError, ValueError, asyncio.TimeoutError):
            return None

    async def stop(self, patience: float = 60.0) -> int:
        """
        End llmux as an operator does.

        @return: its exit status; 999 if it did not end by itself.
        """
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        for _ in range(int(patience / 0.02)):
            if self.process.poll() is not None:
                return self.process.returncode
            await asyncio.sleep(0.02)
        self.process.kill()
        self.process.wait()
        return 999

    def limit(self, kind: int, soft: int | None) -> None:
        """
        Limit what llmux may have, or no longer if C{soft} is L{None}.

        @param kind: such as C{resource.RLIMIT_NOFILE}.
        """
        assert self.process is not None
        try:
            _, hard = resource.prlimit(self.process.pid, kind)
            value = hard if soft is None else soft
            if kind == resource.RLIMIT_NOFILE and soft is None:
                value = min(hard, 4096)
            resource.prlimit(self.process.pid, kind, (value, hard))
        except ProcessLookupError:
            # It is being started anew, which lifts limits as well.
            pass

    def descriptors(self) -> int:
        """
        How many file descriptors llmux has open.
        """
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def started(self) -> dict[int, str]:
        """
        The command lines of all processes of this run but llmux, by their
        numbers.
        """
        mark = f"CHAOS_RUN={self.folder}".encode()
        found = {}
        own = self.process.pid if self.process is not None else 0
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    line = (place / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(place.name)] = line.decode("utf-8", "replace").strip()
            except OSError:
                continue
        found.pop(own, None)
        return found

    def serverOf(self, model: str) -> int | None:
        """
        The number of the process of a model's server, if there is one.
        """
        try:
            pid = int((self.folder / f"{model}.pid").read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def fault(self, model: str, hook: str, what: str | None) -> None:
        """
        Have something go wrong in a hook, or nothing any more.
        """
        path = self.folder / f"{model}.{hook}.fault"
        if what is None:
            path.unlink(missing_ok=True)
        else:
            fresh = path.with_suffix(".new")
            fresh.write_text(what + "\n")
            fresh.rename(path)

    def end(self) -> None:
        """
        End all processes.
        """
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.started():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
