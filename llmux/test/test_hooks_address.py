"""
Tests for L{llmux.hooks._address}.
"""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from llmux.hooks._address import MAX_SIZE, AddressFile, BadAddress, addressIn


class AddressInTests(SynchronousTestCase):
    """
    L{addressIn}
    """

    def test_good(self) -> None:
        """
        http, https and unix addresses are taken; a slash at the end is not
        part of them.
        """
        for text, address in [
            ("url=http://node7:18001", "http://node7:18001"),
            ("url=http://node7:18001/\n", "http://node7:18001"),
            ("url=https://gpu.example/v2/\n", "https://gpu.example/v2"),
            ("url=http://[::1]:80\n", "http://[::1]:80"),
            ("url=unix:/run/llama.sock\n", "unix:/run/llama.sock"),
            ("\n  url = http://a:1  \r\n", "http://a:1"),
        ]:
            self.assertEqual(addressIn(text), address)

    def test_none(self) -> None:
        """
        A hook need not write anything.
        """
        self.assertIsNone(addressIn(""))
        self.assertIsNone(addressIn("\n\n"))

    def test_last(self) -> None:
        """
        The last address counts: a hook may correct itself.
        """
        self.assertEqual(addressIn("url=http://a:1\nurl=http://b:2\n"), "http://b:2")

    def test_bad(self) -> None:
        """
        Whatever else there is, is an error that says what is expected.
        """
        for text, why in [
            ("http://node7:18001", "not url="),
            ("port=1", "not url="),
            ("url=", "empty"),
            ("url=http://a b", "spaces"),
            ("url=http://\N{SNOWMAN}:1", "spaces"),
            ("url=ftp://a", "must begin with"),
            ("url=node7:18001", "must begin with"),
            ("url=unix:run", "path from /"),
            ("url=http://", "host and port"),
            ("url=http://a:0", "host and port"),
            ("url=http://a:70000", "host and port"),
            ("url=http://a:x", "host and port"),
            ("url=http://[::1", "host and port"),
            ("url=http://u:p@a", "no user"),
            ("url=http://a/?q", "no user"),
            ("url=http://a/#f", "no user"),
        ]:
            error = self.assertRaises(BadAddress, addressIn, text)
            self.assertIn(why, str(error), text)


class AddressFileTests(SynchronousTestCase):
    """
    L{AddressFile}
    """

    def setUp(self) -> None:
        self.file = AddressFile.make()
        self.addCleanup(self.file.remove)

    def write(self, content: bytes) -> None:
        """
        Do what a hook does.
        """
        with open(self.file.path, "ab") as file:
            file.write(content)

    def test_private(self) -> None:
        """
        Nobody else can read the file or enter its folder.
        """
        for path in (self.file.path, os.path.dirname(self.file.path)):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o077, 0)

    def test_read(self) -> None:
        """
        The address in the file is found.
        """
        self.assertIsNone(self.file.read())
        self.write(b"url=http://a:1\n")
        self.assertEqual(self.file.read(), "http://a:1")

    def test_remove(self) -> None:
        """
        Nothing is left of it, and that it is gone already is no error.
        """
        self.file.remove()
        self.assertFalse(os.path.exists(os.path.dirname(self.file.path)))
        self.file.remove()

    def test_gone(self) -> None:
        """
        A hook that removed the file has failed.
        """
        os.remove(self.file.path)
        self.assertRaises(BadAddress, self.file.read)

    def test_large(self) -> None:
        """
        A file as large as a log is not read.
        """
        self.write(b"\n" * (MAX_SIZE + 1))
        self.assertIn("more than", str(self.assertRaises(BadAddress, self.file.read)))

    def test_notText(self) -> None:
        """
        A file that is no text has no address.
        """
        self.write(b"\xff\xfe")
        self.assertIn("UTF-8", str(self.assertRaises(BadAddress, self.file.read)))

    def test_pipe(self) -> None:
        """
        A pipe in the file's place is refused rather than waited for.
        """
        os.remove(self.file.path)
        os.mkfifo(self.file.path)
        self.assertIn("plain", str(self.assertRaises(BadAddress, self.file.read)))

    def test_folder(self) -> None:
        """
        A folder in the file's place is refused.
        """
        os.remove(self.file.path)
        os.mkdir(self.file.path)
        self.assertRaises(BadAddress, self.file.read)
