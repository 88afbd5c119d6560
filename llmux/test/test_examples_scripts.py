"""
Tests for what all examples have in common.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from llmux.config import load
from llmux.test._processes import EXAMPLES, needsExamples, needsPrograms


def scripts() -> list[Path]:
    """
    All shell scripts of the examples.
    """
    return sorted(EXAMPLES.glob("*/*.sh"))


class ScriptTests(SynchronousTestCase):
    """
    Tests for the shell scripts.
    """

    skip = needsExamples()

    def test_shellcheck(self) -> None:
        """
        Each script passes shellcheck, with what it reads by C{.} included.
        """
        found = scripts()
        self.assertNotEqual(found, [])
        for script in found:
            done = subprocess.run(
                ["shellcheck", "--external-sources", script.name],
                cwd=script.parent,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, 0, f"{script}:\n{done.stdout}")

    test_shellcheck.skip = needsExamples() or needsPrograms("shellcheck")  # type: ignore[attr-defined]

    def test_executable(self) -> None:
        """
        What has a first line that names a shell can be run, and what is only
        read by others has none.
        """
        for script in scripts():
            runs = script.read_text("utf-8").startswith("#!")
            self.assertEqual(os.access(script, os.X_OK), runs, script)


class ConfigurationTests(SynchronousTestCase):
    """
    Tests for the configurations.
    """

    skip = needsExamples()

    def test_load(self) -> None:
        """
        Each is accepted, and each script that a hook names is there.
        """
        found = sorted(EXAMPLES.glob("*/config.yaml"))
        self.assertNotEqual(found, [])
        for path in found:
            config = load(str(path), {})
            for model in config.models.values():
                for hook in (model.wake, model.sleep, model.alive):
                    if hook.startswith("./"):
                        script = path.parent / hook.split()[0]
                        self.assertTrue(os.access(script, os.X_OK), script)

    def test_readme(self) -> None:
        """
        Each example explains itself.
        """
        for path in EXAMPLES.iterdir():
            if path.is_dir():
                self.assertTrue((path / "README.rst").exists(), path)
