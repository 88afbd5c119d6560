"""
Tests for L{llmux.config._texts}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.config._texts import (
    badEndpoint,
    badHook,
    badHost,
    badName,
    badURL,
    nearest,
    shown,
    within,
)


class BadTextTests(SynchronousTestCase):
    """
    Tests for what is wrong with single texts.
    """

    def test_names(self) -> None:
        """
        Names have 1 to 256 characters of any kind but controls.
        """
        for name in ["a", "my model", "org/name:7b", 'it\'s "x"', "模型", "é" * 256]:
            self.assertEqual(badName(name), "", name)
        self.assertIn("empty", badName(""))
        self.assertIn("empty", badName("  "))
        self.assertIn("has 10,000 characters", badName("x" * 10_000))
        for control in "\0\n\r\t\x1b\x7f\x85\x9f":
            self.assertIn("control characters", badName(f"a{control}b"))

    def test_hooks(self) -> None:
        """
        A hook is any text without NUL, which no process can be given.
        """
        self.assertEqual(badHook("for i in 1 2; do\n  x\ndone"), "")
        self.assertIn("NUL", badHook("a\0b"))

    def test_addressesOfServers(self) -> None:
        """
        A server is at an http or https URL, or a socket.
        """
        for url in [
            "http://gpu2:8001",
            "https://gpu2",
            "http://[::1]:80/base/",
            "unix:/run/llama.sock",
        ]:
            self.assertEqual(badURL(url), "", url)
        for url, wrong in [
            ("ftp://gpu2", "must begin with http://"),
            ("gpu2:8001", "must begin with http://"),
            ("http://gpu2:port", "no valid host and port"),
            ("http://gpu2:70000", "no valid host and port"),
            ("http://gpu2:0", "no valid host and port"),
            ("http://:80", "no valid host and port"),
            ("http://[::1", "no valid host and port"),
            ("http://me:secret@gpu2", "no user"),
            ("http://gpu2/?a=b", "no query"),
            ("http://gpu2/#a", "no fragment"),
            ("http://gpu 2", "no spaces"),
            ("http://gpu2\r\nx: y", "no spaces"),
            ("http://gpü", "ASCII"),
            ("unix:run", "must be unix:/PATH"),
            ("unix:/", "must be unix:/PATH"),
        ]:
            self.assertIn(wrong, badURL(url), url)

    def test_addressesToServeOn(self) -> None:
        """
        The host is an address alone.
        """
        for host in ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost"]:
            self.assertEqual(badHost(host), "", host)
        for host in ["a b", "http://a", "a\n"]:
            self.assertIn("must be an address such as", badHost(host))
        for host in ["127.0.0.1:80", "[::1]"]:
            self.assertIn("without brackets", badHost(host))

    def test_endpoints(self) -> None:
        """
        An endpoint string has a kind and something after it, and for TCP a
        port.  Kinds that plugins add are let through.
        """
        for description in [
            "tcp:3000",
            "tcp:0:interface=127.0.0.1",
            "tcp:port=3000",
            r"tcp6:3000:interface=\:\:1",
            "ssl:443:privateKey=a.pem",
            "tls:/certificates:tcp:443",
            "unix:/run/llmux.sock:mode=660",
            r"unix:/with\:colon",
            "systemd:domain=INET:index=0",
            "tor-plugin:whatever",
        ]:
            self.assertEqual(badEndpoint(description), "", description)
        for description in ["3000", "tcp", "tcp:", ":3000", "a b:c", "", "\\"]:
            self.assertIn("endpoint string", badEndpoint(description), description)
        for description in [
            "tcp:x",
            "tcp:70000",
            "tcp:" + "9" * 9999,
            "tcp:²",
            "ssl:a=b",
        ]:
            self.assertIn("needs a port", badEndpoint(description), description)
        self.assertIn("NUL", badEndpoint("unix:/a\0"))


class ShownTests(SynchronousTestCase):
    """
    Tests for how texts of others stand in messages.
    """

    def test_short(self) -> None:
        """
        A text without anything odd is shown as it is.
        """
        self.assertEqual(shown("gpt-4 ü"), "gpt-4 ü")

    def test_long(self) -> None:
        """
        Of a long text the beginning is shown, and how long it is.
        """
        self.assertEqual(shown("x" * 9999, 3), "xxx... (9,999 characters)")

    def test_harmless(self) -> None:
        """
        What would begin a line, or a terminal would act on, is escaped.
        """
        self.assertEqual(shown("a\nb\x1b[0m\u2028"), "a\\nb\\x1b[0m\\u2028")

    def test_keyPaths(self) -> None:
        """
        Names in key paths are in quotes if they would be misread without.
        """
        self.assertEqual(within("", "port"), "port")
        self.assertEqual(within("models", "llama-3_b"), "models.llama-3_b")
        self.assertEqual(within("models", "qwen2.5"), 'models."qwen2.5"')
        self.assertEqual(within("a", 'b"c\\\n'), 'a."b\\"c\\\\\\n"')
        self.assertEqual(within("a", ""), 'a.""')
        self.assertEqual(within("", "x" * 100, 3), '"xxx"... (100 characters)')

    def test_nearest(self) -> None:
        """
        What may have been meant is the nearest name, if there is a near one
        and looking for it takes no time.
        """
        self.assertEqual(nearest("prot", ["wake", "port"]), "port")
        self.assertEqual(nearest("xyz", ["wake", "port"]), "")
        self.assertEqual(nearest("a" * 41, ["a" * 41]), "")
        self.assertEqual(nearest("a1", [f"a{n}" for n in range(101)]), "")
