# -*- test-case-name: llmux.test.test_observe_account -*-
"""
What there is to say of one request when it is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from twisted.logger import Logger
from zope.interface import Interface, implementer

from llmux.observe.usage import Usage, usageIn

__all__ = ["ABORTED", "LEFT", "UNKNOWN", "Account", "Accounts", "IAccountant"]

#: The model of requests that no configured model was for: a label must not be
#: a string that a client chose.
UNKNOWN = "unknown"

#: The status of a request whose client left before there was one.
LEFT = 499


#: Why an answer that had begun is not whole.
ABORTED = ("left", "stalled", "backend_error", "cut")


class Request(Protocol):
    """
    What an account knows of how a request came.
    """

    @property
    def method(self) -> bytes:
        """
        The method.
        """

    @property
    def target(self) -> bytes:
        """
        The path and the query.
        """

    @property
    def peer(self) -> bytes:
        """
        The client's IP address, or the empty string.
        """

    @property
    def requestId(self) -> bytes:
        """
        The request's id, which its response has, too.
        """


class Account:
    """
    One request.  Times are those of the clock by which it was served.

    There is one for each request, so what most requests do not have stands in
    the class.

    @ivar request: how it came.
    @ivar key: the name of the key that it came with, if there are keys.
    @ivar model: a configured model, or L{UNKNOWN}.
    @ivar status: what the client got, or L{LEFT}.
    @ivar arrived: when it was here, with all of its body.
    @ivar granted: when it was let to its model, if it was.
    @ivar begun: when its model's server began to answer, if it did.
    @ivar ended: when the client had taken the last byte, or was gone.
    @ivar size: the bytes of the body of the answer, as far as it came.
    @ivar isStream: whether the answer was a stream of events.
    @ivar aborted: why the answer is not whole, if it is not: the client has
        C{left} or C{stalled}, a C{backend_error}, or C{cut} by llmux.
    @ivar principal: who asked, if they were let in.
    @ivar maxTokens: how many tokens the answer was to have at most, if the
        request said so.
    @ivar retries: how often it was sent again because there was no server.
    @ivar heartbeats: how often its client was told that it is not forgotten.
    @ivar span: its place in a trace, if there are traces.
    @ivar first: how the answer began.
    @ivar last: how it ended: the last few parts.
    """

    key = ""
    model = UNKNOWN
    status = LEFT
    granted: float | None = None
    begun: float | None = None
    ended = 0.0
    size = 0
    isStream = False
    aborted = ""
    retries = 0
    heartbeats = 0
    span: object = None
    principal: object = None
    maxTokens: int | None = None
    first = b""
    last: Iterable[bytes] = ()
    _usage: Usage | None = None

    def __init__(self, request: Request, arrived: float) -> None:
        self.request = request
        self.arrived = arrived

    @property
    def duration(self) -> float:
        """
        Seconds from its arrival to its end.
        """
        return self.ended - self.arrived

    @property
    def usage(self) -> Usage:
        """
        The tokens that the model's server says it took.
        """
        if self._usage is None:
            self._usage = usageIn(self.first, self.last)
        return self._usage


class IAccountant(Interface):
    """
    Is told of every request that is over.
    """

    def requestFinished(account: Account) -> None:
        """
        Take note of a request.  Must return soon and must not raise.
        """


@implementer(IAccountant)
class Accounts:
    """
    Tells any number of others.  One that raises, which it must not, is logged
    and harms nobody.
    """

    log = Logger()

    def __init__(self, *others: Any) -> None:
        """
        @param others: provide L{IAccountant}.
        """
        self._others = others

    def requestFinished(self, account: Account) -> None:
        """
        See L{IAccountant.requestFinished}.
        """
        for other in self._others:
            try:
                other.requestFinished(account)
            except Exception:
                self.log.failure(
                    "{accountant} failed to take note of a request",
                    event="accountant_failed",
                    accountant=other,
                )
