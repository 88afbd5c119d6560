"""
A middleware for vLLM that keeps clients away from what only hooks may do.

vLLM's development mode adds routes that put the engine to sleep, call any
method of its workers, and more.  Its C{--api-key} does not cover them, and
llmux passes on any path to a model that a request names.  So the engine
itself has to tell its clients from the hooks: whoever does not bring the
secret gets the routes below and 404 for everything else.

Nothing is imported but the standard library; vLLM gets it by
C{--middleware guard.AdminGuard}.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["AdminGuard"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: What clients may ask for.  Not all of C{/v1/}: vLLM has routes there, too,
#: that load adapters from any path.
CLIENT_ROUTES = frozenset(
    [
        "/health",
        "/metrics",
        "/ping",
        "/version",
        "/tokenize",
        "/detokenize",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/score",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
    ]
)

HEADER = b"x-admin-secret"


class AdminGuard:
    """
    An ASGI application around another.  It is given the secret through the
    environment, C{LLMUX_ADMIN_SECRET}; without one nobody is an admin.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._secret = os.environ.get("LLMUX_ADMIN_SECRET", "").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Pass a request on, or refuse it.
        """
        if (
            scope["type"] == "lifespan"
            or scope["path"] in CLIENT_ROUTES
            or self._knowsSecret(scope)
        ):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close"})

    def _knowsSecret(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == HEADER]
        return bool(
            self._secret
            and len(given) == 1
            and hmac.compare_digest(given[0], self._secret)
        )
