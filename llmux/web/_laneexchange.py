# -*- test-case-name: llmux.test.test_web_laneexchange -*-
"""
An exchange with less between its two connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from llmux.config import Config
from llmux.errors import Overloaded
from llmux.observe.usage import KEPT
from llmux.switching.inflight import Token
from llmux.web._access import Access
from llmux.web._backend import Unreachable
from llmux.web._errors import BackendError
from llmux.web._headers import Pair, forBackend, forClient
from llmux.web._heads import ResponseHead
from llmux.web._lanebackend import LaneBackend, LaneBackends
from llmux.web._lanecall import Call
from llmux.web._laneclient import LaneClient, statusLine
from llmux.web._pieces import chunks
from llmux.web._plan import Asked, Plan, plainPlan
from llmux.web._relay import Relay
from llmux.web.exchange import Context, Exchange

__all__ = ()

_WHOLE = Failure(ResponseDone())
_BROKEN = Failure(EOFError())


class _FramedRelay(Relay):
    """
    Relays a body with its framing.
    """

    _client: LaneClient

    def _write(self, data: bytes) -> None:
        self._client.passOn(data)

    @property
    def nextLine(self) -> bytes:
        """
        See L{Relay.nextLine}: the last chunk ends with a line of its own.
        """
        isEnd = not self.last or self.last[-1][:-2].endswith((b"\n\n", b"\r\n\r\n"))
        return b"" if isEnd else b"\n\n"


class LaneExchange(Exchange):
    """
    One request.
    """

    def __init__(
        self,
        context: Context,
        client: LaneClient,
        asked: Asked,
        backends: LaneBackends,
        body: bytes,
    ) -> None:
        """
        @param body: what is in C{asked.body}.
        """
        super().__init__(context, client, asked)
        self._backends = backends
        self._body = body

    def _makePlan(self, config: Config) -> Plan | None:
        plan = plainPlan(config, self._asked, self._body)
        return plan or super()._makePlan(config)

    def _send(self, plan: Plan, token: Token) -> None:
        asked = self._asked
        backend = self._backends.at(token.model, token.address)
        address = backend.address
        lines = [
            b"%b %b%b HTTP/1.1\r\n" % (asked.method, address.path, plan.target),
            self._linesFor(backend),
        ]
        if plan.pieces:
            body = self._body
            if len(plan.pieces) > 1:
                body = b"".join(chunks(plan.pieces, asked.body))
            lines.append(b"Content-Length: %d\r\n\r\n" % len(body))
            lines.append(body)
        elif asked.method in (b"POST", b"PUT", b"PATCH"):
            lines.append(b"Content-Length: 0\r\n\r\n")
        else:
            lines.append(b"\r\n")
        self._sending = call = Call(
            backend,
            asked.method == b"HEAD",
            b"".join(lines),
            self,
            # If the client has a head already, the framing is not the server's.
            isFramed=not self._client.isBegun,
        )
        call.send()

    def _linesFor(self, backend: LaneBackend) -> bytes:
        """
        The headers of the request to a model's server, but for framing.
        """
        asked, access = self._asked, self._context.access
        headers = asked.headers
        if self._hasBegun or type(headers) is not tuple:
            return b"".join(map(_line, self._headersFor(backend)))
        return b"%bX-Request-Id: %b\r\n" % (
            _sent(
                headers,
                backend.address.hostHeader,
                asked.peer,
                asked.scheme,
                asked.version,
                access,
                access.generation,
            ),
            asked.requestId,
        )

    def _head(
        self, status: int, phrase: bytes, given: Sequence[Pair], length: int | None
    ) -> None:
        client: LaneClient = self._client
        if not client.isPlain or type(given) is not tuple:
            super()._head(status, phrase, given, length)
            return
        before = _answered(status, phrase, given)
        lines = b"%bX-Request-Id: %b\r\n" % (before, self._asked.requestId)
        client.headOf(status, lines, length)

    def _sizeOf(self, relay: Relay) -> int:
        # Without the framing.
        size: int = self._sending.size
        return size

    # What the call says.

    def failed(self, error: BackendError | Overloaded | Unreachable) -> None:
        """
        See L{IAsker.failed}.
        """
        self._notAnswered(error)

    def answered(
        self, head: ResponseHead, length: int | None, data: bytes, isWhole: bool
    ) -> None:
        """
        See L{IAsker.answered}.
        """
        client: LaneClient = self._client
        isFramed = self._sending.isFramed
        if not self._begin(head.status, head.phrase, head.headers, length):
            return
        if isWhole and isFramed:
            self._account.size = self._sending.size
            self._account.last = (data[-KEPT:],)
            client.ended()
            client.passOn(data)
            client.finish()
            return
        kind = _FramedRelay if isFramed else Relay
        self._relay = relay = self._makeRelay(kind, _nothing)
        start: Any = relay.makeConnection
        start(self._sending.connection)
        self.more(data, isWhole)
        client.flush()

    def more(self, data: bytes, isWhole: bool) -> None:
        """
        See L{IAsker.more}.
        """
        relay = self._relay
        if relay is None:
            return
        if isWhole:
            if self._sending.isFramed:
                self._client.ended()
            if data:
                relay.dataReceived(data)
            relay.connectionLost(_WHOLE)
        elif data:
            relay.dataReceived(data)

    def broken(self) -> None:
        """
        See L{IAsker.broken}.
        """
        if self._relay is not None:
            self._relay.connectionLost(_BROKEN)


def _line(pair: Pair) -> bytes:
    return b"%b: %b\r\n" % pair


# Clients and servers say the same again and again, but for the request's id,
# which comes last.


@lru_cache(256)
def _sent(
    headers: tuple[Pair, ...],
    host: bytes,
    peer: bytes,
    scheme: bytes,
    version: bytes,
    access: Access,
    generation: int,
) -> bytes:
    """
    What the model's server gets of the headers of a request.

    @param generation: that of C{access}: other keys, other headers.
    """
    kept = forBackend(
        headers,
        host=host,
        peer=peer,
        scheme=scheme,
        version=version,
        requestId=b"",
        isOwnKey=access.isOwnKey,
    )
    return b"".join(map(_line, kept[:-1]))


@lru_cache(256)
def _answered(status: int, phrase: bytes, headers: tuple[Pair, ...]) -> bytes:
    """
    The first line of a response, and what the client gets of its headers.
    """
    kept = forClient(headers, requestId=b"")
    return statusLine(status, phrase) + b"".join(map(_line, kept[:-1]))


def _nothing() -> None:
    """
    The call knows by itself when its response is here.
    """
