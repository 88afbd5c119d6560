# -*- test-case-name: llmux.test.test_descriptors -*-
"""
Connecting, with patience.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from llmux.descriptors._files import isShortage
from llmux.descriptors._keeper import PATIENCE, Descriptors
from llmux.errors import Overloaded

__all__ = ()


@implementer(IStreamClientEndpoint)
class PatientEndpoint:
    """
    Connects, and waits if there is no descriptor for that.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        descriptors: Descriptors,
        clock: IReactorTime,
        patience: float = PATIENCE,
    ) -> None:
        """
        @param patience: for how many seconds.
        """
        self._endpoint = endpoint
        self._descriptors = descriptors
        self._clock = clock
        self._patience = patience

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See L{IStreamClientEndpoint.connect}.

        @return: fails with L{Overloaded}, too.
        """
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addErrback(self._failed, factory)

    def _failed(
        self, why: Failure, factory: IProtocolFactory, until: float | None = None
    ) -> Any:
        error: Any = why.value
        # To look up a name takes descriptors, and what fails does not say so.
        isLookup = why.check(DNSLookupError) and self._descriptors.isShort
        if not isLookup and not isShortage(error):
            return why
        now = self._clock.seconds()
        if until is None:
            until = now + self._patience
        if now >= until:
            return Failure(Overloaded())
        waited: Deferred[Any] = self._descriptors.wait(1, until - now)
        waited.addCallback(lambda _: self._endpoint.connect(factory))
        return waited.addErrback(self._failed, factory, until)
