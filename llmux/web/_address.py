# -*- test-case-name: llmux.test.test_web_address -*-
"""
Where the server of a model is.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint

__all__ = ()

_PORTS = {"http": 80, "https": 443}


@frozen
class Address:
    """
    A base URL, taken apart once.

    @ivar text: the base URL as it was given.
    @ivar secure: whether TLS is spoken.
    @ivar host: the name or IP address of the machine, without brackets; or
        the path of a socket, if C{port} is L{None}.
    @ivar port: the TCP port.
    @ivar hostHeader: the value for C{Host}.
    @ivar path: what goes in front of every request target; does not end in a
        slash.
    """

    text: str
    secure: bool
    host: str
    port: int | None
    hostHeader: bytes
    path: bytes


def parseAddress(text: str) -> Address:
    """
    Take a base URL apart.

    @param text: such as C{http://127.0.0.1:8001}, C{https://gpu2/llama} or
        C{unix:/run/llama.sock}.
    @raise ValueError: if it is none of these; says what is wrong with it.
    """
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address(text, False, text[len("unix:") :], None, b"localhost", b"")
    parts = urlsplit(text)
    usual = _PORTS.get(parts.scheme)
    if usual is None or not parts.hostname or not text.isascii():
        raise ValueError(f"not an http(s) or unix address: {text!r}")
    port = parts.port or usual
    host = parts.hostname
    header = f"[{host}]" if ":" in host else host
    if port != usual:
        header = f"{header}:{port}"
    return Address(
        text,
        parts.scheme == "https",
        host,
        port,
        header.encode("ascii"),
        parts.path.rstrip("/").encode("ascii"),
    )


def endpointFor(
    reactor: Any, address: Address, connectTimeout: float
) -> IStreamClientEndpoint:
    """
    The endpoint that connects to an address.

    @param reactor: provides L{IReactorTCP}, L{IReactorUNIX} and so on, as far
        as the address needs them.
    @param connectTimeout: the number of seconds to wait for a connection.
    """
    if address.port is None:
        return UNIXClientEndpoint(reactor, address.host, timeout=connectTimeout)
    endpoint: IStreamClientEndpoint
    if isIPAddress(address.host):
        endpoint = TCP4ClientEndpoint(
            reactor, address.host, address.port, timeout=connectTimeout
        )
    elif isIPv6Address(address.host):
        endpoint = TCP6ClientEndpoint(
            reactor, address.host, address.port, timeout=connectTimeout
        )
    else:
        endpoint = HostnameEndpoint(
            reactor, address.host, address.port, timeout=connectTimeout
        )
    if not address.secure:
        return endpoint
    # Needs pyOpenSSL, which those who speak plain HTTP may do without.
    from twisted.internet.ssl import optionsForClientTLS

    return wrapClientTLS(optionsForClientTLS(address.host), endpoint)
