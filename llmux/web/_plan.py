# -*- test-case-name: llmux.test.test_web_plan -*-
"""
A request as it came, and what is to be sent to which model because of it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import lru_cache
from typing import IO, Any

from attrs import evolve, frozen

from llmux.config import Config, ModelConfig
from llmux.errors import UnknownModel
from llmux.web._errors import BadBody, BodyTooLarge, ModelRequired, NotFound
from llmux.web._headers import Pair
from llmux.web._json import plainlySaid
from llmux.web._looks import Look, Renaming, Shaping
from llmux.web._model import (
    Pieces,
    Said,
    Slice,
    nameInQuery,
    nameInTarget,
    withModelInQuery,
)
from llmux.web._target import PREFIX

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
    @ivar isLocal: whether it came to a loopback address.
    """

    method: bytes
    target: bytes
    headers: Sequence[Pair]
    body: IO[bytes]
    length: int
    peer: bytes
    scheme: bytes
    version: bytes
    requestId: bytes
    isLocal: bool = False

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
    @ivar maxTokens: how many tokens the answer may have, if that is known.
    """

    model: ModelConfig
    target: bytes
    pieces: Pieces
    maxTokens: int | None = None


#: How a plan is made: looks, each with the body that it is at.
Steps = Generator[tuple[Look, IO[bytes]], Any, Plan]


def makePlan(config: Config, asked: Asked) -> Plan:
    """
    Find which model a request is for, and what its server is to get.

    @raise LLMuxError: if it is for none, for one that is not configured, or
        if its body is too large or broken.
    """
    return made(planning(config, asked))


def made(steps: Steps) -> Plan:
    """
    Make a plan, with each look at a body in its turn.

    @raise LLMuxError: as L{makePlan}.
    """
    try:
        look, body = next(steps)
        while True:
            try:
                found = look.at(body)
            except BadBody as error:
                look, body = steps.throw(error)
            else:
                look, body = steps.send(found)
    except StopIteration as end:
        plan: Plan = end.value
        return plan


def planning(config: Config, asked: Asked) -> Steps:
    """
    As L{makePlan}, with its looks at the body left to whoever goes through
    this: it is to be sent what they find, or to have thrown into it what is
    wrong with the body.
    """
    length = asked.length
    limit = int(config.limits.body_mb * MEBIBYTE)
    if length > limit:
        raise BodyTooLarge(limit)
    named = nameInTarget(asked.target, lambda name: config.modelNamed(name) is not None)
    if named.model is not None:
        model = _configured(config, named.model)
        said = yield from _saidBeside(model, asked)
        again = _nameAgain(config, model, said)
        pieces = yield from _body(config, asked, named.model, again, isMeant=False)
        return Plan(model, named.path, pieces, said.maxTokens)
    said = Said()
    if length:
        said = yield Look(*_kindOf(asked), length), asked.body
        if said.model is not None:
            model = _configured(config, said.model)
            pieces = yield from _body(config, asked, said.model, model.backend_model)
            return Plan(model, asked.target, pieces, said.maxTokens)
    name = nameInQuery(asked.target)
    if name is not None:
        model = _configured(config, name)
        target = asked.target
        if model.backend_model is not None:
            target = withModelInQuery(target, model.backend_model)
        pieces = yield from _body(config, asked, name, None)
        return Plan(model, target, pieces, said.maxTokens)
    if length and asked.target.startswith(b"/v1/"):
        raise ModelRequired()
    raise NotFound()


def renamed(before: Config, plan: Plan, now: Config) -> Config | None:
    """
    By which configuration to make the plan of a request once more, whose model
    is known to its server by another name now than when it was made.

    @param before: that by which it was made.
    @return: the same, but for that name; L{None} if there is no need.
    """
    name = plan.model.name
    model = now.models.get(name)
    if model is None or model.backend_model == plan.model.backend_model:
        return None
    # All else of it is as it was, or the request might be for nobody.
    again = evolve(plan.model, backend_model=model.backend_model)
    return evolve(before, models={**before.models, name: again})


def plainPlan(config: Config, asked: Asked, body: bytes) -> Plan | None:
    """
    As L{makePlan}, of a request as nearly all are: its body, which is at hand,
    is JSON and names a model, and goes on as it is.

    @param body: what is in C{asked.body}.
    @return: L{None} if there is anything else about it: it is for L{makePlan}.
    """
    headers = asked.headers
    if (
        type(headers) is not tuple
        or not _isPlainJSON(headers)
        or asked.target.startswith(PREFIX)
        or len(body) > config.limits.body_mb * MEBIBYTE
    ):
        return None
    said = plainlySaid(body)
    if said is None or said.model is None or config.shapeFor(said.model) is not None:
        return None
    model = config.modelNamed(said.model)
    if model is None or model.backend_model is not None:
        return None
    return Plan(model, asked.target, (Slice(0, len(body)),), said.maxTokens)


@lru_cache(256)
def _isPlainJSON(headers: tuple[Pair, ...]) -> bool:
    # Clients say the same again and again.
    said = [(name.lower(), value) for name, value in headers]
    kinds = [value for name, value in said if name == b"content-type"]
    encoded = any(name == b"content-encoding" for name, _ in said)
    return not encoded and kinds[:1] == [b"application/json"]


def _configured(config: Config, name: str) -> ModelConfig:
    model = config.modelNamed(name)
    if model is None:
        raise UnknownModel(name)
    return model


def _kindOf(asked: Asked) -> tuple[bytes | None, bytes | None]:
    return asked.header(b"content-type"), asked.header(b"content-encoding")


def _body(
    config: Config,
    asked: Asked,
    name: str,
    rename: str | None,
    isMeant: bool = True,
) -> Generator[tuple[Look, IO[bytes]], Any, Pieces]:
    """
    The body that the model's server gets.

    @param name: the name by which the model was asked for.
    @param rename: what is to stand in the place of the name in the body.
    @param isMeant: whether the body is what names the model.  If not, and the
        place of the name cannot be told, that is between the client and the
        server.
    """
    length = asked.length
    if not length:
        return ()
    shape = config.shapeFor(name)
    if shape is not None:
        shaping = Shaping(*_kindOf(asked), length, shape, rename)
        pieces: Pieces | None = yield shaping, asked.body
        if pieces is not None:
            return pieces
    if rename is not None:
        try:
            renaming = Renaming(*_kindOf(asked), length, rename)
            other: Pieces = yield renaming, asked.body
            return other
        except BadBody:
            if isMeant:
                raise
    return (Slice(0, length),)


def _saidBeside(
    model: ModelConfig, asked: Asked
) -> Generator[tuple[Look, IO[bytes]], Any, Said]:
    """
    What a body says whose model the path names.  What is wrong with it is
    between the client and the server.
    """
    kind = asked.header(b"content-type") or b""
    isForm = kind.lstrip()[:10].lower() == b"multipart/"
    # Of a form it is only the name that could matter, and uploads are large.
    if not asked.length or (isForm and model.backend_model is None):
        return Said()
    try:
        said: Said = yield Look(*_kindOf(asked), asked.length), asked.body
        return said
    except BadBody:
        return Said()


def _nameAgain(config: Config, model: ModelConfig, said: Said) -> str | None:
    """
    What is to stand in the place of the name in the body of a request whose
    path names the model: if it names the same model once more, as SDKs do,
    that name too is one that the server knows otherwise.
    """
    if model.backend_model is None or said.model is None:
        return None
    isSame = config.modelNamed(said.model) is model
    return model.backend_model if isSame else None
