"""
Tests for L{llmux.config._load}: from files, and from anything at all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from llmux.config import Config, load, parse
from llmux.config._keys import entries
from llmux.config._load import LARGEST
from llmux.config._values import ModelConfig
from llmux.errors import ConfigError
from llmux.test._config import HOOKS, lines, read

_NAMES = st.sampled_from([*entries(Config), *entries(ModelConfig), "gpu", "<<", ""])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | _NAMES,
    lambda inner: st.lists(inner) | st.dictionaries(_NAMES, inner),
    max_leaves=30,
)
_TOKENS = st.sampled_from(
    [
        *"{}[]:,-?&*!|>'\"%@`#\n\t \\",
        "models",
        "a",
        "&a",
        "*a",
        "<<",
        ": ",
        "- ",
        "\n  ",
    ]
)


class FileTests(SynchronousTestCase):
    """
    Tests for L{load}.
    """

    def setUp(self) -> None:
        """
        Make a folder, which is the current one.
        """
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)

    def write(self, content: bytes | str, path: str = "config.yaml") -> str:
        """
        Write a file.
        """
        data = content.encode() if isinstance(content, str) else content
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(data)
        return path

    def wrong(self, path: str) -> str:
        """
        What is wrong with a file.
        """
        return str(self.assertRaises(ConfigError, load, path, {}))

    def test_loaded(self) -> None:
        """
        A good file becomes a configuration that knows its folder, as an
        absolute path.
        """
        path = self.write(f"models: {{a: {{{HOOKS}}}}}", "inner/config.yml")
        config = load(path, {})
        self.assertEqual(list(config.models), ["a"])
        self.assertEqual(config.folder, str(Path("inner").absolute()))
        here = load(self.write(f"models: {{a: {{{HOOKS}}}}}"), {})
        self.assertEqual(here.folder, os.getcwd())

    def test_byExtension(self) -> None:
        """
        What is not named as YAML is JSON.
        """
        content = '{"models": {"a": {"wake": "w", "sleep": "s",\t"alive": "a"}}}'
        for path in ["a.json", "a.conf", "a", "a.YAML", "a.Yml"]:
            self.assertEqual(list(load(self.write(content, path), {}).models), ["a"])
        self.assertIn("not valid JSON", self.wrong(self.write("models:", "a.json")))

    def test_unreadable(self) -> None:
        """
        What is no file, or not text, gets one clear line.
        """
        self.assertEqual(self.wrong("no.yaml"), "no.yaml: there is no such file")
        self.assertEqual(self.wrong("no/no.yaml"), "no/no.yaml: there is no such file")
        self.assertEqual(self.wrong("."), ".: this is a folder; name the file in it")
        self.assertIn("cannot be read: ", self.wrong("x" * 5000))
        self.assertEqual(self.wrong("a\0b"), "a\\x00b: no file can have such a name")
        self.assertEqual(
            self.wrong(self.write(b"models:\n  \xff")),
            "config.yaml:2: not UTF-8 text: there is a byte 0xff; save the file as "
            "UTF-8",
        )
        self.write(b"")
        with open("config.yaml", "r+b") as file:
            file.truncate(LARGEST + 1)
        self.assertIn("larger than 16 MiB", self.wrong("config.yaml"))

    def test_forbidden(self) -> None:
        """
        A file that this user must not read is refused with the system's
        reason.
        """
        path = self.write("")
        os.chmod(path, 0)
        if os.access(path, os.R_OK):
            raise SkipTest("this user, as the superuser, may read any file")
        self.assertIn("cannot be read: Permission denied", self.wrong(path))

    def test_programs(self) -> None:
        """
        A hook that is the path of a program must name one that can be
        executed, seen from the folder of the file; scripts are for the shell.
        """
        self.write("", "conf/plain.sh")
        os.mkdir("conf/folder")
        os.chmod(self.write("", "conf/good.sh"), 0o755)
        path = self.write(
            """models:
  a: {wake: ./good.sh --now, sleep: ./plain.sh, alive: ./none.sh x}
  b: {wake: ./folder, sleep: "cd /none && ./none.sh", alive: none.sh}
  c: {wake: "./none.sh; x", sleep: "X=/none y", alive: "~/none.sh"}
  d: {wake: "${env:DIR}/none.sh", sleep: "${env:DIR}/plain.sh", alive: "/none/x"}
