"""
llmux as a process that records what is asked for.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from llmux.simulate.trace import readTrace
from llmux.test._processes import needsPrograms
from llmux.test._service import ProcessTestCase


class RecordTests(ProcessTestCase):
    """
    Tests of C{--record}.
    """

    skip = needsPrograms("curl")

    def test_record(self) -> None:
        """
        What was asked for before a restart and after it makes one trace, which
        the simulator takes.
        """
        llama = self.backend("llama")
        settings = self.settings(llama)
        trace = self.folder / "trace.jsonl"
        for _ in range(2):
            service = self.serve(settings, "--record", str(trace))
            self.assertIn("llama: ", service.chat("llama").said())
            stream = service.stream("llama", tokens=4, rate=10)
            while stream.next() != "[DONE]":
                pass
            self.assertEqual(service.stop(), -signal.SIGTERM)
        found = readTrace(str(trace))
        self.assertEqual([one.model for one in found], ["llama"] * 4)
        self.assertEqual(found[0].at, 0)
        self.assertGreater(found[1].seconds, 0.2)
        self.assertNotIn("Hi", trace.read_text())
        costs = self.folder / "costs.yaml"
        costs.write_text("default: {wake: 9, sleep: 1}\n")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "llmux", "simulate", "--json"),
                *("-c", str(self.folder / "config.yaml")),
                *("--trace", str(trace), "--costs", str(costs)),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=self.processes.environment(),
            cwd=self.folder,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
