# -*- test-case-name: llmux.test.test_resource -*-
"""
The tree: llmux's own routes, and all else, which is for the models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from llmux.config import Alias, Config, ModelConfig
from llmux.errors import LLMuxError, UnknownModel
from llmux.interfaces import State
from llmux.web._access import Use
from llmux.web._answer import Answer
from llmux.web._client import WebClient, askedBy
from llmux.web._errors import NotFound, answerTo
from llmux.web._page import FILES
from llmux.web._plan import Asked
from llmux.web._upgrade import TunnelExchange, wantsTunnel
from llmux.web.control import Control
from llmux.web.exchange import Context, Exchange, sendAnswer
from llmux.web.ollama import Ollama

__all__ = ("ProxyResource",)

#: Gives the metrics: their text and its content type, now or later.
GiveMetrics = Callable[[], "tuple[bytes, bytes] | Deferred[tuple[bytes, bytes]]"]

#: Gives the body of an answer and its content type, of the configuration as
#: far as it is there for whoever asks.
OwnRoute = Callable[[Config], "tuple[bytes, bytes] | Deferred[tuple[bytes, bytes]]"]


#: What is there for whoever asks: nothing of it is secret.
_FOR_EVERYONE = frozenset({b"/health", b"/llmux", *FILES})


@implementer(IResource)
class ProxyResource:
    """
    Everything that llmux serves, as one resource for any site.

    Wherever in a site it is, it looks at the whole path, so that C{/v1/...}
    is what it is to clients as well as to the models' servers: below
    C{root.putChild(b"v1", ...)} it is complete but for C{/metrics},
    C{/health}, C{/llmux/}, C{/upstream/}, C{/running} and C{/api/}.  Elsewhere, C{prefix} says where
    it is.

    The limits of L{llmux.web.site.ProxySite} on heads and on slow clients
    are not this resource's.  That on bodies is, once a body is here.

    @ivar context: what all requests have in common.
    @cvar isLeaf: it finds its own way.
    """

    log = Logger()
    isLeaf = True

    def __init__(
        self,
        context: Context,
        metrics: GiveMetrics | None = None,
        prefix: bytes = b"",
        created: int = 0,
        control: Control | None = None,
    ) -> None:
        """
        @param context: what all requests have in common.
        @param metrics: called for each C{GET /metrics}; returns a body and its
            content type.
        @param prefix: such as C{b"/llm"}: what is taken off every path, if the
            resource is not at the root of its site.
        @param created: what C{/v1/models} gives as the time at which each
            model was created, in seconds since 1970.
        @param control: the routes of operators, if they are served.
        """
        self.context = context
        self._metrics = metrics
        self._prefix = prefix.rstrip(b"/")
        self._created = created
        self._control = control
        self._ollama = Ollama(context, created)

    def getChildWithDefault(self, name: bytes, request: Any) -> IResource:
        """
        See L{IResource.getChildWithDefault}.
        """
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """
        See L{IResource.putChild}; it has no children.
        """
        raise NotImplementedError("a ProxyResource has no children")

    def render(self, request: Any) -> int:
        """
        See L{IResource.render}.
        """
        asked = askedBy(request, self._prefix)
        client = WebClient(request)
        path = asked.target.partition(b"?")[0]
        isControl = self._control is not None and self._control.serves(path)
        own = None if isControl else self._ownRoute(path)
        if asked.method == b"OPTIONS" and self._answerPreflight(client, asked, path):
            return NOT_DONE_YET
        if self._ollama.serves(path):
            self._ollama.serve(client, asked)
            return NOT_DONE_YET
        if own is None and not isControl:
            kind = TunnelExchange if wantsTunnel(asked) else Exchange
            kind(self.context, client, asked).start()
            return NOT_DONE_YET
        config = self.context.config
        if path not in _FOR_EVERYONE:
            try:
                access = self.context.access
                config = access.admit(asked, client, _useOf(path)).config
            except LLMuxError as error:
                client.attach(lambda: None)
                sendAnswer(client, answerTo(error), asked.requestId)
                return NOT_DONE_YET
        if own is None:
            assert self._control is not None
            self._control.serve(client, asked)
        else:
            self._serve(own, config, client, asked)
        return NOT_DONE_YET

    def _answerPreflight(self, client: WebClient, asked: Asked, path: bytes) -> bool:
        """
        Answer what a browser asks before it sends a request for a page.

        @return: whether that was asked.
        """
        try:
            headers = self.context.access.preflight(asked, _useOf(path))
        except LLMuxError as error:
            client.attach(lambda: None)
            sendAnswer(client, answerTo(error), asked.requestId)
            return True
        if headers is None:
            return False
        client.attach(lambda: None)
        headers.append((b"X-Request-Id", asked.requestId))
        client.head(204, b"", headers, None)
        client.finish()
        return True

    def serves(self, path: bytes) -> bool:
        """
        Whether a path is llmux's own, and not the models'.

        @param path: without a query.
        """
        isControl = self._control is not None and self._control.serves(path)
        return (
            isControl or self._ownRoute(path) is not None or self._ollama.serves(path)
        )

    def _ownRoute(self, path: bytes) -> OwnRoute | None:
        """
        What makes one of llmux's own routes.
        """
        if path in (b"/v1/models", b"/v1/models/"):
            return self._models
        if path.startswith(b"/v1/models/"):
            return lambda config: self._model(config, path[len(b"/v1/models/") :])
        if path == b"/health":
            return lambda config: (b'{"status": "ok"}\n', b"application/json")
        if path == b"/metrics" and self._metrics is not None:
            metrics = self._metrics
            return lambda config: metrics()
        if path == b"/metrics":
            return _nothing
        if path == b"/llmux" or path.startswith(b"/llmux/"):
            return _nothing
        return None

    def _serve(
        self,
        make: OwnRoute,
        config: Config,
        client: WebClient,
        asked: Asked,
    ) -> None:
        isOpen = True

        def over() -> None:
            nonlocal isOpen
            isOpen = False

        def made(answer: tuple[bytes, bytes]) -> None:
            if isOpen:
                body, kind = answer
                headers = [(b"Content-Type", kind), (b"X-Request-Id", asked.requestId)]
                client.head(200, b"", headers, len(body))
                client.write(body)
                client.finish()

        def failed(why: Failure) -> None:
            if not why.check(NotFound, UnknownModel):
                self.log.failure("while answering {path}", why, path=asked.target)
            if isOpen:
                sendAnswer(
                    client, answerTo(cast(BaseException, why.value)), asked.requestId
                )

        client.attach(over)
        if make is not _nothing and asked.method not in (b"GET", b"HEAD"):
            sendAnswer(client, _ONLY_READ, asked.requestId)
            return
        answered = maybeDeferred(make, config)
        answered.addCallbacks(made, failed)
        answered.addErrback(lambda why: self.log.failure("while answering", why))

    def _models(self, config: Config) -> tuple[bytes, bytes]:
        states = self.context.switcher.snapshot().models
        listed = [
            self._described(model, alias, states[model.name].state)
            for model in config.models.values()
            for alias in (None, *model.aliases)
            if not (model if alias is None else alias).unlisted
        ]
        listed.sort(key=lambda one: str(one["id"]))
        return _inJSON({"object": "list", "data": listed})

    def _model(self, config: Config, quoted: bytes) -> tuple[bytes, bytes]:
        name = unquote(quoted.decode("ascii", "replace"))
        model = config.modelNamed(name)
        if model is None:
            raise UnknownModel(name)
        alias = next((alias for alias in model.aliases if alias.name == name), None)
        state = self.context.switcher.snapshot().models[model.name].state
        return _inJSON(self._described(model, alias, state))

    def _described(
        self, model: ModelConfig, alias: Alias | None, state: State
    ) -> dict[str, object]:
        described: dict[str, object] = {
            "id": model.name if alias is None else alias.name,
            "object": "model",
            "created": self._created,
            "owned_by": "llmux",
            "state": state.value,
        }
        description = (alias and alias.description) or model.description
        if description is not None:
            described["description"] = description
        if model.context_length is not None:
            described["context_length"] = model.context_length
        if model.capabilities:
            described["capabilities"] = model.capabilities
        return {**described, **model.metadata}


_ONLY_READ = Answer(
    405,
    "method_not_allowed",
    "This path can only be read, with GET.",
    headers=((b"Allow", b"GET, HEAD"),),
)


def _useOf(path: bytes) -> Use:
    """
    What a path is for.
    """
    if path == b"/metrics":
        return Use.METRICS
    if path.startswith((b"/llmux/", b"/api/models/unload")) or path in (
        b"/llmux",
        b"/running",
    ):
        return Use.OPERATORS
    return Use.MODELS


def _nothing(config: Config) -> tuple[bytes, bytes]:
    raise NotFound()


def _inJSON(value: object) -> tuple[bytes, bytes]:
    return json.dumps(value).encode("ascii") + b"\n", b"application/json"
