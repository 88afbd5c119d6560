"""
llmux as a process, and a program that has read the description of its routes
and tries whatever that allows, and what it does not.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

from llmux.test._processes import freePort
from llmux.test._service import ProcessTestCase

#: The names by which models are known.
NAMES = ["a", "gpt", "org/b"]


class OpenAPITests(ProcessTestCase):
    """
    Tests of C{/llmux/openapi.json}, by schemathesis.
    """

    if find_spec("schemathesis") is None:
        skip = "needs schemathesis"

    def test_schemathesis(self) -> None:
        """
        Whatever is asked, by whatever method, answers have the statuses, the
        types and the form that are described, and nothing makes llmux fail.
        """
        hooks = {"wake": "true", "sleep": "true", "alive": "false"}
        models = {
            "a": {"port": freePort(), "aliases": ["gpt"], **hooks},
            "org/b": {"port": freePort(), **hooks},
        }
        service = self.serve({"models": models})
        document = service.get("/llmux/openapi.json").json()
        # Names are found more often than by chance.
        document["components"]["parameters"]["Id"]["schema"]["enum"] = NAMES
        # What goes on until the client leaves would be waited for.
        del document["paths"]["/llmux/events"]
        logs = document["paths"]["/llmux/logs/{id}"]["get"]
        logs["parameters"] = []
        path = self.folder / "openapi.json"
        path.write_text(json.dumps(document))
        status, output = self.processes.run(
            *(sys.executable, "-m", "schemathesis.cli", "run", path),
            *("--url", service.url, "--max-examples", "20"),
            *("--request-timeout", "20", "--generation-deterministic", "--no-color"),
        )
        self.assertEqual(status, 0, output)
        count = sum(
            method in ("get", "post")
            for item in document["paths"].values()
            for method in item
        )
        self.assertRegex(output, rf"Tested: {count}\b")
        self.assertNotIn("Traceback", service.running.output())
