# -*- test-case-name: llmux.test.test_demo -*-
"""
What the toy saw, for the books of tests: C{GET /demo/seen}.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from attrs import asdict, define, field

#: The sums that tests look for even if nothing was counted.
NOTHING = {"requests": 0, "while_asleep": 0, "asleep_bytes": 0}


@define(eq=False)
class Entry:
    """
    One request.  Names are those of the JSON that tests read.

    @ivar number: counted from 1.
    @ivar arrived: when its head was complete, in seconds since the server
        started.
    @ivar state: what the model was doing then; what it was doing when the
        request was whole, if it was not awake.
    @ivar model: the one that the body names.
    @ivar bytes: the size of the body, and C{sha256} its digest in hex.
    @ivar asleep_bytes: how many bytes of the body came while the model was
        asleep.
    @ivar chunks: how many events were sent.
    @ivar end: C{open}; C{done}; C{left} by the client; or what the toy did
        to it: C{cut}, C{slept} if the model was put to sleep meanwhile.
    """

    number: int
    arrived: float
    state: str
    method: str = ""
    path: str = ""
    model: str | None = None
    request_id: str | None = None
    headers: dict[str, list[str]] = field(factory=dict)
    bytes: int = 0
    sha256: str = ""
    asleep_bytes: int = 0
    stream: bool = False
    status: int | None = None
    chunks: int = 0
    end: str = "open"


@define(eq=False)
class Journal:
    """
    The newest entries and the sums over all.

    @ivar size: how many entries to keep.
    """

    size: int = 10_000
    _entries: deque[Entry] = field(init=False)
    _number: int = field(default=0, init=False)
    counts: Counter[str] = field(factory=Counter, init=False)

    @_entries.default
    def _none(self) -> deque[Entry]:
        return deque(maxlen=self.size)

    def open(self, arrived: float, state: str) -> Entry:
        """
        Begin an entry.
        """
        self._number += 1
        return Entry(self._number, arrived, state)

    def keep(self, entry: Entry, state: str) -> None:
        """
        Take an entry in: the request is for the model, not about the toy.

        @param state: what the model is doing now that the request is whole.
        """
        if state != "awake":
            entry.state = state
        self._entries.append(entry)
        self.counts["requests"] += 1
        if entry.state != "awake":
            self.counts["while_" + entry.state] += 1

    def close(self, entry: Entry, end: str) -> None:
        """
        Say how an entry ended; the first to say so is right.
        """
        if entry.end == "open":
            entry.end = end
            self.counts[end] += 1

    def forget(self) -> None:
        """
        Start anew.
        """
        self._entries.clear()
        self.counts.clear()

    def report(self) -> dict[str, Any]:
        """
        Everything, in JSON's terms.
        """
        return {
            "counts": {**NOTHING, **self.counts},
            "requests": [asdict(entry) for entry in self._entries],
        }
