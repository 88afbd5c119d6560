"""
llmux in a storm, on real processes: C{python -m chaos --seed 1 --seconds 60}.

Hundreds of clients ask four models that fit into two places, while servers are
killed and hang, hooks fail, hang and flood, llmux is restarted, and disks and
file descriptors run out.  When the storm is over all must be as it should
without help.  What happens follows from the seed; when exactly, from the
machine as well.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import mkdtemp

from attrs import asdict

from chaos.asks import short
from chaos.books import Books, judge
from chaos.clients import Crowd
from chaos.stage import Stage
from chaos.torments import Tormentor

#: Seconds within which everything has to work again when the storm is over:
#: a model that could not be woken again and again is left alone for up to 60.
RECOVERY = 90.0

#: The exit statuses of a program that was told to end, and did.
ENDED = (0, -signal.SIGTERM)


def options(arguments: Sequence[str] | None) -> Namespace:
    """
    Read the command line.
    """
    parser = ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--seconds", type=float, default=60, help="how long")
    parser.add_argument("--requests", type=int, help="how many, instead")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument(
        "--every", type=float, default=1.5, help="seconds between two torments"
    )
    parser.add_argument("--policy", default="cost-aware")
    parser.add_argument("--keep", action="store_true", help="all books, in any case")
    return parser.parse_args(arguments)


async def recovered(stage: Stage, crowd: Crowd, seed: str) -> tuple[float, list[str]]:
    """
    Ask each model until it answers, on both ways through llmux.

    @return: how many seconds it took, and what did not work.
    """
    random = Random(f"{seed}-recovery")
    began, wrong = time.monotonic(), []
    for number, model in enumerate([*stage.models.values()] * 2):
        tries = 0
        while True:
            tries += 1
            ask = short(model, random)
            record = crowd.begin(ask, f"r{number}-{tries}")
            connection = await crowd.ask(ask, record)
            if connection is not None:
                connection.close()
            if record.end == "whole":
                break
            # These are no part of the storm, and may meet what it left.
            crowd.records.remove(record)
            if time.monotonic() - began > RECOVERY:
                wrong.append(f"{model.name} does not work again: {record.detail}")
                break
            await asyncio.sleep(0.2)
    return time.monotonic() - began, wrong


async def quiet(stage: Stage) -> list[str]:
    """
    Nothing is left over in llmux.
    """
    for _ in range(100):
        status = await stage.get("/llmux/status")
        models = [] if status is None else status["models"]
        busy = [
            model["id"] for model in models if model["in_flight"] or model["queued"]
        ]
        if models and not busy:
            return []
        await asyncio.sleep(0.1)
    return [f"requests are left over in llmux: {busy or status}"]


async def play(stage: Stage, given: Namespace) -> tuple[list[str], str]:
    """
    One storm, and the calm after it.

    @return: what must not have happened, and a report.
    """
    stage.build()
    await stage.start()
    crowd = Crowd(stage, given.seed, given.clients, given.requests)
    tormentor = Tormentor(stage, given.seed, given.every)
    began = time.monotonic()
    clients = asyncio.ensure_future(crowd.run())
    torments = asyncio.ensure_future(tormentor.run())
    await asyncio.wait(
        {clients, torments},
        timeout=None if given.requests else given.seconds,
        return_when=asyncio.FIRST_COMPLETED,
    )
    crowd.stopping = tormentor.stopping = True
    await torments
    await clients
    storm = time.monotonic() - began
    took, wrong = await recovered(stage, crowd, given.seed)
    wrong += await quiet(stage)
    statuses = [*tormentor.statuses, await stage.stop()]
    wrong += [f"llmux ended with {one}" for one in statuses if one not in ENDED]
    hooks = [line for line in stage.started().values() if "hook.sh" in line]
    wrong += [f"a hook is left: {line}" for line in hooks]
    left = [path.name for path in (stage.folder / "tmp").iterdir()]
    wrong += [f"a temporary file is left: {name}" for name in left]
    books = Books(stage.folder, stage.models)
    wrong += judge(crowd.records, tormentor.done, books)
    wrong += unexpected(stage.folder / "llmux.log", tormentor)
    with (stage.folder / "clients.book").open("w") as file:
        for line in crowd.lines():
            file.write(json.dumps(line) + "\n")
    with (stage.folder / "torments.book").open("w") as file:
        for torment in tormentor.done:
            file.write(json.dumps(asdict(torment)) + "\n")
    return wrong, report(crowd, tormentor, books, storm, took)


def unexpected(log: Path, tormentor: Tormentor) -> list[str]:
    """
    What llmux did not expect, by its own log.
    """
    text = log.read_text("utf-8", "replace")
    return [f"{text.count('Traceback')} tracebacks in {log}"] * ("Traceback" in text)


def report(
    crowd: Crowd, tormentor: Tormentor, books: Books, storm: float, took: float
) -> str:
    """
    What happened, in a few lines.
    """
    ends = Counter(f"{record.end} {record.code}".strip() for record in crowd.records)
    kinds = Counter(torment.what for torment in tormentor.done)
    lane = sum(record.lane for record in crowd.records)

    def told(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {count}" for name, count in counts.most_common())

    asked = f"{len(crowd.records)} requests in {storm:.0f} s"
    return "\n".join(
        [
            f"{asked}, {lane} with the lane; models were woken {books.switches()} times",
            f"how they ended: {told(ends)}",
            f"{len(tormentor.done)} torments: {told(kinds)}",
            f"everything worked again after {took:.1f} s",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Play, and say what came of it.

    @return: the exit status: 0 if nothing happened that must not.
    """
    given = options(arguments)
    stage = Stage(Path(mkdtemp(prefix="chaos-")), policy=given.policy)
    wrong = ["it was broken off"]
    try:
        wrong, told = asyncio.run(play(stage, given))
        print(told)
    finally:
        stage.end()
        if wrong:
            print(f"the books are in {stage.folder}; the seed was {given.seed!r}")
        elif not given.keep:
            shutil.rmtree(stage.folder, ignore_errors=True)
    for line in wrong[:50]:
        print(f"WRONG: {line}", file=sys.stderr)
    print(f"{len(wrong)} things went wrong" if wrong else "nothing went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
