# -*- test-case-name: llmux.test.test_descriptors -*-
"""
Where clients come.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from llmux.descriptors._files import SHORTAGE

__all__ = ()

#: When to try again later: some systems say so of sockets, too.
LATER = SHORTAGE | {errno.ENOBUFS, errno.ENOMEM}


class PatientSocket:
    """
    A listening socket that has nobody to accept while there are no
    descriptors, rather than somebody who cannot be.
    """

    def __init__(self, listening: Any, met: Callable[[], None]) -> None:
        self._listening = listening
        self._met = met

    def accept(self) -> Any:
        """
        Accept a connection.
        """
        try:
            return self._listening.accept()
        except OSError as error:
            if error.errno not in LATER:
                raise
            self._met()
            raise BlockingIOError(errno.EAGAIN, "no descriptors") from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listening, name)
