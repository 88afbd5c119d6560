# -*- test-case-name: llmux.test.test_service -*-
# mypy: allow-untyped-calls
"""
Where llmux listens.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.config import Config
from llmux.errors import CannotStart, ConfigError
from llmux.web._access import isLoopback
from llmux.web.site import ProxySite

#: How many connections may wait to be accepted.  Of Twisted's usual 50 there are
#: more when many clients come at once, and the system resets the rest.  It
#: takes less where it allows less (C{net.core.somaxconn}).
BACKLOG = 4096

__all__ = ["CannotListen", "Listening", "endpointOf", "isLocal"]


class CannotListen(CannotStart):
    """
    An address cannot be listened on.
    """


class Listening(Service):
    """
    A server endpoint, listened on while the service runs.

    @ivar description: the endpoint, as Twisted's strings have it.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, description: str, site: ProxySite, hasKeys: bool = False
    ) -> None:
        """
        @param hasKeys: whether those who come need a key.
        @raise ConfigError: the description is not that of an endpoint.
        """
        self.description = description
        self._site = site
        self._hasKeys = hasKeys
        self._ports: list[IListeningPort] = []
        try:
            self._endpoint = serverFromString(reactor, withBacklog(description))
        except Exception as error:
            # Parsers of endpoints, which may be plugins, raise what they like.
            raise ConfigError.one(
                f"{description!r} is not a server endpoint: {error}", "listen"
            ) from None

    def startService(self) -> None:
        """
        Listen.

        @raise CannotListen: the address is not to be had, if that is known at
            once, as it is for TCP and for Unix sockets.
        """
        super().startService()
        failures: list[Failure] = []
        self._endpoint.listen(self._site).addCallbacks(self._listens, failures.append)
        if failures:
            error = failures[0].value
            why = error.socketError if isinstance(error, CannotListenError) else error
            raise CannotListen(f"cannot listen on {self.description}: {why}")

    def _listens(self, port: IListeningPort) -> None:
        self._ports.append(port)
        self._site.descriptors.guard(port)
        address = port.getHost()
        self.log.info(
            "Listening on {address}", event="listening", address=_readable(address)
        )
        self._warn(address)

    def follow(self, hasKeys: bool) -> None:
        """
        Note whether those who come need a key from here on.
        """
        if hasKeys != self._hasKeys:
            self._hasKeys = hasKeys
            for port in self._ports:
                self._warn(port.getHost())

    def _warn(self, address: Any) -> None:
        if not isLocal(address) and not self._hasKeys:
            self.log.warn(
                "{address} can be reached from other machines, and there are no "
                "api_keys: whoever reaches it may use every model and put it to "
                'sleep. Set "api_keys", or "host: 127.0.0.1", unless that is what '
                "you want.",
                event="open_to_others",
                address=_readable(address),
            )

    async def _stopListening(self) -> None:
        for port in self._ports:
            self._site.descriptors.forget(port)
            result = port.stopListening()
            if result is not None:
                await result
        self._ports.clear()

    def stopService(self) -> Deferred[None]:
        """
        Accept no more connections.

        @return: fires when the port is closed.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stopListening())


def isLocal(address: Any) -> bool:
    """
    Whether only this machine can reach an address.
    """
    host = getattr(address, "host", None)
    return host is None or isLoopback(host)


def _readable(address: Any) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(getattr(address, "name", address))
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def withBacklog(description: str) -> str:
    """
    The description of an endpoint with room for many who come at once, unless
    it says itself how many.
    """
    kind = description.partition(":")[0]
    if kind not in ("tcp", "tcp6", "ssl", "unix") or ":backlog=" in description:
        return description
    return f"{description}:backlog={BACKLOG}"


def endpointOf(config: Config) -> str:
    """
    The endpoint string for a configuration's C{host} and C{port}.
    """
    host = config.host.replace("\\", "\\\\").replace(":", "\\:")
    kind = "tcp6" if ":" in config.host else "tcp"
    return f"{kind}:{config.port}:interface={host}"
