# -*- test-case-name: llmux.test.test_config_build -*-
"""
What is wrong with a value, in words.
"""

from __future__ import annotations

import math

from llmux.config._keys import Entry

__all__ = ()


def missing(entry: Entry) -> str:
    """
    That a key is not there, and what it may be.
    """
    example = entry.key.example
    if isinstance(example, str):
        return f"is missing; add it, such as {entry.name}: {example}"
    return "is missing; add it"


def outside(entry: Entry, value: int | float) -> str:
    """
    What is wrong with a number, if anything is.
    """
    key = entry.key
    if wrong := immense(value):
        return wrong
    low, high = key.low, key.high
    if low is not None and high is not None and not low <= value <= high:
        return f"must be from {low:.10g} to {high:.10g}, not {value:.10g}"
    if low is not None and value < low:
        return f"must be {low:g} or more, not {value:.10g}"
    if key.above is not None and value <= key.above:
        return f"must be more than {key.above:g}, not {value:.10g}"
    if high is not None and value > high:
        return f"must be at most {high:.10g}, not {value:.10g}"
    return ""


def immense(value: int | float) -> str:
    """
    What is wrong with a number that is too large for anything, if it is.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    # Whole numbers can be too large for a float, and for a message.
    return "is too large a number" if abs(value) > 1e300 else ""


def kindOf(value: object) -> str:
    """
    What a value is, in words.  Its text is not told: it may be a secret.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "keys with values"


def inline(example: object) -> str:
    """
    An example of a list, on one line.
    """
    parts = example if isinstance(example, list) else [example]
    return "[" + ", ".join(str(part) for part in parts) + "]"
