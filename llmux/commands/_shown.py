# -*- test-case-name: llmux.test.test_commands -*-
"""
What llmux tells programs, for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmux.commands._client import plain

__all__ = ()

_HEAD = ("MODEL", "STATE", "FOR", "IN FLIGHT", "QUEUED", "OLDEST", "WAKE", "SLEEP")

#: Columns that hold numbers.
_RIGHT = range(2, len(_HEAD))


def table(document: Mapping[str, Any]) -> str:
    """
    The status of everything: a line for each model, and below them what else
    there is to say.
    """
    rows = [_HEAD, *(_row(model) for model in document["models"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in _RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    more = list(_more(document))
    return "\n".join([*lines, *([""] if more else []), *more])


def _row(model: Mapping[str, Any]) -> Sequence[str]:
    costs = model["costs"]
    return (
        plain(model["id"]) + (" *" if model["pinned"] else ""),
        model["state"],
        seconds(model["state_for"]),
        str(model["in_flight"]),
        str(model["queued"]),
        seconds(model["oldest_waits"]),
        seconds(costs["wake"]),
        seconds(costs["sleep"]),
    )


def _more(document: Mapping[str, Any]) -> Iterator[str]:
    for switch in document["switches"]:
        victims = ", ".join(plain(name) for name in switch["victims"])
        place = f" in the place of {victims}" if victims else ""
        left = switch["remaining"]
        about = "" if left is None else f", about {seconds(left)} left"
        yield (
            f"Switching to {plain(switch['target'])}{place}: {switch['phase']}, "
            f"{seconds(switch['elapsed'])} so far{about}."
        )
    for name, resource in document["resources"].items():
        yield f"{plain(name)}: {resource['free']:g} of {resource['total']:g} free."
    for model in document["models"]:
        error = model["last_error"]
        if error is not None:
            again = model["retry_in"]
            yield (
                f"{plain(model['id'])}: {error['hook']} failed {seconds(error['ago'])} "
                f"ago, attempt {error['attempt']}: {plain(error['error'])}."
                + ("" if again is None else f" Next try in {seconds(again)}.")
            )
    if any(model["pinned"] for model in document["models"]):
        yield "* pinned: never put to sleep for another."


def told(event: str, data: Mapping[str, Any]) -> str:
    """
    An event in a line; empty for one that says nothing to people.
    """
    if event == "state_changed":
        return (
            f"{plain(data['model'])}: {data['before']} -> {data['after']} "
            f"after {seconds(data['duration'])}"
        )
    if event == "hook_finished":
        how = f"failed: {plain(data['error'])}" if data["error"] else "succeeded"
        return (
            f"{plain(data['model'])}: {data['hook']} {how}, "
            f"{seconds(data['duration'])}, attempt {data['attempt']}"
        )
    if event in ("switch_started", "switch_ended"):
        victims = ", ".join(plain(name) for name in data["victims"]) or "none"
        what = (
            f"begins, for {data['reason']}"
            if event == "switch_started"
            else f"{data['result']} after {seconds(data['duration'])}"
        )
        return f"{plain(data['target'])}: switch {what}; put to sleep: {victims}"
    return ""


def seconds(value: float | None) -> str:
    """
    A time, as short as can be read.
    """
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"
