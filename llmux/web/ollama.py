# -*- test-case-name: llmux.test.test_wire -*-
"""
Ollama's API, for tools that speak nothing else.

What models there are and what they do, llmux knows by itself.  What is asked of
a model goes to its server as it is, if that speaks Ollama's API, and is
translated to OpenAI's and back otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from attrs import evolve, frozen
from twisted.logger import Logger

from llmux._version import __version__
from llmux.config import Config, ModelConfig
from llmux.errors import LLMuxError, UnknownModel
from llmux.interfaces import State
from llmux.switching.inflight import Token
from llmux.web._errors import (
    BadBody,
    BodyTooLarge,
    ModelRequired,
    WrongMethod,
    answerTo,
)
from llmux.web._looks import Look, Translating
from llmux.web._model import Said
from llmux.web._ollamaanswer import Answering, timeOf
from llmux.web._ollamaasked import Route, Turned, inJSON, read
from llmux.web._ollamaclient import OllamaClient
from llmux.web._plan import Asked, Plan, Steps, planning
from llmux.web._scanner import LEAST
from llmux.web.exchange import Context, Exchange, sendAnswer

__all__ = ("Ollama",)

#: The version whose API this is, since tools ask for one that is new enough.
VERSION = "0.12.6"

#: The longest request that is translated, in bytes: it has to be in memory.
LONGEST = 64 * 1024 * 1024

#: The longest request to show a model, in bytes: it holds little but a name.
SHOWN = 64 * 1024

#: When a model goes that nobody knows when to expect to go.
_NEVER = "9999-12-31T23:59:59Z"

_ASKING = {route.value: route for route in Route}
_PATHS = frozenset({b"/api/tags", b"/api/ps", b"/api/version", b"/api/show", *_ASKING})

#: Headers of a request that are of its body, or about what its answer may be.
_DROPPED = frozenset(
    {b"accept", b"accept-encoding", b"content-type", b"content-encoding"}
)

_AWAKE = (State.AWAKE, State.CHECKING, State.DRAINING)


class Ollama:
    """
    The routes.
    """

    log = Logger()

    def __init__(self, context: Context, created: int) -> None:
        """
        @param context: what all requests have in common.
        @param created: since when models have been as they are, in seconds
            since 1970.
        """
        self._context = context
        self._created = created

    def serves(self, path: bytes) -> bool:
        """
        Whether a path is one of these.

        @param path: without the query.
        """
        return path in _PATHS

    def serve(self, client: Any, asked: Asked) -> None:
        """
        Answer a request for one of these paths.

        @param client: provides L{llmux.web._relay.IClient}.
        """
        client = OllamaClient(client)
        path = asked.target.partition(b"?")[0]
        if path in _ASKING and asked.method == b"POST":
            OllamaExchange(self._context, client, asked, _ASKING[path]).start()
            return
        client.attach(_nothing)
        try:
            config = self._context.access.admit(asked, client).config
            body = inJSON(self._document(path, asked, config))
        except Exception as error:
            answer = answerTo(error)
            if not answer.expected:
                self.log.failure("while answering {path}", path=asked.target)
            sendAnswer(client, answer, asked.requestId)
            return
        headers = [
            (b"Content-Type", b"application/json; charset=utf-8"),
            (b"X-Request-Id", asked.requestId),
        ]
        client.head(200, b"", headers, len(body))
        client.write(body)
        client.finish()

    def _document(self, path: bytes, asked: Asked, config: Config) -> object:
        isPost = path == b"/api/show" or path in _ASKING
        if asked.method not in ((b"POST",) if isPost else (b"GET", b"HEAD")):
            raise WrongMethod("POST" if isPost else "GET, HEAD")
        if path == b"/api/version":
            return {"version": VERSION, "llmux": __version__}
        if path == b"/api/tags":
            listed = [self._listed(name, model) for name, model in _names(config)]
            return {"models": listed}
        if path == b"/api/ps":
            return {"models": list(self._running(config))}
        if asked.length > SHOWN:
            raise BodyTooLarge(SHOWN)
        asked.body.seek(0)
        said = read(asked.body.read(asked.length))
        name = said.get("model") or said.get("name")
        if not name:
            raise ModelRequired()
        if not isinstance(name, str):
            raise BadBody("`model` must be a string", "model")
        return self._shown(*_found(config, name))

    def _listed(self, name: str, model: ModelConfig) -> dict[str, object]:
        return {
            "name": name,
            "model": name,
            "modified_at": timeOf(self._created),
            "size": 0,
            # Of nothing that anybody has, but not that of another.
            "digest": sha256(name.encode("utf-8", "replace")).hexdigest(),
            "details": _details(model),
        }

    def _running(self, config: Config) -> Iterator[dict[str, object]]:
        views = self._context.switcher.snapshot().models
        now = self._context.clock.seconds()
        for name, model in _names(config):
            view = views.get(model.name)
            if view is None or view.state not in _AWAKE or name != model.name:
                continue
            ttl = model.ttl_secs
            running = self._listed(name, model)
            del running["modified_at"]
            running["size_vram"] = 0
            running["expires_at"] = _NEVER if ttl is None else timeOf(now + ttl)
            running["context_length"] = model.context_length or 0
            yield running

    def _shown(self, name: str, model: ModelConfig) -> dict[str, object]:
        info: dict[str, object] = {
            "general.architecture": "llmux",
            "general.basename": name,
        }
        if model.context_length is not None:
            info["llmux.context_length"] = model.context_length
        return {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "license": "",
            "modified_at": timeOf(self._created),
            "details": _details(model),
            "model_info": info,
            "capabilities": list(model.capabilities) or ["completion"],
        }


class OllamaExchange(Exchange):
    """
    One request to a model.
    """

    _client: OllamaClient
    # Its streams have no comments.
    _hasHeart = False
    # To translate one takes longer than to look at it.
    _least = LEAST // 2
    # What is said when the model is awake, if nothing is asked of it.
    _loaded = b""

    def __init__(
        self, context: Context, client: OllamaClient, asked: Asked, route: Route
    ) -> None:
        super().__init__(context, client, asked)
        self._route = route

    def _steps(self, config: Config) -> Steps:
        asked = self._asked
        kind, encoding = (
            asked.header(b"content-type"),
            asked.header(b"content-encoding"),
        )
        said: Said = yield Look(kind, encoding, asked.length), asked.body
        given = said.model
        if given is None:
            raise ModelRequired()
        name, model = _found(config, given)
        self._account.model = model.name
        if model.api == "ollama":
            return (yield from planning(config, asked))
        if asked.length > LONGEST:
            raise BodyTooLarge(LONGEST)
        translating = Translating(kind, encoding, asked.length, self._route, name)
        turned: Turned = yield translating, asked.body
        if turned.isEmpty:
            self._loaded = self._emptied(given, "unload" if turned.isUnload else "load")
            if turned.isUnload:
                raise _Said(self._loaded)
        headers = [pair for pair in asked.headers if pair[0].lower() not in _DROPPED]
        headers.append((b"Content-Type", b"application/json"))
        self._asked = evolve(
            asked,
            target=turned.made.target,
            headers=headers,
            body=turned.body,
            length=turned.length,
        )
        if not self._loaded:
            seconds = self._context.clock.seconds
            self._client.answering = Answering(turned.made, given, seconds)
        return (yield from planning(config, self._asked))

    def _emptied(self, name: str, reason: str) -> bytes:
        made: dict[str, object] = {
            "model": name,
            "created_at": timeOf(self._context.clock.seconds()),
        }
        if self._route is Route.CHAT:
            made["message"] = {"role": "assistant", "content": ""}
        else:
            made["response"] = ""
        return inJSON({**made, "done": True, "done_reason": reason})

    def _send(self, plan: Plan, token: Token) -> None:
        if self._loaded:
            self._say(self._loaded)
        else:
            super()._send(plan, token)

    def _refuse(self, error: Any) -> None:
        if isinstance(error, _Said):
            self._say(error.body)
        else:
            super()._refuse(error)

    def _say(self, body: bytes) -> None:
        """
        Answer without asking anybody.
        """
        self._stopTimer()
        self._hasBegun = True
        self._account.status = 200
        self._account.size = len(body)
        self._client.head(
            200,
            b"",
            [
                (b"Content-Type", b"application/json; charset=utf-8"),
                (b"X-Request-Id", self._asked.requestId),
            ],
            len(body),
        )
        self._client.write(body)
        self._client.finish()


@frozen
class _Said(LLMuxError):
    """
    There is no need for a model.
    """

    body: bytes


def _names(config: Config) -> list[tuple[str, ModelConfig]]:
    """
    All names that are listed, in their order.
    """
    found = [
        (name, model)
        for model in config.models.values()
        for name, isHidden in [
            (model.name, model.unlisted),
            *[(alias.name, alias.unlisted) for alias in model.aliases],
        ]
        if not isHidden
    ]
    return sorted(found, key=lambda both: both[0])


def _found(config: Config, name: str) -> tuple[str, ModelConfig]:
    """
    The model that is meant by a name, to which tools may have put Ollama's
    usual tag.
    """
    for one in (name, name.removesuffix(":latest")):
        model = config.modelNamed(one)
        if model is not None:
            return one, model
    raise UnknownModel(name)


def _details(model: ModelConfig) -> dict[str, object]:
    return {
        "parent_model": "",
        "format": "",
        "family": "llmux",
        "families": ["llmux"],
        "parameter_size": "",
        "quantization_level": "",
    }


def _nothing() -> None:
    pass
