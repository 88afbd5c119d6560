# -*- test-case-name: llmux.test.test_simulate_files -*-
"""
Traces: which requests come when.

A trace is a file of JSON lines, one request each, in any order::

    {"at": 12.5, "model": "llama", "seconds": 8.0}

C{at} is when the request arrives, in seconds; C{seconds} is how long its
model serves it when it serves nothing else.  C{priority} may stand beside
them, and for policies that weigh it, what was announced: C{max_tokens}, as
clients do, or C{size}, in seconds, for those that know.  C{then} is a list of
requests that follow on the end of this one, as those of an agent do; their
C{at} counts from there.

Times since 1970, as C{llmux --record} writes them, count from the first
request.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite

from attrs import evolve, frozen

from llmux.errors import ConfigError, Problem


@frozen
class Arrival:
    """
    One request of a trace.

    @ivar at: when it arrives, in seconds.
    @ivar model: the name of the model it is for.
    @ivar seconds: how long it is served if nothing else is, in seconds.
    @ivar priority: as C{Switcher.acquire} takes it.
    @ivar size: how many seconds of service it is thought to take when it
        arrives, if that is known.
    @ivar then: requests that come so long (their C{at}) after the end of this
        one.
    @ivar maxTokens: how many tokens its answer may have, if it says so.
    """

    at: float
    model: str
    seconds: float
    priority: float = 0.0
    size: float | None = None
    then: tuple[Arrival, ...] = ()
    maxTokens: int | None = None

    def all(self) -> Iterator[Arrival]:
        """
        @return: the request and all that follow on it.
        """
        yield self
        for follower in self.then:
            yield from follower.all()


#: Seconds from which on times are taken for those since 1970.
_SINCE_1970 = 1e8

#: What may stand in a line; whether it must; the least it may be.
_NUMBERS: Mapping[str, tuple[bool, float | None]] = {
    "at": (True, 0.0),
    "seconds": (True, 0.0),
    "priority": (False, None),
    "size": (False, 0.0),
    "max_tokens": (False, 0.0),
}


def readTrace(path: str) -> list[Arrival]:
    """
    Read a trace.

    @return: its requests in the order of their arrival.
    @raise ConfigError: it cannot be read, or lines of it cannot be used: it
        names each of them.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return parseTrace(file, path)
    except OSError as error:
        raise ConfigError.one(
            f"the trace cannot be read: {error.strerror}", file=path
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError.one("the trace is not UTF-8 text", file=path) from error


def parseTrace(lines: Iterable[str], name: str = "") -> list[Arrival]:
    """
    As L{readTrace}, from lines.

    @param name: the file's name, for errors.
    """
    arrivals: list[Arrival] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            arrivals.append(_parseLine(line))
        except ValueError as error:
            problems.append(Problem("", str(error), name, number))
    if problems:
        raise ConfigError.many(problems)
    arrivals.sort(key=lambda arrival: arrival.at)
    if arrivals and arrivals[0].at >= _SINCE_1970:
        first = arrivals[0].at
        return [evolve(one, at=one.at - first) for one in arrivals]
    return arrivals


def checkModels(
    arrivals: Sequence[Arrival], known: Iterable[str], name: str = ""
) -> None:
    """
    See that each model that a trace names is there.

    @raise ConfigError: one is not.
    """
    missing = sorted(
        {one.model for arrival in arrivals for one in arrival.all()} - set(known)
    )
    if missing:
        raise ConfigError.one(
            "the trace asks for models that the configuration does not have: "
            + ", ".join(map(repr, missing)),
            file=name,
        )


def writeLine(arrival: Arrival) -> str:
    """
    @return: the line that stands for a request in a trace, without its end.
    """
    return json.dumps(_asLine(arrival))


def _asLine(arrival: Arrival) -> dict[str, object]:
    line: dict[str, object] = {
        "at": arrival.at,
        "model": arrival.model,
        "seconds": arrival.seconds,
    }
    if arrival.priority:
        line["priority"] = arrival.priority
    if arrival.size is not None:
        line["size"] = arrival.size
    if arrival.maxTokens is not None:
        line["max_tokens"] = arrival.maxTokens
    if arrival.then:
        line["then"] = [_asLine(follower) for follower in arrival.then]
    return line


def _parseLine(line: str) -> Arrival:
    """
    @raise ValueError: the line cannot be used; its text says why.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON; each line must be one object") from None
    return _arrival(value)


def _arrival(value: object) -> Arrival:
    if not isinstance(value, dict):
        raise ValueError('each line must be an object such as {"at": 0, …}')
    unknown = sorted(value.keys() - _NUMBERS.keys() - {"model", "then"})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    model = value.get("model")
    if not isinstance(model, str):
        raise ValueError('"model" must be there and be a string')
    numbers = {
        key: _number(value, key, must, least)
        for key, (must, least) in _NUMBERS.items()
        if must or value.get(key) is not None
    }
    then = value.get("then", [])
    if not isinstance(then, list):
        raise ValueError('"then" must be a list of requests')
    limit = numbers.pop("max_tokens", None)
    return Arrival(
        model=model,
        then=tuple(map(_arrival, then)),
        maxTokens=None if limit is None else int(limit),
        **numbers,
    )


def _number(
    value: Mapping[str, object], key: str, must: bool, least: float | None
) -> float:
    found = value.get(key)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise ValueError(f'"{key}" must be {"there and be " if must else ""}a number')
    if not isfinite(found) or (least is not None and found < least):
        raise ValueError(f'"{key}" must be a number from {least or 0:g} on')
    return float(found)
