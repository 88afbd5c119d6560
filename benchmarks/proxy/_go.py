"""
A proxy in Go beside it: C{reverse.go}, built when it is asked for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.proxy._children import Children, Trouble, listens

NAME = "go"
SOURCE = Path(__file__).with_name("reverse.go")


def whyNot() -> str | None:
    """
    Why it cannot be had here, if it cannot.
    """
    if shutil.which("go") is None:
        return "go is not installed: apt-get install golang-go"
    return None


def start(children: Children, port: int, small: int, stream: int) -> int:
    """
    Build and start it.

    @return: its process.

    @raise Trouble: it cannot be built.
    """
    program = children.folder / "reverse"
    built = subprocess.run(
        ["go", "build", "-o", str(program), str(SOURCE)],
        # Nothing is to be downloaded, not even another Go.
        env={"HOME": str(children.folder), **os.environ, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise Trouble(f"go build failed:\n{built.stderr}")
    ports = [f"http://127.0.0.1:{number}" for number in (small, stream)]
    pid = children.start(NAME, [str(program), f"127.0.0.1:{port}", *ports])
    children.waitFor(NAME, lambda: listens(port))
    return pid
