# -*- test-case-name: llmux.test.test_observe_rendering -*-
"""
Metrics as text, without holding up anybody.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from llmux.observe.metrics import Metrics

__all__ = ["MANY", "Rendering"]

#: From so many models on, metrics are rendered in a thread.
MANY = 50


class Rendering:
    """
    Renders metrics: those of many models, which takes hundreds of
    milliseconds, in a thread, if the reactor has threads.  Those who ask
    meanwhile get the same.
    """

    def __init__(self, metrics: Metrics, reactor: Any) -> None:
        self._metrics = metrics
        self._reactor = reactor
        self._asked: list[Deferred[tuple[bytes, bytes]]] = []

    def render(self, models: int) -> Any:
        """
        @param models: how many models there are.

        @return: the text and its content type, or a Deferred of them.
        """
        if models < MANY or not hasattr(self._reactor, "callInThread"):
            return _typed(self._metrics.render())
        asked: Deferred[tuple[bytes, bytes]] = Deferred()
        self._asked.append(asked)
        if len(self._asked) == 1:
            self._metrics.refresh()
            pool = self._reactor.getThreadPool()
            made = deferToThreadPool(self._reactor, pool, self._metrics.encoded)
            made.addCallback(_typed).addBoth(self._made)
        return asked

    def _made(self, result: Any) -> None:
        asked, self._asked = self._asked, []
        for one in asked:
            one.callback(result)


def _typed(rendered: tuple[bytes, str]) -> tuple[bytes, bytes]:
    body, kind = rendered
    return body, kind.encode("ascii")
