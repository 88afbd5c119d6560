"""
The observer of a chaos run: decides by the books of clients, of servers and of
hooks.  What llmux says of itself is no evidence.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from chaos.clients import Record
from chaos.torments import Torment

#: Hooks read the time in hundredths of a second, rounded down.
COARSE = 0.02

#: For how many seconds a torment may be felt when it is over: a model that
#: could not be woken is left alone for a while, and a server that hangs is
#: given up by a timeout.
AFTER = 25.0

#: The same for what was done to llmux itself.
AFTER_OWN = 3.0

#: What a torment can do to a request: C{end}, or C{error} and its code.
OF_MODEL = frozenset(
    {"broken", "error backend_error", "error wake_failed", "error switch_timeout"}
)
OF_RESTART = frozenset(
    {"unreachable", "dropped", "broken", "error shutting_down", *OF_MODEL}
)
OF_DISK = frozenset({"error internal_error"})
OF_DESCRIPTORS = frozenset({"error overloaded"})

#: The same to a request over a connection that was idle before: it is closed,
#: and the client may have noticed too late.
OF_DESCRIPTORS_IDLE = OF_DESCRIPTORS | {"dropped"}


@frozen
class Line:
    """
    A line of the books of hooks.
    """

    time: float
    what: str
    hook: str


def effects(torment: Torment, record: Record) -> frozenset[str]:
    """
    What a torment can do to a request.
    """
    if torment.what == "restart":
        return OF_RESTART
    if torment.what == "reload":
        return frozenset()
    if torment.what == "disk":
        return OF_DISK | OF_MODEL
    if torment.what == "descriptors":
        return OF_DESCRIPTORS_IDLE if record.reused else OF_DESCRIPTORS
    return OF_MODEL


def reaches(torment: Torment, record: Record) -> bool:
    """
    Whether a request may have felt a torment.
    """
    own = not torment.model
    after = AFTER_OWN if torment.what in ("restart", "descriptors") else AFTER
    isTime = torment.began <= record.ended and record.began <= torment.ended + after
    # Whoever waits for a place that another model does not leave waits long.
    longWait = record.code == "switch_timeout"
    return isTime and (own or longWait or torment.model == record.model)


class Books:
    """
    What everybody has written down.
    """

    def __init__(self, folder: Path, models: Iterable[str]) -> None:
        self.servers: dict[str, list[dict[str, Any]]] = {}
        self.hooks: dict[str, list[Line]] = {}
        for model in models:
            self.servers[model] = [
                json.loads(line) for line in _lines(folder / f"{model}.book")
            ]
            self.hooks[model] = [
                Line(float(time), what, hook)
                for time, what, hook in map(
                    str.split, _lines(folder / f"{model}.hooks")
                )
            ]

    def switches(self) -> int:
        """
        How often a model was woken.
        """
        return sum(
            line.what == "ended" and line.hook == "wake"
            for lines in self.hooks.values()
            for line in lines
        )


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def judge(
    records: Sequence[Record], torments: Sequence[Torment], books: Books
) -> list[str]:
    """
    @return: what must not have happened.
    """
    return [
        *clients(records, torments),
        *servers(records, books),
        *sleepers(records, books),
    ]


def clients(records: Sequence[Record], torments: Sequence[Torment]) -> list[str]:
    """
    Every request has ended, once, in the way that fits what happened to it.
    """
    wrong = []
    for record in records:
        end = f"{record.end} {record.code}".strip() if record.code else record.end
        if record.end in ("whole", "left"):
            # A server's own error is whole as well.
            continue
        if record.end == "broken" and record.faulty:
            continue
        if record.end == "error" and record.code == "backend_error" and record.faulty:
            continue
        if any(
            end in effects(torment, record) and reaches(torment, record)
            for torment in torments
        ):
            continue
        wrong.append(f"{record.id} ({record.kind} of {record.model}): {_told(record)}")
    ids = Counter(record.id for record in records)
    wrong.extend(f"{id}: asked twice" for id, count in ids.items() if count > 1)
    return wrong


def _told(record: Record) -> str:
    return (
        f"{record.end} {record.status} {record.code} after "
        f"{record.ended - record.began:.2f} s, {record.size} bytes, at "
        f"{record.began:.2f}: {record.detail[:300]}"
    )


def servers(records: Sequence[Record], books: Books) -> list[str]:
    """
    Each request came to one server, once, with the body that was sent, and no
    answer went on after its client had left.
    """
    wrong = []
    known = {record.id: record for record in records}
    came: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for model, lines in books.servers.items():
        alive: dict[int, dict[str, Any]] = {}
        for line in lines:
            if line["what"] == "started":
                # Whatever the one before it had begun went with it.
                alive = {}
            elif line["what"] == "crowded":
                wrong.append(f"{model}: {line['place']} was taken at {line['time']}")
            elif line["what"] == "asked":
                came[line["id"]].append((model, line))
                alive[line["number"]] = line
            elif line["what"] == "ended":
                asked = alive.pop(line["number"], None)
                if asked is not None:
                    asked["end"] = line["end"]
        wrong.extend(
            f"{model}: {line['id']} is still being answered" for line in alive.values()
        )
    for id, many in came.items():
        record = known.get(id)
        if record is None:
            wrong.append(f"{id}: came to {many[0][0]}, and nobody had asked it")
            continue
        for model, line in many:
            if model != record.model:
                wrong.append(f"{id}: for {record.model}, and came to {model}")
            if line["sha256"] != record.sent:
                wrong.append(f"{id}: came with another body")
            if line.get("end") == "slept" and record.end == "whole":
                wrong.append(f"{id}: whole, though {model} was put to sleep")
        if sum(line.get("end") == "done" for _, line in many) > 1:
            wrong.append(f"{id}: answered more than once")
    written = {model for model, lines in books.servers.items() if _keeps(lines)}
    wrong.extend(
        f"{record.id}: answered by nobody"
        for record in records
        if record.end == "whole" and record.model in written and record.id not in came
    )
    return wrong


def _keeps(lines: Iterable[dict[str, Any]]) -> bool:
    # Not llama.cpp's.
    return any(line["what"] == "started" for line in lines)


def sleepers(records: Sequence[Record], books: Books) -> list[str]:
    """
    No model was asked anything while its hooks had it asleep, and no two of
    its hooks ran at a time.
    """
    wrong = []
    known = {record.id: record for record in records}
    for model, hooks in books.hooks.items():
        wrong.extend(
            f"{model}: two hooks at a time at {line.time}"
            for line in hooks
            if line.what == "together"
        )
        # From when a sleep begins until a wake has ended, or llmux has found
        # it awake.
        asleep: list[tuple[float, float]] = []
        since: float | None = None
        for line in hooks:
            if line.hook == "sleep" and line.what == "begins" and since is None:
                since = line.time
            elif line.hook != "sleep" and line.what == "ended" and since is not None:
                asleep.append((since, line.time))
                since = None
        if since is not None:
            asleep.append((since, float("inf")))
        asked = [line for line in books.servers[model] if line["what"] == "asked"]
        at = 0
        for line in sorted(asked, key=lambda one: one["arrived"]):
            while at < len(asleep) and asleep[at][1] < line["arrived"]:
                at += 1
            if at == len(asleep) or line["arrived"] < asleep[at][0] + COARSE:
                isLate = line["state"] != "awake"
            else:
                isLate = True
            # A server may see late what was sent in time and given up since.
            record = known.get(line["id"])
            if isLate and (record is None or record.end == "whole"):
                wrong.append(f"{line['id']}: came to {model} while that was asleep")
    return wrong
