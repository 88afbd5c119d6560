# -*- test-case-name: llmux.test.test_exchange -*-
"""
What all exchanges have in common.
"""

from __future__ import annotations

from typing import Any

from attrs import Factory, define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import Interface, implementer

from llmux.config import Config
from llmux.switching.switcher import Switcher
from llmux.web._access import Access
from llmux.web._backend import Backends

__all__ = ()


class IRequestMetrics(Interface):
    """
    Is told of every request that is over.
    """

    def requestFinished(model: str, status: int, duration: float) -> None:
        """
        Take note of a request.

        @param model: a configured model's name, or C{unknown}.
        @param status: the status that the client got, or 499 if it left before
            it got one.
        @param duration: the number of seconds from its arrival, with all of
            its body, until the client had taken the last byte or was gone.
        """


@implementer(IRequestMetrics)
class NoMetrics:
    """
    Takes no note.
    """

    def requestFinished(self, model: str, status: int, duration: float) -> None:
        """
        See L{IRequestMetrics.requestFinished}.
        """


@define(eq=False)
class Context:
    """
    What all exchanges have in common.

    @ivar metrics: provides L{IRequestMetrics}.
    @ivar access: lets requests in; by default those that the configuration
        does.
    """

    config: Config
    switcher: Switcher
    backends: Backends
    clock: IReactorTime
    metrics: Any = field(factory=NoMetrics)
    access: Access = field(
        default=Factory(lambda self: Access(self.config), takes_self=True)
    )
