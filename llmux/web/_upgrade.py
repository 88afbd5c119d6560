# -*- test-case-name: llmux.test.test_wire -*-
"""
Requests that become tunnels: WebSockets.

Until the model's server has agreed, such a request is one like all others.
From then on it is two connections whose bytes nobody looks at; its model is
held, unless that says otherwise, until both are closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmux.interfaces import State
from llmux.web._errors import Asleep
from llmux.web._headers import Pair, forClient
from llmux.web._plan import Asked, Plan
from llmux.web._tunnel import End, join
from llmux.web.exchange import Exchange

__all__ = ()

#: What both sides are told beside end-to-end headers.
_UPGRADE: list[Pair] = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]

#: In which states of its model a WebSocket that does not hold it may be begun.
_THERE = (State.UNKNOWN, State.WAKING, State.AWAKE, State.CHECKING)


def wantsTunnel(asked: Asked) -> bool:
    """
    Whether a request is for a WebSocket.
    """
    return (
        asked.version == b"1.1"
        and asked.method == b"GET"
        and not asked.length
        and b"websocket" in _words(asked, b"upgrade")
        and b"upgrade" in _words(asked, b"connection")
    )


def _words(asked: Asked, name: bytes) -> set[bytes]:
    return {
        word.strip(b" \t").lower()
        for given, value in asked.headers
        if given.lower() == name
        for word in value.split(b",")
    }


class TunnelExchange(Exchange):
    """
    One request that may become a tunnel.
    """

    _tunnel: End | None = None
    # What it takes to have nothing happen when the model is put to sleep.
    _forget: Callable[[], None] | None = None

    def _mayWait(self, plan: Plan) -> None:
        if plan.model.ignore_websockets:
            # Its client may well try again for ever, by itself, and would wake
            # the model as often as it is put to sleep.
            model = plan.model.name
            view = self._context.switcher.snapshot().models.get(model)
            if view is None or view.state not in _THERE:
                raise Asleep(model)

    def _request(self, plan: Plan, backend: Any) -> Any:
        headers = [*self._headersFor(backend), *_UPGRADE]
        return backend.request(
            self._asked.method, plan.target, headers, None, self._switched
        )

    def _switched(self, guard: Any, given: list[Pair], rest: bytes) -> None:
        """
        The model's server has agreed.

        @param guard: the connection to it.
        @param given: the headers of its answer.
        @param rest: what it has sent behind that.
        """
        token, plan = self._token, self._plan
        if token is None or plan is None or self._closed:
            guard.abortConnection()
            return
        self._stopTimer()
        self._sending = None
        token.answered()
        self._hasBegun = True
        self._account.status = 101
        self._account.begun = self._context.clock.seconds()
        if plan.model.ignore_websockets:
            self._token = None
            token.release()
        clock, stall = self._context.clock, self._context.config.limits.stall_secs
        client = self._tunnel = End(clock, stall, self._ended)
        server = End(clock, None, self._ended)
        server.transport, guard.wrappedProtocol = guard.transport, server
        headers = forClient(given, requestId=self._asked.requestId)
        early = self._client.switch([*headers, *_UPGRADE], client)
        join(client, server)
        if self._token is None:
            model = plan.model.name
            self._forget = self._context.backends.whenAsleep(model, client.abort)
        if early:
            client.dataReceived(early)
        if rest:
            server.dataReceived(rest)

    def _refuse(self, error: Any) -> None:
        tunnel = self._tunnel
        if tunnel is None:
            super()._refuse(error)
            return
        assert self._plan is not None
        # Nothing can be said in the middle of something unknown.
        self.log.info(
            "Request {request_id}: cut a WebSocket to {model}: {problem}",
            event="websocket_cut",
            request_id=self._asked.requestId.decode("ascii"),
            model=self._plan.model.name,
            problem=str(error),
        )
        tunnel.abort()

    def _over(self) -> None:
        # A tunnel is over when both of its connections are lost.
        if self._tunnel is None:
            super()._over()

    def _ended(self) -> None:
        if self._forget is not None:
            self._forget()
        self._close()
