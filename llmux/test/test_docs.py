"""
The documentation says what the code does.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from textwrap import dedent

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import llmux
from llmux.config import (
    Alias,
    ApiKey,
    Limits,
    ModelConfig,
    PolicyConfig,
    Resource,
    Timeouts,
    parse,
)
from llmux.config._keys import entries
from llmux.config._values import Config
from llmux.hooks._environment import OWN
from llmux.observe.metrics import Metrics
from llmux.policies import find

PACKAGE = Path(llmux.__file__).parent
ROOT = PACKAGE.parent
README = ROOT / "README.rst"
DOCS = ROOT / "docs"

#: Sections that keys are named after, in the pages: C{policy.name}.
SECTIONS = {
    "": Config,
    "api_keys.NAME": ApiKey,
    "limits": Limits,
    "models.NAME": ModelConfig,
    "models.NAME.aliases.NAME": Alias,
    "models.NAME.timeouts": Timeouts,
    "policy": PolicyConfig,
    "resources.NAME": Resource,
    "timeouts": Timeouts,
}

#: A model for configurations that are shown without one.
MODEL = {"llama": {"port": 8001, "wake": "true", "sleep": "true", "alive": "true"}}

#: Pieces of single models stand there; the reference's own test parses them.
REFERENCE = "configuration.rst"


def pages() -> Iterator[Path]:
    """
    The README and all pages of the documentation.
    """
    yield README
    yield from sorted(DOCS.glob("*.rst"))


def blocks(text: str, language: str) -> Iterator[str]:
    """
    The code blocks of a page that are in a language, unless they say in their
    captions that they are another program's.
    """
    found = re.findall(
        rf"^\.\. code-block:: {language}\n((?: +:.*\n)*)\n((?: +.*\n|\n)+)", text, re.M
    )
    return (dedent(block) for options, block in found if "llama-swap" not in options)


def sources() -> Iterator[str]:
    """
    The code, without its tests.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        if "test" not in path.relative_to(PACKAGE).parts:
            yield path.read_text("utf-8")


def tableCodes(text: str) -> set[tuple[int, str]]:
    """
    The statuses and codes in a table of errors.
    """
    rows = re.findall(r"^(\d{3}) +``(\w+)``", text, re.M)
    return {(int(status), code) for status, code in rows}


