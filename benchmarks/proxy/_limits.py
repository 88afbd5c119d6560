"""
How many descriptors a process may have.
"""

from __future__ import annotations

import resource


def raiseFileLimit() -> int:
    """
    Take as many as are allowed.

    @return: how many that is.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Some containers allow a billion, and nginx would make room for them.
    return min(hard, 65536)
