# -*- test-case-name: llmux.test.test_commands -*-
# mypy: allow-untyped-calls
"""
C{llmux status}, C{wake}, C{sleep}, C{clear}, C{reload}, C{logs} and C{events}:
they look at a llmux that runs, and steer it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TextIO

from llmux.commands._client import ClientError, plain, quoted
from llmux.commands._options import ClientOptions, ModelOptions, command
from llmux.commands._shown import table, told

__all__ = ["clear", "events", "logs", "reload", "sleep", "status", "wake"]

#: Seconds between two looks of C{--watch}.
EVERY = 1.0

#: Has a terminal show what follows from its upper left corner on.
_HOME = "\x1b[H\x1b[2J"

#: What C{llmux reload} shows, in this order.
_CHANGES = ("added", "removed", "changed", "pending", "settings", "restart")

#: To be replaced in tests.
pause = time.sleep


class StatusOptions(ClientOptions):
    """
    The options of C{llmux status}.
    """

    synopsis = "llmux status [options]"
    longdesc = (
        "Shows what each model does and since when, what it serves, who waits for "
        "it and for how long, and what waking it and putting it to sleep has been "
        "measured to take; what is being switched, how far that is and how long it "
        "will take; which resources are free; and what failed last."
    )
    optFlags = [
        ["watch", "w", "Look again every second, until Ctrl-C."],
        ["json", "j", "Print all that llmux tells, as JSON."],
        ["names", None, "Print the names of the models, and nothing else."],
    ]
    examples = (
        ("llmux status --watch", "Shows it all the time."),
        ("llmux status --json | jq '.models[].state'", "Gives it to a program."),
    )


class WakeOptions(ModelOptions):
    """
    The options of C{llmux wake}.
    """

    synopsis = "llmux wake [options] MODEL"
    longdesc = (
        "Wakes a model, and ends when it is awake. Others are put to sleep for it "
        "as they are for a request, when what they serve is over. Ctrl-C takes the "
        "wish back."
    )
    examples = (("llmux wake llama", "Has llama ready before anybody asks for it."),)


class SleepOptions(ModelOptions):
    """
    The options of C{llmux sleep}.
    """

    synopsis = "llmux sleep [options] MODEL"
    longdesc = (
        "Puts a model to sleep, and ends when it sleeps. A model that serves is "
        "left alone unless --drain is given, and one that is pinned always is. The "
        "next request wakes it again."
    )
    optFlags = [["drain", "d", "Let what is in flight end first."]]
    examples = (("llmux sleep --drain llama", "Loses no answer."),)


class ClearOptions(ModelOptions):
    """
    The options of C{llmux clear}.
    """

    synopsis = "llmux clear [options] MODEL"
    longdesc = (
        "Takes your word that a model that is stuck, as its sleep hook failed, "
        "holds nothing any more: others are woken in its place. Look first; nothing "
        "is checked."
    )


class ReloadOptions(ClientOptions):
    """
    The options of C{llmux reload}.
    """

    synopsis = "llmux reload [options]"
    longdesc = (
        "Has llmux read its configuration again and go by it, without a break for "
        "what has not changed, and shows what has. If anything is wrong with it, "
        "that is shown, and nothing changes."
    )


class LogsOptions(ModelOptions):
    """
    The options of C{llmux logs}.
    """

    synopsis = "llmux logs [options] MODEL"
    longdesc = (
        "Shows the last that a model's hooks printed, with the time, the hook and "
        "the stream of each line."
    )
    optFlags = [["follow", "f", "Go on, until Ctrl-C."]]
    examples = (("llmux logs -f llama", "Shows how far it is with loading."),)


class EventsOptions(ClientOptions):
    """
    The options of C{llmux events}.
    """

    synopsis = "llmux events [options]"
    longdesc = (
        "Shows each change of a model's state, each hook that ends, and each switch "
        "that begins or ends, as it happens, until Ctrl-C."
    )
    optFlags = [["json", "j", "Print each event as JSON on a line of its own."]]


def status(arguments: Sequence[str]) -> int:
    """
    See L{StatusOptions}.
    """
    return command(StatusOptions(), arguments, _status)


def _status(options: StatusOptions, output: TextIO) -> None:
    if not options["watch"]:
        print(_look(options), file=output)
        return
    while True:
        try:
            shown = _look(options)
        except ClientError as error:
            # It may be restarting.
            shown = f"llmux: {error}"
        print(_HOME if output.isatty() else "", shown, sep="", file=output, flush=True)
        pause(EVERY)


def _look(options: StatusOptions) -> str:
    document = options.server.ask("GET", "/llmux/status")
    if options["json"]:
        return json.dumps(document, indent=None if options["watch"] else 2)
    try:
        if options["names"]:
            return "\n".join(model["id"] for model in document["models"])
        return table(document)
    except (LookupError, TypeError):
        raise options.server.stranger() from None


def wake(arguments: Sequence[str]) -> int:
    """
    See L{WakeOptions}.
    """
    return command(WakeOptions(), arguments, lambda o, output: _do(o, output, "wake"))


def sleep(arguments: Sequence[str]) -> int:
    """
    See L{SleepOptions}.
    """
    return command(
        SleepOptions(),
        arguments,
        lambda o, output: _do(o, output, "sleep", "?drain" if o["drain"] else ""),
    )


def clear(arguments: Sequence[str]) -> int:
    """
    See L{ClearOptions}.
    """
    return command(ClearOptions(), arguments, lambda o, output: _do(o, output, "clear"))


def _do(options: ModelOptions, output: TextIO, act: str, query: str = "") -> None:
    path = f"/llmux/models/{quoted(options['model'])}/{act}{query}"
    # However long it takes: llmux has limits of its own.
    model = options.server.ask("POST", path, limit=None)
    try:
        print(f"{plain(model['id'])} is {model['state']}", file=output)
    except (LookupError, TypeError):
        raise options.server.stranger() from None


def reload(arguments: Sequence[str]) -> int:
    """
    See L{ReloadOptions}.
    """
    return command(ReloadOptions(), arguments, _reload)


def _reload(options: ReloadOptions, output: TextIO) -> None:
    found = options.server.ask("POST", "/llmux/reload")
    try:
        told = [
            f"{name}: {', '.join(map(plain, found[name]))}"
            for name in _CHANGES
            if found[name]
        ]
    except (LookupError, TypeError):
        raise options.server.stranger() from None
    print("\n".join(told) or "nothing has changed", file=output)


def logs(arguments: Sequence[str]) -> int:
    """
    See L{LogsOptions}.
    """
    return command(LogsOptions(), arguments, _logs)


def _logs(options: LogsOptions, output: TextIO) -> None:
    path = f"/llmux/logs/{quoted(options['model'])}"
    if options["follow"]:
        for _, line in options.server.follow(f"{path}?follow"):
            print(plain(line), file=output, flush=True)
        return
    for line in str(options.server.ask("GET", path)).splitlines():
        print(plain(line), file=output)


def events(arguments: Sequence[str]) -> int:
    """
    See L{EventsOptions}.
    """
    return command(EventsOptions(), arguments, _events)


def _events(options: EventsOptions, output: TextIO) -> None:
    for event, text in options.server.follow("/llmux/events"):
        data = json.loads(text)
        if options["json"]:
            line = json.dumps({"event": event, **data})
        else:
            line = told(event, data)
            if line:
                line = f"{time.strftime('%H:%M:%S')} {line}"
        if line:
            print(line, file=output, flush=True)
