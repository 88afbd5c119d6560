# -*- test-case-name: llmux.test.test_web_heartbeat -*-
"""
What keeps a client, and every proxy on the way to it, from taking a long wait
for a model for the end of the connection.

A client that wants a stream of events gets its head while it waits, and then
comments, which readers of such streams pass over, or text to think by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.observe.account import Account
from llmux.switching.outlook import Outlook, outlook
from llmux.web._context import Context
from llmux.web._headers import Pair
from llmux.web._looks import Streaming
from llmux.web._pieces import sizeOf
from llmux.web._plan import MEBIBYTE, Asked, Plan

__all__ = ()

#: Paths at which servers stream something else than events, if asked for a
#: stream: lines of JSON (Ollama) or sound.
_OTHERS = (
    b"/api/chat",
    b"/api/create",
    b"/api/generate",
    b"/api/pull",
    b"/api/push",
    b"/v1/audio/speech",
)

_HEAD = (
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Cache-Control", b"no-store"),
    # nginx would otherwise hold back what comes.
    (b"X-Accel-Buffering", b"no"),
)

#: The path of chats with a server of OpenAI's kind, the last of it.
_CHAT = b"/chat/completions"

#: The largest body that is looked into for whether it asks for a stream.
_LARGEST = 64 * MEBIBYTE


class Heartbeat:
    """
    Tells a client that it is not forgotten.

    @ivar isBegun: whether the client has got a head.
    @ivar beats: how often it was told.
    """

    log = Logger()

    isBegun = False
    beats = 0
    _timer: IDelayedCall | None = None
    # Looks into a large body.
    _looking: Deferred[bool] | None = None

    def __init__(
        self,
        context: Context,
        client: Any,
        asked: Asked,
        plan: Plan,
        begin: Callable[[], None],
    ) -> None:
        """
        @param client: provides L{llmux.web._relay.IClient}.
        @param begin: called before the first beat, which sends the head.
        """
        self._context = context
        self._client = client
        self._asked = asked
        self._plan = plan
        self._place = context.switcher.queued(plan.model.name)
        self._isTold = False
        self._begin = begin
        self._arrived = context.clock.seconds()
        self._isText = (
            context.config.loading_text == "reasoning"
            and plan.target.partition(b"?")[0].endswith(_CHAT)
        )

    def start(self) -> None:
        """
        Beat from now on, unless that is what it does already.
        """
        every = self._context.config.loading_heartbeat_secs
        if self._timer is None and every:
            self._timer = self._context.clock.callLater(every, self._beat)

    def stop(self) -> None:
        """
        Beat no more.
        """
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()

    def settle(self, account: Account) -> None:
        """
        Say, when all is over, what there was of it.
        """
        account.heartbeats = self.beats
        if self.beats and account.begun is None and not account.aborted:
            # An answer was begun, and never came.
            account.aborted = "left"

    def granted(self) -> None:
        """
        Take note that the model's server is about to be asked: if the client
        has got no head, the answer is the server's from there on.
        """
        if not self.isBegun:
            self.stop()
            self.tell()

    def tell(self) -> None:
        """
        Have the response say for how long its request has waited.
        """
        if self._isTold:
            return
        self._isTold = True
        waited = self._context.clock.seconds() - self._arrived
        self._client.add(
            [
                (b"X-LLMux-Queue-Position", b"%d" % self._place),
                (b"X-LLMux-Queue-Wait", b"%.3f" % waited),
            ]
        )

    def _beat(self) -> None:
        self._timer = None
        if self.isBegun:
            self._tellMore()
            return
        look = lookForEvents(self._asked, self._plan)
        if look is not None:
            looking = self._context.scanner.look(look, self._asked.body)
            self._looking = looking
            looking.addCallback(self._found).addErrback(self._notFound)

    def _found(self, wantsEvents: bool) -> None:
        self._looking = None
        if wantsEvents:
            self.isBegun = True
            self._begin()
            self.tell()
            headers = [*_HEAD, (b"X-Request-Id", self._asked.requestId)]
            self._client.head(200, b"", headers, None)
            self._tellMore()

    def _notFound(self, why: Failure) -> None:
        self._looking = None
        if not why.check(CancelledError):
            self.log.failure("while looking whether a stream is wanted", why)

    def _tellMore(self) -> None:
        self._client.write(self._said())
        self.beats += 1
        self.start()

    def _said(self) -> bytes:
        snapshot = self._context.switcher.snapshot()
        name = self._plan.model.name
        ahead = max(0, min(self._place, len(snapshot.models[name].queue)) - 1)
        waited = self._context.clock.seconds() - self._arrived
        words = _words(outlook(snapshot, name, ahead), name, waited)
        return self._thought(words) if self._isText else f": llmux {words}\n\n".encode()

    def _thought(self, words: str) -> bytes:
        delta = {"role": "assistant", "reasoning_content": f"{words}\n"}
        chunk = {
            "id": f"chatcmpl-{self._asked.requestId.decode('ascii')}",
            "object": "chat.completion.chunk",
            "created": int(self._context.clock.seconds()),
            "model": self._plan.model.name,
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        }
        return b"data: " + json.dumps(chunk).encode("ascii") + b"\n\n"


def _words(what: Outlook, name: str, waited: float) -> str:
    said = f"{what.doing} {name}, {waited:.0f} s"
    if what.seconds is None or what.seconds < 1:
        return said
    return f"{said}, about {ceil(what.seconds)} s left"


def lookForEvents(asked: Asked, plan: Plan) -> Streaming | None:
    """
    How to find out whether a request, as it is going to be sent, asks for a
    stream of events.

    @return: L{None} if it does not.
    """
    path = plan.target.partition(b"?")[0]
    if (
        asked.method != b"POST"
        or path in _OTHERS
        or not plan.pieces
        or sizeOf(plan.pieces) > _LARGEST
    ):
        return None
    kind, encoding = asked.header(b"content-type"), asked.header(b"content-encoding")
    return Streaming(kind, encoding, asked.length, plan.pieces)


def unencoded(headers: Sequence[Pair]) -> list[Pair]:
    """
    The headers of a request to whose answer it is too late to give any: it must
    not be compressed.
    """
    return [pair for pair in headers if pair[0].lower() != b"accept-encoding"]
