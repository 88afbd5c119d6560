"""
Tests for C{examples/policy}, run as its README says once it is installed.
"""

from __future__ import annotations

import shutil
import sys
from configparser import ConfigParser

from llmux.test._processes import EXAMPLES, ROOT, needsExamples
from llmux.test._service import ProcessTestCase

#: What C{pip install} makes of the metadata.
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


class PolicyTests(ProcessTestCase):
    """
    Tests for the package.
    """

    skip = needsExamples()

    def setUp(self) -> None:
        """
        Install it, as far as Python can tell, in a folder of the test's own.
        """
        super().setUp()
        source = EXAMPLES / "policy"
        self.site = self.folder / "site"
        self.site.mkdir()
        setup = ConfigParser()
        setup.read(source / "setup.cfg")
        for module in setup["options"]["py_modules"].split():
            shutil.copy(source / f"{module}.py", self.site)
        metadata = setup["metadata"]
        info = self.site / f"llmux_office_hours-{metadata['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(METADATA.format(**metadata))
        points = setup["options.entry_points"]["llmux.policies"].strip()
        (info / "entry_points.txt").write_text(f"[llmux.policies]\n{points}\n")
        self.environment = {"PYTHONPATH": f"{self.site}:{ROOT}"}

    def test_tests(self) -> None:
        """
        Its own tests pass.
        """
        status, output = self.processes.run(
            *(sys.executable, "-m", "twisted.trial", "test_office_hours"),
            environment=self.environment,
        )
        self.assertEqual(status, 0, output)
        self.assertNotIn("Ran 0 tests", output)

    def test_configured(self) -> None:
        """
        A configuration may name it where it is installed, and only there.
        """
        model = {"port": 8001, "wake": "true", "sleep": "true", "alive": "false"}
        path = self.configuration(
            {"models": {"chat": model}, "policy": {"name": "office-hours"}}
        )
        command = (sys.executable, "-m", "llmux", "check", "-c", str(path))
        status, output = self.processes.run(*command, environment=self.environment)
        self.assertEqual(status, 0, output)
        status, output = self.processes.run(*command)
        self.assertNotEqual(status, 0)
        self.assertIn("office-hours", output)
