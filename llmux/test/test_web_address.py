"""
Tests for L{llmux.web._address}.
"""

from __future__ import annotations

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from llmux.web._address import Address, endpointFor, parseAddress


class ParseTests(SynchronousTestCase):
    """
    Tests for L{parseAddress}.
    """

    def test_parts(self) -> None:
        """
        Scheme, host, port, the value for C{Host} and the path are found.
        """
        for text, secure, host, port, header, path in (
            ("http://127.0.0.1:8001", False, "127.0.0.1", 8001, b"127.0.0.1:8001", b""),
            ("http://gpu2", False, "gpu2", 80, b"gpu2", b""),
            ("http://gpu2:80/", False, "gpu2", 80, b"gpu2", b""),
            ("https://GPU2/a/b/", True, "gpu2", 443, b"gpu2", b"/a/b"),
            ("https://gpu2:80", True, "gpu2", 80, b"gpu2:80", b""),
            ("http://[::1]:1", False, "::1", 1, b"[::1]:1", b""),
            ("unix:/run/x.sock", False, "/run/x.sock", None, b"localhost", b""),
        ):
            expected = Address(text, secure, host, port, header, path)
            self.assertEqual(parseAddress(text), expected)

    def test_invalid(self) -> None:
        """
        Anything else is refused.
        """
        for text in (
            "",
            "unix:",
            "gpu2:8001",
            "ftp://x",
            "http://",
            "http://\xe9",
            "http://x:y",
            "http://[::1",
        ):
            with self.assertRaises(ValueError):
                parseAddress(text)


class EndpointTests(SynchronousTestCase):
    """
    Tests for L{endpointFor}.
    """

    def setUp(self) -> None:
        """
        A reactor that connects nothing.
        """
        self.reactor = MemoryReactorClock()

    def connect(self, text: str) -> None:
        """
        Connect to an address.
        """
        endpoint = endpointFor(self.reactor, parseAddress(text), 7.0)
        endpoint.connect(Factory.forProtocol(Protocol)).addErrback(lambda _: None)

    def test_addresses(self) -> None:
        """
        An IP address is connected to with no look-up.
        """
        self.connect("http://127.0.0.1:8001")
        self.connect("http://[::1]:8002")
        connected = [(host, port, secs) for host, port, _, secs, _ in self.tcpClients()]
        self.assertEqual(connected, [("127.0.0.1", 8001, 7.0), ("::1", 8002, 7.0)])

    def tcpClients(self) -> list[tuple[str, int, object, float, object]]:
        """
        What was connected to over TCP.
        """
        return list(self.reactor.tcpClients)

    def test_unix(self) -> None:
        """
        A socket is connected to by its path.
        """
        self.connect("unix:/run/x.sock")
        [(path, _, timeout, _)] = self.reactor.unixClients
        self.assertEqual((path, timeout), ("/run/x.sock", 7.0))

    def test_name(self) -> None:
        """
        A name is looked up.
        """
        endpoint = endpointFor(self.reactor, parseAddress("http://gpu2"), 7.0)
        self.assertIsInstance(endpoint, HostnameEndpoint)

    def test_secure(self) -> None:
        """
        TLS is spoken to C{https} addresses.
        """
        self.connect("https://127.0.0.1")
        [(_, port, factory, _, _)] = self.tcpClients()
        self.assertEqual(port, 443)
        self.assertIn("TLS", type(factory._wrappedFactory).__name__)  # type: ignore[attr-defined]
