# -*- test-case-name: llmux.test.test_web_backend -*-
"""
Requests to the servers of models, the usual way.

The client is treq's, over an agent of ours.  What treq would do for a user at
a terminal, a proxy must not do, so what it makes of a request (a URL encoded
anew, a method in capitals, C{Accept-Encoding}) is not what L{Sending} sends,
and it gets no header of a response to see (which it would keep as a cookie,
or take as a reason to decompress).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from attrs import define, field
from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IClientRequest, IResponse
from zope.interface import implementer

from llmux.descriptors import Descriptors
from llmux.errors import Overloaded
from llmux.web._address import Address
from llmux.web._backend import KEPT, MANY, Unreachable
from llmux.web._body import StoredBody
from llmux.web._errors import BackendError
from llmux.web._guard import Guard, Switched
from llmux.web._headers import Pair

__all__ = ()


@define(eq=False)
class Backend:
    """
    The server of one model.

    @ivar model: whose server it is.
    @ivar address: where it is.
    @ivar descriptors: says whether connections are kept.
    """

    model: str
    address: Address
    _endpoint: IStreamClientEndpoint
    _reactor: Any
    descriptors: Descriptors
    _pool: HTTPConnectionPool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = HTTPConnectionPool(self._reactor)
        self._pool.cachedConnectionTimeout = KEPT  # type: ignore[assignment]
        self._pool.maxPersistentPerHost = MANY
        # Twisted looks at the method, L{Sending} at what has been received.
        self._pool.retryAutomatically = False

    def request(
        self,
        method: bytes,
        target: bytes,
        headers: Sequence[Pair],
        body: StoredBody | None,
        switched: Switched | None = None,
    ) -> Sending:
        """
        Prepare a request.

        @param target: the request target, to which the path of the address is
            prefixed.
        @param headers: all of them but the framing, with one C{Host}.
        @param body: the body, if there is one.
        @param switched: see L{Guard.begin}.  If it is called, the request is
            over.
        """
        target = self.address.path + target
        return Sending(self, method, target, headers, body, switched)

    def connect(self) -> Deferred[Any]:
        """
        @return: fires with a connection that is new or was kept, and fails
            with what connecting failed with.
        """
        return self._pool.getConnection(self.address.text, self._endpoint)

    def close(self) -> None:
        """
        Close the connections that wait for a request.
        """
        self._pool.closeCachedConnections()


class _Forgetful(IndexableCookieJar):
    """
    Knows no cookies and keeps none: those of one client are none of the
    others' business.
    """

    def add_cookie_header(self, request: object) -> None:
        """
        Add nothing.
        """

    def extract_cookies(self, response: object, request: object) -> None:
        """
        Keep nothing.
        """


class _Unparsed(EncodedURL):
    """
    Stands for the URL that treq would take apart, encode and put together
    anew with each request, in a tenth of a millisecond.
    """

    def to_uri(self) -> _Unparsed:
        """
        This very URL.
        """
        return self

    def to_text(self, with_password: bool = False) -> str:
        """
        A constant.
        """
        return "http://model/"


_NO_COOKIES = _Forgetful()
_SOME_URL = _Unparsed.from_text("http://model/")


class _Opaque:
    """
    What treq sees of a response: no header that it could act upon.
    """

    headers = Headers()


_OPAQUE = _Opaque()


def _asIs(body: Any) -> Any:
    return body


@implementer(IAgent)
class Sending:
    """
    One request to a model's server.

    @ivar response: the response, once its head is here.
    """

    response: IResponse | None = None
    _connecting: Deferred[Any] | None = None
    _message: _Message | None = None
    _aborted = False

    def __init__(
        self,
        backend: Backend,
        method: bytes,
        target: bytes,
        headers: Sequence[Pair],
        body: StoredBody | None,
        switched: Switched | None = None,
    ) -> None:
        self._switched = switched
        self._backend = backend
        self._method = method
        self._target = target
        self._headers = headers
        self._body = body

    def send(self) -> Deferred[IResponse]:
        """
        Send it, for the first and only time.

        @return: fires with the response when its head is here; fails with
            L{Unreachable} if no connection could be made, with L{Overloaded}
            if there was no descriptor for one, and with L{BackendError} if
            there was one and it was no use.  Does not fire after L{abort}.
        """
        client = HTTPClient(self, _NO_COOKIES, _asIs)
        answered: Deferred[Any] = client.request(
            "GET",
            _SOME_URL,
            data=self._body,
            # A jar, so that treq makes no new one.
            cookies=_NO_COOKIES,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._backend._reactor,
        )
        return answered.addCallback(self._unveil)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: Any = None,
    ) -> Deferred[IResponse]:
        """
        See L{IAgent.request}: treq calls it.
        """
        result: Deferred[Any] = Deferred()
        self._connect(result, mayRetry=True)
        return result

    def abort(self) -> None:
        """
        Have no more to do with it: close its connection, unless all has been
        sent and received.
        """
        self._aborted = True
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        if self._message is not None:
            self._message.abort()

    def wasReset(self) -> bool:
        """
        Whether its connection was lost other than by being closed, which is
        no end of a body.
        """
        guard = None if self._message is None else self._message.guard
        return guard is not None and guard.wasReset

    def received(self) -> None:
        """
        Say that the whole response has been received: the connection is no
        longer this request's, unless that is still being sent, which is of no
        use to anyone now.
        """
        message, self._message = self._message, None
        if message is not None and not message.sent:
            message.abort()

    def _connect(self, result: Deferred[Any], mayRetry: bool) -> None:
        self._message = None
        self._connecting = connecting = self._backend.connect()

        def connected(connection: Any) -> None:
            self._connecting = None
            message = self._message = _Message(
                self._method, self._target, self._headers, self._body, self._switched
            )
            if self._backend.descriptors.isShort:
                message.persistent = False
            answered: Deferred[IResponse] = connection.request(message)
            answered.addCallbacks(
                lambda response: self._answered(result, response),
                lambda failure: self._failed(result, message, failure, mayRetry),
            )

        def notConnected(failure: Failure) -> None:
            self._connecting = None
            if not self._aborted:
                result.errback(
                    failure if failure.check(Overloaded) else Failure(Unreachable())
                )

        connecting.addCallbacks(connected, notConnected)
        connecting.addErrback(result.errback)

    def _answered(self, result: Deferred[Any], response: IResponse) -> None:
        self.response = response
        result.callback(_OPAQUE)

    def _unveil(self, opaque: object) -> IResponse:
        assert self.response is not None
        return self.response

    def _failed(
        self, result: Deferred[Any], message: _Message, failure: Failure, mayRetry: bool
    ) -> None:
        if self._aborted:
            return
        guard = message.guard
        if guard is not None and guard.requests > 1 and not guard.received and mayRetry:
            # A connection that was kept, and that the server closed without
            # a word: it did so before it saw the request.  The others that
            # were kept are hardly better.
            self._backend.close()
            self._connect(result, mayRetry=False)
            return
        if guard is not None and guard.problem:
            why = guard.problem
        elif guard is not None and guard.received:
            why = "broke off in the head of its answer, or it was not HTTP"
        else:
            why = "closed the connection before it answered"
        result.errback(BackendError(self._backend.model, why))


@implementer(IClientRequest)
class _Message:
    """
    A request as L{HTTPConnectionPool}'s connections take them.  It writes the
    head as it is told, in a single piece.

    @ivar guard: the connection that it was written to.
    @ivar sent: whether all of it was written.
    """

    #: Whether the connection is kept.
    persistent = True
    absoluteURI = None
    headers = Headers()
    guard: Guard | None = None
    sent = False

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: Sequence[Pair],
        body: StoredBody | None,
        switched: Switched | None = None,
    ) -> None:
        self.method = method
        self._switched = switched
        self.bodyProducer = body
        lines = [b"%b %b HTTP/1.1\r\n" % (method, target)]
        lines.extend([b"%b: %b\r\n" % pair for pair in headers])
        if body is not None:
            lines.append(b"Content-Length: %d\r\n\r\n" % body.length)
        elif method in (b"POST", b"PUT", b"PATCH"):
            lines.append(b"Content-Length: 0\r\n\r\n")
        else:
            lines.append(b"\r\n")
        self._head = b"".join(lines)

    def writeTo(self, transport: Any) -> Deferred[None]:
        """
        Write the request.

        @param transport: the L{Guard}.
        @return: fires when all is written, fails with what reading the body
            failed with.
        """
        self.guard = cast(Guard, transport)
        self.guard.begin(self._switched)
        transport.write(self._head)
        body = self.bodyProducer
        if body is None:
            self.sent = True
            return succeed(None)
        if not body.small:
            transport.registerProducer(body, True)
        sending = body.startProducing(transport)

        def written(result: Any) -> Any:
            if not body.small:
                transport.unregisterProducer()
            self.sent = not isinstance(result, Failure)
            return result

        return sending.addBoth(written)

    def stopWriting(self) -> None:
        """
        Write no more: the connection was lost.
        """
        if self.bodyProducer is not None:
            self.bodyProducer.stopProducing()

    def abort(self) -> None:
        """
        Close the connection at once.
        """
        self.stopWriting()
        if self.guard is not None:
            self.guard.abortConnection()
