"""
llmux as a process, whose configuration changes while it serves.
"""

from __future__ import annotations

import signal

from llmux.test._http import request
from llmux.test._processes import eventually, needsPrograms
from llmux.test._service import ProcessTestCase, Service


class ReloadTests(ProcessTestCase):
    """
    Tests of SIGHUP, of C{POST /llmux/reload} and of a file that is watched.
    """

    skip = needsPrograms("curl")

    def states(self, service: Service) -> dict[str, object]:
        """
        What each model is doing.
        """
        models = service.get("/llmux/status").json()["models"]
        return {model["id"]: model["state"] for model in models}

    def test_reload(self) -> None:
        """
        While a stream goes on, the file changes: a wrong one changes nothing;
        a right one has a new model there at once, and the one of the stream,
        which is not there any more, put to sleep when the stream has ended as
        it should.
        """
        llama, qwen = self.backends("llama", "qwen")
        service = self.serve(self.settings(llama))
        stream = service.stream("llama", tokens=60, rate=15)
        first = stream.next()

        wrong = self.settings(llama, qwen)
        wrong["models"]["qwen"]["prot"] = 1
        self.configuration(wrong)
        refused = request(service.url, "POST", "/llmux/reload")
        self.assertEqual((refused.status, refused.code()), (400, "invalid_config"))
        self.assertIn("models.qwen.prot: unknown key", refused.text())
        service.running.signal(signal.SIGHUP)
        eventually(
            lambda: service.running.output().count("models.qwen.prot") == 2,
            "the log says what is wrong",
        )
        self.assertEqual(self.states(service), {"llama": "awake"})

        everything = {"gpu": 2}
        right = self.settings(qwen, model={"needs": {"gpu": 1}}, resources=everything)
        self.configuration(right)
        service.running.signal(signal.SIGHUP)
        eventually(
            lambda: self.states(service) == {"qwen": "asleep", "llama": "draining"},
            "qwen is there",
        )
        self.assertEqual(service.chat("llama").status, 404)
        listed = service.get("/v1/models").json()["data"]
        self.assertEqual([model["id"] for model in listed], ["qwen"])
        self.assertIn("qwen: ", service.chat("qwen").said())

        rest = [first]
        while (event := stream.next()) != "[DONE]":
            rest.append(event)
        self.assertGreaterEqual(len(rest), 60)
        eventually(
            lambda: self.states(service) == {"qwen": "awake"},
            "llama sleeps and is forgotten",
        )
        self.assertEqual(llama.state(), "asleep")
        self.assertEqual(service.stop(), -signal.SIGTERM)

    def test_watched(self) -> None:
        """
        A file that is watched holds soon after it was written.
        """
        (llama,) = self.backends("llama")
        service = self.serve(self.settings(llama, watch=True))
        self.configuration(self.settings(llama, watch=True, model={"aliases": ["gpt"]}))
        eventually(
            lambda: service.get("/v1/models/gpt").status == 200, "the alias is there"
        )
