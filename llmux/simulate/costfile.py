# -*- test-case-name: llmux.test.test_simulate_files -*-
"""
Cost files: how long simulated models take to wake, to sleep and to serve.

A cost file is YAML: what is known of each model, with what is true of all
others under C{default}::

    default: {wake: 9, sleep: 1, concurrency: 16}
    llama: {wake: 38.5, sleep: 3.6, concurrency: 8, jitter: 0.1}
    whisper:
      wake: 2
      fail: {wake: 0.05, sleep: 0.02, hang: 0.01, die: 0.001}
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

import yaml
from attrs import fields_dict, frozen

from llmux.errors import ConfigError, Problem


@frozen
class FailureRates:
    """
    What goes wrong with a simulated model, each as a share from 0 to 1.

    @ivar wake: of its wakes, how many fail when they should be done.
    @ivar sleep: of its sleeps, how many fail.
    @ivar hang: of its wakes, how many last until they are ended: by their
        timeout, or because nobody needs them any more.
    @ivar die: of its requests, how many take the model down with them when
        they are half done.
    """

    wake: float = 0.0
    sleep: float = 0.0
    hang: float = 0.0
    die: float = 0.0


@frozen
class ModelCost:
    """
    How long a simulated model takes.

    @ivar wake: seconds that its wake takes.
    @ivar sleep: seconds that its sleep takes.
    @ivar concurrency: how many requests it serves at full speed; more share
        what that makes.
    @ivar jitter: by what part wake and sleep differ from time to time: 0.1
        means that most take between 10 % less and 10 % more.
    @ivar fail: what goes wrong.
    """

    wake: float = 10.0
    sleep: float = 1.0
    concurrency: float = 16.0
    jitter: float = 0.0
    fail: FailureRates = FailureRates()


#: Stands in a cost file for all models that it does not name.
DEFAULT = "default"


def readCosts(path: str, models: Iterable[str]) -> dict[str, ModelCost]:
    """
    Read a cost file.

    @param models: the names of the models.
    @return: the cost of each of them.
    @raise ConfigError: it cannot be read or used: it names all that is wrong.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return parseCosts(file.read(), models, path)
    except OSError as error:
        raise ConfigError.one(
            f"the cost file cannot be read: {error.strerror}", file=path
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError.one("the cost file is not UTF-8 text", file=path) from error


def parseCosts(
    text: str, models: Iterable[str], name: str = ""
) -> dict[str, ModelCost]:
    """
    As L{readCosts}, from text.

    @param name: the file's name, for errors.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            [
                Problem(
                    "",
                    f"this is not YAML: {getattr(error, 'problem', error)}",
                    name,
                    mark and mark.line + 1,
                )
            ]
        ) from error
    reader = _Reader(name)
    found = reader.models(root)
    known = list(models)
    for model, line in reader.lines.items():
        if model != DEFAULT and model not in known:
            reader.complain(line, model, "the configuration has no such model")
    default = found.get(DEFAULT, {})
    result: dict[str, ModelCost] = {}
    for model in known:
        if model not in found and DEFAULT not in found:
            reader.complain(None, model, f'its cost is missing, as is "{DEFAULT}"')
            continue
        result[model] = ModelCost(**{**default, **found.get(model, {})})
    if reader.problems:
        raise ConfigError.many(reader.problems)
    return result


class _Reader:
    """
    Goes through the nodes of a cost file, which know their lines.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}

    def complain(self, line: int | None, where: str, what: str) -> None:
        """
        Note a problem.
        """
        self.problems.append(Problem(where, what, self.name, line))

    def pairs(
        self, node: yaml.Node | None, where: str
    ) -> Iterable[tuple[str, int, yaml.Node]]:
        """
        @return: what stands in a mapping: key, line, value.
        """
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            self.complain(node.start_mark.line + 1, where, "must be a mapping")
            return
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                self.complain(line, where, "a key must be a name and stand there once")
                continue
            seen.add(key.value)
            yield key.value, line, value

    def models(self, root: yaml.Node | None) -> dict[str, dict[str, Any]]:
        """
        @return: the arguments of a L{ModelCost} by model.
        """
        found: dict[str, dict[str, Any]] = {}
        for model, line, node in self.pairs(root, ""):
            self.lines[model] = line
            found[model] = self.fields(node, model, ModelCost)
        return found

    def fields(self, node: yaml.Node, where: str, kind: type) -> dict[str, Any]:
        """
        @return: the arguments of a class whose attributes are numbers.
        """
        found: dict[str, Any] = {}
        for key, line, value in self.pairs(node, where):
            path = f"{where}.{key}"
            if key not in fields_dict(kind):
                self.complain(
                    line,
                    path,
                    f"unknown key, there are: {', '.join(fields_dict(kind))}",
                )
            elif key != "fail":
                found[key] = self.number(
                    value,
                    path,
                    share=kind is FailureRates,
                    positive=key == "concurrency",
                )
            elif isinstance(value, yaml.MappingNode):
                found[key] = FailureRates(**self.fields(value, path, FailureRates))
            else:
                rate = self.number(value, path, share=True)
                found[key] = FailureRates(wake=rate)
        return found

    def number(
        self, node: yaml.Node, where: str, share: bool = False, positive: bool = False
    ) -> float:
        """
        @return: the number that a node is, or some other after a complaint.
        """
        try:
            value = float(node.value)
        except (TypeError, ValueError):
            value = -1.0
        good = isfinite(value) and value >= 0
        if not good or (share and value > 1) or (positive and value == 0):
            wanted = (
                "a share from 0 to 1"
                if share
                else "a number above 0"
                if positive
                else "a number of seconds"
            )
            self.complain(node.start_mark.line + 1, where, f"must be {wanted}")
            return 1.0
        return value
