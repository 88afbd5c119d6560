"""
Tests for L{llmux.commands.completion} and L{llmux.commands._described}: the
scripts are tried in the shells that they are for.
"""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

from llmux.commands._described import SERVE, SHELLS, described
from llmux.commands._table import COMMANDS
from llmux.test._processes import Processes, eventually, needsPrograms
from llmux.test.test_commands import CommandTestCase, busy
from llmux.test.test_commands_client import say


class DescribedTests(CommandTestCase):
    """
    Tests for L{described}.
    """

    def test_all(self) -> None:
        """
        Every command is described, and serving is the first; each option has
        a text, and what takes a value is known.
        """
        found = described()
        self.assertEqual([one.name for one in found], ["", *COMMANDS])
        self.assertEqual(found[0].summary, SERVE.summary)
        for one in found:
            self.assertTrue(one.synopsis.startswith(f"llmux {one.name}".strip()))
            self.assertGreater(len(one.text), 60, one.name)
            for option in one.options:
                self.assertTrue(option.text, (one.name, option.name))
        config, *_ = found[0].options
        self.assertEqual(
            (config.name, config.short, config.takes, config.isFile),
            ("config", "c", True, True),
        )
        self.assertIn("[default: config.yaml]", config.text)

    def test_usage(self) -> None:
        """
        One shell is named, which must be one of those that can.
        """
        for arguments in ((), ("csh",), ("bash", "zsh")):
            self.assertEqual(self.run_command("completion", *arguments), 64)
        for shell in SHELLS:
            self.assertIn(shell, self.err.getvalue())


class ShellTestCase(CommandTestCase):
    """
    A test in a shell, with a llmux that answers.
    """

    def setUp(self) -> None:
        """
        Put C{llmux} where the shell finds it.
        """
        super().setUp()
        document = busy()
        document["models"][1]["id"] = "llama:creative"
        document["models"][2]["id"] = "$(touch run)"
        self.answer = say(200, document)
        self.processes = Processes()
        self.addCleanup(self.processes.end)
        self.folder = self.processes.folder
        program = self.folder / "bin" / "llmux"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m llmux "$@"\n')
        program.chmod(0o755)
        self.there = self.processes.environment(
            {
                "LLMUX_URL": os.environ["LLMUX_URL"],
                "HOME": str(self.folder),
                "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin",
            }
        )
        (self.folder / "wakefulness").mkdir()
        (self.folder / "file.yaml").touch()

    def script(self, shell: str) -> str:
        """
        The script for a shell.
        """
        self.assertEqual(self.run_command("completion", shell), 0)
        return self.printed()

    def shell(self, *argv: str) -> list[str]:
        """
        The lines that a shell prints.
        """
        ran = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.there,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return ran.stdout.splitlines()


class BashTests(ShellTestCase):
    """
    Completion in bash.
    """

    skip = needsPrograms("bash")

    def complete(self, line: str) -> set[str]:
        """
        What bash offers for a line.
        """
        code = (
            'source <(printf "%s" "$1"); COMP_LINE=$2; COMP_POINT=${#2}; '
            '_llmux; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        found = self.shell("bash", "-c", code, "bash", self.script("bash"), line)
        return set(found) - {""}

    def test_complete(self) -> None:
        """
        Commands, options, models, files and folders are completed where they
        belong.
        """
        for line, wanted in (
            ("llmux sta", {"status"}),
            ("llmux --ver", {"--verbose", "--version"}),
            ("llmux status --w", {"--watch"}),
            ("llmux wake lla", {"llama", "llama:creative"}),
            # What stands before the colon is not said again.
            ("llmux wake llama:", {"creative"}),
            ("llmux logs -f b", {"bad"}),
            ("llmux check -c f", {"file.yaml"}),
            ("llmux -c file.yaml chec", {"check"}),
            ("llmux init wake", {"wakefulness"}),
            ("llmux completion z", {"zsh"}),
            ("llmux status --url ", set()),
            ("llmux xyz", set()),
        ):
            self.assertEqual(self.complete(line), wanted, line)

    def test_harmless(self) -> None:
        """
        Nothing in a model's name is run.
        """
        self.assertEqual(self.complete("llmux wake $"), {"$(touch run)"})
        self.assertFalse((self.folder / "run").exists())


class FishTests(ShellTestCase):
    """
    Completion in fish.
    """

    skip = needsPrograms("fish")

    def complete(self, line: str) -> set[str]:
        """
        What fish offers for a line.
        """
        path = self.folder / "llmux.fish"
        path.write_text(self.script("fish"))
        code = f"source {path}; complete -C '{line}'"
        return {found.partition("\t")[0] for found in self.shell("fish", "-c", code)}

    def test_complete(self) -> None:
        """
        Commands, options, models, files and folders are completed where they
        belong.
        """
        for line, wanted in (
            ("llmux sta", {"status"}),
            ("llmux --ver", {"--verbose", "--version"}),
            ("llmux status --w", {"--watch"}),
            ("llmux wake lla", {"llama", "llama:creative"}),
            ("llmux check -c f", {"file.yaml"}),
            ("llmux init wake", {"wakefulness/"}),
            ("llmux completion z", {"zsh"}),
        ):
            self.assertEqual(self.complete(line), wanted, line)


class ZshTests(ShellTestCase):
    """
    Completion in zsh, which completes nothing but at a terminal.
    """

    skip = needsPrograms("zsh")

    def test_complete(self) -> None:
        """
        Commands, options, models, files and folders are completed where they
        belong.
        """
        path = Path(self.folder / "llmux.zsh")
        path.write_text(self.script("zsh"))
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        os.set_blocking(ours, False)
        process = subprocess.Popen(
            ["zsh", "-f", "-i"],
            cwd=self.folder,
            env={**self.there, "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        seen = b""

        def shows(words: str) -> None:
            def look() -> bool:
                nonlocal seen
                with contextlib.suppress(BlockingIOError):
                    seen += os.read(ours, 65536)
                return words.encode() in seen

            eventually(look, f"zsh shows {words!r}")

        os.write(
            ours,
            b"autoload -Uz compinit && compinit -u -D; source ./llmux.zsh; "
            # What is completed is printed rather than done.
            b'llmux() { if [[ $2 = --names ]]; then command llmux "$@"; else '
            b'print -r -- "<$*>"; fi }; print re"ad"y\n',
        )
        shows("ready")
        for typed, wanted in (
            ("sta\t", "<status>"),
            ("status --wa\t", "<status --watch>"),
            ("wake ba\t", "<wake bad>"),
            ("logs -f llama:c\t", "<logs -f llama:creative>"),
            ("check --config fil\t", "<check --config file.yaml>"),
            ("init wakef\t", "<init wakefulness>"),
            ("--verb\t", "<--verbose>"),
            ("completion z\t", "<completion zsh>"),
        ):
            os.write(ours, f"llmux {typed}\n".encode())
            shows(wanted)
