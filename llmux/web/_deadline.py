# -*- test-case-name: llmux.test.test_web_deadline -*-
"""
A point in time that is moved often and reached seldom.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ()


@define(eq=False)
class Deadline:
    """
    Calls a function when a deadline is reached.

    To move or clear it costs next to nothing: the delayed call behind it
    stays where it is, and looks when it is due whether it has come too early.
    For deadlines that are moved with every request or every chunk.
    """

    _clock: IReactorTime
    _reached: Callable[[], None]
    _due: float | None = field(default=None, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    @property
    def due(self) -> float | None:
        """
        When it is, if there is one.
        """
        return self._due

    def set(self, seconds: float | None) -> None:
        """
        Move the deadline.

        @param seconds: how far from now it is; L{None} for never.
        """
        if seconds is None:
            self._due = None
            return
        self._due = self._clock.seconds() + seconds
        if self._call is not None:
            if self._call.getTime() <= self._due:
                return
            self._call.cancel()
        self._call = self._clock.callLater(seconds, self._look)

    def clear(self) -> None:
        """
        Have no deadline for now.
        """
        self._due = None

    def close(self) -> None:
        """
        Have no deadline any more.
        """
        self._due = None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None
        if self._due is None:
            return
        remaining = self._due - self._clock.seconds()
        if remaining > 0:
            self._call = self._clock.callLater(remaining, self._look)
        else:
            self._due = None
            self._reached()
