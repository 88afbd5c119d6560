"""
llmux as a process, and an operator who looks at it and steers it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from http.client import HTTPException

from llmux.test._http import open_, request
from llmux.test._processes import eventually, needsPrograms
from llmux.test._service import ProcessTestCase


class ControlTests(ProcessTestCase):
    """
    Tests of C{/llmux/} and of llama-swap's routes.
    """

    skip = needsPrograms("curl")

    def test_operator(self) -> None:
        """
        An operator wakes a model, sees it happen, reads what its hooks print,
        and unloads it.  Streams that are being followed do not keep llmux from
        stopping.
        """
        llama = self.backend("llama")
        settings = self.settings(llama)
        model = settings["models"]["llama"]
        model["wake"] = "echo loading weights\n" + model["wake"]
        url = (service := self.serve(settings)).url

        def state() -> object:
            return service.get("/llmux/status").json()["models"][0]["state"]

        eventually(lambda: state() == "asleep", "llama is known to be asleep")
        events = open_(url, "GET", "/llmux/events")
        self.assertEqual(len(json.loads(events.next())["models"]), 1)
        logs = open_(url, "GET", "/llmux/logs/llama?follow")

        woken = request(url, "POST", "/llmux/models/llama/wake")
        self.assertEqual((woken.status, woken.json()["state"]), (200, "awake"))
        self.assertEqual(llama.state(), "awake")
        told = json.loads(events.next())
        while told.get("after") != "awake":
            told = json.loads(events.next())
        self.assertIn("wake stdout: loading weights", logs.next())
        printed = service.get("/llmux/logs/llama").text()
        self.assertIn("wake stdout: loading weights\n", printed)

        (running,) = service.get("/running").json()["running"]
        self.assertEqual((running["model"], running["state"]), ("llama", "ready"))
        self.assertEqual(running["proxy"], llama.url)
        foreign = {"Origin": "http://evil.example"}
        refused = request(url, "POST", "/api/models/unload", headers=foreign)
        self.assertEqual((refused.status, refused.code()), (403, "foreign_origin"))
        unloaded = request(url, "POST", "/api/models/unload/llama")
        self.assertEqual((unloaded.status, unloaded.body), (200, b"OK"))
        self.assertEqual(llama.state(), "asleep")

        service.stop()
        for stream in (events, logs):
            # The process may be gone before the end is sent.
            with contextlib.suppress(HTTPException, OSError):
                stream.rest()
            stream.close()

    def test_shell(self) -> None:
        """
        The same from a shell.  What is refused has an exit status.
        """
        llama = self.backend("llama")
        settings = self.settings(llama)
        model = settings["models"]["llama"]
        model["wake"] = "echo loading weights\n" + model["wake"]
        service = self.serve(settings)
        there = {"LLMUX_URL": service.url}

        def llmux(*words: str) -> tuple[int, str]:
            return self.processes.run(
                *(sys.executable, "-m", "llmux", *words), environment=there
            )

        events = self.processes.start(
            *(sys.executable, "-m", "llmux", "events", "--json"), environment=there
        )
        logs = self.processes.start(
            *(sys.executable, "-m", "llmux", "logs", "-f", "llama"), environment=there
        )
        eventually(lambda: '"event": "status"' in events.output(), "it follows")
        self.assertEqual(llmux("status", "--names"), (0, "llama\n"))
        self.assertEqual(llmux("wake", "llama"), (0, "llama is awake\n"))
        self.assertEqual(llama.state(), "awake")
        status, output = llmux("status")
        self.assertEqual(status, 0)
        self.assertRegex(output, r"\nllama +awake +")
        self.assertIn("wake stdout: loading weights\n", llmux("logs", "llama")[1])
        self.assertEqual(llmux("sleep", "llama"), (0, "llama is asleep\n"))
        status, output = llmux("clear", "llama")
        self.assertEqual(status, 1)
        self.assertIn("not stuck", output)
        self.assertEqual(llmux("wake", "nobody")[0], 1)
        eventually(lambda: '"after": "asleep"' in events.output(), "it is told")
        eventually(lambda: "loading weights" in logs.output(), "the log is told")
        service.stop()
        self.assertEqual([events.wait(), logs.wait()], [69, 69])
        status, output = llmux("status")
        self.assertEqual(status, 69)
        self.assertIn("refused", output)
