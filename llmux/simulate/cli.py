# -*- test-case-name: llmux.test.test_simulate_cli -*-
# mypy: allow-untyped-calls
"""
C{llmux simulate}: try policies on a trace.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from attrs import evolve
from twisted.python import usage

from llmux._version import __version__
from llmux.config import load
from llmux.errors import ConfigError
from llmux.policies import find
from llmux.simulate.costfile import readCosts
from llmux.simulate.picture import draw
from llmux.simulate.report import Report, text
from llmux.simulate.run import simulate
from llmux.simulate.trace import checkModels, readTrace

#: Exit statuses, as in C{sysexits.h}.
OK, USAGE, DATA = 0, 64, 65


def _number(value: str) -> float:
    return float(value)


_number.coerceDoc = "Must be a number."  # type: ignore[attr-defined]


class Options(usage.Options):
    """
    The options of C{llmux simulate}.
    """

    synopsis = "llmux simulate --config FILE --trace FILE --costs FILE [options]"
    longdesc = (
        "Runs the real switcher through a trace in virtual time, and says what "
        "each policy makes of it: how long requests wait, how often models are "
        "switched, and how much of the time is lost to that."
    )
    optParameters = [
        ["config", "c", "config.yaml", "The configuration."],
        ["trace", "t", None, 'JSON lines: {"at": 12.5, "model": "a", "seconds": 8}'],
        ["costs", "k", None, "YAML: what each model's wake and sleep take."],
        ["seed", None, 0, "What all chance comes from.", int],
        ["max-wait-secs", None, None, "Instead of policy.max_wait_secs", _number],
        [
            "target-secs",
            None,
            None,
            "Find the share that waits no longer than this",
            _number,
        ],
        ["picture", None, None, "Draw a timeline: a .png, .svg or .pdf file."],
    ]
    optFlags = [["json", "j", "Print JSON."]]

    def __init__(self) -> None:
        super().__init__()
        # Taken from docstrings, line breaks and all.
        self.docs = {name: " ".join(text.split()) for name, text in self.docs.items()}
        self.policies: list[str] = []

    def opt_policy(self, name: str) -> None:
        """
        A policy to try; may be given several times. [default: the
        configuration's]
        """
        self.policies.append(name)

    def opt_version(self) -> None:
        """
        Display the version and exit.
        """
        raise SystemExit(f"llmux {__version__}")

    def postOptions(self) -> None:
        """
        See that what must be given is given.
        """
        for name in ("trace", "costs"):
            if self[name] is None:
                raise usage.UsageError(f"--{name} FILE is missing")
        for name in self.policies:
            try:
                find(name)
            except LookupError as error:
                raise usage.UsageError(str(error)) from error


def main(
    arguments: Sequence[str],
    output: TextIO | None = None,
    errors: TextIO | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """
    Run the command.

    @param arguments: as after C{llmux simulate}.
    @param output: the standard output if not given; C{errors} likewise.
    @param environment: for the configuration; that of the process if not
        given.
    @return: the exit status.
    """
    output = sys.stdout if output is None else output
    errors = sys.stderr if errors is None else errors
    options = Options()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as error:
        print(f"{error}\n\n{options}", file=errors)
        return USAGE
    except SystemExit as end:  # --help, --version
        if isinstance(end.code, str):
            print(end.code, file=output)
        return OK
    try:
        reports = _reports(options, os.environ if environment is None else environment)
        if options["picture"]:
            draw(reports, options["picture"])
    except (ConfigError, LookupError) as error:
        print(error, file=errors)
        return DATA
    if options["json"]:
        found = [report.asJSON() for report in reports]
        print(json.dumps(found, indent=2), file=output)
    else:
        print(text(reports), file=output)
    return OK


def _reports(options: Options, environment: Mapping[str, str]) -> list[Report]:
    """
    @raise ConfigError: a file cannot be used.
    @raise LookupError: the configuration's policy does not exist.
    """
    config = load(options["config"], environment)
    if options["max-wait-secs"] is not None:
        config = evolve(
            config,
            policy=evolve(config.policy, max_wait_secs=options["max-wait-secs"]),
        )
    trace = readTrace(options["trace"])
    checkModels(trace, config.models, options["trace"])
    costs = readCosts(options["costs"], config.models)
    return [
        simulate(
            config,
            trace,
            costs,
            policy,
            seed=options["seed"],
            targetSecs=options["target-secs"],
            timeline=bool(options["picture"]),
        )
        for policy in options.policies or [config.policy.name]
    ]
