"""
What llmux adds to a hook's own time: C{python -m benchmarks.hooks}.

The same trivial script is run by the plainest means that the system has, and
through L{llmux.hooks.ShellHooks} on a real reactor, in turns; once in a small
process, once in one that holds 300 MB, and once in one that has 2000
descriptors open besides, as a proxy with 1000 streams has (Twisted looks at
each before it starts a process).  The medians and what lies between them are
printed; the limit is for the first two.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Mapping

from twisted.internet.task import react

from llmux.config import Config, ModelConfig
from llmux.hooks import HookOutput, ShellHooks
from llmux.interfaces import Hook, HookCall, Reason

#: Milliseconds that llmux may add.
LIMIT = 5.0


def plain(environment: Mapping[str, str]) -> float:
    """
    Run the script with nothing in between.

    @return: the seconds it took.
    """
    started = time.perf_counter()
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "true"], environment)
    os.waitpid(pid, 0)
    return time.perf_counter() - started


async def measure(reactor: object, runs: int) -> dict[str, float]:
    """
    Run the script both ways, in turns.

    @param runs: how often.

    @return: the medians, in milliseconds.
    """
    model = ModelConfig(name="bench", wake="true", sleep="true", alive="true", port=1)
    config = Config(models={"bench": model}, folder=os.getcwd())
    environment = dict(os.environ)
    hooks = ShellHooks(reactor, config, environment, HookOutput(reactor))  # type: ignore[arg-type]
    times: dict[str, list[float]] = {"plain": [], "alive": [], "sleep": []}
    for _ in range(runs):
        times["plain"].append(plain(environment))
        for hook in (Hook.ALIVE, Hook.SLEEP):
            started = time.perf_counter()
            await hooks.run(HookCall("bench", hook, Reason.REQUEST))
            times[hook.value].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


async def main(reactor: object, runs: int, asJSON: bool) -> None:
    """
    Measure, print, and exit with status 1 if llmux adds too much.
    """
    results = {"small process": await measure(reactor, runs)}
    ballast = bytearray(os.urandom(1) * (300 << 20))
    results["300 MB"] = await measure(reactor, runs)
    limited = list(results.values())
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(2000)]
    results["300 MB, 2000 descriptors"] = await measure(reactor, runs)
    for descriptor in descriptors:
        os.close(descriptor)
    del ballast
    for result in results.values():
        for hook in ("alive", "sleep"):
            result[f"added to {hook}"] = result[hook] - result["plain"]
    if asJSON:
        print(json.dumps(results, indent=2))
    else:
        print(f"median of {runs} runs of `true`, in milliseconds")
        columns = ["plain", "alive", "added to alive", "sleep", "added to sleep"]
        print(" " * 25, *(f"{column:>15}" for column in columns))
        for name, result in results.items():
            cells = (f"{result[column]:15.2f}" for column in columns)
            print(f"{name:25}", *cells)
    added = max(result["added to alive"] for result in limited)
    verdict = "below" if added < LIMIT else "ABOVE"
    print(f"added at most: {added:.2f} ms, {verdict} {LIMIT:g} ms", file=sys.stderr)
    if added >= LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hooks")
    parser.add_argument("--runs", type=int, default=200, help="default: 200")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    react(main, (options.runs, options.json))