class DocsTests(SynchronousTestCase):
    """
    Tests of pages against the code.
    """

    def setUp(self) -> None:
        if not README.exists() or not DOCS.is_dir():
            raise SkipTest("the documentation is not beside the package")

    def read(self, name: str) -> str:
        """
        A page.
        """
        return (DOCS / name).read_text("utf-8")

    def test_configurations(self) -> None:
        """
        Every configuration that is shown can be used as it is, or, where no
        models are shown, with some model.
        """
        count = 0
        for page in pages():
            if page.name == REFERENCE:
                continue
            for block in blocks(page.read_text("utf-8"), "yaml"):
                shown = yaml.safe_load(block)
                text = (
                    block
                    if "models" in shown
                    else json.dumps(shown | {"models": MODEL})
                )
                names = re.findall(r"\$\{env:(\w+)\}", text)
                environment = {name: name for name in names}
                parse(text, name="config.yaml", folder="/", environment=environment)
                count += 1
        self.assertGreater(count, 4)

    def test_json(self) -> None:
        """
        What is shown as JSON is JSON.
        """
        for page in pages():
            for block in blocks(page.read_text("utf-8"), "json"):
                json.loads(block)

    def test_programs(self) -> None:
        """
        What is shown as Python is Python.
        """
        for page in pages():
            for block in blocks(page.read_text("utf-8"), "python"):
                compile(block, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    def test_reference(self) -> None:
        """
        The reference has each key, and no other.
        """
        wanted = {
            f"{section}.{name}".lstrip(".")
            for section, kind in SECTIONS.items()
            if section != "timeouts"
            for name in entries(kind)
        }
        headed = re.findall(r"^``(\S+)``\n[-~^]+$", self.read(REFERENCE), re.M)
        self.assertEqual(set(headed), wanted)

    def test_keys(self) -> None:
        """
        Keys that are named by their paths anywhere are there.
        """
        for page in pages():
            named = re.findall(
                r"``(policy|limits|timeouts)\.(\w+)", page.read_text("utf-8")
            )
            for section, name in named:
                self.assertIn(name, entries(SECTIONS[section]), page.name)

    def test_metrics(self) -> None:
        """
        The page has each metric with its labels, and no other.
        """
        registry = Metrics(["a"]).registry
        wanted = set()
        for collector in set(registry._collector_to_names):
            # There is no public way to the names of the library's labels.
            (metric,) = collector.collect()
            total = "_total" if metric.type == "counter" else ""
            names = getattr(collector, "labelNames", None)
            labels = ",".join(getattr(collector, "_labelnames", ()) or names or ())
            wanted.add(metric.name + total + (f"{{{labels}}}" if labels else ""))
        found = re.findall(r"^``(llmux_\S+)``$", self.read("metrics.rst"), re.M)
        self.assertEqual(set(found), wanted)
        self.assertEqual(len(found), len(wanted))

    def test_environment(self) -> None:
        """
        README and the page on hooks list each variable of the environment of
        hooks, and no other.
        """
        for text in (README.read_text("utf-8"), self.read("hooks.rst")):
            listed = re.findall(r"^``(LLMUX_\w+)``  ", text, re.M)
            self.assertEqual(sorted(listed), sorted(OWN))

    def test_errors(self) -> None:
        """
        README and the page on HTTP list each error that a client can get,
        and no other.
        """
        codes = {
            (node.args[0].value, node.args[1].value)
            for text in sources()
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "Answer"
            and len(node.args) > 1
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[1], ast.Constant)
        }
        self.assertGreater(len(codes), 10)
        self.assertEqual(tableCodes(README.read_text("utf-8")), codes)
        self.assertEqual(tableCodes(self.read("http.rst")), codes)

    def test_events(self) -> None:
        """
        Each event of the log that the page on operations lists is one of the
        code's.
        """
        listed = re.findall(r"^``(\w+)``  ", self.read("operations.rst"), re.M)
        code = "\n".join(sources())
        self.assertGreater(len(listed), 20)
        for event in listed:
            self.assertIn(f'"{event}"', code)

    def test_allEvents(self) -> None:
        """
        The page on operations lists each event of models, hooks, switches and
        requests.
        """
        log = (PACKAGE / "observe" / "log.py").read_text("utf-8")
        listed = self.read("operations.rst")
        events = {
            *re.findall(r'event="(\w+)"', log),
            *re.findall(r'"((?:switch|hook|sleep_hook)_[a-z]+)"', log),
        }
        self.assertGreater(len(events), 10)
        for event in events:
            self.assertIn(f"\n``{event}``  ", listed)

    def test_policies(self) -> None:
        """
        The policies that are described can be found.
        """
        named = re.findall(r"^``([a-z-]+)``$", self.read("policies.rst"), re.M)
        self.assertEqual(len(named), 2)
        for name in named:
            find(name)

    def test_states(self) -> None:
        """
        The picture of a model's states is that of the machine in the code.
        """
        script = ROOT / "tools" / "draw_states.py"
        if find_spec("graphviz") is None or which("dot") is None:
            raise SkipTest("needs PyPI's graphviz and Graphviz's dot")
        checked = subprocess.run(
            [sys.executable, str(script), "--check"], capture_output=True, text=True
        )
        self.assertEqual((checked.returncode, checked.stdout), (0, ""))

    def test_commands(self) -> None:
        """
        The README's two commands stand between the marks by which they are
        tried.
        """
        text = README.read_text("utf-8")
        for mark, last in (
            ("readme-quickstart", "llmux -c examples/quickstart/config.yaml"),
            ("readme-tests", "python -m twisted.trial llmux"),
        ):
            found = re.search(rf"^\.\. {mark}\n(.*?)^\.\. end$", text, re.M | re.S)
            assert found is not None
            lines = re.findall(r"^    (.*)$", found.group(1), re.M)
            self.assertEqual(len(lines), 1)
            self.assertTrue(lines[0].endswith(last))
