# -*- test-case-name: llmux.test.test_config_load -*-
"""
From a file to a configuration.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping

from llmux.config._build import Builder
from llmux.config._json import readJSON
from llmux.config._texts import shown
from llmux.config._tree import Tree
from llmux.config._values import Config
from llmux.config._whole import Checks
from llmux.config._yaml import readYAML
from llmux.errors import ConfigError, Problem

__all__ = ()

#: Bytes that a file may have.
LARGEST = 16 * 1024 * 1024

#: What a caller may have looked at besides: it raises L{LookupError}, whose
#: text says what is wrong and holds nothing of the environment.
FindPolicy = Callable[[str], object]


def load(
    path: str,
    environment: Mapping[str, str],
    findPolicy: FindPolicy | None = None,
) -> Config:
    """
    Load a configuration from a file, and see that the programs that its hooks
    name by their paths are there.

    @param path: the file; YAML if it ends in C{.yaml} or C{.yml}, JSON
        otherwise.
    @param environment: what C{${env:NAME}} in the file stands for.
    @param findPolicy: is called with C{policy.name}, and raises
        L{LookupError} with a message for the user if there is no such policy.
    @raise ConfigError: if anything is wrong, with all that is.
    """
    try:
        text = _read(path)
    except _Unreadable as error:
        raise ConfigError(
            [Problem("", error.what, shown(path, 300), error.line)]
        ) from None
    folder = os.path.dirname(path)
    return _parse(
        text,
        path,
        os.path.abspath(folder),
        environment,
        findPolicy,
        lambda program, secret: _wrongProgram(program, folder, secret),
    )


def parse(
    text: str,
    *,
    name: str,
    folder: str,
    environment: Mapping[str, str],
    findPolicy: FindPolicy | None = None,
) -> Config:
    """
    Make a configuration of text, without a look at any file.

    @param name: the name that the text would have as a file: for errors, and
        to tell YAML from JSON.
    @param folder: the folder in which hooks are to be run.
    @param environment: as for L{load}.
    @param findPolicy: as for L{load}.
    @raise ConfigError: as for L{load}.
    """
    return _parse(text, name, folder, environment, findPolicy, None)


def _parse(
    text: str,
    name: str,
    folder: str,
    environment: Mapping[str, str],
    findPolicy: FindPolicy | None,
    wrongProgram: Callable[[str, bool], str] | None,
) -> Config:
    file = shown(name, 300)
    tree = _tree(text.removeprefix("\ufeff"), file)
    root = tree.root
    if root is None or root.value is None:
        raise tree.error(None, 'the file is empty; it needs "models" at least')
    if not isinstance(root.value, dict):
        raise tree.error(
            root.line, "the file must be keys with values, such as models:"
        )
    builder = Builder(file, environment)
    config = builder.section(Config, root, "", folder=folder)
    checks = Checks(config, root, builder)
    checks.run()
    if wrongProgram is not None:
        checks.programs(wrongProgram)
    if findPolicy is not None:
        checks.policy(findPolicy)
    problems = list(tree.problems)
    # What could not be read is not also of the wrong kind.
    known = {(problem.where, problem.line) for problem in problems}
    problems += (
        problem
        for problem in builder.problems
        if (problem.where, problem.line) not in known
    )
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0))
    return config


def _tree(text: str, file: str) -> Tree:
    tree = Tree(file)
    if file.lower().endswith((".yaml", ".yml")):
        readYAML(text, tree)
    elif text.strip():
        readJSON(text, tree)
    return tree


class _Unreadable(Exception):
    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise _Unreadable("there is no such file") from None
    except IsADirectoryError:
        raise _Unreadable("this is a folder; name the file in it") from None
    except OSError as error:
        raise _Unreadable(f"cannot be read: {error.strerror}") from None
    except ValueError:
        # A NUL character.
        raise _Unreadable("no file can have such a name") from None
    if len(content) > LARGEST:
        raise _Unreadable(f"the file is larger than {LARGEST // 1024**2} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _Unreadable(
            f"not UTF-8 text: there is a byte 0x{content[error.start]:02x}; save the "
            "file as UTF-8",
            content.count(b"\n", 0, error.start) + 1,
        ) from None


def _wrongProgram(program: str, folder: str, secret: bool) -> str:
    """
    What is wrong with a program that a hook names by its path.

    @param folder: of the configuration, as the user named it.
    @param secret: whether the path must not be told.
    """
    path = os.path.normpath(os.path.join(folder, program))
    name = "the program" if secret else shown(program)
    if not os.path.exists(path):
        return f"{name} does not exist; paths are seen from the folder of this file"
    if os.path.isdir(path):
        return f"{name} is a folder, not a program"
    if not os.access(path, os.X_OK):
        remedy = "chmod +x" if secret else f"chmod +x {shlex.quote(path)}"
        return f"{name} is not executable; do: {remedy}"
    return ""