""",
            "conf/config.yaml",
        )
        error = self.assertRaises(ConfigError, load, path, {"DIR": "../conf"})
        self.assertEqual(
            str(error).splitlines(),
            [
                (
                    "conf/config.yaml:2: models.a.sleep: ./plain.sh is not executable; "
                    "do: chmod +x conf/plain.sh"
                ),
                (
                    "conf/config.yaml:2: models.a.alive: ./none.sh does not exist; "
                    "paths are seen from the folder of this file"
                ),
                (
                    "conf/config.yaml:3: models.b.wake: ./folder is a folder, not a "
                    "program"
                ),
                (
                    "conf/config.yaml:5: models.d.wake: the program does not exist; "
                    "paths are seen from the folder of this file"
                ),
                (
                    "conf/config.yaml:5: models.d.sleep: the program is not executable; "
                    "do: chmod +x"
                ),
                (
                    "conf/config.yaml:5: models.d.alive: /none/x does not exist; paths "
                    "are seen from the folder of this file"
                ),
            ],
        )

    @settings(deadline=None)
    @given(st.binary())
    def test_anyBytes(self, content: bytes) -> None:
        """
        A file of any bytes is loaded, or refused by the one exception.
        """
        for path in ("a.yaml", "a.json"):
            try:
                load(self.write(content, path), {})
            except ConfigError as error:
                self.assertTrue(all(p.file == path for p in error.problems))


class TextTests(SynchronousTestCase):
    """
    Tests for L{parse}.
    """

    def test_nothing(self) -> None:
        """
        A text with nothing in it, or with something else than keys, is
        refused.
        """
        for name in ("c.yaml", "c.json"):
            for text in ("", " \n", "\ufeff", "null"):
                self.assertEqual(
                    lines(text, name=name),
                    [f'{name}: the file is empty; it needs "models" at least'],
                )
            for text in ("[]", "3", '"x"'):
                self.assertEqual(
                    lines(text, name=name),
                    [f"{name}:1: the file must be keys with values, such as models:"],
                )

    def test_mark(self) -> None:
        """
        The mark that some editors put before UTF-8 does no harm.
        """
        self.assertEqual(lines(f"\ufeffmodels: {{a: {{{HOOKS}}}}}"), [])

    def test_once(self) -> None:
        """
        What could not be read is not told again as being of the wrong kind.
        """
        text = (
            '{"models": {"a": {"wake": "w", "sleep": "s", "alive": "a",\n"port": NaN}}}'
        )
        self.assertEqual(
            lines(text, name="c.json"),
            ["c.json:2: models.a.port: NaN is not a number in JSON"],
        )

    def test_noPrograms(self) -> None:
        """
        Text alone is not compared with what files there are.
        """
        self.assertEqual(lines("models: {a: {wake: /no/w, sleep: s, alive: a}}"), [])

    def test_shared(self) -> None:
        """
        Models can have settings in common.
        """
        config = read(
            """
            models:
              a: &common
                wake: ./wake.sh
                sleep: ./sleep.sh
                alive: ./alive.sh
                timeouts: {wake: 1800}
              b:
                <<: *common
                sleep: ./other.sh
            """
        )
        self.assertEqual(config.models["b"].sleep, "./other.sh")
        self.assertEqual(config.models["b"].timeouts.wake, 1800)

    @settings(deadline=None)
    @given(st.text() | st.lists(_TOKENS).map("".join))
    def test_anyText(self, text: str) -> None:
        """
        No text whatever makes anything but a configuration or the one
        exception, of which each problem is one line.
        """
        for name in ("c.yaml", "c.json"):
            for line in lines(text, name=name):
                self.assertTrue(line.startswith(name), line)

    @settings(deadline=None)
    @given(_VALUES | st.fixed_dictionaries({"models": _VALUES}))
    def test_anyContent(self, content: object) -> None:
        """
        The same for text that is well-formed, in YAML.
        """
        for line in lines(yaml.safe_dump(content)):
            self.assertTrue(line.startswith("c.yaml"), line)

    def test_large(self) -> None:
        """
        A thousand models are read.
        """
        text = "".join(
            f"  m{n}: {{{HOOKS}, port: 80, aliases: [x{n}]}}\n" for n in range(1000)
        )
        config = parse(f"models:\n{text}", name="c.yaml", folder="/", environment={})
        self.assertEqual(len(config.models), 1000)

    def test_cheap(self) -> None:
        """
        To read a configuration nothing of Twisted need be imported.
        """
        program = (
            "import sys, llmux.config; "
            "print([name for name in sys.modules if name.startswith('twisted.')])"
        )
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path))
        }
        out = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            env=environment,
        ).stdout
        self.assertEqual(out.strip(), b"[]")
