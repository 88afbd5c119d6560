# -*- test-case-name: llmux.test.test_web_target -*-
"""
The model that a request target names: C{/upstream/MODEL/...} or C{?model=}.

A request target is the second word of a request, such as C{/v1/models?x=1}.
All of it that is not the model's name goes on byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote_from_bytes, unquote_to_bytes

from attrs import frozen

__all__ = ()

PREFIX = b"/upstream/"

#: A name may have this many segments at most, since each is looked up and the
#: target is a stranger's.
SEGMENTS = 16

# C{model}, also for those who write it with percent signs.
_KEY = rb"(?:m|%6[dD])(?:o|%6[fF])(?:d|%64)(?:e|%65)(?:l|%6[cC])="
_first = re.compile(_KEY).match
# Apart from the first, so that a search in a long body begins with a plain
# byte, which the matcher finds fast.
_further = re.compile(rb"&" + _KEY).search
_end = re.compile(rb"&").search


@frozen
class Named:
    """
    What a request target says.

    @ivar model: the name in it, which may be unknown; L{None} if there is
        none.
    @ivar path: the request target to send on: what follows the name, with its
        query, byte for byte.  May begin with two slashes, so it is for
        appending to a base URL, not for resolving against one.
    """

    model: str | None
    path: bytes


def originForm(target: bytes) -> bytes:
    """
    A request target without scheme and host, which clients that think they
    talk to a forward proxy put in front.
    """
    absolute = re.match(rb"https?://[^/?#]*", target, re.IGNORECASE)
    if absolute is None:
        return target
    rest = target[absolute.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def nameInTarget(target: bytes, isKnown: Callable[[str], bool]) -> Named:
    """
    Find the model in C{/upstream/MODEL/...}.

    The name is percent-decoded, once, and may contain slashes, either as they
    are or encoded; the longest known name wins.  A name ends at a slash that
    is written as one: C{%2F} belongs to a segment and never ends it.  If no
    name is known, the first segment is the unknown one.

    @param target: the request target in origin form.
    @param isKnown: whether a model has this name or alias.
    """
    if not target.startswith(PREFIX):
        return Named(None, target)
    path, mark, query = target[len(PREFIX) :].partition(b"?")
    ends: list[int] = []
    end = path.find(b"/")
    while end >= 0 and len(ends) < SEGMENTS:
        ends.append(end)
        end = path.find(b"/", end + 1)
    if len(ends) < SEGMENTS:
        ends.append(len(path))
    for end in reversed(ends):
        name = _decoded(path[:end])
        if isKnown(name):
            break
    else:
        end = ends[0]
        name = _decoded(path[:end])
    return Named(name, (path[end:] or b"/") + mark + query)


def nameInQuery(target: bytes) -> str | None:
    """
    Find the model in C{?model=}: the first, if there are several.

    @return: L{None} if there is none or it is empty.
    """
    query = target.partition(b"?")[2]
    found = fieldIn(query)
    return None if found is None else decodeField(query[slice(*found)]) or None


def withModelInQuery(target: bytes, name: str) -> bytes:
    """
    The same request target with another value for C{?model=}, if it has one.
    """
    path, mark, query = target.partition(b"?")
    found = fieldIn(query)
    if found is None:
        return target
    start, stop = found
    return path + mark + query[:start] + encodeField(name) + query[stop:]


def fieldIn(form: bytes | memoryview) -> tuple[int, int] | None:
    """
    Find the first field C{model} in what is encoded like a query.

    @return: where its value begins and ends.
    """
    key = _first(form) or _further(form)
    if key is None:
        return None
    end = _end(form, key.end())
    return key.end(), len(form) if end is None else end.start()


def decodeField(value: bytes) -> str:
    """
    Read a value out of a query or a form.
    """
    return _decoded(value.replace(b"+", b" "))


def encodeField(value: str) -> bytes:
    """
    Write a value for a query or a form.
    """
    return quote_from_bytes(value.encode("utf-8", "replace"), safe="").encode("ascii")


def _decoded(value: bytes) -> str:
    # What is not UTF-8 becomes a name that no model has.
    return unquote_to_bytes(value).decode("utf-8", "replace")
