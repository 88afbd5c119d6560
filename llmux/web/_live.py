# -*- test-case-name: llmux.test.test_web_live -*-
"""
Responses that go on until the client leaves: server-sent events.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Any

from attrs import asdict, define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from llmux.interfaces import (
    Event,
    HookFinished,
    IObserver,
    StateChanged,
    SwitchEnded,
    SwitchStarted,
)

__all__ = ()

#: Seconds between the comments that keep proxies from taking a stream in
#: which nothing happens for a dead one.
HEARTBEAT = 15.0

#: Bytes that may wait for a reader before it is dropped.  It can come back,
#: and is told then how things are.
WAITING = 256 * 1024

#: Seconds that pass at least between two looks at everything.
PAUSE = 0.4

#: What events are called outside.
NAMES: dict[type, str] = {
    StateChanged: "state_changed",
    SwitchStarted: "switch_started",
    SwitchEnded: "switch_ended",
    HookFinished: "hook_finished",
}


def frame(data: object, event: str = "") -> bytes:
    """
    Make one server-sent event.

    @param data: a line of text, or something else for JSON.
    """
    text = data if isinstance(data, str) else json.dumps(data)
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {text}\n\n".encode()


@implementer(IPushProducer)
class Live:
    """
    One reader.

    It is held for as long as it takes what there is.  One that does not is
    dropped when too much waits for it, or when it has taken nothing from one
    heartbeat to the next.
    """

    log = Logger()

    _open = True
    _paused = False
    _late = False
    _timer: IDelayedCall | None = None

    def __init__(
        self,
        client: Any,
        clock: IReactorTime,
        ended: Callable[[Live], None],
    ) -> None:
        """
        @param client: provides L{llmux.web._relay.IClient}.
        @param ended: called once, with this, when it is over.
        """
        self._client = client
        self._clock = clock
        self._ended = ended
        self._waiting: list[bytes] = []
        self._size = 0

    def start(self, requestId: bytes, first: bytes) -> None:
        """
        Begin the response.

        @param first: its first bytes, which may be more than may wait later.
        """
        self._client.attach(self._close)
        headers = [
            (b"Content-Type", b"text/event-stream; charset=utf-8"),
            (b"Cache-Control", b"no-store"),
            # nginx would otherwise hold events back until its buffer is full.
            (b"X-Accel-Buffering", b"no"),
            (b"X-Request-Id", requestId),
        ]
        self._client.head(200, b"", headers, None)
        self._client.registerProducer(self)
        self._client.write(first or b": llmux\n\n")
        self._timer = self._clock.callLater(HEARTBEAT, self._beat)

    def send(self, data: bytes) -> None:
        """
        Send an event, now or when the reader has taken those before.
        """
        if not self._open:
            return
        if not self._paused:
            self._client.write(data)
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._size > WAITING:
            self._drop()

    def finish(self) -> None:
        """
        End the response, because there will be no more.
        """
        if self._open:
            self._close()
            self._client.unregisterProducer()
            self._client.finish()

    def pauseProducing(self) -> None:
        """
        See L{IPushProducer.pauseProducing}.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        See L{IPushProducer.resumeProducing}.
        """
        self._paused = self._late = False
        waiting, self._waiting = self._waiting, []
        self._size = 0
        if waiting and self._open:
            self._client.write(b"".join(waiting))

    def stopProducing(self) -> None:
        """
        See L{IPushProducer.stopProducing}; the client says that it is gone in
        another way.
        """

    def _beat(self) -> None:
        if self._late:
            self._timer = None
            self._drop()
            return
        self._late = self._paused
        self._timer = self._clock.callLater(HEARTBEAT, self._beat)
        if not self._paused:
            self._client.write(b": llmux\n\n")

    def _drop(self) -> None:
        self.log.info(
            "Dropped a reader of events that took too little", event="reader_dropped"
        )
        self._close()
        self._client.abort()

    def _close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._waiting.clear()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._ended(self)


@implementer(IObserver)
@define(eq=False)
class Feed:
    """
    Tells readers of state changes, hooks and switches.

    @ivar readers: those who are told of each.
    @ivar watchers: those of them who are also told how everything is,
        whenever anything has changed, but not more often than they could
        look.
    """

    _clock: IReactorTime
    _document: Callable[[], object]
    readers: set[Live] = field(factory=set, init=False)
    watchers: set[Live] = field(factory=set, init=False)
    _due: IDelayedCall | None = field(default=None, init=False)

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        name = NAMES.get(type(event))
        if name is not None and self.readers:
            data = frame(asdict(event, value_serializer=_plain), name)
            for reader in tuple(self.readers):
                reader.send(data)
        self.changed()

    def changed(self) -> None:
        """
        Have watchers told how everything is, soon.
        """
        if self.watchers and self._due is None:
            self._due = self._clock.callLater(PAUSE, self._show)

    def leave(self, reader: Live) -> None:
        """
        Tell somebody no more.
        """
        self.readers.discard(reader)
        self.watchers.discard(reader)
        if not self.watchers and self._due is not None:
            due, self._due = self._due, None
            due.cancel()

    def _show(self) -> None:
        self._due = None
        data = frame(self._document(), "status")
        for watcher in tuple(self.watchers):
            watcher.send(data)


def _plain(instance: object, attribute: object, value: object) -> object:
    return value.value if isinstance(value, Enum) else value
