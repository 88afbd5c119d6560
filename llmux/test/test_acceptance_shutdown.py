"""
llmux as a process: how it ends.
"""

from __future__ import annotations

import json
import signal
import time
from http.client import HTTPException
from typing import Any

from llmux.test._http import Stream
from llmux.test._processes import eventually, isListening, needsPrograms
from llmux.test._service import Backend, ProcessTestCase, Service


class ShutdownTests(ProcessTestCase):
    """
    Tests for signals.
    """

    skip = needsPrograms("curl")

    def serving(self, **more: Any) -> tuple[Service, Backend]:
        """
        Start llmux with one model.
        """
        backend = self.backend("llama")
        return self.serve(self.settings(backend, **more)), backend

    def streaming(self, service: Service, tokens: int) -> Stream:
        """
        Begin a stream.
        """
        stream = service.stream("llama", tokens=tokens, rate=20)
        stream.next()
        return stream

    def test_idle(self) -> None:
        """
        With nothing to do it ends at once, by the signal that it got, and
        leaves the models as they are.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            service, backend = self.serving()
            self.assertEqual(service.chat("llama").status, 200)
            service.running.signal(number)
            self.assertEqual(service.running.wait(), -number)
            self.assertNotIn("Traceback", service.running.output())
            self.assertEqual(backend.state(), "awake")
            self.assertNotIn("sleep llama", service.hooksRun())

    def test_noFiles(self) -> None:
        """
        Nothing is left in the temporary folder.
        """
        place = self.folder / "temporary"
        place.mkdir()
        settings = self.settings(self.backend("llama"))
        service = self.serve(settings, environment={"TMPDIR": str(place)})
        self.assertEqual(service.chat("llama").status, 200)
        self.assertNotEqual(list(place.iterdir()), [])
        service.stop()
        self.assertEqual(list(place.iterdir()), [])

    def test_stream(self) -> None:
        """
        On SIGTERM a stream that runs is finished, and nobody new is let in.
        What it was is still written down.
        """
        service, backend = self.serving(access_log="access.log")
        stream = self.streaming(service, 20)
        service.running.signal(signal.SIGTERM)
        eventually(lambda: not isListening(service.port), "the port is closed")
        self.assertTrue(service.running.isRunning())
        self.assertEqual(stream.rest()[-1], "[DONE]")
        self.assertEqual(service.running.wait(), -signal.SIGTERM)
        self.assertEqual(backend.seen()[-1]["end"], "done")
        (line,) = (self.folder / "access.log").read_text().splitlines()
        self.assertEqual(json.loads(line)["status"], 200)

    def test_second(self) -> None:
        """
        A second SIGTERM ends it at once; the client sees that its stream is
        not whole.
        """
        service, backend = self.serving()
        stream = self.streaming(service, 100_000)
        service.running.signal(signal.SIGTERM)
        eventually(lambda: not isListening(service.port), "the port is closed")
        service.running.signal(signal.SIGTERM)
        started = time.monotonic()
        self.assertEqual(service.running.wait(), -signal.SIGTERM)
        self.assertLess(time.monotonic() - started, 10)
        with self.assertRaises((HTTPException, OSError)):
            stream.rest()
        eventually(lambda: backend.seen()[-1]["end"] == "left", "its server is told")

    def test_drainTimeout(self) -> None:
        """
        C{drain_timeout_secs} bounds how long it waits for a stream.
        """
        service, _ = self.serving(policy={"drain_timeout_secs": 0.3})
        stream = self.streaming(service, 100_000)
        self.assertEqual(service.stop(), -signal.SIGTERM)
        with self.assertRaises((HTTPException, OSError)):
            stream.rest()

    def test_queued(self) -> None:
        """
        Whoever waits when SIGTERM comes is told so, and that it is worth
        coming back; the hook that was to wake the model, and what that had
        started, are gone.
        """
        backend = self.backend("llama")
        wake = "sleep 600 & echo started >>hooks.log; wait"
        settings = self.settings(backend, model={"wake": wake})
        before = set(self.processes.alive())
        service = self.serve(settings)
        waiting = service.asked("llama")
        eventually(service.hooksRun, "the hook runs")
        self.assertEqual(service.stop(), -signal.SIGTERM)
        answer = waiting.reply()
        self.assertEqual((answer.status, answer.code()), (503, "shutting_down"))
        self.assertIn("retry-after", answer.headers)
        self.assertEqual(set(self.processes.alive()), before)

    def test_onExitSleep(self) -> None:
        """
        With C{on_exit: sleep} what is awake is put to sleep, after its stream.
        """
        service, backend = self.serving(on_exit="sleep")
        stream = self.streaming(service, 10)
        service.running.signal(signal.SIGTERM)
        self.assertEqual(stream.rest()[-1], "[DONE]")
        self.assertEqual(service.running.wait(), -signal.SIGTERM)
        self.assertEqual(backend.state(), "asleep")
        self.assertEqual(service.hooksRun(), ["wake llama", "sleep llama"])
