# -*- test-case-name: llmux.test.test_demo -*-
"""
The toy's routes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from llmux.demo import _anthropic, _openai
from llmux.demo._answers import Answer, BadRequest, encode, parse
from llmux.demo._arrival import DemoRequest, heard, hexDigest
from llmux.demo._behaviour import BadKnob, Behaviour
from llmux.demo._journal import Entry, Journal
from llmux.demo._sending import Sending

#: What answers a request whose body is JSON, by path.
JSON_ROUTES: Mapping[bytes, Callable[[str, Mapping[str, Any], Behaviour], Answer]] = {
    b"/v1/chat/completions": _openai.chat,
    b"/v1/completions": _openai.completion,
    b"/v1/embeddings": _openai.embeddings,
    b"/v1/messages": _anthropic.messages,
    b"/v1/messages/count_tokens": _anthropic.countRequest,
}

TRANSCRIPTIONS = b"/v1/audio/transcriptions"


@define(eq=False)
class Demo(Resource):
    """
    A model server that only pretends.

    @ivar names: the models it serves; the first speaks if a request names
        none of them.
    @ivar crash: ends the process, at once.
    @ivar strict: whether a request for another model is a 404.
    @ivar admin: whether C{/sleep} and C{/wake_up} are there.
    @ivar startDelay: seconds until it is ready.
    @ivar sleepDelay: seconds that falling asleep takes, and C{wakeDelay}
        waking up.
    @ivar crashAfterRequests: which request is its last.
    @ivar state: C{starting}, C{awake}, C{asleep}, or C{waking}.
    """

    isLeaf = True

    names: tuple[str, ...]
    clock: IReactorTime
    crash: Callable[[], None]
    behaviour: Behaviour = field(factory=Behaviour)
    strict: bool = False
    admin: bool = False
    startDelay: float = 0.0
    sleepDelay: float = 0.0
    wakeDelay: float = 0.0
    crashAfterRequests: int | None = None
    journal: Journal = field(factory=Journal)
    state: str = field(default="awake", init=False)
    _started: float = field(default=0.0, init=False)
    _sendings: set[Sending] = field(factory=set, init=False)

    def __attrs_pre_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def start(self, asleep: bool = False) -> None:
        """
        Begin to start.

        @param asleep: whether to be asleep afterwards.
        """
        self._started = self.clock.seconds()
        self.state = "starting"
        self._become("asleep" if asleep else "awake", self.startDelay)

    def _become(self, state: str, delay: float) -> None:
        if delay:
            self.clock.callLater(delay, setattr, self, "state", state)
        else:
            self.state = state

    def opened(self) -> Entry:
        """
        A request has begun.
        """
        return self.journal.open(self.clock.seconds() - self._started, self.state)

    def render(self, request: IRequest) -> int | bytes:
        """
        Answer.
        """
        seen = cast(Request, request)
        route = OWN_ROUTES.get((seen.method, seen.path))
        if route is not None:
            return route(self, seen)
        if self.admin:
            route = ADMIN_ROUTES.get((seen.method, seen.path))
            if route is not None:
                return route(self, seen)
        self._infer(seen)
        return NOT_DONE_YET

    def _infer(self, request: Request) -> None:
        """
        Answer a request to the model.
        """
        entry = cast(DemoRequest, request).entry
        body = cast(DemoRequest, request).describe()
        self.journal.keep(entry, self.state)
        path = request.path
        anthropic = path.startswith(b"/v1/messages")
        error = _anthropic.error if anthropic else _openai.error
        sending = Sending(
            request,
            self.behaviour,
            entry,
            self.journal,
            self.clock,
            error,
            self.crash,
            self._sendings.discard,
        )
        self._sendings.add(sending)
        if self.crashAfterRequests == self.journal.counts["requests"]:
            self.crash()
            return
        if self.state != "awake":
            self._refuse(sending, 503, f"the model is {self.state}", retryAfter=1)
            return
        try:
            sending.start(self._answer(request, sending, body))
        except (BadRequest, BadKnob) as wrong:
            self._refuse(sending, 400, str(wrong))
        except LookupError as wrong:
            self._refuse(sending, 404, str(wrong.args[0]))

    def _refuse(
        self,
        sending: Sending,
        status: int,
        message: str,
        retryAfter: int | None = None,
    ) -> None:
        def over(_: object) -> None:
            self.journal.close(sending.entry, "done")
            self._sendings.discard(sending)

        sending.behaviour = Behaviour(retryAfter=retryAfter)
        sending.request.notifyFinish().addBoth(over)
        sending.refuse(status, message)

    def _answer(self, request: Request, sending: Sending, body: bytes) -> Answer:
        """
        @raise BadRequest: if the request makes no sense.
        @raise BadKnob: if it asks for a fault that does not exist.
        @raise LookupError: if there is no such route, or no such model.
        """
        entry = sending.entry
        headers = [
            (name, value) for name, many in entry.headers.items() for value in many
        ]
        sending.behaviour = self.behaviour.forRequest(headers, {})
        if request.method != b"POST":
            raise LookupError("no such route: see --help for those there are")
        if request.path == TRANSCRIPTIONS:
            return self._transcribe(request, entry)
        if request.path not in JSON_ROUTES:
            raise LookupError("no such route: see --help for those there are")
        asked = parse(body)
        sending.behaviour = behaviour = self.behaviour.forRequest(headers, asked)
        model = asked.get("model")
        entry.model = model if isinstance(model, str) else None
        entry.stream = bool(asked.get("stream"))
        return JSON_ROUTES[request.path](self._speaker(entry.model), asked, behaviour)

    def _speaker(self, model: str | None) -> str:
        if model is not None and model in self.names:
            return model
        if self.strict:
            raise LookupError(f"this server has only {', '.join(self.names)}")
        return self.names[0]

    def _transcribe(self, request: Request, entry: Entry) -> Answer:
        assert request.content is not None
        entry.model, sound = heard(
            request.content, request.getHeader("content-type") or ""
        )
        text = f"{self._speaker(entry.model)}: heard {len(sound)} bytes"
        return Answer(
            encode({"text": text, "bytes": len(sound), "sha256": hexDigest(sound)})
        )

    # Own routes

    def _health(self, request: Request) -> bytes:
        if self.state == "awake":
            return _json(request, {"status": "ok"})
        return _json(request, {"status": self.state}, 503)

    def _models(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        return _openai.models(self.names)

    def _seen(self, request: Request) -> bytes:
        own = {"models": self.names, "state": self.state}
        return _json(request, {**own, **self.journal.report()})

    def _forget(self, request: Request) -> bytes:
        self.journal.forget()
        return _json(request, {})

    def _isSleeping(self, request: Request) -> bytes:
        return _json(request, {"is_sleeping": self.state == "asleep"})

    def _sleep(self, request: Request) -> int:
        # A real engine breaks if it is put to sleep while it speaks.
        for sending in [*self._sendings]:
            sending.cut("slept")
        self.state = "asleep"
        self._confirm(request, self.sleepDelay)
        return NOT_DONE_YET

    def _wake(self, request: Request) -> int:
        if self.state == "asleep":
            self.state = "waking"
            self._become("awake", self.wakeDelay)
        self._confirm(request, self.wakeDelay if self.state == "waking" else 0)
        return NOT_DONE_YET

    def _confirm(self, request: Request, delay: float) -> None:
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        self.clock.callLater(delay, lambda: gone or request.finish())


Route = Callable[[Demo, Request], "int | bytes"]

#: What is answered by the toy itself, in whatever state it is, and is not in
#: its journal.
OWN_ROUTES: Mapping[tuple[bytes, bytes], Route] = {
    (b"GET", b"/health"): Demo._health,
    (b"GET", b"/v1/models"): Demo._models,
    (b"GET", b"/demo/seen"): Demo._seen,
    (b"DELETE", b"/demo/seen"): Demo._forget,
}

#: As vLLM has them in its development mode.
ADMIN_ROUTES: Mapping[tuple[bytes, bytes], Route] = {
    (b"POST", b"/sleep"): Demo._sleep,
    (b"POST", b"/wake_up"): Demo._wake,
    (b"GET", b"/is_sleeping"): Demo._isSleeping,
}


def _json(request: Request, value: object, status: int = 200) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    return encode(value)


def makeSite(demo: Demo) -> Site:
    """
    A factory for what speaks HTTP to C{demo}'s clients.
    """
    return Site(
        demo,
        requestFactory=DemoRequest,
        parsePOSTFormSubmission=False,
        timeout=None,
        reactor=demo.clock,
    )
