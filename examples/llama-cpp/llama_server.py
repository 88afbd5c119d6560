#!/usr/bin/env python3
"""
llama.cpp's own HTTP server for those who have no C{llama-server}: it comes
from PyPI's C{xllamacpp}, a wheel without other dependencies, and takes those
of C{llama-server}'s options that the hooks beside this file use::

    pip install xllamacpp
    LLAMA_SERVER=$PWD/llama_server.py twist llmux --config config.yaml
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp


def main() -> None:
    """
    Serve one model until SIGTERM or SIGINT.
    """
    parser = argparse.ArgumentParser(description="Serve one GGUF model by llama.cpp.")
    parser.add_argument("-m", "--model", required=True, help="the .gguf file")
    parser.add_argument("-a", "--alias", help="the name in its answers")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("-c", "--ctx-size", type=int, default=2048)
    parser.add_argument("-np", "--parallel", type=int, default=2)
    parser.add_argument("-ngl", "--n-gpu-layers", type=int, default=0)
    parser.add_argument("-t", "--threads", type=int, default=-1)
    parser.add_argument("--slots", action="store_true", help="serve GET /slots")
    parser.add_argument(
        "--sse-ping", type=int, default=30, help="seconds between comments in a stream"
    )
    options = parser.parse_args()

    # The server runs in threads, which take over this mask: the signals are
    # left for sigwait below.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias or options.model}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_ctx = options.ctx_size
    params.n_parallel = options.parallel
    params.n_gpu_layers = options.n_gpu_layers
    params.cpuparams.n_threads = options.threads
    params.endpoint_slots = options.slots
    params.endpoint_metrics = True
    params.sse_ping_interval = options.sse_ping
    params.warmup = False
    server = xllamacpp.Server(params)
    print("listening on", server.listening_address, flush=True)
    signal.sigwait(signals)


if __name__ == "__main__":
    main()
