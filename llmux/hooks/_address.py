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
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from urllib.parse import urlsplit
from weakref import finalize

from attrs import define, field, frozen

from llmux.descriptors import isShortage

__all__ = ["AddressFile", "AddressFiles", "BadAddress", "addressIn"]

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
    One such file, for one run of one hook, which makes it if it has something
    to say.

    @ivar path: what C{LLMUX_OUTPUT} is set to.
    """

    path: str

    def exists(self) -> bool:
        """
        Whether a hook has made it, which is known without a descriptor.
        """
        return os.path.lexists(self.path)

    def read(self) -> str | None:
        """
        @return: the address that the hook wrote, if it wrote one.

        @raise BadAddress: if it wrote something else.
        @raise OSError: there is no file descriptor to read it with.
        """
        try:
            # A pipe that a hook put in its place must not hold the reactor.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            if isShortage(error):
                raise
            raise BadAddress("the file LLMUX_OUTPUT cannot be read") from None
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
        Remove the file, if there is one.
        """
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            os.unlink(self.path)


@define(eq=False)
class AddressFiles:
    """
    The place of those files: a folder in the temporary folder, which only
    this user can enter, and which goes when this object does.

    Bare files in the shared temporary folder would do for most, but Linux
    (C{fs.protected_regular}) keeps a hook that has become root through
    C{sudo} from writing to them.
    """

    _folder: str | None = field(default=None, init=False)
    _numbers: Iterator[int] = field(factory=count, init=False, repr=False)
    _removal: finalize[..., AddressFiles] | None = field(
        default=None, init=False, repr=False
    )

    def make(self) -> AddressFile:
        """
        @return: a file that no other run has had.

        @raise OSError: if there is no place for it.
        """
        # What has lain about for long is removed by some systems; what then
        # has the name may be a stranger's.
        if self._folder is None or not _isOurs(self._folder):
            self._folder = tempfile.mkdtemp(prefix="llmux-")
            self._removal = finalize(
                self, shutil.rmtree, self._folder, ignore_errors=True
            )
        return AddressFile(os.path.join(self._folder, str(next(self._numbers))))

    def remove(self) -> None:
        """
        Remove the folder now: a process that ends by a signal, as llmux does,
        does not get to do what is left for its end.
        """
        self._folder = None
        if self._removal is not None:
            self._removal()


def _isOurs(folder: str) -> bool:
    """
    Whether something is a folder that only this user can enter.
    """
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not stat.S_IMODE(status.st_mode) & 0o077
    )
