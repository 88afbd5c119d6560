"""
A long run: C{python -m chaos.soak --seconds 3600}.

Two models take turns in one place, each second, while streams and plain
requests come as fast as they are answered.  After the warm-up nothing may grow:
not memory, nor file descriptors, timers, threads or child processes, and no
line of code may have allocated anything for each request that is still there.

C{--planted} runs a copy of llmux that keeps one object for each request, and
succeeds if that is seen.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from chaos.bench import Bench, megabytes, raiseLimit
from chaos.stage import ROOT

#: What is watched, and by how much it may be more at the end, whatever it was.
WATCHED: Mapping[str, float] = {
    "rss": 6 << 20,
    "descriptors": 20,
    "timers": 20,
    "threads": 0,
    "children": 2,
}

#: The most objects of one line of code for each request that may be left.
LEFT = 0.5

#: The leak that is planted, and where.
PLACE = "llmux/web/_naming.py"
BEFORE = "        self._asked, self._account = context.begin(asked)\n"
AFTER = BEFORE + "        LEAK.append([asked.length])\n"


class Crowd:
    """
    Clients that never stop.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.answered = 0
        self.failed: list[str] = []

    async def client(self, number: int) -> None:
        """
        Ask one model, then the other.
        """
        while True:
            for model in ("left", "right"):
                query = "?events=20&every=0.01" if number % 4 == 0 else ""
                try:
                    await self._bench.ask(model, query)
                    self.answered += 1
                except OSError as error:
                    self.failed.append(str(error))


def sparks(values: Sequence[float], width: int = 60) -> str:
    """
    A picture in one line.
    """
    step = max(1, len(values) // width)
    means = [median(values[at : at + step]) for at in range(0, len(values), step)]
    low, high = min(means), max(means)
    marks = "▁▂▃▄▅▆▇█"
    return "".join(
        marks[int((value - low) / ((high - low) or 1) * (len(marks) - 1))]
        for value in means
    )


def draw(lines: Sequence[Mapping[str, Any]], path: str) -> None:
    """
    A picture in a file; needs matplotlib.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8))
    axes = figure.subplots(len(WATCHED), 1, sharex=True)
    minutes = [(line["time"] - lines[0]["time"]) / 60 for line in lines]
    for axis, name in zip(axes, WATCHED, strict=True):
        scale = 2**20 if name == "rss" else 1
        axis.plot(minutes, [line[name] / scale for line in lines], linewidth=0.8)
        axis.set_ylabel("MiB" if name == "rss" else name)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(path)


def judge(
    lines: Sequence[Mapping[str, Any]], grown: Sequence[Mapping[str, Any]], count: int
) -> list[str]:
    """
    @param lines: what the watchdog saw after the warm-up.
    @param grown: what has grown, by line of code.
    @param count: how many requests there were meanwhile.

    @return: what has grown too much.
    """
    wrong = []
    part = max(1, len(lines) // 3)
    for name, most in WATCHED.items():
        values = [line[name] for line in lines]
        first, last = median(values[:part]), median(values[-part:])
        shown = (megabytes(first), megabytes(last)) if name == "rss" else (first, last)
        print(f"{name:12} {shown[0]:>9} {shown[1]:>9}  {sparks(values)}")
        if last - first > most:
            wrong.append(f"{name} grew from {shown[0]} to {shown[1]}")
    for line in grown[:8]:
        print(f"{line['bytes']:+10} bytes {line['count']:+8} objects  {line['line']}")
    wrong.extend(
        f"{line['count']} objects for {count} requests are left of {line['line']}"
        for line in grown
        if line["count"] > LEFT * count
    )
    return wrong


async def soak(root: Path, seconds: float, clients: int, picture: str) -> list[str]:
    """
    Run.

    @param root: where llmux is imported from.

    @return: what is wrong.
    """
    hooks = dict.fromkeys(("wake", "sleep"), "true")
    model = {**hooks, "alive": "false"}
    policy = {"name": "fifo", "min_active_secs": 0.5}
    bench = Bench({"left": model, "right": model}, {"policy": policy}, root)
    try:
        await bench.start()
        crowd = Crowd(bench)
        tasks = [asyncio.ensure_future(crowd.client(n)) for n in range(clients)]
        warm = min(120.0, seconds / 3)
        await asyncio.sleep(warm)
        bench.signal(signal.SIGUSR1)
        # To begin to trace takes memory once, too.
        await asyncio.sleep(min(20.0, seconds / 6))
        skipped, before = len(bench.lines()), crowd.answered
        began = time.monotonic()
        await asyncio.sleep(seconds - warm)
        count, took = crowd.answered - before, time.monotonic() - began
        for task in tasks:
            task.cancel()
        await asyncio.sleep(1.5)
        # Before anything that is only there while clients are is gone.
        lines = [line for line in bench.lines()[skipped:-1] if "rss" in line]
        bench.signal(signal.SIGUSR1)
        grown: list[dict[str, Any]] = []
        for _ in range(100):
            found = [line for line in bench.lines() if "grown" in line]
            if found:
                grown = found[0]["grown"]
                break
            await asyncio.sleep(0.2)
        else:
            return ["nothing was heard of what has grown"]
        print(f"{count} requests in {took:.0f} s, with memory being traced")
        wrong = judge(lines, grown, count)
        if picture:
            draw(lines, picture)
        if crowd.failed:
            wrong.append(f"{len(crowd.failed)} failed, such as {crowd.failed[0]}")
        return wrong
    finally:
        bench.end()


def planted(folder: Path) -> Path:
    """
    A copy of llmux that leaks.
    """
    shutil.copytree(ROOT / "llmux", folder / "llmux")
    shutil.copytree(ROOT / "twisted", folder / "twisted")
    path = folder / PLACE
    text = path.read_text()
    assert text.count(BEFORE) == 1, "the leak's place in the code is not there"
    text = text.replace(BEFORE, AFTER).replace(
        "\nclass Naming", "\nLEAK: list[list[int]] = []\n\n\nclass Naming", 1
    )
    path.write_text(text)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run, and say what has grown.

    @return: the exit status.
    """
    parser = ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--picture", default="", metavar="FILE")
    given = parser.parse_args(arguments)
    raiseLimit()
    with TemporaryDirectory() as folder:
        root = planted(Path(folder)) if given.planted else ROOT
        run = soak(root, given.seconds, given.clients, given.picture)
        wrong = asyncio.run(run)
    for line in wrong:
        print(f"GROWN: {line}")
    if given.planted:
        seen = any(PLACE in line for line in wrong)
        print("the planted leak was seen" if seen else "the planted leak was NOT seen")
        return 0 if seen else 1
    print("not flat" if wrong else "flat")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
