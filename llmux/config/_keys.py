# -*- test-case-name: llmux.test.test_config_values -*-
"""
What a key of the configuration is: everything about it that its type does not
say stands in the metadata of its attrs field, and the reader, the JSON Schema
and the reference are made from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, get_type_hints

from attrs import NOTHING, Attribute, Factory, fields, frozen

__all__ = ()

#: Under which name a L{Key} stands in the metadata of a field.
_METADATA = "llmux.config"

#: Seconds that a duration may have at most: 31 years.  Beyond, timers would
#: overflow, and nobody means it.
LONGEST = 1e9


@frozen
class Key:
    """
    What may stand in the file for one field.

    @ivar about: what it is for, in whole sentences.
    @ivar example: a value other than the default.
    @ivar unit: of a number, in the plural.
    @ivar default: what holds if it is left out, in words, if the value does
        not speak for itself.
    @ivar low: the smallest number.
    @ivar above: a number that it must exceed.
    @ivar high: the largest number.
    @ivar choices: the only texts, if not every text will do.
    @ivar pattern: a regular expression (of JSON Schema) for editors; what is
        really allowed is for C{complaint} to say.
    @ivar short: of named sections, which of their keys a value stands for that
        is no section.
    @ivar complaint: says what is wrong with a text, or with each of several,
        or with each name where any values stand under names; the empty string
        if nothing is.
    @ivar listed: of named sections, for which a list of texts will do as
        well: the key of a section that each text is, and what else holds for
        those sections.  Their names are then C{1}, C{2} and so on.
    """

    about: str
    example: object
    unit: str = ""
    default: str = ""
    low: float | None = None
    above: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    short: str = ""
    complaint: Callable[[str], str] | None = None
    listed: tuple[str, Mapping[str, object]] | None = None


@frozen
class Entry:
    """
    A L{Key} with what its field says.

    @ivar name: the key in the file, which is the name of the field.
    @ivar type: the annotation of the field, resolved.
    @ivar required: whether it must be given.
    @ivar value: what the field has if it is not given.
    """

    name: str
    type: Any
    key: Key
    required: bool
    value: object = None


def key(about: str, example: object, **more: Any) -> dict[str, Key]:
    """
    Make the metadata of a field.  The arguments are those of L{Key}.
    """
    return {_METADATA: Key(about, example, **more)}


def seconds(about: str, example: object, **more: Any) -> dict[str, Key]:
    """
    Make the metadata of a field that is a duration: 0 or more, unless
    C{above} says otherwise.
    """
    if "above" not in more:
        more.setdefault("low", 0)
    return key(about, example, unit="seconds", high=LONGEST, **more)


def entries(section: type) -> Mapping[str, Entry]:
    """
    What may stand in a section of the file.

    @param section: an attrs class.  Its fields without a L{Key} are not read
        from the file.
    """
    return _remembered(section)


@cache
def _remembered(section: type) -> Mapping[str, Entry]:
    return {entry.name: entry for entry in _entries(section)}


def _entries(section: type) -> Iterator[Entry]:
    types = get_type_hints(section)
    attribute: Attribute[Any]
    for attribute in fields(section):
        about = attribute.metadata.get(_METADATA)
        if about is not None:
            default: Any = attribute.default
            required = default is NOTHING
            made = isinstance(default, Factory)  # type: ignore[arg-type]
            yield Entry(
                name=attribute.name,
                type=types[attribute.name],
                key=about,
                required=required,
                value=None if required else default.factory() if made else default,
            )
