# -*- test-case-name: llmux.test.test_commands_init -*-
# mypy: allow-untyped-calls
"""
C{llmux init}: writes a configuration to begin with.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import which
from typing import TextIO

from twisted.python import usage

from llmux.checks import check
from llmux.commands._client import ClientError
from llmux.commands._engines import ENGINES, BadModel, Engine, Made, Model, Plan
from llmux.commands._options import FAILED, CommandOptions, command
from llmux.config import parse
from llmux.errors import ConfigError
from llmux.tap import portFrom

__all__ = ["main"]


class InitOptions(CommandOptions):
    """
    The options of C{llmux init}.
    """

    synopsis = "llmux init [options] [FOLDER]"
    longdesc = (
        "Writes config.yaml, with a comment for all that you may want to change, and "
        "the hooks that it names into a folder, which is this one unless you name "
        "another. Name your models with the options, as often as you like, or be "
        "asked for them. What is there already is not written over unless you agree."
    )
    optParameters = [
        ["port", "p", "3000", "The port on which llmux will listen."],
    ]
    optFlags = [["force", "f", "Write over what is there without asking."]]
    examples = (
        (
            "llmux init --llama-cpp models/qwen3-8b.gguf --llama-cpp models/gemma.gguf",
            "Two models, each with a llama-server of its own.",
        ),
        (
            "llmux init --ollama llama3.2:3b --ollama qwen3:4b /etc/llmux",
            "Two models of one Ollama, in another folder.",
        ),
    )

    def __init__(self) -> None:
        super().__init__()
        self.models: list[tuple[Engine, Model]] = []
        self["folder"] = "."

    def opt_llama_cpp(self, path: str) -> None:
        """
        A model for llama.cpp's llama-server: a .gguf file.
        """
        self._add("llama-cpp", path)

    def opt_ollama(self, name: str) -> None:
        """
        A model of Ollama, as `ollama list` shows it.
        """
        self._add("ollama", name)

    def opt_vllm(self, name: str) -> None:
        """
        A model for vLLM, as `vllm serve` takes it.
        """
        self._add("vllm", name)

    def _add(self, engine: str, said: str) -> None:
        try:
            self.models.append(modelOf(ENGINES[engine], said))
        except BadModel as error:
            raise usage.UsageError(str(error)) from None

    def parseArgs(self, *folders: str) -> None:
        """
        Take the folder.

        @raise usage.UsageError: there are several.
        """
        if len(folders) > 1:
            raise usage.UsageError("name one folder")
        self["folder"] = folders[0] if folders else "."

    def postOptions(self) -> None:
        """
        See that the port is one.
        """
        self["port"] = portFrom(self["port"])


def modelOf(engine: Engine, said: str) -> tuple[Engine, Model]:
    """
    The model that somebody means.

    @raise BadModel: it is none.
    """
    said = said.strip()
    if not said or not said.isprintable():
        raise BadModel(f"name {engine.asks}")
    return engine, engine.read(said)


def main(arguments: Sequence[str]) -> int:
    """
    Write a configuration.

    @return: the exit status.
    """
    return command(InitOptions(), arguments, _init)


def _init(options: InitOptions, output: TextIO) -> int | None:
    asks = sys.stdin.isatty()
    models = options.models
    if not models:
        if not asks:
            raise usage.UsageError(
                "name models with --llama-cpp, --ollama or --vllm, or run it in a "
                "terminal to be asked"
            )
        models, options["port"] = _interview(options["port"], input, output)
    folder = Path(options["folder"])
    made = _planned(models, options["port"], folder)
    there = [one for one in made if _differs(folder / one.path, one.text)]
    if there and not options["force"]:
        names = ", ".join(str(folder / one.path) for one in there)
        question = f"{names}: there already. Write over? [y/N] "
        if not asks or not _agrees(question):
            raise ClientError(f"{names}: there already, and left alone; see --force")
    for one in made:
        _write(folder, one)
        print(f"wrote {folder / one.path}", file=output)
    config = folder / "config.yaml"
    problems = check(str(config), {})
    for problem in problems:
        print(problem, file=sys.stderr)
    for engine in dict.fromkeys(engine for engine, _ in models):
        if which(engine.program) is None:
            print(f"{engine.title}'s {engine.program} is not in PATH yet", file=output)
    for engine, model in models:
        if engine.name == "llama-cpp" and not Path(model.what).is_file():
            print(f"{model.what} is not there yet", file=output)
    print(f"Now: llmux -c {config}", file=output)
    return FAILED if problems else None


def _agrees(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _planned(
    models: Sequence[tuple[Engine, Model]], port: int, folder: Path
) -> list[Made]:
    """
    @raise ClientError: they cannot be served together, or have names that
        they cannot have.
    """
    try:
        made = Plan(models, port).files()
        parse(made[0].text, name="config.yaml", folder=str(folder), environment={})
    except (BadModel, ConfigError) as error:
        raise ClientError(str(error)) from None
    return made


def _differs(path: Path, text: str) -> bool:
    try:
        return path.read_text("utf-8") != text
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True


def _write(folder: Path, made: Made) -> None:
    path = folder / made.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made.text, "utf-8")
        if made.executable:
            path.chmod(path.stat().st_mode | 0o111)
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror}") from None


def _interview(
    port: int, ask: Callable[[str], str], output: TextIO
) -> tuple[list[tuple[Engine, Model]], int]:
    """
    Ask for what no option says.
    """
    engines = list(ENGINES.values())
    models: list[tuple[Engine, Model]] = []
    try:
        while True:
            for number, engine in enumerate(engines, 1):
                print(f"  {number}) {engine.title}", file=output)
            said = ask("Which engine serves your models? ").strip().lower()
            chosen = [
                engine
                for number, engine in enumerate(engines, 1)
                if said in (str(number), engine.name, engine.title.lower())
            ]
            if chosen:
                break
        (engine,) = chosen
        while said := ask(f"Name {engine.asks}, or nothing if that is all: ").strip():
            try:
                models.append(modelOf(engine, said))
            except BadModel as error:
                print(error, file=output)
        if not models:
            raise ClientError("no model, no configuration")
        while said := ask(f"On which port is llmux to listen? [{port}] ").strip():
            try:
                port = portFrom(said)
                break
            except usage.UsageError as error:
                print(str(error).removeprefix("--port: "), file=output)
    except EOFError:
        raise ClientError("nothing is written") from None
    return models, port
