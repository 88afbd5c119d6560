"""
Tests for L{benchmarks.proxy._swap}, with a tiny program in llama-swap's place.
"""

from __future__ import annotations

import json
import signal
import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.proxy import __main__
from benchmarks.proxy._children import Children, Trouble, freePort
from benchmarks.proxy._cpu import family
from benchmarks.proxy._others import report
from benchmarks.proxy._report import Measure, Results
from benchmarks.proxy._swap import NAME, configuration, start

#: It starts a model's command when that is asked for, and answers itself;
#: C{woken} says what it started, and whether that ended at once.
PROGRAM = """#!{python}
import json, shlex, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_, config, path, listen, address = sys.argv
assert (config, listen) == ("--config", "--listen"), sys.argv
models = json.loads(Path(path).read_text())["models"]

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
        model = models[name]
        process = subprocess.Popen(shlex.split(model["cmd"]))
        with Path(path).with_name("woken").open("a") as woken:
            print(name, process.pid, process.poll(), file=woken)
        answer = b'{{"of":{{"a":1}}}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

host, _, port = address.rpartition(":")
ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


class ConfigurationTests(SynchronousTestCase):
    """
    Tests for what it is told.
    """

    def test_models(self) -> None:
        """
        Each model leads to its backend, is taken to be ready, and takes as
        many requests as there are; neither ends the other.
        """
        made = json.loads(json.dumps(configuration(18100, 18101)))
        self.assertEqual(
            {"small": "http://127.0.0.1:18100", "stream": "http://127.0.0.1:18101"},
            {name: model["proxy"] for name, model in made["models"].items()},
        )
        for model in made["models"].values():
            self.assertEqual("none", model["checkEndpoint"])
            self.assertTrue(model["concurrencyLimit"] >= 10_000)
        [group] = made["groups"].values()
        self.assertEqual({*made["models"]}, {*group["members"]})
        self.assertFalse(group["swap"])


class StartTests(SynchronousTestCase):
    """
    Tests for a program that is started.
    """

    def setUp(self) -> None:
        """
        A folder, and whatever is started in it.
        """
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.children = Children(self.folder)
        self.addCleanup(self.children.stop)

    def program(self, text: str) -> str:
        """
        A program's path.
        """
        path = self.folder / "program"
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def test_start(self) -> None:
        """
        It is started with its configuration, and both models are awake when
        it is measured, each with a process that stays.
        """
        program = self.program(PROGRAM.format(python=sys.executable))
        pid = start(self.children, program, freePort(), 1, 2)
        woken = [
            line.split() for line in (self.folder / "woken").read_text().splitlines()
        ]
        self.assertEqual(
            [("small", "None"), ("stream", "None")],
            [(name, ended) for name, _, ended in woken],
        )
        self.assertEqual({pid, *(int(model) for _, model, _ in woken)}, family([pid]))

    def test_ends(self) -> None:
        """
        What a program said that would not start is shown.
        """
        program = self.program("#!/bin/sh\necho no such setting\nexit 3\n")
        trouble = self.assertRaises(
            Trouble, start, self.children, program, freePort(), 1, 2
        )
        self.assertIn("ended with 3", str(trouble))
        self.assertIn("no such setting", str(trouble))

    def test_noProgram(self) -> None:
        """
        Where there is none, that is said.
        """
        missing = str(self.folder / "missing")
        trouble = self.assertRaises(
            Trouble, start, self.children, missing, freePort(), 1, 2
        )
        self.assertIn(f"{missing} is no program", str(trouble))


class BoundTests(SynchronousTestCase):
    """
    Tests for what llmux must be beside it.
    """

    def results(self, mine: float) -> Results:
        """
        Made-up figures.
        """
        results = Results()
        for key, own, swap in (
            ("requests_per_second", mine, 5000),
            ("cpu_us_per_request", 60, 240),
            ("cpu_us_per_chunk_1500", 20, 40),
            ("resident_mb_1500", 60, 240),
        ):
            results.add(Measure(key, key), "llmux", 0, own)
            results.add(Measure(key, key), NAME, 0, swap)
        return results

    def test_report(self) -> None:
        """
        Each figure is a multiple of its own; of requests a second these must
        be two.
        """
        printed = report(self.results(9900))
        self.assertIn(
            "requests_per_second: 1.98x that of llama-swap (must be >= 2: MISSED)",
            printed,
        )
        for line in (
            "cpu_us_per_request: 0.25x",
            "cpu_us_per_chunk_1500: 0.5x",
            "resident_mb_1500: 0.25x",
        ):
            self.assertIn(f"{line} that of llama-swap", printed)

    def test_check(self) -> None:
        """
        Less is an error if asked for, and only where it was measured.
        """
        self.patch(sys, "stdout", StringIO())
        for results, status in (
            (self.results(10000), 0),
            (self.results(9900), 1),
            (Results(), 0),
        ):
            self.patch(__main__, "run", lambda options, children, found=results: found)
            self.assertEqual(status, __main__.main(["--check"]))

    def test_signals(self) -> None:
        """
        A run leaves signals as they were: what ignores them hands that on to
        programs that are started later, which then do not end when asked to.
        """
        self.patch(sys, "stdout", StringIO())
        self.patch(__main__, "run", lambda options, children: Results())
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [*map(signal.getsignal, numbers)]
        __main__.main([])
        self.assertEqual(before, [*map(signal.getsignal, numbers)])
