"""
llmux as a process, and an operator who looks at it and steers it.
"""

from __future__ import annotations

import contextlib
import json
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
