# -*- test-case-name: llmux.test.test_hooks_address -*-
"""
The file by which a hook says where its model's server is: C{LLMUX_OUTPUT}.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from urllib.parse import urlsplit

from attrs import frozen

__all__ = ["AddressFile", "BadAddress", "addressIn"]

#: Bytes that the file may hold.
MAX_SIZE = 4096

#: What can stand in an address: no spaces, no control characters.
_PRINTABLE = re.compile(r"[!-~]+")


class BadAddress(ValueError):
    """
    What a hook wrote to the file is not what belongs there.
    """


def addressIn(text: str) -> str | None:
    """
    Find the address in what a hook wrote: lines such as
    C{url=http://node7:18001}, of which the last one counts.

    @return: the base URL without a slash at its end, or L{None} if there is
        none.

    @raise BadAddress: if there is anything else, or an address that cannot be
        one.
    """
    address = None
    for line in text.splitlines():
        line = line.strip()
        if not line:
            continue
        key, equals, value = line.partition("=")
        if not equals or key.strip() != "url":
            raise BadAddress(
                "it wrote a line to LLMUX_OUTPUT that is not url=http://HOST:PORT"
            )
        address = _checked(value.strip())
    return address


def _checked(address: str) -> str:
    if not _PRINTABLE.fullmatch(address):
        raise BadAddress("the url in LLMUX_OUTPUT is empty or has spaces in it")
    if address.startswith("unix:"):
        if not address.startswith("unix:/"):
            raise BadAddress("the url in LLMUX_OUTPUT must be unix: and a path from /")
        return address
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise BadAddress("the url in LLMUX_OUTPUT has no valid host and port") from None
    if parts.scheme not in ("http", "https"):
        raise BadAddress(
            "the url in LLMUX_OUTPUT must begin with http://, https:// or unix:/"
        )
    if not parts.hostname or port == 0:
        raise BadAddress("the url in LLMUX_OUTPUT has no valid host and port")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise BadAddress(
            "the url in LLMUX_OUTPUT must have no user, no query and no fragment"
        )
    return address.rstrip("/")


@frozen
class AddressFile:
    """
    One such file, empty at first, for one run of one hook.

    It has a folder of its own that only this user can enter.  A bare file in
    the shared temporary folder would do for most, but Linux
    (C{fs.protected_regular}) would keep a hook that has become root through
    C{sudo} from writing to it.

    @ivar path: what C{LLMUX_OUTPUT} is set to.
    """

    path: str

    @classmethod
    def make(cls) -> AddressFile:
        """
        @raise OSError: if there is no place for it.
        """
        path = os.path.join(tempfile.mkdtemp(prefix="llmux-"), "output")
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
        return cls(path)

    def read(self) -> str | None:
        """
        @return: the address that the hook wrote, if it wrote one.

        @raise BadAddress: if it wrote something else.
        """
        try:
            # A pipe that a hook put in its place must not hold the reactor.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            raise BadAddress("LLMUX_OUTPUT cannot be read any more") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BadAddress("LLMUX_OUTPUT is not a plain file any more")
            content = os.read(descriptor, MAX_SIZE + 1)
        finally:
            os.close(descriptor)
        if len(content) > MAX_SIZE:
            raise BadAddress(f"it wrote more than {MAX_SIZE} bytes to LLMUX_OUTPUT")
        try:
            return addressIn(content.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadAddress("what it wrote to LLMUX_OUTPUT is not UTF-8") from None

    def remove(self) -> None:
        """
        Remove the file and its folder, if they are still there.
        """
        shutil.rmtree(os.path.dirname(self.path), ignore_errors=True)
