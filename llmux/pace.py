# -*- test-case-name: llmux.test.test_pace -*-
"""
A little in each turn of the reactor, so that timers and everybody else come to
their turn however much there is to do.
"""

from __future__ import annotations

import gc
from typing import Any

__all__ = ["boundAccepts", "boundEvents", "keepWhatIsLoaded"]

#: How many events are dealt with in one turn.  The dearest are requests that
#: arrive, a fraction of a millisecond each.
EVENTS = 64

#: How many connections one port accepts in one turn.
ACCEPTS = 32


class _Poller:
    """
    An C{epoll} object that gives few events at a time.

    Those that it does not give the system keeps, in their order: whoever is
    not dealt with in this turn is among the first in the next.
    """

    def __init__(self, poller: Any, most: int) -> None:
        self._poller = poller
        self._most = most

    def __getattr__(self, name: str) -> Any:
        # Found here once, so that it costs nothing later.
        value = getattr(self._poller, name)
        self.__dict__[name] = value
        return value

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """
        Wait for events.
        """
        events: list[tuple[int, int]] = self._poller.poll(
            timeout, min(most, self._most)
        )
        return events


def boundEvents(reactor: Any, most: int = EVENTS) -> bool:
    """
    Have a reactor deal with no more than so many events in one turn.

    Twisted's reactor on C{epoll} takes as many as there are, which with
    thousands of connections holds up timers for hundreds of milliseconds.
    This is for whoever owns the reactor: it changes what all that runs in it
    has to itself.

    @return: whether it is a reactor with which this can be done.
    """
    poller = getattr(reactor, "_poller", None)
    if isinstance(poller, _Poller):
        return True
    if not hasattr(reactor, "doPoll") or not hasattr(poller, "modify"):
        return False
    if type(poller).__module__ != "select" or type(poller).__name__ != "epoll":
        return False
    reactor._poller = _Poller(poller, most)
    return True


def boundAccepts(port: Any, most: int = ACCEPTS) -> None:
    """
    Have a port accept no more than so many connections in one turn.  Twisted's
    begin with a hundred, and take twenty more each time that these were not
    all.

    @param port: a listening port; any but Twisted's own stay as they are.
    """
    if not hasattr(port, "numberAccepts"):
        return
    read = port.doRead

    def doRead() -> None:
        port.numberAccepts = min(port.numberAccepts, most)
        read()

    port.doRead = doRead


def keepWhatIsLoaded(collector: Any = gc) -> None:
    """
    Have the garbage collector not look again and again at what is there by
    now, and stays: modules, and the configuration.  To look at it all takes
    tens of milliseconds, in which nobody is served.

    This is for whoever owns the process.
    """
    collector.collect()
    collector.freeze()
