"""
llama-swap beside it: a program that whoever runs the benchmark has.
"""

from __future__ import annotations

import json
import os
import shutil

from benchmarks.proxy._children import Children, Trouble, listens
from benchmarks.proxy._small import Client
from benchmarks.proxy._streams import Streams

NAME = "llama-swap"

#: Its own limit, of 10 for a model, would refuse most of what is measured.
PARALLEL = 100_000


def configuration(small: int, stream: int) -> dict[str, object]:
    """
    Two models for the two kinds of load, both there at once; all else is as it
    comes.
    """

    def model(backend: int) -> dict[str, object]:
        return {
            # It wants a process for each model, and these servers run already:
            # one that does nothing, and ends with the benchmark at the latest.
            "cmd": f"tail --pid={os.getpid()} -f /dev/null",
            "proxy": f"http://127.0.0.1:{backend}",
            "checkEndpoint": "none",
            "concurrencyLimit": PARALLEL,
        }

    models = {"small": model(small), "stream": model(stream)}
    together = {"swap": False, "exclusive": False, "members": [*models]}
    return {"models": models, "groups": {"together": together}}


def start(children: Children, program: str, port: int, small: int, stream: int) -> int:
    """
    Start it, and wake both models.

    @param program: its path, or its name if it is in C{PATH}.

    @return: its process.

    @raise Trouble: there is no such program, or it does not work.
    """
    found = shutil.which(program)
    if found is None:
        raise Trouble(f"{program} is no program: name that of {NAME}")
    # Its configuration is in YAML, of which JSON is a part.
    path = children.folder / f"{NAME}.yaml"
    path.write_text(json.dumps(configuration(small, stream), indent=1))
    argv = [found, "--config", str(path), "--listen", f"127.0.0.1:{port}"]
    pid = children.start(NAME, argv)
    children.waitFor(NAME, lambda: listens(port))
    client = Client("127.0.0.1", port)
    streams = Streams("127.0.0.1", port)
    try:
        client.ask()
        streams.open(1)
    finally:
        client.close()
        streams.close()
    return pid
