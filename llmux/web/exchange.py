# -*- test-case-name: llmux.test.test_exchange -*-
"""
One request, from its arrival to the last byte of its response.

An exchange knows nothing of how its client is connected: a front end gives it
the request, received whole, and an L{IClient}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from llmux.config import Config
from llmux.errors import LLMuxError
from llmux.switching.inflight import Token
from llmux.web._access import Principal
from llmux.web._backend import Unreachable
from llmux.web._body import StoredBody
from llmux.web._context import Context
from llmux.web._errors import BackendError, answerTo
from llmux.web._headers import Pair, forBackend, forClient, isPlainEventStream
from llmux.web._heartbeat import Heartbeat, unencoded
from llmux.web._late import LateAnswer
from llmux.web._naming import Naming
from llmux.web._plan import Asked, Plan, made, planning, renamed
from llmux.web._priority import priorityOf
from llmux.web._relay import Collecting, IClient, Relay
from llmux.web._responses import headersOf, lengthOf, sendAnswer
from llmux.web._scanner import LEAST

__all__ = ("Asked", "Context", "Exchange", "IClient", "sendAnswer")


class Exchange(Naming):
    """
    One request.  Its steps: to name the model, to be admitted to it, to
    forward the request, to relay the response, to close.
    """

    _principal: Principal | None = None
    _plan: Plan | None = None
    _waiting: Deferred[Token] | None = None
    _token: Token | None = None
    _sending: Any = None
    _relay: Relay | None = None
    _heartbeat: Heartbeat | None = None
    _timer: IDelayedCall | None = None
    _hasHeart = True
    _hasBegun = False
    _mayReacquire = True
    _odd: int | None = None

    def _enter(self, principal: Principal, plan: Plan) -> None:
        """
        @raise LLMuxError: if the request is refused.
        """
        self._plan = plan
        switcher = self._context.switcher
        model, limit, account = plan.model.name, plan.maxTokens, self._account
        account.model, account.maxTokens, account.principal = model, limit, principal
        principal.enter(model, switcher.costs)
        self._principal = principal
        token = switcher.grant(model, maxTokens=limit)
        if token is None:
            self._mayWait(plan)
            most = principal.maxPriority
            priority = priorityOf(self._asked, principal.priority, most)
            self._await(switcher.acquire(model, priority=priority, maxTokens=limit))
        else:
            self._forward(token)

    # To be admitted.

    def _mayWait(self, plan: Plan) -> None:
        """
        @raise LLMuxError: if the request is of a kind that does not wait.
        """

    def _await(self, waiting: Deferred[Token]) -> None:
        plan = self._plan
        if plan is not None and not waiting.called:
            if self._heartbeat is None:
                self._heartbeat = Heartbeat(
                    self._context, self._client, self._asked, plan, self._beginEarly
                )
            if self._hasHeart:
                self._heartbeat.start()
        self._waiting = waiting
        waiting.addCallbacks(self._admitted, self._notAdmitted)
        waiting.addErrback(self._surprised)

    def _admitted(self, token: Token) -> None:
        self._waiting = None
        try:
            plan, who = self._plan, self._principal
            other = plan and who and renamed(who.config, plan, self._context.config)
            if other:
                self._planAgain(other, token)
            else:
                self._forward(token)
        except LLMuxError as error:
            self._refuse(error)

    def _planAgain(self, config: Config, token: Token) -> None:
        self._token = token
        # As it is now: of one that was translated, what became of it.
        steps = planning(config, self._asked)
        if self._asked.length > LEAST:
            self._look(steps, self._plannedAgain, token)
        else:
            self._plannedAgain(token, made(steps))

    def _plannedAgain(self, token: Token, plan: Plan) -> None:
        self._plan = plan
        self._forward(token)

    def _notAdmitted(self, why: Failure) -> None:
        self._waiting = None
        if not self._closed:
            self._refuse(why.value)

    def _beginEarly(self) -> None:
        """
        The response begins although there is nothing yet to respond with.
        """
        self._hasBegun = True
        self._account.status, self._account.isStream = 200, True

    # To forward.

    def _forward(self, token: Token) -> None:
        self._token = token
        if self._heartbeat is not None:
            self._heartbeat.granted()
        self._account.granted = self._context.clock.seconds()
        token.whenCut(self._cut)
        plan = self._plan
        if plan is None or self._closed or not token.held:
            token.release()
            return
        limit = plan.model.timeouts.first_byte
        if limit is not None:
            self._timer = self._context.clock.callLater(limit, self._tooLate, limit)
        self._send(plan, token)

    def _send(self, plan: Plan, token: Token) -> None:
        """
        Send the request to the model's server.

        @raise BackendError: it is nowhere.
        """
        backend = self._context.backends.at(token.model, token.address)
        self._sending = sending = self._request(plan, backend)
        sent = sending.send()
        sent.addCallbacks(self._answered, lambda why: self._notAnswered(why.value))
        sent.addErrback(self._surprised)

    def _request(self, plan: Plan, backend: Any) -> Any:
        """
        Make the request to a model's server.
        """
        return backend.request(
            self._asked.method,
            plan.target,
            self._headersFor(backend),
            StoredBody(plan.pieces, self._asked.body) if plan.pieces else None,
        )

    def _headersFor(self, backend: Any) -> list[Pair]:
        asked = self._asked
        return forBackend(
            # Once begun, it is too late to say how the answer is encoded.
            unencoded(asked.headers) if self._hasBegun else asked.headers,
            host=backend.address.hostHeader,
            peer=asked.peer,
            scheme=asked.scheme,
            requestId=asked.requestId,
            version=asked.version,
            isOwnKey=self._context.access.isOwnKey,
        )

    def _tooLate(self, limit: float) -> None:
        self._timer = None
        self._fail(f"did not begin to answer within {limit:g} seconds")

    def _notAnswered(self, why: BaseException) -> None:
        if self._closed:
            return
        token = self._token
        if not isinstance(why, Unreachable):
            self._refuse(why)
        elif self._mayReacquire and token is not None:
            # It is believed to be awake and is not there.  Nothing of the
            # request has been seen by anyone, so it may be sent again.
            self._mayReacquire = False
            self._account.retries += 1
            self._stopTimer()
            self._sending = self._token = None
            self._await(self._context.switcher.reacquire(token))
        else:
            self._fail("could not be reached")

    # To relay.

    def _answered(self, response: IResponse) -> None:
        sending = self._sending
        given = headersOf(response)
        length = lengthOf(response, self._asked.method)
        if self._begin(response.code, response.phrase, given, length):
            self._relay = relay = self._makeRelay(Relay, sending.received)
            relay.wasReset = sending.wasReset
            response.deliverBody(relay)

    def _begin(
        self, status: int, phrase: bytes, given: Sequence[Pair], length: int | None
    ) -> bool:
        """
        Begin the response to the client: the model's server has sent its head.

        @param given: the headers as they came.
        @param length: the length of the body, if it is known.
        @return: whether the body is wanted.
        """
        token = self._token
        if token is None or self._closed:
            return False
        self._stopTimer()
        token.answered()
        account = self._account
        account.begun = self._context.clock.seconds()
        if self._hasBegun:
            isGood = 200 <= status < 300 and isPlainEventStream(given)
            self._odd = None if isGood else status
            return True
        self._hasBegun = True
        account.status = status
        account.isStream = length is None and isPlainEventStream(given)
        self._head(status, phrase, given, length)
        return True

    def _head(
        self, status: int, phrase: bytes, given: Sequence[Pair], length: int | None
    ) -> None:
        headers = forClient(given, requestId=self._asked.requestId)
        self._client.head(status, phrase, headers, length)

    def _makeRelay(self, kind: type[Relay], received: Callable[[], None]) -> Relay:
        """
        @param received: called when the server has sent all of the body.
        """
        assert self._plan is not None
        model, status = self._plan.model, self._odd
        arguments = (
            self._client,
            self._context.clock,
            self._context.config.limits.stall_secs,
            model.timeouts.idle,
            received,
            self._fail,
            self._over,
        )
        if status is None:
            return kind(*arguments)
        return Collecting(
            *arguments,
            collected=lambda body: self._refuse(LateAnswer(model.name, status, body)),
        )

    # To fail.

    def _cut(self, why: str) -> None:
        self._account.aborted = "cut"
        self._fail("was taken out of service before its answer was complete")

    def _fail(self, why: str) -> None:
        assert self._plan is not None
        self._refuse(BackendError(self._plan.model.name, why))

    def _surprised(self, why: Failure) -> None:
        self.log.failure(
            "Request {request_id} failed in llmux itself",
            failure=why,
            event="request_failed",
            request_id=self._asked.requestId.decode("ascii"),
        )
        if not self._closed:
            self._refuse(why.value)

    def _refuse(self, error: Any) -> None:
        """
        End the response with an error, whatever there is of it.

        @param error: an exception.
        """
        answer = answerTo(error)
        if isinstance(error, BackendError):
            self.log.warn(
                "Request {request_id}: {problem}",
                event="backend_error",
                request_id=self._asked.requestId.decode("ascii"),
                model=error.model,
                problem=str(error),
            )
        relay = self._relay
        self._letGo()
        if isinstance(error, BackendError):
            # Perhaps it has died, and the next request shall not find out.
            with self.log.failuresHandled("while a model was suspected"):
                self._context.switcher.suspect(error.model)
        account = self._account
        if self._hasBegun:
            # Too late for a status.
            why = "backend_error" if answer.code == "backend_error" else "cut"
            account.aborted = account.aborted or why
            last = b""
            if account.isStream:
                last = (b"" if relay is None else relay.nextLine) + answer.event()
            self._client.cut(last)
            self._close()
            return
        if self._heartbeat is not None:
            self._heartbeat.tell()
        self._hasBegun = True
        account.status = answer.status
        account.aborted = ""
        account.size = sendAnswer(self._client, answer, self._asked.requestId)

    # To close.

    def _over(self) -> None:
        """
        The client has taken the last byte, or is gone.
        """
        if not self._closed:
            self._close()

    def _letGo(self) -> None:
        """
        Have no more to do with the model.
        """
        self._stopTimer()
        if self._planning is not None:
            self._lookNoMore()
        relay, self._relay = self._relay, None
        if relay is not None:
            account = self._account
            account.size = self._sizeOf(relay)
            account.first, account.last = relay.first, relay.last
            relay.close()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.abort()
        token, self._token = self._token, None
        if token is not None:
            token.release()

    def _sizeOf(self, relay: Relay) -> int:
        """
        The bytes of the body that were relayed.
        """
        return relay.size

    def _close(self) -> None:
        self._closed = True
        account, relay = self._account, self._relay
        if relay is not None and relay.isOpen:
            account.aborted = "stalled" if relay.stalled else "left"
        if self._heartbeat is not None:
            self._heartbeat.settle(account)
        self._letGo()
        principal, self._principal = self._principal, None
        if principal is not None:
            account.key = principal.name
            principal.leave()
        account.ended = self._context.clock.seconds()
        self._context.accountant.requestFinished(account)

    def _stopTimer(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
