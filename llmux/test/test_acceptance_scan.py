"""
llmux as a process, and the programs of its own that look at large request
bodies: when they are killed, when they hang and when none can be started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import venv
from pathlib import Path
from threading import Event, Thread

from llmux.test._http import Asked, Reply, collector, request
from llmux.test._processes import eventually
from llmux.test._service import ProcessTestCase, Service

PATH = "/v1/chat/completions"


class Hunter(Thread):
    """
    Sends a signal to each program that looks at a body, as soon as it is there.
    """

    def __init__(self, service: Service, number: int, most: int) -> None:
        super().__init__(daemon=True)
        self._pid = service.running.pid
        self._number = number
        self._most = most
        self._ended = Event()
        self.met: list[int] = []
        self.start()

    def run(self) -> None:
        """
        Hunt.
        """
        while not self._ended.wait(0.002):
            for pid in children(self._pid):
                if pid not in self.met and len(self.met) < self._most:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, self._number)
                        self.met.append(pid)

    def hasMet(self) -> bool:
        """
        Whether there was any.
        """
        return bool(self.met)

    def end(self) -> None:
        """
        Hunt no more.
        """
        self._ended.set()
        self.join()


def children(parent: int) -> list[int]:
    """
    The programs of a process that look at bodies.
    """
    found = []
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"llmux.web._scan" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


class ScanTests(ProcessTestCase):
    """
    On both ways through llmux: the shorter one takes bodies of up to 1 MiB.
    """

    # Of many parts, so that they are not looked at in llmux itself.
    bodies = tuple(
        b'{"model":"a","x":[%b1]}' % ((b"[" * 300 + b"]" * 300 + b",") * times)
        for times in (500, 1_800)
    )

    def setUp(self) -> None:
        """
        See that programs can be found.
        """
        super().setUp()
        if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
            self.skipTest("the system does not tell what a process has started")

    def started(self, **environment: str) -> Service:
        """
        llmux with a model whose parameters are set, and what its server gets.
        """
        url, self.got = collector(self.addCleanup)
        hooks = dict.fromkeys(("wake", "sleep", "alive"), "true")
        models = {"a": {"url": url, "set": {"n": 1}, **hooks}}
        service = self.serve({"models": models}, environment=environment)
        self.assertEqual(self.small(service).status, 200)
        return service

    def small(self, service: Service) -> Reply:
        """
        Ask for something small.
        """
        return request(service.url, "POST", PATH, {"model": "a"})

    def large(self, service: Service, body: bytes) -> Asked:
        """
        Ask for something large.
        """
        headers = {"Content-Type": "application/json"}
        return Asked(service.url, "POST", PATH, body, headers)

    def good(self, service: Service) -> None:
        """
        See that large requests are served.
        """
        for body in self.bodies:
            self.got.clear()
            self.assertEqual(self.large(service, body).reply().status, 200)
            self.assertTrue(self.got == [body.replace(b"{", b'{"n":1,', 1)])

    def test_killed(self) -> None:
        """
        If a program is killed another one does its work; if all are, the client
        is told that llmux has failed.  Others are served meanwhile, and so is
        what comes then.
        """
        service = self.started()
        self.good(service)
        for body in self.bodies:
            hunter = Hunter(service, signal.SIGKILL, 1)
            self.addCleanup(hunter.end)
            self.got.clear()
            self.assertEqual(self.large(service, body).reply().status, 200)
            self.assertTrue(self.got == [body.replace(b"{", b'{"n":1,', 1)])
            hunter.end()
            self.assertEqual(len(hunter.met), 1)
        for body in self.bodies:
            hunter = Hunter(service, signal.SIGKILL, 1000)
            self.addCleanup(hunter.end)
            asked = self.large(service, body)
            eventually(hunter.hasMet, "a program is killed")
            self.assertEqual(self.small(service).status, 200)
            reply = asked.reply()
            hunter.end()
            self.assertEqual((reply.status, reply.code()), (500, "internal_error"))
        self.good(service)
        self.assertIn("was killed", service.running.output())

    def test_hung(self) -> None:
        """
        If all programs that there may be hang, others are served all the same,
        and so is what they looked at when they have been killed for it.
        """
        service = self.started()
        hunter = Hunter(service, signal.SIGSTOP, 2)
        self.addCleanup(hunter.end)
        asked = [self.large(service, body) for body in self.bodies]
        eventually(lambda: len(hunter.met) == 2, "two programs hang")
        for _ in range(10):
            self.assertEqual(self.small(service).status, 200)
        self.assertEqual([one.isAnswered() for one in asked], [False, False])
        for one in asked:
            self.assertEqual(one.reply().status, 200)
        hunter.end()
        self.good(service)
        eventually(lambda: not children(service.running.pid), "no program is left")

    def test_notStarted(self) -> None:
        """
        If none can be started, as when Python is being upgraded, bodies are
        looked at all the same, and the log says so.
        """
        folder = self.folder / "python"
        venv.create(folder, symlinks=True)
        python = folder / "bin" / "python"
        self.patch(sys, "executable", str(python))
        path = os.pathsep.join(path or os.getcwd() for path in sys.path)
        service = self.started(PYTHONPATH=path)
        self.good(service)
        self.assertNotIn("no program could", service.running.output())
        python.unlink()
        self.good(service)
        self.assertEqual(service.running.output().count("no program could"), 2)
