# -*- test-case-name: llmux.test.test_web_shaping -*-
"""
The parameters of a request, set, filled in and taken out as the configuration
says, in place: no other byte of the body changes.
"""

from __future__ import annotations

from typing import IO

from llmux.config import Shape
from llmux.web import _json
from llmux.web._members import Member, Members, membersIn
from llmux.web._pieces import Edit, Pieces, edited, viewed

__all__ = ()


def shaped(
    body: IO[bytes], length: int, shape: Shape, model: str | None
) -> Pieces | None:
    """
    The same body with other parameters.

    @param body: a file with the whole body, in memory or on disk.
    @param length: its length in bytes.
    @param model: what is to stand in the place of the model's name, if it is
        there.
    @return: L{None} if the body is no JSON object.
    @raise BadBody: if it has more parts than can be looked at.
    """
    names = {*shape.always, *shape.default, *shape.never, "model"}
    with viewed(body, length) as view:
        if not _json.isObject(view):
            return None
        members = membersIn(view, _json.textStart(view), names)
        places: dict[str, list[Member]] = {name: [] for name in names}
        for member in members.found:
            places[member.name].append(member)
        isNull = {
            name: bytes(view[found[-1].value : found[-1].stop]) == b"null"
            for name, found in places.items()
            if found
        }
    removed = [member for name in shape.never for member in places[name]]
    edits: list[Edit] = []
    added: list[tuple[str, bytes]] = []
    for name, value in [*shape.always.items(), *shape.default.items()]:
        if not places[name]:
            added.append((name, value))
        elif name in shape.always or isNull[name]:
            # Parsers do not agree on which of several counts.
            *others, last = places[name]
            removed += others
            edits.append((last.value, last.stop, value))
    if model is not None and places["model"]:
        last = places["model"][-1]
        edits.append((last.value, last.stop, _json.encoded(model)))
    edits += _without(members, removed)
    if added:
        new = b",".join(b"%b:%b" % (_json.encoded(name), v) for name, v in added)
        isAlone = len(removed) == members.count
        edits.append((members.start, members.start, new if isAlone else new + b","))
    return edited(length, edits)


def _without(members: Members, removed: list[Member]) -> list[Edit]:
    """
    Take members out, each with one of the commas beside it.
    """
    removed = sorted(removed, key=lambda member: member.number)
    edits: list[Edit] = []
    leading = 0
    for member in removed:
        if member.number == leading:
            # None before it stays, so that the comma is the one behind it.
            leading += 1
            isLast = leading == members.count
            edits.append((member.start, member.stop if isLast else member.after, b""))
        else:
            edits.append((member.before, member.stop, b""))
    return edits
