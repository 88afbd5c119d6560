# -*- test-case-name: llmux.test.test_config_shape -*-
"""
What is done to the parameters of requests, put together from what a model says
and what one of its aliases says.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Protocol

from attrs import frozen

__all__ = ()


class Shaping(Protocol):
    """
    A section of the configuration that says what is done to parameters.
    """

    @property
    def set(self) -> Mapping[str, object]:
        """
        Parameters that have these values, whatever the client says.
        """

    @property
    def set_default(self) -> Mapping[str, object]:
        """
        Parameters that have these values if the client gives none.
        """

    @property
    def strip(self) -> Collection[str]:
        """
        Parameters that are taken out.
        """


@frozen
class Shape:
    """
    What is done to the members of a JSON object.

    @ivar always: those that are set, whatever there is, to which JSON.
    @ivar default: those that are set if they are not there.
    @ivar never: those that are taken out.
    """

    always: Mapping[str, bytes]
    default: Mapping[str, bytes]
    never: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.always or self.default or self.never)


def shapeOf(*sections: Shaping) -> Shape:
    """
    Put sections together.  Of each parameter, what the last section says that
    mentions it is done, and nothing of what those before say.
    """
    always: dict[str, bytes] = {}
    default: dict[str, bytes] = {}
    never: dict[str, None] = {}
    for section in sections:
        for name in mentioned(section):
            for earlier in (always, default, never):
                earlier.pop(name, None)
        always |= {name: _encoded(value) for name, value in section.set.items()}
        default |= {
            name: _encoded(value) for name, value in section.set_default.items()
        }
        never |= dict.fromkeys(section.strip)
    return Shape(always, default, frozenset(never))


def mentioned(section: Shaping) -> list[str]:
    """
    All parameters that a section says something of; one that it says two
    things of, twice.
    """
    return [*section.set, *section.set_default, *section.strip]


def _encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=dict).encode("ascii")
