"""
Tests for C{examples/quickstart}: as it is, with its own toy models.
"""

from __future__ import annotations

import os
import signal

from llmux.test._examples import ExampleTestCase
from llmux.test._processes import eventually, isListening, needsExamples, needsPrograms


class QuickstartHookTests(ExampleTestCase):
    """
    Tests for the hooks, each run as llmux runs it.
    """

    example = "quickstart"
    skip = needsExamples() or needsPrograms("curl", "ps")

    def setUp(self) -> None:
        """
        Use free ports.
        """
        super().setUp()
        self.movePorts()

    def pid(self, model: str) -> int:
        """
        The process that a wake hook has started.
        """
        return int((self.place / "run" / f"{model}.pid").read_text())

    def test_life(self) -> None:
        """
        A model is asleep, is woken, and is put to sleep; C{alive} tells.
        """
        self.assertAsleep("llama")
        self.assertHook("wake", "llama")
        self.assertHook("alive", "llama")
        self.assertHook("sleep", "llama")
        self.assertAsleep("llama")
        self.assertEqual(self.processes.alive(), {})

    def test_idempotent(self) -> None:
        """
        To wake what is awake changes nothing, nor does to put to sleep what
        is asleep.
        """
        self.assertHook("sleep", "llama")
        self.assertHook("wake", "llama")
        first = self.pid("llama")
        self.assertHook("wake", "llama")
        self.assertEqual(self.pid("llama"), first)
        self.assertHook("sleep", "llama")
        self.assertHook("sleep", "llama")

    def test_two(self) -> None:
        """
        The hooks of one model leave the other alone.
        """
        self.assertHook("wake", "llama")
        self.assertHook("wake", "mistral")
        self.assertHook("sleep", "llama")
        self.assertHook("alive", "mistral")

    def test_killed(self) -> None:
        """
        A server that was killed is started again.
        """
        self.assertHook("wake", "llama")
        os.kill(self.pid("llama"), signal.SIGKILL)
        eventually(lambda: not isListening(self.ports["llama"]), "it is gone")
        self.assertAsleep("llama")
        self.assertHook("wake", "llama")

    def test_stuck(self) -> None:
        """
        A server that does not heed SIGTERM is killed in the end.
        """
        self.assertHook("wake", "llama")
        os.kill(self.pid("llama"), signal.SIGSTOP)
        self.assertHook("sleep", "llama")
        self.assertFalse(isListening(self.ports["llama"]))

    def test_foreignPid(self) -> None:
        """
        A process id that was left from before, and that is another program's
        by now, is not ended.
        """
        other = self.processes.start("sleep", "600")
        (self.place / "run").mkdir()
        (self.place / "run" / "llama.pid").write_text(f"{other.pid}\n")
        self.assertHook("sleep", "llama")
        self.assertTrue(other.isRunning())

    def test_cannotStart(self) -> None:
        """
        A server that ends while it starts fails the hook at once, which shows
        what the server said.
        """
        status, output = self.hook("wake", "llama", {"DEMO_OPTIONS": "--nonsense"})
        self.assertEqual(status, 1)
        self.assertIn("ended while it started", output)
        self.assertIn("--nonsense", output)


class QuickstartTests(ExampleTestCase):
    """
    Tests for the whole example.
    """

    example = "quickstart"
    skip = needsExamples() or needsPrograms("curl", "ps")

    def test_try(self) -> None:
        """
        C{try.sh} gets its answers from both models, and shows the switches.
        """
        self.movePorts()
        service = self.serveExample()
        status, output = self.processes.run(self.place / "try.sh", service.url)
        self.assertEqual(status, 0, output)
        self.assertIn("llama: ", output)
        self.assertIn("mistral: ", output)
        self.assertIn("data: [DONE]", output)
        self.assertRegex(
            output, r'llmux_switch_total\{from="llama",result="\w+",to="mistral"\} 2'
        )
        self.assertEqual(service.stop(), -15)
