"""
How long llmux takes to listen.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from benchmarks.proxy import _llmux
from benchmarks.proxy._children import Trouble, freePort, listens
from benchmarks.proxy._cpu import cpuSeconds
from benchmarks.proxy._measures import Figures
from benchmarks.proxy._report import Against, Measure

MODELS = 100


def start(folder: Path) -> Figures:
    """
    From the command to the open port, with many models.
    """
    port = freePort()
    models = {
        f"model-{number}": {
            "port": 20000 + number,
            "wake": ":",
            "sleep": ":",
            "alive": "false",
        }
        for number in range(MODELS)
    }
    path = folder / "many.json"
    log = str(folder / "start.access.log")
    path.write_text(json.dumps({"models": models, "port": port, "access_log": log}))
    began = time.perf_counter()
    process = subprocess.Popen(
        _llmux.command(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not listens(port):
            if process.poll() is not None or time.perf_counter() - began > 60:
                raise Trouble("llmux did not start")
            time.sleep(0.002)
        took = time.perf_counter() - began
        used = cpuSeconds([process.pid])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    title = f"start with {MODELS} models, until it listens"
    yield Measure("start_seconds", f"{title}, s", Against.NOTHING, must=0.6), took
    yield Measure("start_cpu_seconds", f"{title}, CPU, s", Against.NOTHING), used
