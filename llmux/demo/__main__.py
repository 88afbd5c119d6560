# -*- test-case-name: llmux.test.test_demo -*-
"""
C{python -m llmux.demo}: the toy on a port of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.error import CannotListenError

from llmux.demo._behaviour import KNOBS, Behaviour, seconds, truth, whole
from llmux.demo._server import Demo, makeSite

DESCRIPTION = """
A toy model server for trying llmux out, for its tests and for benchmarks. It
speaks like OpenAI's and Anthropic's servers, but there is no language model in
it: its words follow from the model's name, the prompt and a seed alone, are
the same at each time, and mean nothing. Do not show it to a network; it
listens on 127.0.0.1 only.
"""

EPILOG = """
routes: POST /v1/chat/completions, /v1/completions, /v1/embeddings,
/v1/messages, /v1/messages/count_tokens, /v1/audio/transcriptions; GET
/v1/models; GET /health (503 unless the model is awake); GET /demo/seen, which
shows every request with its headers, DELETE to forget them.

Options that are marked with * can be given for one request, as a header
(X-Demo-Tokens: 5) or as a field of the JSON body ("x_demo_tokens": 5).
"""


def _crashAfter(text: str) -> tuple[str, int]:
    """
    C{20} or C{20tokens}, C{3requests}.
    """
    unit = "requests" if text.endswith("requests") else "tokens"
    return unit, whole(text.removesuffix(unit))


def parser() -> argparse.ArgumentParser:
    """
    The command line.
    """
    made = argparse.ArgumentParser(
        prog="python -m llmux.demo", description=DESCRIPTION, epilog=EPILOG
    )
    add = made.add_argument
    add("--port", type=int, default=8001, help="0: any; it is printed")
    add(
        "--model",
        action="append",
        metavar="NAME",
        help="what it says it is, default 'demo'; repeat for a server of several",
    )
    add("--strict", action="store_true", help="404 for any other model's name")
    add("--start-delay", type=seconds, default=0.0, metavar="SECONDS")
    add(
        "--admin",
        action="store_true",
        help="POST /sleep and /wake_up, GET /is_sleeping, as vLLM has them",
    )
    add("--asleep", action="store_true", help="be asleep once started")
    add("--sleep-delay", type=seconds, default=0.0, metavar="SECONDS")
    add("--wake-delay", type=seconds, default=0.0, metavar="SECONDS")
    for name, knob in KNOBS.items():
        convert: Callable[..., Any] = knob.metadata["convert"]
        if name == "crash-after":
            convert = _crashAfter
        given: dict[str, Any] = {"type": convert, "metavar": "N"}
        if convert is truth:
            given = {"action": "store_true"}
        elif knob.default is None and name == "garbage":
            given = {"choices": ["head", "body"]}
        help = f"* {knob.metadata['help']}"
        if name == "crash-after":
            help += "; Nrequests: when the N-th request comes"
        add(f"--{name}", default=knob.default, help=help, **given)
    return made


def makeDemo(
    options: argparse.Namespace, clock: Any, crash: Callable[[], None]
) -> Demo:
    """
    The server that the command line asks for.
    """
    values = {
        knob.name: getattr(options, name.replace("-", "_"))
        for name, knob in KNOBS.items()
    }
    unit, number = values["crashAfter"] or ("", None)
    values["crashAfter"] = number if unit == "tokens" else None
    return Demo(
        tuple(options.model or ["demo"]),
        clock,
        crash,
        behaviour=Behaviour(**values),
        strict=options.strict,
        admin=options.admin or options.asleep,
        startDelay=options.start_delay,
        sleepDelay=options.sleep_delay,
        wakeDelay=options.wake_delay,
        crashAfterRequests=number if unit == "requests" else None,
    )


def main(arguments: Sequence[str], reactor: Any) -> int:
    """
    Serve until a signal says stop.

    @return: the exit status.
    """
    options = parser().parse_args(arguments)
    # As a crash is: no farewell to anybody, the kernel resets connections.
    demo = makeDemo(options, reactor, lambda: os._exit(70))
    try:
        port = reactor.listenTCP(
            options.port, makeSite(demo), backlog=1024, interface="127.0.0.1"
        )
    except CannotListenError as wrong:
        print(
            f"demo: cannot listen on 127.0.0.1:{options.port}: "
            f"{wrong.socketError}; choose another --port",
            file=sys.stderr,
        )
        return 1
    demo.start(asleep=options.asleep)
    address = f"http://127.0.0.1:{port.getHost().port}"
    line = f"{', '.join(demo.names)} (a toy) on {address}"
    # Whoever reads it may send a signal at once, so not before those are
    # heeded.
    reactor.callWhenRunning(print, line, flush=True)
    reactor.run()
    return 0


if __name__ == "__main__":
    from twisted.internet import reactor

    sys.exit(main(sys.argv[1:], reactor))
