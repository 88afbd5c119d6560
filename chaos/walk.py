"""
A long random walk through the switcher, with every promise checked after each
step: C{python -m chaos.walk --steps 1000000 --seed 1}.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import provider

from llmux.test._walk import LENGTH, walk


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Walk.

    @return: the exit status: 0 if no promise was broken.
    """
    parser = ArgumentParser(prog="python -m chaos.walk", description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args(arguments)
    logged: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.critical:
            logged.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    started = time.process_time()
    worlds = -(-options.steps // LENGTH)
    for number in range(worlds):
        seed = f"{options.seed}-{number}"
        try:
            walk(seed)
            if logged:
                raise AssertionError(f"walk({seed!r}) logged {logged[0]}")
        except AssertionError as error:
            print(error, file=sys.stderr)
            return 1
    took = max(time.process_time() - started, 1e-9)
    steps = worlds * LENGTH
    print(
        f"{steps} steps in {worlds} worlds, {took:.1f} s of processor time, "
        f"{steps / took:.0f} steps/s: no promise was broken"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
