# -*- test-case-name: llmux.test.test_pace -*-
"""
A little in each turn of the reactor, so that timers and everybody else come to
their turn however much there is to do.

All of this but L{boundAccepts} is for whoever owns the process and its reactor:
it changes what everything that runs there has to itself.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python import log

__all__ = ["Collections", "boundAccepts", "boundEvents"]

#: How many events are dealt with in one turn, and after how many seconds no
#: further one is begun.  The dearest are requests that arrive, a fraction of a
#: millisecond each; a hook that has ended shall be noticed among them.
EVENTS = 64
SECONDS = 0.004

#: How many connections one port accepts in one turn.
ACCEPTS = 32


def boundEvents(
    reactor: Any,
    most: int = EVENTS,
    seconds: float = SECONDS,
    clock: Callable[[], float] = monotonic,
) -> bool:
    """
    Have a reactor deal with no more than so many events in one turn, and begin
    with none after so many seconds.

    Twisted's reactor on C{epoll} takes as many as there are, which with
    thousands of connections holds up timers for hundreds of milliseconds.
    Whoever is not dealt with in this turn comes before all who have been.

    It also makes a context for each event, so that what is said by
    L{twisted.python.log} says which connection it is about.  That takes 2
    microseconds, as much as all that a chunk of a stream takes here otherwise,
    and nothing here is logged that way; so it is left out.

    @return: whether it is a reactor with which this can be done.
    """
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        return False
    if type(reactor) is not EPollReactor:
        return False
    reactor.doIteration = _turns(reactor, most, seconds, clock)  # type: ignore[method-assign]
    return True


def _turns(
    reactor: Any, most: int, seconds: float, clock: Callable[[], float]
) -> Callable[[float | None], None]:
    # There is no public way to any of this.
    selectables, reads = reactor._selectables, reactor._reads
    deal, readable = reactor._doReadOrWrite, reactor._POLL_IN
    # Of the last poll, what there was no time for.  It comes before the next
    # poll, or else the same might be too late again and again.
    left: list[tuple[int, int, Any]] = []

    def polled(timeout: float | None) -> list[tuple[int, int]]:
        if left:
            # Meanwhile it may have been closed, or told to read no more.
            events = [
                (number, event)
                for number, event, selectable in left
                if selectables.get(number) is selectable
                and (number in reads or not event & readable)
            ]
            left.clear()
            return events
        try:
            found: list[tuple[int, int]] = reactor._poller.poll(
                -1 if timeout is None else timeout, most
            )
        except InterruptedError:
            return []
        return found

    def turn(timeout: float | None) -> None:
        events = polled(timeout)
        end = clock() + seconds
        for number, event in events:
            selectable = selectables.get(number)
            if selectable is not None:
                try:
                    deal(selectable, number, event)
                except Exception:
                    log.err()
                if clock() > end:
                    rest = events[events.index((number, event)) + 1 :]
                    left.extend(
                        (number, event, selectables[number])
                        for number, event in rest
                        if number in selectables
                    )
                    break

    return turn


def boundAccepts(
    port: Any, room: Callable[[], int] | None = None, most: int = ACCEPTS
) -> bool:
    """
    Have a port accept no more than so many connections in one turn.  Twisted's
    begin with a hundred, and take twenty more each time that these were not
    all.

    @param port: a listening port; any but Twisted's own stay as they are.
    @param room: says in each turn how many there is room for.
    @return: whether it is a port with which this can be done.
    """
    if not hasattr(port, "numberAccepts"):
        return False
    read = port.doRead

    def doRead() -> None:
        few = most if room is None else min(most, room())
        if few > 0:
            port.numberAccepts = min(port.numberAccepts, few)
            read()

    port.doRead = doRead
    return True


@define(eq=False)
class Collections:
    """
    Chooses when all objects are looked at for garbage, which takes a tenth of
    a second and more when thousands of connections are open, in which nobody
    is served.  Python itself does it when many objects have been made, which
    is just then.

    It is done when there is not much to look at, or when there has been much
    for long.  Young objects are looked at by Python, as ever.

    @cvar EVERY: seconds from one look at how much there is to the next.
    @cvar CHEAP: up to how many blocks of memory, beside those that were there
        at the start, it takes no more than some 20 milliseconds.
    @cvar LONG: after how many seconds it is done in any case, if there are
        half as many blocks again as after the last time.
    """

    EVERY = 30.0
    CHEAP = 150_000
    LONG = 600.0
    #: In Python's terms, so rarely that it never is.
    NEVER = 1_000_000

    _clock: IReactorTime
    _collector: Any = gc
    _blocks: Callable[[], int] = sys.getallocatedblocks
    _base: int = field(default=0, init=False)
    _left: int = field(default=0, init=False)
    _last: float = field(default=0.0, init=False)
    _threshold: tuple[int, ...] = field(default=(), init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    def start(self) -> None:
        """
        Begin, with all that is loaded by now kept out: modules and the
        configuration, which stay in any case.
        """
        self._collector.collect()
        self._collector.freeze()
        self._base, self._left = self._blocks(), 0
        self._last = self._clock.seconds()
        self._threshold = self._collector.get_threshold()
        self._collector.set_threshold(*self._threshold[:2], self.NEVER)
        self._call = self._clock.callLater(self.EVERY, self._look)

    def stop(self) -> None:
        """
        Leave it to Python again.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None
            self._collector.set_threshold(*self._threshold)

    def _look(self) -> None:
        self._call = self._clock.callLater(self.EVERY, self._look)
        more, now = self._blocks() - self._base, self._clock.seconds()
        isLong = now - self._last >= self.LONG and more > 1.5 * self._left
        if more <= self.CHEAP or isLong:
            self._collector.collect()
            self._left = max(self.CHEAP, self._blocks() - self._base)
            self._last = now
