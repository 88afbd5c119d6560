"""
Tests for L{llmux.hooks._address}.
"""

from __future__ import annotations

import gc
import os
import stat

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from llmux.hooks._address import MAX_SIZE, AddressFiles, BadAddress, addressIn
from llmux.web._address import endpointFor, parseAddress

#: What addresses are made of, and what breaks them.
_PIECES = st.sampled_from(
    [
        *("url=", "http://", "https://", "unix:/", "unix:", "[::1]", "[", "]", "@"),
        *("node7", "127.0.0.1", ":", ":80", ":0", ":99999", "/", "//", "?", "#"),
        *("\n", "\r", "\0", " ", "=", "%2f", "..", "\u00e9", "\ud7ff", "\u2028", "%"),
    ]
)


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

    @settings(max_examples=300, deadline=None)
    @given(st.lists(_PIECES, max_size=9).map("".join) | st.text(max_size=30))
    def test_anything(self, text: str) -> None:
        """
        Whatever a hook writes is an address that llmux can connect to, or
        none, or an error that says what is wrong.
        """
        for written in (text, "url=http://" + text, "url=" + text):
            try:
                address = addressIn(written)
            except BadAddress as error:
                self.assertIn("LLMUX_OUTPUT", str(error))
                continue
            if address is not None:
                found = parseAddress(address)
                self.assertRegex(found.hostHeader, rb"^[!-~]+$")
                if not found.secure:
                    endpointFor(MemoryReactorClock(), found, 5)

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
            with self.assertRaises(BadAddress) as caught:
                addressIn(text)
            self.assertIn(why, str(caught.exception), text)


class AddressFileTests(SynchronousTestCase):
    """
    L{AddressFile} and L{AddressFiles}
    """

    def setUp(self) -> None:
        self.files = AddressFiles()
        self.file = self.files.make()

    def write(self, content: bytes) -> None:
        """
        Do what a hook does.
        """
        with open(self.file.path, "ab") as file:
            file.write(content)

    def test_private(self) -> None:
        """
        Nobody else can enter the folder of the files.
        """
        folder = os.path.dirname(self.file.path)
        self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode) & 0o077, 0)

    def test_fresh(self) -> None:
        """
        No two runs have the same file, but they have the same folder.
        """
        other = self.files.make()
        self.assertNotEqual(other, self.file)
        self.assertEqual(os.path.dirname(other.path), os.path.dirname(self.file.path))

    def test_removeFolder(self) -> None:
        """
        The folder goes when it is said to, once or more often, and there is
        another if a run needs one after that.
        """
        folder = os.path.dirname(self.file.path)
        self.files.remove()
        self.files.remove()
        self.assertFalse(os.path.exists(folder))
        again = os.path.dirname(self.files.make().path)
        self.assertTrue(os.path.isdir(again))
        self.files.remove()
        self.assertFalse(os.path.exists(again))

    def test_cleanedUp(self) -> None:
        """
        The folder goes when nobody needs it any more.
        """
        folder = os.path.dirname(self.file.path)
        self.write(b"left")
        del self.files
        gc.collect()
        self.assertFalse(os.path.exists(folder))

    def test_folderGone(self) -> None:
        """
        A folder that somebody has removed, or opened to others, or put
        something else in the place of, is not used again.
        """
        folder = os.path.dirname(self.file.path)
        os.rmdir(folder)
        self.file = self.files.make()
        self.write(b"url=http://a:1")
        self.assertEqual(self.file.read(), "http://a:1")
        folder = os.path.dirname(self.file.path)
        os.chmod(folder, 0o777)
        self.assertNotEqual(os.path.dirname(self.files.make().path), folder)

    def test_read(self) -> None:
        """
        The address in the file is found, and there need not be one.
        """
        self.assertIsNone(self.file.read())
        self.write(b"url=http://a:1\n")
        self.assertEqual(self.file.read(), "http://a:1")

    def test_remove(self) -> None:
        """
        Nothing is left of it, and that it is not there is no error.
        """
        self.file.remove()
        self.write(b"url=http://a:1\n")
        self.file.remove()
        self.assertIsNone(self.file.read())

    def test_unreadable(self) -> None:
        """
        A file that cannot be opened is an error.
        """
        os.symlink(self.file.path, self.file.path)
        with self.assertRaises(BadAddress) as caught:
            self.file.read()
        self.assertIn("cannot be read", str(caught.exception))

    def test_large(self) -> None:
        """
        A file as large as a log is not read.
        """
        self.write(b"\n" * (MAX_SIZE + 1))
        with self.assertRaises(BadAddress) as caught:
            self.file.read()
        self.assertIn("more than", str(caught.exception))

    def test_notText(self) -> None:
        """
        A file that is no text has no address.
        """
        self.write(b"\xff\xfe")
        with self.assertRaises(BadAddress) as caught:
            self.file.read()
        self.assertIn("UTF-8", str(caught.exception))

    def test_pipe(self) -> None:
        """
        A pipe in the file's place is refused rather than waited for.
        """
        os.mkfifo(self.file.path)
        with self.assertRaises(BadAddress) as caught:
            self.file.read()
        self.assertIn("plain", str(caught.exception))

    def test_folder(self) -> None:
        """
        A folder in the file's place is refused, and does no harm.
        """
        os.mkdir(self.file.path)
        with self.assertRaises(BadAddress):
            self.file.read()
        self.file.remove()
