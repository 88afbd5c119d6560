# -*- test-case-name: llmux.test.test_web_body -*-
"""
A request body on its way to a model's server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from llmux.web._pieces import CHUNK, Pieces, chunks, sizeOf

__all__ = ()


@implementer(IBodyProducer, IPushProducer)
@define(eq=False, init=False)
class StoredBody:
    """
    Sends a body that has been received whole, in chunks and only as fast as
    they are taken.  It can be sent more than once.

    It works in the turns in which its consumer asks for more, and needs no
    cooperator.

    @ivar length: the length of the body in bytes.
    """

    length: int
    _pieces: Pieces
    _file: IO[bytes]
    _consumer: IConsumer | None
    _rest: Iterator[bytes]
    _sent: Deferred[None]
    _paused: bool

    def __init__(self, pieces: Pieces, file: IO[bytes]) -> None:
        """
        @param pieces: the body.
        @param file: the body as it came, of which C{pieces} are slices.
        """
        self.length = sizeOf(pieces)
        self._pieces = pieces
        self._file = file
        self._consumer = None
        self._paused = False

    @property
    def small(self) -> bool:
        """
        Whether it is sent at once, so that nobody needs to pause it.
        """
        return self.length <= CHUNK

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """
        Send the body, from its beginning.

        @return: fires when the consumer has been given all of it; fails with
            what reading failed with.  Cancelling it stops the sending.
        """
        self._consumer = consumer
        self._paused = False
        self._rest = chunks(self._pieces, self._file)
        sent: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._sent = sent
        self._send()
        return sent

    def pauseProducing(self) -> None:
        """
        See L{IPushProducer.pauseProducing}.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        See L{IPushProducer.resumeProducing}.
        """
        self._paused = False
        self._send()

    def stopProducing(self) -> None:
        """
        Send no more.  The Deferred of L{startProducing} does not fire then.
        """
        self._consumer = None

    def _send(self) -> None:
        try:
            while self._consumer is not None and not self._paused:
                chunk = next(self._rest, None)
                if chunk is None:
                    self._consumer = None
                    self._sent.callback(None)
                else:
                    self._consumer.write(chunk)
        except (EOFError, OSError, ValueError):
            # The file could not be read, or was closed under our hands.
            self._consumer = None
            self._sent.errback()
