# -*- test-case-name: llmux.test.test_web_tunnel -*-
"""
Two connections that are one: what comes out of each is written to the other,
and nobody looks at it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from llmux.web._deadline import Deadline

__all__ = ()

#: For how many seconds, after one connection is lost, the other may take what
#: was still on its way to it.
LINGER = 10.0


@implementer(IHalfCloseableProtocol, IPushProducer)
class End(Protocol):
    """
    One of the two connections.

    As a producer, what it reads is produced for the other.

    @ivar other: the other one.
    @ivar isLost: whether the connection is lost.
    """

    transport: Any
    other: End
    isLost = False
    _hasEnded = False
    _isReleased = False

    def __init__(
        self, clock: IReactorTime, stall: float | None, ended: Callable[[], None]
    ) -> None:
        """
        @param stall: after how many seconds a peer is given up that takes
            nothing.
        @param ended: called when both connections are lost.
        """
        self._stall = stall
        self._ended = ended
        self._deadline = Deadline(clock, self.abort)

    def abort(self) -> None:
        """
        Close both connections at once.
        """
        for end in (self, self.other):
            if not end.isLost:
                end.transport.abortConnection()

    # What the connection says.

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on what came.
        """
        if not self.other.isLost:
            self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        """
        The peer has nothing more to say, and may yet listen.
        """
        self._hasEnded = True
        other = self.other
        if other.isLost or other._hasEnded:
            self._finish()
        else:
            other._release()
            if _isPlain(other.transport):
                other.transport.loseWriteConnection()
            else:
                self._finish()

    def writeConnectionLost(self) -> None:
        """
        The peer has been told that there will be nothing more.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is lost.
        """
        self.isLost = True
        self._deadline.close()
        if self.other.isLost:
            self._ended()
        elif reason.check(ConnectionDone):
            self.other._finish()
        else:
            self.other.transport.abortConnection()

    def _finish(self) -> None:
        # Lets the peer take what is on its way to it.
        for end in (self, self.other):
            if not end.isLost:
                end._deadline.set(LINGER)
                end._release()
                end.transport.loseConnection()

    def _release(self) -> None:
        # As long as a transport has a producer, it does not close.
        if not self._isReleased:
            self._isReleased = True
            self.transport.unregisterProducer()

    # What the other connection asks for.

    def pauseProducing(self) -> None:
        """
        The other connection takes nothing more for now.
        """
        self.other._deadline.set(self.other._stall)
        if not self.isLost:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        The other connection takes more.
        """
        if not self.isLost and not self._hasEnded:
            self.other._deadline.clear()
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        The other connection is lost, and says so in another way.
        """


def join(one: End, other: End) -> None:
    """
    Make one of two connections, of which each end has its transport.
    """
    one.other, other.other = other, one
    for end in (one, other):
        transport = end.transport
        connected = getattr(transport, "protocol", None)
        if connected is not None and _isPlain(transport):
            # The transport asks whatever it was connected to.
            connected.readConnectionLost = end.readConnectionLost
            connected.writeConnectionLost = end.writeConnectionLost
            alsoProvides(connected, IHalfCloseableProtocol)
        transport.registerProducer(end.other, True)


def _isPlain(transport: Any) -> bool:
    """
    Whether each direction of a connection can be closed by itself.  Under TLS
    they cannot, although what is under that says so.
    """
    return IHalfCloseableDescriptor.providedBy(transport) and not isinstance(
        transport, ProtocolWrapper
    )
