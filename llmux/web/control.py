# -*- test-case-name: llmux.test.test_web_control -*-
"""
What operators ask and tell: C{/llmux/...}, and the routes by which tools for
llama-swap do.

Nothing here looks for a model in the body of a request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, cast
from urllib.parse import parse_qs, unquote

from attrs import frozen
from twisted.internet.defer import (
    Deferred,
    FirstError,
    gatherResults,
    maybeDeferred,
    succeed,
)
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.config import Config
from llmux.errors import NoSource, UnknownModel
from llmux.hooks import HookOutput, OutputLine
from llmux.interfaces import State
from llmux.observe.status import Status
from llmux.observe.timeline import Timeline
from llmux.switching.switcher import Switcher
from llmux.web._denied import ForeignOrigin, TooManyReaders
from llmux.web._errors import WrongMethod, answerTo
from llmux.web._headers import Pair
from llmux.web._live import Feed, Live, frame
from llmux.web._openapi import description
from llmux.web._origin import isForeign
from llmux.web._page import FILES, HEADERS, HERE, content
from llmux.web._plan import Asked
from llmux.web.exchange import sendAnswer

__all__ = ("Control",)

#: How many may follow events and logs at a time.
READERS = 64

#: What llama-swap calls the states in which a model is there.
_RUNNING = {
    State.AWAKE: "ready",
    State.CHECKING: "ready",
    State.WAKING: "starting",
    State.DRAINING: "stopping",
    State.SLEEPING: "stopping",
    State.STUCK: "stopping",
}

#: What is read at one path.
_READ = {
    **{path: path.decode("ascii") for path in FILES},
    b"/llmux": "here",
    b"/llmux/openapi.json": "openapi",
    b"/llmux/status": "status",
    b"/llmux/timeline": "timeline",
    b"/llmux/events": "events",
    b"/running": "running",
}

#: What is done to a model: a path ends so.
_DONE = (b"wake", b"sleep", b"clear")


@frozen
class Said:
    """
    The body of an answer, and its content type.
    """

    body: bytes
    kind: bytes = b"application/json"
    headers: Sequence[Pair] = ()
    status: int = 200


class Control:
    """
    The routes of operators.

    @ivar config: the configuration, with models that are leaving.
    @ivar served: the same without them.
    @ivar reload: has the configuration read again, and says what has changed,
        if there is a file to be read.
    @ivar feed: an observer; what it is told, those who follow are told.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        switcher: Switcher,
        status: Status,
        timeline: Timeline,
        output: HookOutput,
        clock: IReactorTime,
    ) -> None:
        self.config = self.served = config
        self.reload: Callable[[], Deferred[Mapping[str, object]]] | None = None
        self._switcher = switcher
        self._status = status
        self._timeline = timeline
        self._output = output
        self._clock = clock
        self.feed = Feed(clock, status.document)
        self._readers: dict[Live, Callable[[], None]] = {}

    def serves(self, path: bytes) -> bool:
        """
        Whether a path is one of these, whatever the method.

        @param path: without the query.
        """
        return self._routeOf(path) is not None

    def serve(self, client: Any, asked: Asked) -> None:
        """
        Answer a request for one of these paths.

        @param client: provides L{llmux.web._relay.IClient}.
        """
        path, _, query = asked.target.partition(b"?")
        route = self._routeOf(path)
        assert route is not None, "asked for what is not served here"
        method, name, act = route
        try:
            isRead = method == b"GET" and asked.method in (b"GET", b"HEAD")
            if not isRead and asked.method != method:
                raise WrongMethod("POST" if method == b"POST" else "GET, HEAD")
            if not isRead and isForeign(asked):
                raise ForeignOrigin()
            model = self._named(name) if name else ""
            words = parse_qs(query.decode("ascii", "replace"), keep_blank_values=True)
            isAsked = words.get(_WORDS.get(act, ""), ["no"])[-1] not in _NOT
            if act == "events" or (act == "logs" and isAsked):
                self._follow(client, asked, model, isAsked)
                return
        except Exception as error:
            client.attach(_nothing)
            self._refuse(client, asked, Failure(error))
            return
        self._answer(client, asked, lambda: self._do(act, model, isAsked))

    def close(self) -> None:
        """
        End what is being followed.
        """
        for reader in list(self._readers):
            reader.finish()

    # Routes.

    def _routeOf(self, path: bytes) -> tuple[bytes, str, str] | None:
        """
        The method, the name of a model as the client says it, and what to do.
        """
        if path in _READ:
            return b"GET", "", _READ[path]
        if path in (b"/api/models/unload", b"/api/models/unload/"):
            return b"POST", "", "unload"
        if path == b"/llmux/reload":
            return b"POST", "", "reload"
        for start, method, act in (
            (b"/api/models/unload/", b"POST", "unload"),
            (b"/llmux/logs/", b"GET", "logs"),
        ):
            if path.startswith(start) and len(path) > len(start):
                return method, _unquoted(path[len(start) :]), act
        if path.startswith(b"/llmux/models/"):
            # Names may have slashes in them.
            name, _, act_ = path[len(b"/llmux/models/") :].rpartition(b"/")
            if name and act_ in _DONE:
                return b"POST", _unquoted(name), act_.decode("ascii")
        return None

    def _named(self, name: str) -> str:
        # One that is leaving is still there for operators.
        model = self.served.modelNamed(name) or self.config.models.get(name)
        if model is None:
            raise UnknownModel(name)
        return model.name

    def _do(self, act: str, model: str, isAsked: bool) -> Deferred[Said]:
        if act.startswith("/"):
            body, kind = content(act.encode("ascii"))
            return succeed(Said(body, kind, HEADERS))
        if act == "here":
            return succeed(Said(b"", b"text/plain", [(b"Location", HERE)], 308))
        if act == "status":
            return succeed(_inJSON(self._status.document()))
        if act == "timeline":
            return succeed(_inJSON(self._timeline.document()))
        if act == "openapi":
            return succeed(Said(description()))
        if act == "running":
            return succeed(_inJSON({"running": self._running()}))
        if act == "logs":
            lines = self._lines(model).encode()
            return succeed(Said(lines, b"text/plain; charset=utf-8"))
        if act == "unload":
            return self._unload(model).addCallback(
                lambda _: (
                    Said(b"OK", b"text/plain") if model else _inJSON({"msg": "ok"})
                )
            )
        if act == "reload":
            if self.reload is None:
                raise NoSource()
            return self.reload().addCallback(_inJSON)
        if act == "wake":
            done = self._switcher.wake(model)
        elif act == "sleep":
            done = self._switcher.sleep(model, drain=isAsked)
        else:
            self._switcher.clear(model)
            done = succeed(None)
        return done.addCallback(lambda _: _inJSON(self._status.model(model)))

    def _running(self) -> list[dict[str, object]]:
        views = self._switcher.snapshot().models
        return [
            {
                "model": name,
                "state": _RUNNING[views[name].state],
                # Hooks may hold secrets.
                "cmd": "",
                "proxy": views[name].address,
                "ttl": int(self.config.models[name].ttl_secs or 0),
                "name": "",
                "description": "",
            }
            for name in sorted(views)
            if views[name].state in _RUNNING
        ]

    def _unload(self, model: str) -> Deferred[Any]:
        if model:
            return self._switcher.sleep(model, drain=True)
        # Of all models, those that may be: who asks for all does not mean
        # those that are never to go.
        views = self._switcher.snapshot().models.values()
        slept = [
            self._switcher.sleep(view.name, drain=True)
            for view in views
            if view.state in _RUNNING and not view.pinned
        ]
        return gatherResults(slept, consumeErrors=True).addErrback(_firstOf)

    def _lines(self, model: str) -> str:
        return "".join(
            f"{_readable(line)}\n" for line in self._output.ring(model).lines()
        )

    # Answers.

    def _answer(
        self, client: Any, asked: Asked, act: Callable[[], Deferred[Said]]
    ) -> None:
        isOpen = True
        said: Deferred[Said] | None = None

        def over() -> None:
            nonlocal isOpen
            isOpen = False
            if said is not None:
                # Who does not wait for a model any more does not want it.
                said.cancel()

        def answer(what: Said) -> None:
            if isOpen:
                headers = [
                    (b"Content-Type", what.kind),
                    (b"Cache-Control", b"no-store"),
                    (b"X-Content-Type-Options", b"nosniff"),
                    (b"X-Request-Id", asked.requestId),
                ]
                headers += what.headers
                client.head(what.status, b"", headers, len(what.body))
                client.write(what.body)
                client.finish()

        def failed(why: Failure) -> None:
            if isOpen:
                self._refuse(client, asked, why)

        client.attach(over)
        said = maybeDeferred(act)
        said.addCallbacks(answer, failed)
        said.addErrback(lambda why: self.log.failure("while answering", why))

    def _refuse(self, client: Any, asked: Asked, why: Failure) -> None:
        answer = answerTo(cast(BaseException, why.value))
        if not answer.expected:
            self.log.failure("while answering {path}", why, path=asked.target)
        sendAnswer(client, answer, asked.requestId)

    def _follow(self, client: Any, asked: Asked, model: str, watches: bool) -> None:
        """
        Have a client follow events or, if a model is named, its hooks.

        @param watches: whether it is told how everything is, too.
        """
        if len(self._readers) >= READERS:
            raise TooManyReaders()
        live = Live(client, self._clock, self._left)
        if model:
            ring = self._output.ring(model)
            first = b"".join(frame(_readable(line)) for line in ring.lines())
            self._readers[live] = ring.subscribe(
                lambda line: live.send(frame(_readable(line)))
            )
        else:
            first = frame(self._status.document(), "status")
            self.feed.readers.add(live)
            if watches:
                self.feed.watchers.add(live)
            self._readers[live] = lambda: self.feed.leave(live)
        live.start(asked.requestId, first)
        if asked.method == b"HEAD":
            live.finish()

    def _left(self, reader: Live) -> None:
        self._readers.pop(reader)()


#: The word of a query by which more is asked for.
_WORDS = {"events": "status", "logs": "follow", "sleep": "drain"}

_NOT = ("0", "no", "false")


def _nothing() -> None:
    pass


def _unquoted(name: bytes) -> str:
    return unquote(name.decode("ascii", "replace"))


def _inJSON(value: object) -> Said:
    return Said(json.dumps(value).encode("ascii") + b"\n")


def _readable(line: OutputLine) -> str:
    at = datetime.fromtimestamp(line.time, timezone.utc)
    when = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{when} {line.hook} {line.stream}: {line.text}"


def _firstOf(why: Failure) -> Failure:
    """
    What L{gatherResults} found first.
    """
    return cast(FirstError, why.value).subFailure
