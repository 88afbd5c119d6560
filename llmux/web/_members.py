# -*- test-case-name: llmux.test.test_web_members -*-
"""
Where the members of a JSON object stand.

For bodies of any size: nothing is built, and what is of no interest is passed
over by patterns, in steps that are bounded, since the matcher keeps something
for each repetition.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec
from attrs import frozen

from llmux.web._errors import BadBody

__all__ = ()

#: How many members, lists and objects a body may have in which some are looked
#: for.  More would hold up everybody else for too long.
PARTS = 1024 * 1024

#: How many members it may have itself, each of which takes longer.
MEMBERS = 10_000

#: How often the members that are looked for may stand there.
MANY = 4096

#: So many bytes of JSON can stand for one character.
_LONGEST = 12

_space = re.compile(rb"[ \t\r\n]*").match
_colon = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*").match
_comma = re.compile(rb"[ \t\r\n]*,?[ \t\r\n]*").match
_scalar = re.compile(rb"[^,\]} \t\r\n]*").match
_text = re.compile(rb'[^"\\]*(?:\\.[^"\\]*){0,1000}', re.DOTALL).match
_flat = re.compile(
    rb'[^"\[\]{}]*(?:"[^"\\]*(?:\\.[^"\\]*){0,99}"[^"\[\]{}]*){0,99}', re.DOTALL
).match
_string = msgspec.json.Decoder(str)

_QUOTE, _BACKSLASH = b'"\\'
_OPENING, _CLOSING = b"[{", b"]}"
_END = b"}"[0]


@frozen
class Member:
    """
    A member of an object.

    @ivar number: its place among all of them.
    @ivar name: its name.
    @ivar start: where its name begins, with the quotes.
    @ivar value: where its value begins.
    @ivar stop: where its value ends.
    @ivar before: where the value of the member before it ends, or the object
        begins.
    @ivar after: where the name of the member behind it begins, or the object
        ends.
    """

    number: int
    name: str
    start: int
    value: int
    stop: int
    before: int
    after: int


@frozen
class Members:
    """
    Those members of an object that were looked for.

    @ivar start: where there is a place before all of them.
    @ivar count: how many the object has in all.
    @ivar found: those that were looked for, in their order.
    """

    start: int
    count: int
    found: list[Member]


def membersIn(body: memoryview, start: int, names: Collection[str]) -> Members:
    """
    Find members of an object, each as often as it is there.

    @param body: what has been seen to be a JSON object.
    @param start: where it begins, or space before it.
    @param names: the names of the members to look for.
    @raise BadBody: it has more parts than can be looked at.
    """
    wanted = {name.encode("utf-8", "surrogatepass"): name for name in names}
    longest = _LONGEST * max(map(len, wanted)) + 2
    found: list[Member] = []
    parts = count = 0
    begin = before = _space(body, start).end() + 1  # type: ignore[union-attr]
    at = _space(body, begin).end()  # type: ignore[union-attr]
    while body[at] != _END:
        key = at
        keyEnd = _stringEnd(body, key + 1)
        value = _colon(body, keyEnd).end()  # type: ignore[union-attr]
        stop, inner = _valueEnd(body, value, PARTS - parts)
        parts += inner + 1
        if count >= MEMBERS:
            raise BadBody("the body has too many members to be looked through")
        at = _comma(body, stop).end()  # type: ignore[union-attr]
        if keyEnd - key <= longest:
            name = _nameOf(bytes(body[key + 1 : keyEnd - 1]), wanted)
            if name is not None:
                if len(found) >= MANY:
                    raise BadBody(f"`{name}` stands in too many places of the body")
                found.append(Member(count, name, key, value, stop, before, at))
        before = stop
        count += 1
    return Members(begin, count, found)


def _nameOf(raw: bytes, wanted: dict[bytes, str]) -> str | None:
    if _BACKSLASH in raw:
        try:
            raw = _string.decode(b'"%b"' % raw).encode("utf-8")
        except (msgspec.DecodeError, UnicodeError):
            return None
    return wanted.get(raw)


def _stringEnd(body: memoryview, at: int) -> int:
    """
    @param at: behind the quote with which it begins.
    """
    while True:
        at = _text(body, at).end()  # type: ignore[union-attr]
        if body[at] == _QUOTE:
            return at + 1


def _valueEnd(body: memoryview, at: int, most: int) -> tuple[int, int]:
    """
    @param most: how many parts it may have.
    @return: where it ends, and how many parts it has.
    """
    first = body[at]
    if first == _QUOTE:
        return _stringEnd(body, at + 1), 0
    if first not in _OPENING:
        return _scalar(body, at).end(), 0  # type: ignore[union-attr]
    depth, parts = 0, 0
    while True:
        byte = body[at]
        if byte == _QUOTE:
            at = _stringEnd(body, at + 1)
        else:
            at += 1
            if byte in _OPENING:
                depth += 1
                parts += 1
                if parts >= most:
                    raise BadBody("the body has too many parts to be looked through")
            elif byte in _CLOSING:
                depth -= 1
                if not depth:
                    return at, parts
        at = _flat(body, at).end()  # type: ignore[union-attr]
