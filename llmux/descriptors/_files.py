# -*- test-case-name: llmux.test.test_descriptors -*-
"""
How many file descriptors there are.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from time import monotonic
from typing import Any

__all__ = ()

#: What the system says when this process, or all of them, have too many.
SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE})


def isShortage(error: BaseException | None) -> bool:
    """
    Whether that is what comes of there being no descriptors left.
    """
    # The former is what Twisted says of a connection that could not be begun.
    number = getattr(error, "osError", None) or getattr(error, "errno", None)
    return number in SHORTAGE


class OpenFiles:
    """
    What the system says of the descriptors of this process.
    """

    def __init__(
        self,
        system: Any = resource,
        folder: str = "/proc/self/fd",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """
        @param system: where limits are.
        @param folder: has an entry for each descriptor.
        """
        self._system = system
        self._folder = folder if os.path.isdir(folder) else "/dev/fd"
        self._clock = clock
        # Since Linux 6.2.
        count = len(self._listed()) - 1
        self._counts = folder == self._folder and os.stat(folder).st_size == count
        self._highest = 0
        self._others = 0
        self._again = -1.0

    def spare(self, own: int) -> tuple[int, int]:
        """
        @param own: how many descriptors the caller knows of, from which it is
            seen how many there are more than there were.
        @return: how many more there may be, and how many in all.
        """
        limit: int = self._system.getrlimit(self._system.RLIMIT_NOFILE)[0]
        if limit == self._system.RLIM_INFINITY:
            limit = 1 << 30
        if limit >= self._highest:
            self._highest = limit
            return limit - self._used(own), limit
        # Some may have numbers beyond what is allowed now; all those below it
        # may be given out, whatever there is besides.
        try:
            numbers = self._listed()
        except OSError:
            return 0, limit
        if max(numbers) < limit:
            self._highest = limit
        return limit - sum(number < limit for number in numbers) + 1, limit

    def _used(self, own: int) -> int:
        try:
            if self._counts:
                return os.stat(self._folder).st_size
            now = self._clock()
            if now >= self._again:
                count = len(self._listed()) - 1
                self._others = count - own
                # To look at each of thousands takes milliseconds.
                self._again = now + count / 1000
            return self._others + own
        except OSError:
            return self._highest

    def _listed(self) -> list[int]:
        # With the one with which the folder is read.
        return [int(name) for name in os.listdir(self._folder)]
