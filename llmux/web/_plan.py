# -*- test-case-name: llmux.test.test_web_plan -*-
"""
A request as it came, and what is to be sent to which model because of it.
"""

from __future__ import annotations

from typing import IO

from attrs import frozen

from llmux.config import Config, ModelConfig
from llmux.errors import UnknownModel
from llmux.web._errors import BadBody, BodyTooLarge, ModelRequired, NotFound
from llmux.web._headers import Pair
from llmux.web._model import (
    Pieces,
    Slice,
    nameInBody,
    nameInQuery,
    nameInTarget,
    withModel,
    withModelInQuery,
)

__all__ = ()

MEBIBYTE = 1024 * 1024


@frozen(eq=False)
class Asked:
    """
    A request, received whole.

    @ivar target: the request target, in origin form.
    @ivar headers: in the order in which they came.
    @ivar body: a file, in memory or on disk.
    @ivar length: the length of the body in bytes.
    @ivar peer: the client's IP address, or the empty string if it has none.
    @ivar scheme: C{http} or C{https}.
    @ivar version: the HTTP version, such as C{1.1}.
    @ivar requestId: the request's id.
    """

    method: bytes
    target: bytes
    headers: list[Pair]
    body: IO[bytes]
    length: int
    peer: bytes
    scheme: bytes
    version: bytes
    requestId: bytes

    def header(self, name: bytes) -> bytes | None:
        """
        The first header of a name.

        @param name: in lower case.
        """
        for given, value in self.headers:
            if given.lower() == name:
                return value
        return None


@frozen
class Plan:
    """
    What is to be sent.

    @ivar model: the model to whose server it goes.
    @ivar target: the request target there.
    @ivar pieces: the body there.
    """

    model: ModelConfig
    target: bytes
    pieces: Pieces


def makePlan(config: Config, asked: Asked) -> Plan:
    """
    Find which model a request is for, and what its server is to get.

    @raise LLMuxError: if it is for none, for one that is not configured, or
        if its body is too large or broken.
    """
    length = asked.length
    limit = int(config.limits.body_mb * MEBIBYTE)
    if length > limit:
        raise BodyTooLarge(limit)
    named = nameInTarget(asked.target, lambda name: config.modelNamed(name) is not None)
    whole: Pieces = (Slice(0, length),) if length else ()
    if named.model is not None:
        model = _configured(config, named.model)
        return Plan(model, named.path, _renamed(config, model, asked, whole))
    kind = encoding = None
    if length:
        kind, encoding = (
            asked.header(b"content-type"),
            asked.header(b"content-encoding"),
        )
        name = nameInBody(kind, encoding, asked.body, length)
        if name is not None:
            model = _configured(config, name)
            if model.backend_model is not None:
                whole = withModel(
                    kind, asked.body, length, model.backend_model, encoding
                )
            return Plan(model, asked.target, whole)
    name = nameInQuery(asked.target)
    if name is not None:
        model = _configured(config, name)
        target = asked.target
        if model.backend_model is not None:
            target = withModelInQuery(target, model.backend_model)
        return Plan(model, target, whole)
    if length and asked.target.startswith(b"/v1/"):
        raise ModelRequired()
    raise NotFound()


def _configured(config: Config, name: str) -> ModelConfig:
    model = config.modelNamed(name)
    if model is None:
        raise UnknownModel(name)
    return model


def _renamed(config: Config, model: ModelConfig, asked: Asked, whole: Pieces) -> Pieces:
    """
    The body of a request whose path names the model: if it names the same
    model once more, as SDKs do, that name too is one that the server knows
    otherwise.  If it cannot be read, that is between the client and the
    server.
    """
    if model.backend_model is None or not asked.length:
        return whole
    kind, encoding = asked.header(b"content-type"), asked.header(b"content-encoding")
    try:
        name = nameInBody(kind, encoding, asked.body, asked.length)
        if name is None or config.modelNamed(name) is not model:
            return whole
        return withModel(kind, asked.body, asked.length, model.backend_model, encoding)
    except BadBody:
        return whole
