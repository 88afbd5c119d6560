"""
Much to do for llmux: C{python -m chaos.load PORT KIND COUNT SIZE}.

It is a process of its own, so that whoever measures how long others take
measures llmux, and not the clients that make the load.  The exit status says
whether every client had a good answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from itertools import product

from chaos.bench import ask, raiseLimit


async def waiting(port: int, count: int, size: int) -> None:
    """
    Many who wait for a model that sleeps.
    """
    await asyncio.gather(*(ask(port, "sleeper") for _ in range(count)))


async def streams(port: int, count: int, size: int) -> None:
    """
    Many streams at once.
    """
    query = "?events=8&every=2"
    await asyncio.gather(*(ask(port, "plain", query) for _ in range(count)))


async def uploads(port: int, count: int, size: int) -> None:
    """
    Large bodies.
    """
    await asyncio.gather(*(ask(port, "plain", size=size) for _ in range(count)))


async def shaped(port: int, count: int, size: int) -> None:
    """
    Large bodies of JSON, which are to be looked at.
    """
    await asyncio.gather(
        *(ask(port, "shaped", size=size, isJSON=True) for _ in range(count))
    )


async def parts(port: int, count: int, size: int) -> None:
    """
    Bodies of JSON, large and just so small that they are not counted, that are
    nothing but many small parts, in all ways in which they are looked at.
    """
    for length in (size, 120 << 10):
        for part, (model, path) in product(SMALL, PARTS):
            body = PARTED % (model.encode(), part * (length // len(part)))
            await asyncio.gather(
                *(ask(port, model, path=path, body=body) for _ in range(count))
            )


async def idle(port: int, count: int, size: int) -> None:
    """
    Connections on which nothing happens.
    """
    peers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    await asyncio.sleep(2)
    for _, writer in peers:
        writer.close()


async def flood(port: int, count: int, size: int) -> None:
    """
    A hook that prints more than anybody can want.
    """
    await ask(port, "flood")


#: What takes long to read, each in a way of its own.
SMALL = [b"[],", b"[" * 300 + b"]" * 300 + b",", b'{"model":"x"},', b'"",']

#: Models, and where they are asked for.
PARTS = [
    ("plain", "/v1/chat/completions"),
    ("renamed", "/v1/chat/completions"),
    ("shaped", "/v1/chat/completions"),
    ("plain", "/api/chat"),
]
PARTED = (
    b'{"model":"%b","messages":[{"role":"user","content":"x"}],"stream":false,'
    b'"x":[%b1]}'
)

KINDS: dict[str, Callable[[int, int, int], Awaitable[None]]] = {
    "waiting": waiting,
    "streams": streams,
    "uploads": uploads,
    "shaped": shaped,
    "parts": parts,
    "idle": idle,
    "flood": flood,
}


async def main() -> None:
    """
    Make one kind of load, to its end.
    """
    raiseLimit()
    port, kind, count, size = sys.argv[1:]
    await KINDS[kind](int(port), int(count), int(size))


if __name__ == "__main__":
    asyncio.run(main())
