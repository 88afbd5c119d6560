"""
C{python -m benchmarks.proxy}.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.proxy import (
    _go,
    _large,
    _llmux,
    _measures,
    _nginx,
    _others,
    _start,
    _swap,
)
from benchmarks.proxy._children import Children, Trouble, freePort, listens
from benchmarks.proxy._cpu import cpuSeconds, residentBytes
from benchmarks.proxy._limits import raiseFileLimit
from benchmarks.proxy._measures import Figures, Plan, Proxy
from benchmarks.proxy._report import BASE, Results
from benchmarks.proxy._streams import whenQuiet

DESCRIPTION = """
Starts a fast backend, nginx as a plain reverse proxy, and llmux, drives both
with the same load in turns, and prints what each costs. A whole run takes some
five to ten minutes, and each proxy more two or three. Needs nginx and wrk
(Debian: apt-get install nginx wrk). Everything listens on 127.0.0.1 and is
gone at the end.
"""

EPILOG = """
Another proxy must send /v1/chat/completions, or the model "small", to the
backend at --backend-port, and /v1/completions, or the model "stream", to the
one at --source-port. Example: --backend-port 18100 --source-port 18101
--also swap=http://127.0.0.1:8080,4711
"""

#: What the guard lets pass: a multiple of what must be, because the machines of
#: checks are busy and of all kinds, and well below what it costs without the
#: lane.
GUARD = {"cpu_us_per_request": 9.0, "cpu_us_per_chunk_100": 5.0}

GROUPS = ("small", "first", "streams", "wake", "large", "start", "many")

#: What is measured if it is asked for, in the order of the table.
OTHERS = (_llmux.USUAL, _go.NAME, _swap.NAME)

#: Those that want a model in the body: there is none in large ones.
MODEL_IN_BODY = (_go.NAME, _swap.NAME)

#: How many streams are many, if as many files may be open as that takes in
#: each proxy: two for each, of which nginx keeps a sixteenth free.
MANY = 10_000
SHARE = 0.9


def other(text: str) -> tuple[str, str, int]:
    """
    C{NAME=URL,PID}.
    """
    name, _, rest = text.partition("=")
    url, _, pid = rest.rpartition(",")
    if not name or not url.startswith("http://") or not pid.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=http://...,PID")
    return name, url, int(pid)


def counts(text: str) -> tuple[int, ...]:
    """
    C{100,400}.
    """
    found = tuple(int(part) for part in text.split(","))
    if min(found) < 1:
        raise ValueError(text)
    return found


def groups(text: str) -> tuple[str, ...]:
    """
    C{small,first}.
    """
    found = tuple(text.split(","))
    if wrong := set(found) - set(GROUPS):
        raise argparse.ArgumentTypeError(
            f"{', '.join(wrong)}: choose from {', '.join(GROUPS)}"
        )
    return found


def parser() -> argparse.ArgumentParser:
    """
    The command line.
    """
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.proxy", description=DESCRIPTION, epilog=EPILOG
    )
    add = made.add_argument
    add("--rounds", type=int, default=5, help="each measures every proxy once")
    add("--seconds", type=int, default=3, help="of load in each measurement")
    add("--streams", type=counts, default=(100, 400, 1500), metavar="N,N...")
    add("--rate", type=float, default=25.0, help="events a second on each stream")
    add("--most", type=float, default=12000.0, help="events a second on all together")
    add("--connections", type=int, default=32, help="of small requests")
    add("--only", type=groups, default=GROUPS, metavar=",".join(GROUPS))
    add("--smoke", action="store_true", help="a few seconds, to see that it works")
    add("--guard", action="store_true", help="half a minute: is it much too slow?")
    add("--json", type=Path, metavar="FILE", help="write all figures there too")
    add("--check", action="store_true", help="exit with 1 if llmux misses a 'must'")
    add("--also", type=other, action="append", default=[], metavar="NAME=URL,PID")
    add("--usual-way", action="store_true", help="measure llmux without its lane, too")
    add("--go", action="store_true", help="measure a bare proxy in Go, too")
    add("--llama-swap", metavar="PROGRAM", help="measure this one, too")
    add("--without-llmux", action="store_true")
    add("--backend-port", type=int, metavar="PORT", help="default: any")
    add("--source-port", type=int, metavar="PORT", help="default: any")
    add("--keep", action="store_true", help="leave configurations and logs there")
    return made


@contextmanager
def workshop(keep: bool) -> Iterator[Children]:
    """
    A folder and processes that are gone afterwards.
    """
    folder = Path(tempfile.mkdtemp(prefix="llmux-benchmark-"))
    # nginx's worker is another user if this is root.
    folder.chmod(0o755)
    children = Children(folder)

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, interrupted)
    try:
        yield children
    finally:
        # Impatience must not leave anything behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        children.stop()
        if keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        for one, handler in before.items():
            signal.signal(one, handler)


def startAll(options: argparse.Namespace, children: Children) -> list[Proxy]:
    """
    Start backends and proxies.

    @return: the proxies, the base first.
    """
    # Two for each stream and a few; not more, because nginx makes room for
    # all of them at once.
    files = min(raiseFileLimit(), int(2 * options.most_streams / SHARE) + 1000)
    small = options.backend_port or freePort()
    stream = options.source_port or freePort()
    for program in ("nginx", "wrk"):
        _nginx.findProgram(program, program)
    for port in (small, stream):
        if listens(port):
            raise Trouble(f"something listens on port {port} already")
    _large.makeFile(children.folder, options.megabytes)
    _nginx.startBackend(children, small, files)
    source = [sys.executable, "-m", "benchmarks.proxy._source", str(stream)]
    children.start("source", [*source, str(options.rate), str(options.most)])
    children.waitFor("source", lambda: listens(stream))

    started: list[tuple[str, int, int]] = []
    port = freePort()
    pid = _nginx.startProxy(children, port, small, stream, files)
    started.append((BASE, port, pid))
    if not options.without_llmux:
        port = freePort()
        started.append(("llmux", port, _llmux.start(children, port, small, stream)))
    if options.usual_way:
        port = freePort()
        pid = _llmux.start(children, port, small, stream, _llmux.USUAL)
        started.append((_llmux.USUAL, port, pid))
    if options.go:
        if reason := _go.whyNot():
            print(f"{_go.NAME}: skipped: {reason}", file=sys.stderr)
        else:
            port = freePort()
            pid = _go.start(children, port, small, stream)
            started.append((_go.NAME, port, pid))
    if options.llama_swap:
        port = freePort()
        pid = _swap.start(children, options.llama_swap, port, small, stream)
        started.append((_swap.NAME, port, pid))
    for _, _, pid in started:
        whenQuiet(partial(cpuSeconds, [pid]))
    found = [
        Proxy(name, f"http://127.0.0.1:{port}", pid, residentBytes([pid]))
        for name, port, pid in started
    ]
    for name, url, pid in options.also:
        if not os.path.exists(f"/proc/{pid}"):
            raise Trouble(f"{name}: there is no process {pid}")
        found.append(Proxy(name, url, pid, residentBytes([pid])))
    return found


def steps(
    options: argparse.Namespace, plan: Plan
) -> Iterator[tuple[str, Callable[[Proxy], Figures]]]:
    """
    What each round measures.
    """
    if "small" in options.only:
        yield "small requests", partial(_measures.small, plan=plan)
    if "first" in options.only:
        yield "first byte", partial(_measures.first, plan=plan)
    if "streams" in options.only:
        for number in plan.streams:
            step = partial(_measures.streams, plan=plan, number=number)
            yield f"{number} streams", step
    if "large" in options.only:
        yield "large bodies", partial(_large.large, megabytes=options.megabytes)


def run(options: argparse.Namespace, children: Children) -> Results:
    """
    All rounds.
    """
    results = Results()
    if options.guard:
        options.only, options.streams = ("small", "streams"), (100,)
        options.rounds, options.seconds = 3, 1
    options.megabytes = 4 if options.smoke else 100
    options.most_streams = max(options.streams)
    if options.smoke:
        options.only = tuple(set(options.only) - {"many"})
    if "many" in options.only:
        options.many = min(MANY, int(raiseFileLimit() * SHARE) // 2)
        options.most_streams = max(options.many, options.most_streams)
    plan = Plan(
        children.folder,
        seconds=options.seconds,
        connections=options.connections,
        streams=options.streams,
    )
    if options.smoke:
        plan = Plan(
            children.folder, seconds=1, streams=(20,), singles=100, waiters=10, wakes=3
        )
    proxies = startAll(options, children)
    for proxy in proxies:
        for measure, value in _measures.idle(proxy):
            results.add(measure, proxy.name, 0, value)
    for number in range(1 if options.smoke else options.rounds):
        # Each is first as often as any other.
        turn = number % len(proxies)
        order = proxies[turn:] + proxies[:turn]
        for title, step in steps(options, plan):
            for proxy in order:
                if proxy.name in MODEL_IN_BODY and title == "large bodies":
                    continue
                say(f"round {number + 1}: {title}: {proxy.name}")
                for measure, value in step(proxy):
                    results.add(measure, proxy.name, number, value)
        for proxy in proxies:
            if proxy.name == "llmux" and "wake" in options.only:
                say(f"round {number + 1}: a sleeping model")
                for measure, value in _measures.wake(proxy, plan):
                    results.add(measure, proxy.name, number, value)
        if "start" in options.only and not options.without_llmux:
            say(f"round {number + 1}: a start")
            for measure, value in _start.start(children.folder):
                results.add(measure, "llmux", number, value)
    if "many" in options.only:
        # Once: it takes a while, and is about memory.
        for proxy in proxies:
            say(f"{options.many} streams: {proxy.name}")
            for measure, value in _measures.streams(proxy, plan, options.many):
                results.add(measure, proxy.name, 0, value)
    say("")
    return results


def tooSlow(results: Results) -> list[str]:
    """
    What is so slow that something must have gone wrong; printed, too.
    """
    over = []
    for key, most in GUARD.items():
        ratio = results.compared(key, "llmux")
        if ratio is None or ratio > most:
            over.append(key)
            print(f"{key} is {ratio} times that of {BASE}, which is over {most}")
    return over


def missedBounds(results: Results) -> list[str]:
    """
    All that llmux must be and is not: as anybody runs it, the usual way, and
    beside the others that were measured.
    """
    missed = results.missed("llmux")
    for bound, value in _others.judged(results):
        if not bound.kept(value):
            missed.append(f"{bound.key} ({bound.proxy})")
    return missed


def say(text: str) -> None:
    """
    Show what is going on, if somebody looks.
    """
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """
    @return: the exit status.
    """
    options = parser().parse_args(arguments)
    try:
        with workshop(options.keep) as children:
            results = run(options, children)
    except Trouble as trouble:
        print(f"benchmarks.proxy: {trouble}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    measured = {name for by in results.values.values() for name in by}
    names = [BASE, *([] if options.without_llmux else ["llmux"])]
    names += [name for name in OTHERS if name in measured]
    names += [name for name, _, _ in options.also]
    print(results.table(names))
    if options.json:
        options.json.write_text(json.dumps(results.asJSON(names), indent=1) + "\n")
    if options.guard:
        return 1 if tooSlow(results) else 0
    if more := _others.report(results):
        print(f"\n{more}")
    missed = missedBounds(results)
    if missed:
        print(f"\nllmux is not yet what it must be in: {', '.join(missed)}")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
