"""
Tests for L{llmux.web._write}.
"""

from __future__ import annotations

from socket import SO_SNDBUF, SOL_SOCKET, socketpair
from typing import Any

from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._write import hasUnread, isWaiting, write


class Descriptor(Connection):
    """
    A transport, and its socket, that takes what it is told to take.

    @ivar takes: how many bytes at once; or an exception.
    @ivar taken: what it has taken.
    """

    def __init__(self, takes: Any) -> None:
        super().__init__(self, None, MemoryReactor())  # type: ignore[arg-type]
        self.connected = True
        self.takes = takes
        self.taken = b""

    def setblocking(self, blocks: bool) -> None:
        """
        It is not.
        """

    def fileno(self) -> int:
        """
        It has none.
        """
        return -1

    def startWriting(self) -> None:
        """
        Later.
        """

    def send(self, data: bytes) -> int:
        """
        Take some of it.
        """
        if isinstance(self.takes, BaseException):
            raise self.takes
        taken: int = min(self.takes, len(data))
        self.taken += data[:taken]
        return taken


class WriteTests(SynchronousTestCase):
    """
    Tests for L{write}, L{isWaiting} and L{hasUnread}.
    """

    def test_atOnce(self) -> None:
        """
        What can be written at once is, and then nothing waits.
        """
        descriptor = Descriptor(10)
        write(descriptor, b"12345")
        self.assertEqual(descriptor.taken, b"12345")
        self.assertFalse(isWaiting(descriptor))

    def test_inPart(self) -> None:
        """
        The rest waits, in its place: what is written after it comes after it.
        """
        descriptor = Descriptor(2)
        write(descriptor, b"12345")
        self.assertEqual(descriptor.taken, b"12")
        self.assertTrue(isWaiting(descriptor))
        descriptor.takes = 100
        write(descriptor, b"678")
        self.assertEqual(descriptor.taken, b"12")
        descriptor.doWrite()
        self.assertEqual(descriptor.taken, b"12345678")
        self.assertFalse(isWaiting(descriptor))

    def test_full(self) -> None:
        """
        All of it waits if nothing is taken, or if writing fails, which is the
        transport's to find out.
        """
        for takes in (0, BlockingIOError(), ConnectionResetError()):
            descriptor = Descriptor(takes)
            write(descriptor, b"12345")
            self.assertTrue(isWaiting(descriptor))
            descriptor.takes = 100
            descriptor.doWrite()
            self.assertEqual(descriptor.taken, b"12345")

    def test_closing(self) -> None:
        """
        Nothing is written to what is closed, or is being closed.
        """
        for attribute, value in (("connected", False), ("disconnecting", True)):
            descriptor = Descriptor(10)
            setattr(descriptor, attribute, value)
            write(descriptor, b"12345")
            self.assertEqual(descriptor.taken, b"")

    def test_otherTransports(self) -> None:
        """
        Other transports write as they do, and are not known to wait.
        """
        transport = StringTransport()
        write(transport, b"12345")
        self.assertEqual(transport.value(), b"12345")
        self.assertFalse(isWaiting(transport))

    def test_socket(self) -> None:
        """
        A socket that has no room takes a part.
        """
        ours, theirs = socketpair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        ours.setblocking(False)
        ours.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)
        descriptor = Descriptor(0)
        self.patch(descriptor, "socket", ours)
        write(descriptor, b"x" * 1_000_000)
        self.assertTrue(isWaiting(descriptor))

    def test_hasUnread(self) -> None:
        """
        It is known whether something waits to be read from a connection, also
        where there is TLS upon it.
        """
        ours, theirs = socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        connection = Connection(ours, None, MemoryReactor())  # type: ignore[arg-type]

        class Upper:
            transport = connection

        for transport in (connection, Upper()):
            self.assertFalse(hasUnread(transport))
        connection.connected = True
        for transport in (connection, Upper()):
            self.assertFalse(hasUnread(transport))
        theirs.send(b"x")
        for transport in (connection, Upper()):
            self.assertTrue(hasUnread(transport))
        self.assertFalse(hasUnread(StringTransport()))
