# -*- test-case-name: llmux.test.test_web_write -*-
"""
Writing to connections at once, and what else there is to know of them.

What is written to Twisted's transports is sent in the next turn of the
reactor, which costs three more system calls.  Nearly always it could have been
sent at once.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IPullProducer
from twisted.internet.tcp import Connection
from zope.interface import implementer

__all__ = ()


def isWaiting(transport: Any) -> bool:
    """
    Whether a transport is known to hold something back that was written to it.
    """
    # There is no public way to ask, other than to become its producer.
    return isinstance(transport, FileDescriptor) and bool(
        transport.dataBuffer or transport._tempDataBuffer
    )


def write(transport: Any, data: bytes) -> None:
    """
    Write, at once as far as that is possible.
    """
    if (
        isinstance(transport, Connection)
        and transport.connected
        and not transport.disconnecting
        and not transport.dataBuffer
        and not transport._tempDataBuffer
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:
            # There is no room, or it will fail again, for the transport.
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


def hasUnread(transport: Any) -> bool:
    """
    Whether a connection has something to read, or is closed by its other end.
    """
    while transport is not None and not isinstance(transport, FileDescriptor):
        # TLS has another below it.
        transport = getattr(transport, "transport", None)
    if transport is None or not transport.connected:
        return False
    looking = select.poll()
    looking.register(transport.fileno(), select.POLLIN)
    return bool(looking.poll(0))


@implementer(IPullProducer)
class Drained:
    """
    A producer of nothing, that is asked for more when a transport has taken
    all it was given.
    """

    _isAsked = False

    def __init__(self, drained: Callable[[], None]) -> None:
        self._drained = drained

    def resumeProducing(self) -> None:
        """
        See L{IPullProducer.resumeProducing}.  The first time it is called by
        C{registerProducer}, whatever there is still to be taken.
        """
        if self._isAsked:
            self._drained()
        self._isAsked = True

    def stopProducing(self) -> None:
        """
        See L{IPullProducer.stopProducing}: the channel is told as well.
        """
