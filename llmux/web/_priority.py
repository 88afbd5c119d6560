# -*- test-case-name: llmux.test.test_web_priority -*-
"""
How urgent a request says it is.
"""

from __future__ import annotations

from math import isnan

from llmux.web._plan import Asked

__all__ = ()

HEADER = b"x-llmux-priority"

#: The least that a priority can be: what is lower counts as this.
LEAST = -1000.0


def priorityOf(asked: Asked, most: float = 0.0) -> float:
    """
    The priority of a request, to be added to its model's own.

    To step back is free to all; how far a client may step forward is not for
    the client to say.

    @param most: the highest priority that this client's requests may have,
        which is what they have if they do not say otherwise.
    """
    given = asked.header(HEADER)
    if given is None:
        return most
    try:
        wanted = float(given)
    except ValueError:
        return most
    return most if isnan(wanted) else max(LEAST, min(wanted, most))
