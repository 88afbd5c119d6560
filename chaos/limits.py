"""
Limits that hold: C{python -m chaos.limits}, or C{--short}.

Each line is something that is a lot, with what it costs: memory, the longest
that the reactor was busy with one thing (in processor time), and the longest
that a request to another model took meanwhile.  The exit status says whether
all is within bounds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen

from chaos.bench import Bench, megabytes, number, raiseLimit

#: The longest that the reactor may be busy with one thing, in seconds.
BUSY = 0.05

#: The longest that a request to another model may take, in seconds: machines
#: on which this runs have other things to do.
OTHERS = 5.0


@frozen
class Case:
    """
    Something that is a lot.

    @ivar bound: how much more memory llmux may need for it, in bytes.
    """

    name: str
    bound: float
    run: Callable[[Bench], Awaitable[None]]


async def waiting(bench: Bench, count: int) -> None:
    """
    Many who wait for a model that sleeps.
    """
    await asyncio.gather(*(bench.ask("sleeper") for _ in range(count)))


async def streams(bench: Bench, count: int) -> None:
    """
    Many streams at once.
    """
    await asyncio.gather(
        *(bench.ask("plain", "?events=8&every=2") for _ in range(count))
    )


async def uploads(bench: Bench, count: int, size: int) -> None:
    """
    Large bodies.
    """
    await asyncio.gather(*(bench.ask("plain", size=size) for _ in range(count)))


async def idle(bench: Bench, count: int) -> None:
    """
    Connections on which nothing happens.
    """
    peers = [await bench.connect() for _ in range(count)]
    await asyncio.sleep(2)
    for _, writer in peers:
        writer.close()


async def flood(bench: Bench) -> None:
    """
    A hook that prints more than anybody can want.
    """
    await bench.ask("flood")


async def others(bench: Bench, took: list[float]) -> None:
    """
    Ask another model all the time.
    """
    while True:
        began = time.monotonic()
        await bench.ask("other")
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.1)


async def measure(bench: Bench, case: Case) -> bool:
    """
    Run a case, and print what it cost.

    @return: whether that is within bounds.
    """
    await asyncio.sleep(1.1)
    skipped = len(bench.lines())
    before = bench.lines()[-1]["rss"]
    took: list[float] = []
    asking = asyncio.ensure_future(others(bench, took))
    began = time.monotonic()
    await case.run(bench)
    seconds = time.monotonic() - began
    await asyncio.sleep(1.1)
    asking.cancel()
    failed = asking.done() and not asking.cancelled()
    lines = bench.lines()[skipped:]
    rss = max(line["rss"] for line in lines)
    busy = max(line["busy"] for line in lines)
    good = (
        rss - before <= case.bound
        and busy <= BUSY
        and max(took) <= OTHERS
        and not failed
    )
    print(
        f"{case.name:44} {seconds:6.1f} s  {megabytes(rss):>9} "
        f"(+{megabytes(rss - before)}, at most {megabytes(case.bound)})  "
        f"busy {busy * 1000:3.0f} ms  others {max(took):4.2f} s"
        f"{'' if good else '  TOO MUCH'}",
        flush=True,
    )
    return good


async def manyModels(count: int) -> bool:
    """
    Many models in the configuration.
    """
    hooks = {"wake": "true", "sleep": "true", "alive": "false"}
    bench = Bench({f"model-{n}": hooks for n in range(count)})
    try:
        began = await bench.start()
        while not bench.lines():
            await asyncio.sleep(0.1)
        # All of them are asked at the start whether they are awake.
        starting = len(bench.lines())
        for path in ("/v1/models", "/metrics", "/llmux/status"):
            await bench.ask("", path=path, method="GET")
        await bench.ask(f"model-{count - 1}")
        await asyncio.sleep(2.2)
        lines = bench.lines()
        rss = max(line["rss"] for line in lines)
        first = max(line["busy"] for line in lines[:starting])
        busy = max(line["busy"] for line in lines[starting:])
        print(
            f"{count} models in the configuration: answers after {began:.1f} s, "
            f"{megabytes(rss)}, busy {first * 1000:.0f} ms at the start and "
            f"{busy * 1000:.0f} ms then",
            flush=True,
        )
        return rss < 400 << 20
    finally:
        bench.end()


async def run(short: bool, upload: int, printed: int) -> bool:
    """
    Run all cases.
    """
    raiseLimit()
    hooks = dict.fromkeys(("sleep", "alive"), "true")
    line = f"head -c {printed} /dev/zero | tr '\\\\0' x | fold -w 4000"
    bench = Bench(
        {
            "plain": {**hooks, "wake": "true", "needs": {"slots": 1}},
            "other": {**hooks, "wake": "true", "needs": {"slots": 1}},
            "sleeper": {
                **hooks,
                "alive": "false",
                "wake": "sleep 5",
                "needs": {"slots": 1},
            },
            "flood": {**hooks, "alive": "false", "wake": line, "needs": {"slots": 1}},
        },
        {"resources": {"slots": 4}},
    )
    few = 10 if short else 1
    size = 16 << 20 if short else upload
    cases = [
        Case(
            f"{2000 // few} requests wait for a sleeping model",
            60 << 20,
            lambda bench: waiting(bench, 2000 // few),
        ),
        Case(
            f"{5000 // few} streams at once",
            200 << 20,
            lambda bench: streams(bench, 5000 // few),
        ),
        Case(
            f"20 clients upload {megabytes(size)} each at once",
            100 << 20,
            lambda bench: uploads(bench, 20, size),
        ),
        Case(
            f"{10000 // few} connections without a request",
            150 << 20,
            lambda bench: idle(bench, 10000 // few),
        ),
        Case(f"a hook prints {megabytes(printed)}", 30 << 20, flood),
    ]
    try:
        await bench.start()
        for model in ("plain", "other"):
            await bench.ask(model)
        good = [await measure(bench, case) for case in cases]
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
