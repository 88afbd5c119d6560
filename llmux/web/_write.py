# -*- test-case-name: llmux.test.test_web_write -*-
"""
Writing to connections at once.

What is written to Twisted's transports is sent in the next turn of the
reactor, which costs three more system calls.  Nearly always it could have been
sent at once.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.tcp import Connection

__all__ = ()


def isWaiting(transport: Any) -> bool:
    """
    Whether a transport is known to hold something back that was written to it.
    """
    # There is no public way to ask, other than to become its producer.
    return isinstance(transport, FileDescriptor) and bool(
        transport.dataBuffer or transport._tempDataBuffer
    )


def write(transport: Any, data: bytes) -> None:
    """
    Write, at once as far as that is possible.
    """
    if (
        isinstance(transport, Connection)
        and transport.connected
        and not transport.disconnecting
        and not transport.dataBuffer
        and not transport._tempDataBuffer
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:
            # There is no room, or it will fail again, for the transport.
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)
