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


def priorityOf(asked: Asked, usual: float = 0.0, most: float | None = None) -> float:
    """
    The priority of a request, to be added to its model's own.

    To step back is free to all; how far a client may step forward is not for
    the client to say.

    @param usual: the priority of this client's requests if they do not say
        otherwise.
    @param most: the highest that they may say, if it is another.
    """
    given = asked.header(HEADER)
    if given is None:
        return usual
    try:
        wanted = float(given)
    except ValueError:
        return usual
    if isnan(wanted):
        return usual
    return max(LEAST, min(wanted, usual if most is None else max(usual, most)))
