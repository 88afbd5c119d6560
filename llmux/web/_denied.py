# -*- test-case-name: llmux.test.test_web_access -*-
"""
Why somebody is not let in.
"""

from __future__ import annotations

from attrs import frozen

from llmux.errors import LLMuxError

__all__ = ()


@frozen
class ForeignOrigin(LLMuxError):
    """
    A page of another site has a browser ask for something to be done.
    """

    def __str__(self) -> str:
        return "the request comes from a page of another site"


@frozen
class UnknownHost(LLMuxError):
    """
    A request over a loopback address asks for a host that this is not.
    """

    def __str__(self) -> str:
        return "the request asks for another host"


@frozen
class InvalidKey(LLMuxError):
    """
    The key of a request is missing or wrong.

    @ivar forOperators: whether it asks for what operators may.
    """

    forOperators: bool = False

    def __str__(self) -> str:
        return "the API key is missing or wrong"


@frozen
class NotAllowed(LLMuxError):
    """
    The key of a request is none for what it asks for.
    """

    def __str__(self) -> str:
        return "the API key is not for this"


@frozen
class TooManyAtOnce(LLMuxError):
    """
    As many requests with a key are there as may.

    @ivar limit: how many that are.
    @ivar retryAfter: seconds after which a new attempt is worth while.
    """

    limit: int
    retryAfter: float = 1.0

    def __str__(self) -> str:
        return f"{self.limit} requests with this key are there already"


@frozen
class TooManyReaders(LLMuxError):
    """
    As many follow events and logs as may.
    """

    def __str__(self) -> str:
        return "as many follow as may"
