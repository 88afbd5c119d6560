# -*- test-case-name: llmux.test.test_relay -*-
"""
The body of a response, on its way from a model's server to a client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from zope.interface import Interface, implementer

from llmux.observe.usage import KEPT
from llmux.web._deadline import Deadline
from llmux.web._headers import Pair

__all__ = ()


class IClient(Interface):
    """
    The connection to a client, as far as one request is concerned.  What a
    front end has to provide.

    None of its methods but C{attach} is called after the function given to
    C{attach} was called.
    """

    def attach(over: Callable[[], None]) -> None:
        """
        Have a function called, once, when the connection has taken the last
        byte of the response, or is lost.
        """

    def add(headers: list[Pair]) -> None:
        """
        Have the head of the response say something more.  Whatever it says of
        C{Access-Control} otherwise, it does not say then.
        """

    def head(
        status: int, phrase: bytes, headers: list[Pair], length: int | None
    ) -> None:
        """
        Send the head of the response, at once.

        @param phrase: the reason phrase; if empty, the usual one.
        @param headers: all of them but the framing.
        @param length: the length of the body in bytes, if it is known.  For
            C{HEAD} that of the body which C{GET} would have got.
        """

    def write(data: bytes) -> None:
        """
        Send a part of the body.
        """

    def finish() -> None:
        """
        Say that the body is whole.
        """

    def cut(last: bytes) -> None:
        """
        End the response so that the client sees that it is not whole.

        @param last: what the client is to get yet.
        """

    def abort() -> None:
        """
        Close the connection at once, whatever has not been taken.
        """

    def registerProducer(producer: IPushProducer) -> None:
        """
        Have a producer paused while the connection takes nothing more.
        """

    def unregisterProducer() -> None:
        """
        Let go of the producer.
        """


def withMore(headers: list[Pair], more: list[Pair]) -> list[Pair]:
    """
    The headers of a response, and those that a client has been told to
    L{IClient.add}.
    """
    if any(name.startswith(b"Access-Control-") for name, _ in more):
        headers = [
            pair
            for pair in headers
            if not pair[0].lower().startswith(b"access-control-")
        ]
    return headers + more


@implementer(IPushProducer)
class Relay(Protocol):
    """
    A model server's protocol and, at the same time, a client's producer.

    Each chunk is passed on in the turn in which it comes.  While the client
    takes nothing more, nothing more is read from the server.

    @ivar size: how many bytes were passed on.
    @ivar first: how the body began.
    @ivar last: how each of the last few parts ended.
    @ivar wasReset: says whether the connection to the server was lost other
        than by being closed.
    @ivar stalled: whether the client was given up.
    """

    wasReset: Callable[[], bool] = staticmethod(lambda: False)
    size = 0
    first = b""
    stalled = False
    _ended = False
    _open = True
    _paused = False
    _deadline: Deadline | None = None

    def __init__(
        self,
        client: Any,
        clock: IReactorTime,
        stall: float | None,
        idle: float | None,
        whole: Callable[[], None],
        broken: Callable[[str], None],
        gone: Callable[[], None],
    ) -> None:
        """
        @param client: provides L{IClient}; its head has been sent.
        @param stall: after how many seconds a client is given up that takes
            nothing.
        @param idle: after how many seconds a server is given up that sends
            nothing although it could.
        @param whole: called when the server has sent all of the body.
        @param broken: called, with the reason, if it will not.
        @param gone: called if the client does not take it.
        """
        self._client = client
        self._clock = clock
        self._stall = stall
        self._idle = idle
        self._whole = whole
        self._broken = broken
        self._gone = gone
        # Two for what comes behind the last words, two as parts may be cut.
        self.last: deque[bytes] = deque(maxlen=4)

    def connectionMade(self) -> None:
        """
        The head is here, the body comes.
        """
        self._client.registerProducer(self)
        if self._idle is not None:
            self._expire(self._idle)

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on a chunk.
        """
        if self._open:
            if not self.size:
                self.first = data[:KEPT]
            self.size += len(data)
            self.last.append(data if len(data) <= KEPT else data[-KEPT:])
            self._write(data)
            if self._idle is not None and not self._paused:
                self._expire(self._idle)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The body has ended, one way or the other.
        """
        if not self._open:
            return
        # A body whose only end is that of its connection.
        isUnframed = reason.check(PotentialDataLoss)
        if (isUnframed and self.wasReset()) or not (
            isUnframed or reason.check(ResponseDone)
        ):
            self._broken("broke off before its answer was complete")
            return
        self._ended = True
        self._whole()
        if not self._paused:
            self._finish()

    def close(self) -> None:
        """
        Pass on nothing more.
        """
        if self._open:
            self._open = False
            self._client.unregisterProducer()
            if self._deadline is not None:
                self._deadline.close()

    # IPushProducer: what the connection to the client asks for.

    def pauseProducing(self) -> None:
        """
        Read nothing more from the server, and give up the client if it goes
        on like this.
        """
        self._paused = True
        self._upstream.pauseProducing()
        self._expire(self._stall)

    def resumeProducing(self) -> None:
        """
        The client has taken all that was sent so far.
        """
        self._paused = False
        self._expire(self._idle)
        if self._ended:
            self._finish()
        else:
            self._upstream.resumeProducing()

    def stopProducing(self) -> None:
        """
        The connection to the client is lost.
        """
        if self._open:
            self._gone()

    @property
    def nextLine(self) -> bytes:
        """
        What must come before a new event, if the body is a stream of them: it
        may have ended in the middle of a line.
        """
        isEnd = not self.last or self.last[-1].endswith((b"\n\n", b"\r\n\r\n"))
        return b"" if isEnd else b"\n\n"

    @property
    def isOpen(self) -> bool:
        """
        Whether there is more to pass on.
        """
        return self._open

    @property
    def _upstream(self) -> Any:
        # Pauses and resumes; it has no abortConnection.
        return self.transport

    def _write(self, data: bytes) -> None:
        self._client.write(data)

    def _finish(self) -> None:
        self.close()
        self._client.finish()

    def _expire(self, seconds: float | None) -> None:
        if self._deadline is None:
            self._deadline = Deadline(self._clock, self._expired)
        self._deadline.set(seconds)

    def _expired(self) -> None:
        if self._paused:
            self.stalled = True
            self._client.abort()
            self._gone()
        else:
            self._broken("fell silent in the middle of its answer")


class Collecting(Relay):
    """
    Takes a body that is not passed on.
    """

    #: How many bytes are taken at most.
    MOST = 64 * 1024

    def __init__(self, *arguments: Any, collected: Callable[[bytes], None]) -> None:
        """
        @param arguments: see L{Relay}.
        @param collected: called with the whole body, or with nothing if it is
            too long or breaks off.
        """
        super().__init__(*arguments)
        self._collected = collected
        self._parts: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        """
        Take a chunk.
        """
        self._parts.append(data)
        self._size += len(data)
        if self._open and self._size > self.MOST:
            self._collected(b"")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The body has ended, one way or the other.
        """
        if self._open:
            isWhole = reason.check(ResponseDone, PotentialDataLoss) is not None
            self._collected(b"".join(self._parts) if isWhole else b"")
