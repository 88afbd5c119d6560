"""
llmux, as anybody would run it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.proxy._children import Children, listens


def command(config: Path) -> list[str]:
    """
    What starts llmux with a configuration.
    """
    return [sys.executable, "-m", "twisted", "llmux", "--config", str(config)]


def configuration(port: int, small: int, stream: int, log: Path) -> dict[str, object]:
    """
    Two models for the two kinds of load, and two more that differ in name
    only, to be switched between.

    @param log: where a line for each request goes, as with nginx.
    """

    def model(backend: int, alive: str) -> dict[str, object]:
        return {"port": backend, "wake": ":", "sleep": ":", "alive": alive}

    return {
        "models": {
            "small": model(small, "true"),
            "stream": model(stream, "false"),
            "left": model(small, "false"),
            "right": model(small, "false"),
        },
        "port": port,
        "host": "127.0.0.1",
        "access_log": str(log),
    }


#: The name of the one without a lane.
USUAL = "usual"


def start(
    children: Children, port: int, small: int, stream: int, name: str = "llmux"
) -> int:
    """
    Start it.

    @param name: L{USUAL} to start it without its lane.

    @return: its process.
    """
    path = children.folder / f"{name}.json"
    log = children.folder / f"{name}.access.log"
    made = configuration(port, small, stream, log)
    if name == USUAL:
        made["lane"] = "off"
    path.write_text(json.dumps(made, indent=1))
    pid = children.start(name, command(path))
    children.waitFor(name, lambda: listens(port))
    return pid
