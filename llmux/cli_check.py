# -*- test-case-name: llmux.test.test_cli -*-
# mypy: allow-untyped-calls
"""
C{llmux check}: says what is wrong with a configuration, and serves nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from twisted.python import usage

from llmux.checks import check
from llmux.commands._options import CommandOptions


class CheckOptions(CommandOptions):
    """
    Which file to check.
    """

    synopsis = "llmux check [options]"
    longdesc = (
        "Says everything that is wrong with a configuration, each with its file, "
        "line and key, and serves nothing. The exit status is 0 if nothing is wrong."
    )
    optParameters = [
        ["config", "c", "config.yaml", "The configuration file, YAML or JSON."],
    ]


def main(arguments: Sequence[str]) -> int:
    """
    Check a configuration.

    @return: the exit status: 0 if nothing is wrong with it.
    """
    options = CheckOptions()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as error:
        print(error, file=sys.stderr)
        return 64
    problems = check(options["config"], os.environ)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    print(f"{options['config']}: nothing is wrong with it")
    return 0
