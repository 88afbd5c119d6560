# -*- test-case-name: llmux.test.test_demo -*-
"""
Sends one answer at the pace, and with the faults, that were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.http import Request
from zope.interface import implementer

from llmux.demo._answers import Answer, encode
from llmux.demo._behaviour import Behaviour
from llmux.demo._journal import Entry, Journal

#: Events sent in one turn of the reactor if there is no pace to keep.
BURST = 64

NONSENSE = b"\x00\xffthis is not HTTP, nor JSON, nor an event\r\n"


@implementer(IPushProducer)
@define(eq=False)
class Sending:
    """
    One answer on its way.

    @ivar error: makes an error in the dialect of the request from a status
        and a message.
    @ivar crash: ends the whole process.
    @ivar ended: called once, when nothing more will be sent.
    """

    request: Request
    behaviour: Behaviour
    entry: Entry
    journal: Journal
    clock: IReactorTime
    error: Callable[[int, str], Mapping[str, Any]]
    crash: Callable[[], None]
    ended: Callable[[Sending], None]
    _answer: Answer = field(factory=Answer, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _begun: float = field(default=0.0, init=False)
    _paused: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)

    def start(self, answer: Answer) -> None:
        """
        Send an answer.
        """
        self._answer = answer
        self.request.notifyFinish().addCallbacks(
            lambda _: self._close("done"), lambda _: self._close("left")
        )
        behaviour = self.behaviour
        if behaviour.hang:
            return
        wait = behaviour.delay
        if answer.events is None and behaviour.tokensPerSecond:
            wait += answer.tokens / behaviour.tokensPerSecond
        # A call even for no delay: the answer to a pipelined request must
        # not begin while the request is still being handed in.
        self._later(wait, self._begin)

    def refuse(self, status: int, message: str) -> None:
        """
        Answer with an error.
        """
        retryAfter = self.behaviour.retryAfter
        if retryAfter is not None:
            self.request.setHeader(b"Retry-After", b"%d" % retryAfter)
        self._status(status, b"application/json")
        body = encode(self.error(status, message))
        self.request.setHeader(b"Content-Length", b"%d" % len(body))
        self.request.write(body)
        self.request.finish()

    def cut(self, end: str) -> None:
        """
        Break the connection off, after what has been written.

        @param end: the word for the journal.
        """
        self._close(end)
        self.request.loseConnection()

    def _begin(self) -> None:
        behaviour = self.behaviour
        if behaviour.drop:
            self.cut("cut")
        elif behaviour.garbage == "head":
            cast(Any, self.request.channel).transport.write(NONSENSE)
            self.cut("cut")
        elif behaviour.refuse:
            self.refuse(503, "this demo server was told to refuse requests")
        elif behaviour.status != 200:
            self.refuse(behaviour.status, "this demo server was told to answer so")
        elif self._answer.events is None:
            self._sendBody()
        else:
            self._status(200, b"text/event-stream; charset=utf-8")
            self.request.setHeader(b"Cache-Control", b"no-cache")
            # The head goes out by itself, as it does from a real server that
            # has not thought of its first word yet.
            self.request.write(b"")
            self.request.registerProducer(self, True)
            self._begun = self.clock.seconds()
            self._pace()

    def _status(self, status: int, contentType: bytes) -> None:
        self.entry.status = status
        self.request.setResponseCode(status)
        self.request.setHeader(b"Content-Type", contentType)

    def _sendBody(self) -> None:
        body = self._answer.body
        if self.behaviour.garbage == "body":
            body = NONSENSE
        self._status(200, b"application/json")
        self.request.setHeader(b"Content-Length", b"%d" % len(body))
        if self.behaviour.cutAfter is not None:
            self.request.write(body[: len(body) // 2])
            self.cut("cut")
        else:
            self.request.write(body)
            self.request.finish()

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._call = self.clock.callLater(seconds, what)

    def _pace(self) -> None:
        """
        Wait for the time of the next event.
        """
        rate = self.behaviour.tokensPerSecond
        if not rate:
            self._later(0, self._burst)
            return
        # Counted from the beginning, so that late calls do not add up.
        due = self._begun + (self.entry.chunks + 1) / rate
        self._later(max(0.0, due - self.clock.seconds()), self._next)

    def _burst(self) -> None:
        self._call = None
        for _ in range(BURST):
            if self._over or self._paused or not self._step():
                return
        self._pace()

    def _next(self) -> None:
        self._call = None
        if self._step() and not self._paused:
            self._pace()

    def _step(self) -> bool:
        """
        Send one event.

        @return: whether to go on.
        """
        behaviour = self.behaviour
        sent = self.entry.chunks
        if behaviour.stallAfter == sent:
            return False
        if behaviour.crashAfter == sent:
            self.crash()
            return False
        if behaviour.cutAfter == sent:
            self.cut("cut")
            return False
        if behaviour.errorAfter == sent:
            wrong = encode(self.error(500, "this demo server was told to fail"))
            self.request.write(b"data: " + wrong + b"\n\n")
            return self._finish()
        assert self._answer.events is not None
        data = next(self._answer.events, None)
        if data is None or behaviour.endAfter == sent:
            return self._finish()
        if behaviour.garbage == "body":
            data = NONSENSE
        self.entry.chunks += 1
        self.request.write(data)
        return not self._over

    def _finish(self) -> bool:
        self.request.unregisterProducer()
        self.request.finish()
        return False

    def _close(self, end: str) -> None:
        self._over = True
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        if self.entry.end == "open":
            self.journal.close(self.entry, end)
            self.ended(self)

    # IPushProducer

    def pauseProducing(self) -> None:
        """
        The client does not keep up.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        The client reads again.
        """
        self._paused = False
        if self._call is None and not self._over:
            self._pace()

    def stopProducing(self) -> None:
        """
        The client is gone, which C{notifyFinish} says too.
        """
