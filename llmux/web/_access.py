# -*- test-case-name: llmux.test.test_web_access,llmux.test.test_wire -*-
"""
Who asks, and whether they may: keys, hosts, and pages of other sites.

Nothing of a key gets into an error, a log or a representation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from hashlib import blake2b, sha256
from ipaddress import ip_address
from secrets import token_bytes
from typing import Any

from attrs import define, evolve, field, fields

from llmux.config import ApiKey, Config
from llmux.interfaces import ICosts
from llmux.web._denied import (
    ForeignOrigin,
    InvalidKey,
    NotAllowed,
    TooManyAtOnce,
    UnknownHost,
)
from llmux.web._headers import KEYS, Pair, keyIn
from llmux.web._origin import isFollowed, isForeign
from llmux.web._plan import Asked

__all__ = ()

#: What L{Access} looks at.
_OF_BROWSERS = frozenset({b"origin", b"sec-fetch-site"})
_LOOKED_AT = KEYS | _OF_BROWSERS | {b"host"}

#: How many values of C{Host} are remembered.
_MANY = 256

_isHost = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]*)?").fullmatch
_isListOfNames = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z, ]{1,1000}").fullmatch


class Use(Enum):
    """
    What a request is for.
    """

    #: To ask models, and which there are.
    MODELS = "models"
    #: To read metrics.
    METRICS = "metrics"
    #: To look and steer.
    OPERATORS = "operators"


@define(eq=False)
class Principal:
    """
    Who asks.

    @ivar config: the configuration, as far as it is there for them.
    @ivar name: the name of their key; empty if there is no need of keys.
    @ivar priority: is added to that of the model.
    @ivar maxPriority: up to where they may set that themselves, if it is more.
    @ivar maxInFlight: how many of their requests may be there at once.
    @ivar isOperator: whether they may look and steer.
    @ivar readsMetrics: whether they may read metrics.
    @ivar inFlight: how many of their requests are there.
    """

    config: Config = field(repr=False)
    name: str = ""
    priority: float = 0.0
    maxPriority: float | None = None
    maxInFlight: int | None = None
    isOperator: bool = True
    readsMetrics: bool = True
    inFlight: int = field(default=0, init=False)

    def enter(self, model: str, costs: ICosts) -> None:
        """
        Take note of a request.

        @raise TooManyAtOnce: it is one too many.
        """
        if self.maxInFlight is not None and self.inFlight >= self.maxInFlight:
            raise TooManyAtOnce(self.maxInFlight, costs.service(model))
        self.inFlight += 1

    def become(self, other: Principal) -> Principal:
        """
        Have what another has, but for what is in flight.
        """
        for one in fields(Principal):
            if one.init:
                setattr(self, one.name, getattr(other, one.name))
        return self

    def leave(self) -> None:
        """
        Take note that a request is over.
        """
        self.inFlight -= 1

    def mayUse(self, use: Use) -> None:
        """
        @raise NotAllowed: it is not for them.
        """
        if (use is Use.OPERATORS and not self.isOperator) or (
            use is Use.METRICS and not self.readsMetrics
        ):
            raise NotAllowed()


class Access:
    """
    Lets requests in.

    @ivar generation: how many configurations it has gone by.
    """

    def __init__(self, config: Config) -> None:
        # Keys are found by a hash that nobody outside can know, so that the
        # time that it takes to find one or none says nothing about them.
        self._secret = token_bytes(32)
        self._principals: dict[bytes, Principal] = {}
        self.generation = 0
        self.follow(config)

    def follow(self, config: Config) -> None:
        """
        Go by another configuration from here on.  Who has a key yet is who
        they were: what they ask at once is counted on.
        """
        self.generation += 1
        before, self._principals = self._principals, {}
        for key in config.api_keys.values():
            hidden = self._hidden(key.digest)
            found = Principal(
                _restricted(config, key),
                key.name,
                key.priority,
                key.max_priority,
                key.max_in_flight,
                key.operator,
                key.operator or key.metrics,
            )
            known = before.get(hidden)
            self._principals[hidden] = found if known is None else known.become(found)
        self._anyone = None if config.api_keys else Principal(config)
        names = {name.lower().rstrip(".") for name in config.allowed_hosts}
        self._isEveryHost = "*" in names
        self._names = frozenset(names | {"localhost"})
        self._hosts: dict[bytes, bool] = {}
        self._origins = {
            origin.lower().encode("ascii") for origin in config.cors_origins
        }

    def admit(self, asked: Asked, client: Any, use: Use = Use.MODELS) -> Principal:
        """
        Find who asks, and let their browser show the answer to its page, if
        the page may see it.

        @param client: provides L{llmux.web._relay.IClient}.
        @raise LLMuxError: if they may not ask.
        """
        headers = asked.headers
        found, hosts, isOfBrowser = (
            _known(headers) if type(headers) is tuple else _looked(headers)
        )
        if asked.isLocal and not self._isEveryHost:
            self._checkHost(hosts)
        if isOfBrowser:
            self._checkPage(asked, client, use)
        if self._anyone is not None:
            return self._anyone
        for name, value in found:
            principal = self._ownerOf(keyIn(name, value))
            if principal is not None:
                principal.mayUse(use)
                return principal
        raise InvalidKey(use is Use.OPERATORS)

    def isKnown(self, headers: Iterable[Pair]) -> bool:
        """
        Whether a request with such headers comes with a key, if it needs one.
        """
        return self._anyone is not None or any(
            self.isOwnKey(keyIn(name.lower(), value)) for name, value in headers
        )

    def isOwnKey(self, key: bytes) -> bool:
        """
        Whether a key is one for llmux, and so for nobody else to see.
        """
        return self._ownerOf(key) is not None

    def preflight(self, asked: Asked, use: Use) -> list[Pair] | None:
        """
        What a browser has to know before it sends a request for a page.

        @param use: what the request would be for.
        @return: headers; L{None} if that is not what is asked.
        @raise LLMuxError: if it may not send it.
        """
        origin = asked.header(b"origin")
        if (
            asked.method != b"OPTIONS"
            or origin is None
            or asked.header(b"access-control-request-method") is None
        ):
            return None
        if asked.isLocal and not self._isEveryHost:
            self._checkHost([asked.header(b"host") or b""])
        allowed = self._allowed(origin, use)
        if not allowed:
            raise ForeignOrigin()
        wanted = asked.header(b"access-control-request-headers")
        headers = [
            *allowed,
            (b"Access-Control-Allow-Methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
            (b"Access-Control-Max-Age", b"600"),
        ]
        if wanted is not None and _isListOfNames(wanted):
            headers.append((b"Access-Control-Allow-Headers", wanted))
        if asked.header(b"access-control-request-private-network") == b"true":
            headers.append((b"Access-Control-Allow-Private-Network", b"true"))
        return headers

    def _hidden(self, digest: bytes) -> bytes:
        return blake2b(digest, key=self._secret).digest()

    def _ownerOf(self, key: bytes) -> Principal | None:
        if not key or not self._principals:
            return None
        return self._principals.get(self._hidden(sha256(key).digest()))

    def _checkHost(self, hosts: Iterable[bytes]) -> None:
        # A page whose name is made to lead to this machine asks by that name.
        for host in hosts:
            known = self._hosts.get(host)
            if known is None:
                known = self._isOurs(host)
                if len(self._hosts) < _MANY:
                    self._hosts[host] = known
            if not known:
                raise UnknownHost()

    def _isOurs(self, host: bytes) -> bool:
        if not host:
            return True
        parts = _isHost(host)
        if parts is None:
            return False
        name = parts[1].decode("latin-1").lower()
        return name.rstrip(".") in self._names or isLoopback(name.strip("[]"))

    def _checkPage(self, asked: Asked, client: Any, use: Use) -> None:
        origin = asked.header(b"origin")
        allowed = self._allowed(origin or b"", use)
        if allowed:
            client.add(allowed)
        elif isForeign(asked, use is Use.MODELS) and (
            origin is not None or not isFollowed(asked)
        ):
            raise ForeignOrigin()

    def _allowed(self, origin: bytes, use: Use) -> list[Pair]:
        """
        What lets a browser show an answer to a page: nothing, if it may not.
        """
        if origin.lower() in self._origins:
            shown = [(b"Access-Control-Allow-Origin", origin), (b"Vary", b"Origin")]
        elif origin and b"*" in self._origins and use is Use.MODELS:
            shown = [(b"Access-Control-Allow-Origin", b"*")]
        else:
            return []
        return [*shown, (b"Access-Control-Expose-Headers", b"*")]


def _looked(headers: Iterable[Pair]) -> tuple[list[Pair], list[bytes], bool]:
    """
    What there is to look at in the headers of a request, with names in lower
    case; of that the values of C{Host}; and whether a browser sent it.
    """
    found = [
        (lower, value)
        for name, value in headers
        if (lower := name.lower()) in _LOOKED_AT
    ]
    hosts = [value for name, value in found if name == b"host"]
    return found, hosts, not _OF_BROWSERS.isdisjoint([name for name, _ in found])


# Most clients say the same again and again.
_known = lru_cache(256)(_looked)


def _restricted(config: Config, key: ApiKey) -> Config:
    """
    A configuration without the models that are not for a key.
    """
    if key.models is None:
        return config
    models = filter(None, map(config.modelNamed, key.models))
    return evolve(config, models={model.name: model for model in models})


@lru_cache(256)
def isLoopback(host: str) -> bool:
    """
    Whether only this machine can reach an address.

    @param host: an address, or anything else, which is none.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    # The same in Python before 3.13, for sockets that are for both kinds.
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
