# -*- test-case-name: llmux.test.test_files -*-
"""
How many files a program may have open: each request takes two, one for either
connection.  And to whom they go.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import Any

from twisted.logger import Logger

__all__ = ["keepFiles", "raiseFileLimit"]

#: As many as llmux takes if it may.  Some systems allow a billion, and there
#: are programs, hooks among them, that look at each.
MOST = 65536

#: With fewer than that, it is said how many requests there can be.
FEW = 4096

_log = Logger()


def keepFiles(folder: str = "/dev/fd") -> None:
    """
    Have hooks inherit none of the files that whoever started llmux has left
    open.  Each would have to be closed when a hook is started, which cannot be
    done, nor can the hook be started then, if its number is not below a limit
    that was lowered after it was opened.

    @param folder: has an entry for each file that is open.
    """
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        number = int(name)
        if number > 2:
            # That with which the folder was read is closed by now.
            with suppress(OSError):
                os.set_inheritable(number, False)


def raiseFileLimit(system: Any = resource) -> int:
    """
    Take as many open files as are allowed, within reason, and say so if they
    are few.

    @param system: where limits are set.
    @return: how many there may be.
    """
    soft, hard = system.getrlimit(system.RLIMIT_NOFILE)
    unlimited = system.RLIM_INFINITY
    wanted = MOST if hard == unlimited else min(MOST, hard)
    if soft != unlimited and soft < wanted:
        try:
            system.setrlimit(system.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError) as error:
            _log.warn(
                "The limit on open files stays at {limit}: {why}",
                event="file_limit_kept",
                limit=soft,
                why=str(error),
            )
    if soft != unlimited and soft < FEW:
        _log.warn(
            "No more than {limit} files may be open at once, which is enough for "
            "about {requests} requests. Raise the limit where llmux is started, by "
            "ulimit -n or LimitNOFILE=.",
            event="few_files",
            limit=soft,
            requests=max(0, soft - 50) // 2,
        )
    return int(soft)
