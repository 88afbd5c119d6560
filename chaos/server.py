"""
A model's server that keeps books: C{python -m chaos.server}.

It is L{llmux.demo}, with three differences.  What it is asked is written to a
file as it happens, so that a kill loses nothing.  While it is awake it holds a
lock on each of its places: whoever finds one taken says so in the books.  And
its clock is that of C{/proc/uptime}, which hooks can read as well.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.web.iweb import IRequest

from llmux.demo._behaviour import Behaviour
from llmux.demo._journal import Entry, Journal
from llmux.demo._server import Demo, makeSite


def now() -> float:
    """
    Seconds since the machine started, for whoever asks.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Book:
    """
    A file to which lines of JSON are added.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: str, **more: object) -> None:
        """
        Add a line.
        """
        line = {"what": what, "time": now(), "pid": os.getpid(), **more}
        os.write(self._file, json.dumps(line).encode() + b"\n")


class Places:
    """
    What a model holds while it is awake.
    """

    def __init__(self, folder: Path, names: list[str], book: Book) -> None:
        self._paths = [folder / f"{name}.place" for name in names]
        self._held: list[int] = []
        self._book = book

    def take(self) -> None:
        """
        Hold them all.
        """
        for path in [] if self._held else self._paths:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            # Whatever becomes of this program, its locks go with it.
            os.set_inheritable(lock, True)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._book.note("crowded", place=path.stem)
            self._held.append(lock)
        self._book.note("awake")

    def leave(self) -> None:
        """
        Hold none.
        """
        self._book.note("asleep")
        while self._held:
            os.close(self._held.pop())


class WrittenJournal(Journal):
    """
    A journal that is written to a book.
    """

    book: Book

    def open(self, arrived: float, state: str) -> Entry:
        """
        Begin an entry.
        """
        return super().open(now(), state)

    def keep(self, entry: Entry, state: str) -> None:
        """
        Take an entry in.
        """
        super().keep(entry, state)
        self.book.note(
            "asked",
            id=entry.request_id,
            number=entry.number,
            arrived=entry.arrived,
            state=entry.state,
            path=entry.path,
            sha256=entry.sha256,
        )

    def close(self, entry: Entry, end: str) -> None:
        """
        Say how an entry ended.
        """
        if entry.end == "open":
            self.book.note("ended", id=entry.request_id, number=entry.number, end=end)
        super().close(entry, end)


class BookedDemo(Demo):
    """
    A server that holds its places while it is awake.
    """

    places: Places

    def render(self, request: IRequest) -> int | bytes:
        """
        Answer.
        """
        seen: Any = request
        order = (seen.method, seen.path) if self.admin else None
        if order == (b"POST", b"/wake_up") and self.state == "asleep":
            self.places.take()
        answer = super().render(request)
        if order == (b"POST", b"/sleep"):
            self.places.leave()
        return answer


def main() -> None:
    """
    C{python -m chaos.server FOLDER NAME PORT resident|process PLACE...}.
    """
    folder, name, port, kind = Path(sys.argv[1]), *sys.argv[2:5]
    book = Book(folder / f"{name}.book")
    resident = kind == "resident"
    demo = BookedDemo(
        (name,), reactor, lambda: os._exit(70), behaviour=Behaviour(), admin=resident
    )
    journal = WrittenJournal()
    journal.book = book
    demo.journal = journal
    demo.places = Places(folder, sys.argv[5:], book)
    system: Any = reactor
    system.listenTCP(int(port), makeSite(demo), backlog=1024, interface="127.0.0.1")
    demo.start(asleep=resident)
    book.note("started")
    if not resident:
        demo.places.take()
    system.run()


if __name__ == "__main__":
    main()
