# -*- test-case-name: llmux.test.test_acceptance_switching -*-
"""
What acceptance tests are made of: llmux as a user starts it, and servers for
it to switch between.
"""

from __future__ import annotations

import atexit
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from llmux.test._http import Asked, Reply, Stream, open_, request
from llmux.test._processes import Processes, Running, eventually, freePort


@define(eq=False)
class Backend:
    """
    A C{llmux.demo} that runs all the time, and that hooks put to sleep and
    wake over HTTP, as vLLM's can be: much quicker than to start one.
    """

    name: str
    port: int
    running: Running

    @property
    def url(self) -> str:
        """
        Where it is.
        """
        return f"http://127.0.0.1:{self.port}"

    def seen(self) -> list[dict[str, object]]:
        """
        The requests that it got, oldest first.
        """
        found: list[dict[str, object]] = self._report()["requests"]
        return found

    def state(self) -> str:
        """
        C{asleep}, C{waking} or C{awake}.
        """
        return str(self._report()["state"])

    def isQuiet(self) -> bool:
        """
        Whether it is asleep and no request is open.
        """
        isOpen = any(seen["end"] == "open" for seen in self.seen())
        return self.state() == "asleep" and not isOpen

    def _report(self) -> dict[str, list[dict[str, object]]]:
        report: dict[str, list[dict[str, object]]] = request(
            self.url, "GET", "/demo/seen"
        ).json()
        return report


@define(eq=False)
class Pool:
    """
    Backends that serve one test after the other, as to start one takes much
    longer than most tests do.
    """

    _processes: Processes | None = field(default=None, init=False)
    _backends: dict[str, Backend] = field(factory=dict, init=False)

    def take(self, name: str) -> Backend:
        """
        Get one, as if it had just been started asleep.
        """
        backend = self._backends.get(name)
        if backend is None or not backend.running.isRunning():
            backend = self._backends[name] = self._start(name)
        request(backend.url, "POST", "/sleep")
        eventually(backend.isQuiet, f"{name} is quiet")
        request(backend.url, "DELETE", "/demo/seen")
        return backend

    def _start(self, name: str) -> Backend:
        if self._processes is None:
            self._processes = Processes()
            atexit.register(self._processes.end)
        port = freePort()
        running = self._processes.start(
            *(sys.executable, "-m", "llmux.demo", "--port", str(port)),
            *("--model", name, "--admin", "--asleep"),
        )
        backend = Backend(name, port, running)
        eventually(backend.state, f"{name} answers")
        return backend


#: Of all tests.
POOL = Pool()

#: Hooks for a L{Backend}.  Each run leaves a line in C{hooks.log}.
BACKEND_HOOKS = {
    "wake": 'echo "$LLMUX_HOOK $LLMUX_MODEL" >>hooks.log\n'
    'exec curl -sf -o /dev/null -X POST "$LLMUX_URL/wake_up"',
    "sleep": 'echo "$LLMUX_HOOK $LLMUX_MODEL" >>hooks.log\n'
    'exec curl -sf -o /dev/null -X POST "$LLMUX_URL/sleep"',
    "alive": 'exec curl -sf -o /dev/null "$LLMUX_URL/health"',
}


@define(eq=False)
class Service:
    """
    A running llmux.
    """

    port: int
    running: Running

    @property
    def url(self) -> str:
        """
        Where it is.
        """
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Reply:
        """
        Ask it for something of its own.
        """
        return request(self.url, "GET", path)

    def chat(self, model: str, **more: object) -> Reply:
        """
        Have a word with a model.
        """
        return request(self.url, "POST", "/v1/chat/completions", chat(model, **more))

    def asked(self, model: str, **more: object) -> Asked:
        """
        The same, while the test goes on.
        """
        return Asked(self.url, "POST", "/v1/chat/completions", chat(model, **more))

    def stream(
        self, model: str, tokens: int = 10, rate: float = 0, **more: object
    ) -> Stream:
        """
        The same, as a stream.

        @param tokens: how many there will be.

        @param rate: tokens per second; 0: as many as there can be.
        """
        knobs = {"x_demo_tokens": tokens, "x_demo_tokens_per_second": rate}
        body = chat(model, stream=True, **knobs, **more)
        return open_(self.url, "POST", "/v1/chat/completions", body)

    def metric(self, line: str) -> float:
        """
        The value of a metric, by its name and its labels as they stand in
        C{/metrics}; 0 if it is not there yet.
        """
        for found in self.get("/metrics").text().splitlines():
            name, _, value = found.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0

    def hooksRun(self) -> list[str]:
        """
        What L{BACKEND_HOOKS} have noted so far.
        """
        log = self.running.folder / "hooks.log"
        return log.read_text().splitlines() if log.exists() else []

    def stop(self) -> int:
        """
        End it as a user does.

        @return: the exit status.
        """
        self.running.signal(signal.SIGTERM)
        return self.running.wait()


def chat(model: object, **more: object) -> dict[str, object]:
    """
    The body of a request for a chat completion.
    """
    messages = [{"role": "user", "content": "Hi"}]
    return {"model": model, "messages": messages, **more}


class ProcessTestCase(SynchronousTestCase):
    """
    A test with processes of its own.
    """

    #: Seconds, for trial: nothing here may hang for ever.
    timeout = 300

    def setUp(self) -> None:
        """
        Make sure that all that is started is ended.
        """
        self.processes = Processes()
        self.addCleanup(self.processes.end)
        self.folder = self.processes.folder

    def backend(self, name: str) -> Backend:
        """
        A demo server whose name is that of a model, asleep.
        """
        return self.backends(name)[0]

    def backends(self, *names: str) -> list[Backend]:
        """
        Several of them.
        """
        return [POOL.take(name) for name in names]

    def configuration(self, settings: Mapping[str, object]) -> Path:
        """
        Write a configuration.
        """
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        return path

    def settings(
        self,
        *backends: Backend,
        model: Mapping[str, object] | None = None,
        **more: object,
    ) -> dict[str, Any]:
        """
        A configuration with these models.

        @param model: more settings for each of them.

        @param more: more settings beside C{models}.
        """
        return {
            "models": {
                backend.name: {
                    "port": backend.port,
                    **BACKEND_HOOKS,
                    **(model or {}),
                }
                for backend in backends
            },
            **more,
        }

    def serve(
        self,
        configuration: Path | Mapping[str, object],
        *options: str,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Service:
        """
        Start llmux by C{twist}, on a free port, and wait until it answers.
        """
        if not isinstance(configuration, Path):
            configuration = self.configuration(configuration)
        port = port or freePort()
        running = self.processes.start(
            *(sys.executable, "-m", "twisted", "--log-format=text"),
            *("llmux", "--config", str(configuration), "--port", str(port)),
            *options,
            folder=folder,
            environment=environment,
        )
        service = Service(port, running)
        self.untilServing(service)
        return service

    def untilServing(self, service: Service) -> None:
        """
        Wait until llmux answers, and say why if it does not.
        """

        def answers() -> bool:
            if not service.running.isRunning():
                raise RuntimeError(f"llmux ended: {service.running.output()}")
            return service.get("/health").status == 200

        eventually(answers, "llmux answers")
