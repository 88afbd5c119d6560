"""
Limits that hold: C{python -m chaos.limits}, or C{--short}.

Each line is something that is a lot, with what it costs: memory, the longest
that the reactor was busy with one thing (in processor time, and how much of it
was collecting garbage), and the longest that a request to another model took
meanwhile.  The clients that make the load and the server that they ask are
other processes than those that measure this.  The exit status says whether all
is within bounds.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen

from chaos.bench import Bench, megabytes, number, raiseLimit

#: The longest that the reactor may be busy with one thing, in seconds.
BUSY = 0.05

#: The longest that a request to another model may take, in seconds.  The short
#: form is for machines on which much else runs.
OTHERS = 1.0
OTHERS_SHORT = 2.0


@frozen
class Case:
    """
    Something that is a lot.

    @ivar bound: how much more memory llmux may need for it, in bytes.
    @ivar load: the kind of it, and how many, and how large each.
    """

    name: str
    bound: float
    load: tuple[str, int, int]


async def others(bench: Bench, took: list[float]) -> None:
    """
    Ask another model all the time.
    """
    while True:
        began = time.monotonic()
        await bench.ask("other")
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.1)


async def busiest(
    bench: Bench, work: Callable[[], Awaitable[None]]
) -> dict[str, float]:
    """
    The busiest that the reactor was with some work, and the most memory.
    """
    # The watchdog writes every second.
    await asyncio.sleep(1.1)
    skipped = len(bench.lines())
    await work()
    await asyncio.sleep(1.1)
    lines = bench.lines()[skipped:]
    most = max(lines, key=lambda line: float(line["busy"]))
    return {**most, "rss": max(line["rss"] for line in lines)}


def told(most: dict[str, float]) -> str:
    """
    How busy the reactor was, for people.
    """
    return (
        f"busy {most['busy'] * 1000:3.0f} ms "
        f"({most['collecting'] * 1000:.0f} ms garbage)"
    )


async def measure(bench: Bench, case: Case, patience: float) -> bool:
    """
    Run a case, and print what it cost.

    @return: whether that is within bounds.
    """
    took: list[float] = []
    before, seconds = 0, 0.0

    async def load() -> None:
        nonlocal before, seconds
        before = bench.lines()[-1]["rss"]
        asking = asyncio.ensure_future(others(bench, took))
        began = time.monotonic()
        try:
            await bench.load(*case.load)
        finally:
            seconds = time.monotonic() - began
            if not asking.cancel():
                await asking  # for what has gone wrong with it

    most = await busiest(bench, load)
    rss = most["rss"]
    good = rss - before <= case.bound and most["busy"] <= BUSY and max(took) <= patience
    print(
        f"{case.name:44} {seconds:6.1f} s  {megabytes(rss):>9} "
        f"(+{megabytes(rss - before)}, at most {megabytes(case.bound)})  "
        f"{told(most)}  others {max(took):4.2f} s"
        f"{'' if good else '  TOO MUCH'}",
        flush=True,
    )
    return good


async def manyModels(count: int) -> bool:
    """
    Many models in the configuration, and what looks at all of them.
    """
    hooks = {"wake": "true", "sleep": "true", "alive": "false"}
    bench = Bench({f"model-{n}": hooks for n in range(count)})

    async def get(path: str) -> None:
        await bench.ask("", path=path, method="GET")

    async def follow() -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", bench.port, limit=1 << 24
        )
        writer.write(b"GET /llmux/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            await reader.readuntil(b"data:")
            await bench.ask("model-0")
            await reader.readuntil(b"data:")
        finally:
            writer.close()

    async def reload() -> None:
        bench.configure(alive="! true")
        seen = bench.said(" again: ")
        bench.signal(signal.SIGHUP)
        while bench.said(" again: ") == seen:
            await asyncio.sleep(0.05)

    works: dict[str, Callable[[], Awaitable[None]]] = {
        "a request": lambda: get("/health"),
        "/v1/models": lambda: get("/v1/models"),
        "/metrics": lambda: get("/metrics"),
        "/llmux/status": lambda: get("/llmux/status"),
        "the feed of events": follow,
        "a reload that changes all": reload,
    }
    try:
        began = await bench.start()
        while not bench.lines():
            await asyncio.sleep(0.1)
        # All of them are asked at the start whether they are awake.
        first = max(bench.lines(), key=lambda line: float(line["busy"]))
        good = first["busy"] <= BUSY
        print(
            f"{count} models in the configuration: answers after {began:.1f} s, "
            f"{told(first)}{'' if good else '  TOO MUCH'}",
            flush=True,
        )
        for name, work in works.items():
            most = await busiest(bench, work)
            fine = most["busy"] <= BUSY and most["rss"] < 400 << 20
            print(
                f"- {name:42} {megabytes(most['rss']):>9}  {told(most)}"
                f"{'' if fine else '  TOO MUCH'}",
                flush=True,
            )
            good = good and fine
        return good
    finally:
        bench.end()


async def run(short: bool, upload: int, printed: int) -> bool:
    """
    Run all cases.
    """
    most = raiseLimit()
    hooks = dict.fromkeys(("sleep", "alive"), "true")
    line = f"head -c {printed} /dev/zero | tr '\\\\0' x | fold -w 4000"
    bench = Bench(
        {
            "plain": {**hooks, "wake": "true", "needs": {"slots": 1}},
            "shaped": {
                **hooks,
                "wake": "true",
                "needs": {"slots": 1},
                "set": {"temperature": 0.5},
            },
            "renamed": {
                **hooks,
                "wake": "true",
                "needs": {"slots": 1},
                "backend_model": "org/renamed",
            },
            "other": {**hooks, "wake": "true", "needs": {"slots": 1}},
            "sleeper": {
                **hooks,
                "alive": "false",
                "wake": "sleep 5",
                "needs": {"slots": 1},
            },
            "flood": {**hooks, "alive": "false", "wake": line, "needs": {"slots": 1}},
        },
        {"resources": {"slots": 6}},
        apart=("other",),
    )
    few = 10 if short else 1
    # Beyond that there are not enough left for models' servers, and new clients
    # wait until idle ones have been closed.
    idle = min(10000 // few, most * 2 // 3)
    patience = OTHERS_SHORT if short else OTHERS
    size = 16 << 20 if short else upload
    # So large that they would be noticed.
    big = max(size, 64 << 20)
    cases = [
        Case(
            f"{2000 // few} requests wait for a sleeping model",
            60 << 20,
            ("waiting", 2000 // few, 0),
        ),
        Case(
            f"{5000 // few} streams at once",
            200 << 20,
            ("streams", 5000 // few, 0),
        ),
        Case(
            f"20 clients upload {megabytes(size)} each at once",
            100 << 20,
            ("uploads", 20, size),
        ),
        Case(
            f"4 bodies of JSON of {megabytes(big)} are shaped",
            100 << 20,
            ("shaped", 4, big),
        ),
        Case(
            "bodies of 2 MiB of many small parts",
            60 << 20,
            ("parts", 2, 2 << 20),
        ),
        Case(
            f"{idle} connections without a request",
            150 << 20,
            ("idle", idle, 0),
        ),
        Case(f"a hook prints {megabytes(printed)}", 30 << 20, ("flood", 1, 0)),
    ]
    try:
        await bench.start()
        for model in ("plain", "other", "shaped", "renamed"):
            await bench.ask(model)
        good = [await measure(bench, case, patience) for case in cases]
    finally:
        bench.end()
    return all([*good, await manyModels(1000)])


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measure.

    @return: the exit status.
    """
    parser = ArgumentParser(prog="python -m chaos.limits", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a tenth of it all")
    parser.add_argument("--upload", type=number, default=number("512M"))
    parser.add_argument("--printed", type=number, help="default 10G, or 200M")
    given = parser.parse_args(arguments)
    printed = given.printed or number("200M" if given.short else "10G")
    return 0 if asyncio.run(run(given.short, given.upload, printed)) else 1


if __name__ == "__main__":
    sys.exit(main())
