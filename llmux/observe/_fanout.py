# -*- test-case-name: llmux.test.test_observe_fanout -*-
"""
Many observers as one.
"""

from __future__ import annotations

from attrs import define, field
from twisted.logger import Logger
from zope.interface import implementer

from llmux.interfaces import Event, IObserver

__all__ = ["FanOut"]


@implementer(IObserver)
@define(eq=False)
class FanOut:
    """
    Tells each of its observers of each event, in the order in which they were
    added.  One that raises, which it must not, is logged and harms no other.

    @ivar log: where that is told.
    """

    _observers: tuple[IObserver, ...] = ()
    log: Logger = field(factory=Logger, repr=False)

    def add(self, observer: IObserver) -> None:
        """
        Tell an observer too, from the next event on.
        """
        self._observers = (*self._observers, observer)

    def remove(self, observer: IObserver) -> None:
        """
        Tell an observer no longer.  It need not be one that was added.
        """
        self._observers = tuple(
            other for other in self._observers if other is not observer
        )

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        for observer in self._observers:
            try:
                observer.notify(event)
            except Exception:
                self.log.failure(
                    "{observer} failed to take note of {about}",
                    event="observer_failed",
                    observer=observer,
                    about=type(event).__name__,
                )
